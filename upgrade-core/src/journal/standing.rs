//! Where an upgrade stands, told from its journal.

use std::collections::BTreeMap;
use std::fmt;

use super::record::{Ended, Entry, Record};
use crate::configuration::Digest;
use crate::ids::{MigrationId, Phase, Version};
use crate::migration::Checksum;
use crate::operation::Consent;
use crate::plan::{Action, Plan, PlannedStep, Step};
use crate::rollback::Prepared;

/// Where an upgrade stands: the sum of the records of its journal, and nothing else.
///
/// ```
/// use upgrade_core::journal::{Actor, Journal, MemoryStore, Standing, State};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let journal = Journal::open(MemoryStore::new(), "orders on db1", Actor::new("ann")).await?;
/// let standing = Standing::of(&journal.records().await);
/// assert_eq!(standing.state, State::Nothing);
/// # Ok::<(), upgrade_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Standing {
    /// What it has come to.
    pub state: State,
    /// The migrations that were applied, or begun, and not undone; oldest first.
    pub applied: Vec<MigrationId>,
    /// What each rollback strategy keeps, by its name.
    pub kept: BTreeMap<String, Prepared>,
    /// The strategy that was prepared last, and how many migrations were applied when it was.
    pub prepared: Option<(String, usize)>,
    /// The hash of the schema when all changes were made.
    pub schema: Option<String>,
    /// What somebody has agreed to lose in a rollback of this upgrade.
    pub consent: Consent,
    /// Whether a rollback of this upgrade has begun to change the system.
    pub rolling_back: bool,
    /// The configuration that was live before, and the one to which it was switched, or begun to be.
    pub configured: Option<(Digest, Digest)>,
    /// How many instances of services may be those of the new release: all of them is `u32::MAX`.
    pub replaced: u32,
    /// The act that a process had begun when it was killed, and of which it is not known how far it came.
    pub interrupted: Option<Action>,
    /// The migrations that the upgrade consists of, oldest first.
    pub migrations: Vec<MigrationId>,
    /// What each of them consisted of when it was planned.
    pub checksums: BTreeMap<MigrationId, Checksum>,
    /// The steps of the plan that have not come to their end.
    left: Vec<Step>,
    /// The release that the upgrade leads to.
    to: Option<Version>,
}

/// What an upgrade has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Nothing was changed.
    #[default]
    Nothing,
    /// Changes are being made, or some are made and others are not.
    Applying,
    /// All changes are made, and the upgrade can be rolled back.
    Soaking,
    /// It was rolled back, and that is proven.
    RolledBack,
    /// The rollback was given up.
    Finalized,
    /// A rollback did not arrive: a person has to decide.
    Paused,
    /// It was given up as it was.
    Aborted,
}

impl State {
    /// Whether the upgrade is over: the next one may begin.
    pub fn is_over(self) -> bool {
        matches!(self, Self::RolledBack | Self::Finalized | Self::Aborted)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing was changed",
            Self::Applying => "changes are being made",
            Self::Soaking => "the upgrade is applied and can be rolled back",
            Self::RolledBack => "the upgrade was rolled back",
            Self::Finalized => "the upgrade is final",
            Self::Paused => "a rollback did not succeed, and a person has to decide",
            Self::Aborted => "the upgrade was given up as it was",
        })
    }
}

impl Standing {
    /// Adds up records, the oldest first.
    pub fn of(records: &[Record]) -> Self {
        let mut standing = Self::default();
        let mut open: Option<(u64, Action)> = None;
        // Of what only looks at the system nothing is half done. The rest is interrupted until it is done
        // once more: a process that was refused before it came to that changes nothing about it.
        let mut interrupted: Option<Action> = None;
        for record in records {
            match &record.entry {
                Entry::Planned { plan, contents } => {
                    if standing.begin(plan, contents) {
                        interrupted = None;
                    }
                    open = None;
                }
                Entry::Intent { action, .. } => {
                    standing.intended(action);
                    open = Some((record.seq, action.clone()));
                    if changes(action) {
                        interrupted = Some(action.clone());
                    }
                }
                Entry::Kept { strategy, prepared } => {
                    standing.kept.insert(strategy.clone(), prepared.clone());
                    // The last thing that is written before the first act of a rollback.
                    standing.rolling_back |= matches!(open, Some((_, Action::RollBack { .. })));
                    if matches!(open, Some((_, Action::PrepareRollback { .. }))) {
                        standing.prepared = Some((strategy.clone(), standing.applied.len()));
                    }
                }
                Entry::Done { intent, ended } => {
                    if let Some((_, action)) = open.take_if(|(seq, _)| seq == intent) {
                        interrupted.take_if(|begun| *begun == action);
                        standing.ended(&action, ended);
                    }
                }
                Entry::Reached { schema } => standing.schema = Some(schema.clone()),
                Entry::Consented { to } => {
                    // It is about the upgrade that is under way, or the one that begins.
                    let begins = standing.state.is_over() || standing.state == State::Nothing;
                    let before = std::mem::take(&mut standing.consent);
                    standing.consent = match begins {
                        true => to.clone(),
                        false => before.and(to.clone()),
                    };
                }
                Entry::Aborted { .. } => {
                    standing.state = State::Aborted;
                    standing.applied.clear();
                    standing.left.clear();
                    (standing.prepared, standing.replaced) = (None, 0);
                    standing.consent = Consent::Nothing;
                    // What was kept is a leftover from here on.
                    standing.kept.clear();
                    (open, interrupted) = (None, None);
                }
                Entry::Opened { .. }
                | Entry::Closed
                | Entry::Repaired { .. }
                | Entry::Note { .. }
                | Entry::Notified { .. } => {}
            }
        }
        // Where nothing is kept any more there is nothing to give up.
        let moot = standing.state.is_over() && standing.kept.is_empty();
        let gives_up = |action: &Action| matches!(action, Action::Finalize { .. });
        standing.interrupted = interrupted.filter(|action| !(moot && gives_up(action)));
        standing
    }

    /// The step that rolls the upgrade back to where the rollback was prepared, with its phase; none where
    /// nothing is applied, or no rollback is prepared.
    pub fn rollback_step(&self) -> Option<(Phase, Action)> {
        let (strategy, before) = self.prepared.clone()?;
        let applied = self.applied.get(before..)?.to_vec();
        if self.state == State::RolledBack || (applied.is_empty() && self.state == State::Nothing) {
            return None;
        }
        Some((Phase::Rollback, Action::RollBack { strategy, applied }))
    }

    /// The steps that the plan has left, for a process that goes on with it: those that were not begun, and
    /// the one that was interrupted. Empty where the upgrade was rolled back or made final, or where a
    /// rollback did not arrive.
    ///
    /// Every act can be repeated: a migration that was applied in full is not applied again. What was only
    /// measured is not measured again, since the system is another one by now.
    pub fn remaining_steps(&self) -> Vec<PlannedStep> {
        if !matches!(
            self.state,
            State::Nothing | State::Applying | State::Soaking
        ) {
            return Vec::new();
        }
        let left = self.left.iter().filter(|step| {
            let frame = step.action.begins() || step.action.ends();
            let measures = matches!(step.action, Action::Observe { .. } | Action::Compare { .. });
            !frame && !measures
        });
        let planned = left
            .map(|step| PlannedStep::new(step.phase, step.action.clone()).with_policy(step.policy));
        planned.collect()
    }

    /// Takes in a plan. Whether an upgrade begins with it.
    fn begin(&mut self, plan: &Plan, contents: &[(MigrationId, Checksum)]) -> bool {
        // A run that only rolls back, or makes final, has nothing to apply.
        self.to = Some(plan.to.clone());
        if !plan.steps.iter().any(|step| self.advances(&step.action)) {
            return false;
        }
        let applies: Vec<&MigrationId> = plan.steps.iter().filter_map(applied_by).collect();
        self.left.clone_from(&plan.steps);
        let begins = self.state.is_over() || self.state == State::Nothing;
        if begins {
            // The next upgrade, or the next attempt at one of which nothing was changed.
            (self.state, self.prepared, self.replaced) = (State::Nothing, None, 0);
            (self.schema, self.configured, self.rolling_back) = (None, None, false);
            self.applied.clear();
            self.migrations.clear();
            self.checksums.clear();
        }
        self.checksums.extend(contents.iter().cloned());
        // A plan that goes on has only those that were left.
        for migration in applies {
            if !self.migrations.contains(migration) {
                self.migrations.push(migration.clone());
            }
        }
        begins
    }

    fn intended(&mut self, action: &Action) {
        // From here on nothing may be rolled back, also where it does not come to its end. After a rollback
        // it gives up what was kept, and so it does where nothing was changed.
        if matches!(action, Action::Finalize { .. }) {
            self.prepared = None;
            if self.state == State::Soaking {
                self.state = State::Finalized;
                self.consent = Consent::Nothing;
            }
        }
        if self.advances(action) {
            self.state = State::Applying;
        }
        match action {
            Action::Apply { migration } if !self.applied.contains(migration) => {
                self.applied.push(migration.clone());
            }
            // Where it does not come to its end, some of them may be replaced.
            Action::Replace { .. } if self.advances(action) => self.replaced = u32::MAX,
            Action::ReplaceFirst { count, .. } => self.replaced = self.replaced.max(*count),
            Action::Configure { from, to } => self.configured = Some((from.clone(), to.clone())),
            _ => {}
        }
    }

    /// Whether an action brings the system nearer to the new release.
    fn advances(&self, action: &Action) -> bool {
        self.to.as_ref().is_some_and(|to| action.advances(to))
    }

    fn ended(&mut self, action: &Action, ended: &Ended) {
        let done = *ended == Ended::Done;
        // The first of them: the same check comes again later.
        if done && let Some(at) = self.left.iter().position(|left| left.action == *action) {
            self.left.remove(at);
        }
        let advanced = done && self.state == State::Applying;
        if advanced && !self.left.iter().any(|step| self.advances(&step.action)) {
            self.state = State::Soaking;
        }
        match action {
            Action::Replace { version } if done && self.to.as_ref() != Some(version) => {
                self.replaced = 0;
            }
            Action::ReplaceFirst { count, .. } if done => self.replaced = *count,
            Action::Revert { migration } if done => self.applied.retain(|one| one != migration),
            Action::RollBack { applied, .. } if done => {
                self.applied.retain(|one| !applied.contains(one));
                (self.replaced, self.configured, self.rolling_back) = (0, None, false);
                self.left.clear();
                self.consent = Consent::Nothing;
                self.state = State::RolledBack;
            }
            Action::RollBack { .. } => self.state = State::Paused,
            Action::Finalize { strategy } if done => {
                self.kept.remove(strategy);
            }
            _ => {}
        }
    }
}

/// The migration that a step applies.
fn applied_by(step: &Step) -> Option<&MigrationId> {
    match &step.action {
        Action::Apply { migration } => Some(migration),
        _ => None,
    }
}

/// Whether an action changes the system, or what is kept beside it.
fn changes(action: &Action) -> bool {
    !matches!(
        action,
        Action::Provision
            | Action::Attach
            | Action::Observe { .. }
            | Action::Compare { .. }
            | Action::Validate
            | Action::Judge { .. }
            | Action::Inspect { .. }
            | Action::CheckRollback { .. }
            | Action::JudgeCrash { .. }
            | Action::Watch { .. }
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::environment::Capabilities;
    use crate::journal::{Actor, Journal, MemoryStore};
    use crate::upgrade::Upgrade;

    const SWAP: &str = "swap";

    fn migration(number: usize) -> MigrationId {
        MigrationId::new(format!("{number}"), "note")
    }

    /// A plan that prepares a rollback and applies three migrations.
    fn plan() -> Plan {
        let mut outline = Upgrade::new("shop", "1", "2").outline(Capabilities::none());
        outline.strategies = vec![crate::plan::StrategyOutline {
            name: SWAP.to_owned(),
            requires_reversible: false,
        }];
        outline.migrations = (1..=3)
            .map(|number| crate::plan::MigrationOutline {
                id: migration(number),
                reversibility: crate::migration::Reversibility::Reversible,
                statements: 1,
                waits_for_snapshots: false,
                unit: None,
                tested: false,
            })
            .collect();
        let strategy = SWAP.to_owned();
        let mut steps = vec![(Phase::Preflight, Action::PrepareRollback { strategy })];
        steps.extend((1..=3).map(|number| {
            let migration = migration(number);
            (Phase::Expand, Action::Apply { migration })
        }));
        Plan::from_steps(&outline, steps, 0).unwrap()
    }

    /// What happens next, as far as it can.
    #[derive(Debug, Clone, Copy)]
    enum Move {
        /// The next step of the plan that is left.
        On(How),
        Back(How),
        Finalize(How),
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum How {
        Done,
        Fails,
        IsKilled,
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let how = prop_oneof![
            4 => Just(How::Done),
            1 => Just(How::Fails),
            2 => Just(How::IsKilled),
        ];
        let one = (0..8_u8, how).prop_map(|(what, how)| match what {
            0..6 => Move::On(how),
            6 => Move::Back(how),
            _ => Move::Finalize(how),
        });
        prop::collection::vec(one, 0..24)
    }

    /// What the journal should tell, kept in the simplest way.
    #[derive(Debug, Default)]
    struct Model {
        begun: Vec<MigrationId>,
        done: usize,
        over: Option<State>,
        paused: bool,
    }

    async fn play(moves: &[Move]) -> (Standing, Model) {
        let journal = Journal::open(MemoryStore::new(), "shop", Actor::new("ann"));
        let journal = journal.await.unwrap();
        let mut model = Model::default();
        let plan = Box::new(plan());
        journal
            .append(
                None,
                Entry::Planned {
                    plan,
                    contents: Vec::new(),
                },
            )
            .await
            .unwrap();
        for one in moves {
            let standing = Standing::of(&journal.records().await);
            let (action, how) = match *one {
                Move::On(how) => match standing.remaining_steps().into_iter().next() {
                    Some(step) => (step.action, how),
                    None => continue,
                },
                Move::Back(how) => match standing.rollback_step() {
                    Some((_, action)) => (action, how),
                    None => continue,
                },
                Move::Finalize(how) => match standing.state {
                    State::Soaking => {
                        let strategy = SWAP.to_owned();
                        (Action::Finalize { strategy }, how)
                    }
                    _ => continue,
                },
            };
            let intent = intend(&journal, action.clone()).await;
            if let Action::Apply { migration } = &action
                && !model.begun.contains(migration)
            {
                model.begun.push(migration.clone());
            }
            if matches!(action, Action::Finalize { .. }) {
                model.over = Some(State::Finalized);
            }
            if how == How::IsKilled {
                continue;
            }
            if matches!(action, Action::PrepareRollback { .. }) && how == How::Done {
                let entry = Entry::Kept {
                    strategy: SWAP.to_owned(),
                    prepared: Prepared::new(&"a copy").unwrap(),
                };
                journal.append(None, entry).await.unwrap();
            }
            let ended = match how {
                How::Done => Ended::Done,
                _ => Ended::Failed("no".to_owned()),
            };
            let done = ended == Ended::Done;
            journal
                .append(None, Entry::Done { intent, ended })
                .await
                .unwrap();
            match action {
                Action::Apply { .. } => model.done += usize::from(done),
                Action::RollBack { .. } if done => {
                    model.begun.clear();
                    (model.over, model.paused) = (Some(State::RolledBack), false);
                }
                Action::RollBack { .. } => model.paused = true,
                _ => {}
            }
        }
        (Standing::of(&journal.records().await), model)
    }

    #[tokio::test]
    async fn the_next_upgrade_begins_where_the_one_before_it_ended() {
        let journal = Journal::open(MemoryStore::new(), "shop", Actor::new("ann"));
        let journal = journal.await.unwrap();
        let kept = |copy: &str| Entry::Kept {
            strategy: SWAP.to_owned(),
            prepared: Prepared::new(&copy).unwrap(),
        };
        for (copy, rolls_back) in [("first", true), ("second", false)] {
            let plan = Box::new(plan());
            let planned = Entry::Planned {
                plan,
                contents: Vec::new(),
            };
            journal.append(None, planned).await.unwrap();
            let standing = Standing::of(&journal.records().await);
            assert_eq!(standing.state, State::Nothing, "{copy}");
            let steps = standing.remaining_steps();
            assert_eq!(steps.len(), 4, "{copy}");
            for step in steps {
                let prepares = matches!(step.action, Action::PrepareRollback { .. });
                let intent = intend(&journal, step.action).await;
                if prepares {
                    journal.append(None, kept(copy)).await.unwrap();
                }
                end(&journal, intent).await;
            }
            let standing = Standing::of(&journal.records().await);
            assert_eq!(standing.state, State::Soaking);
            assert_eq!(standing.kept[SWAP], Prepared::new(&copy).unwrap());
            let (_, action) = standing.rollback_step().unwrap();
            let Action::RollBack { applied, .. } = &action else {
                panic!("{action}");
            };
            assert_eq!(applied.len(), 3);
            if rolls_back {
                let intent = intend(&journal, action).await;
                end(&journal, intent).await;
                let standing = Standing::of(&journal.records().await);
                assert_eq!(standing.state, State::RolledBack);
            }
        }
    }

    async fn intend(journal: &Journal, action: Action) -> u64 {
        let entry = Entry::Intent {
            step: crate::plan::StepId(1),
            phase: Phase::Expand,
            action,
            checksum: None,
        };
        journal.append(None, entry).await.unwrap().seq
    }

    async fn end(journal: &Journal, intent: u64) {
        let ended = Ended::Done;
        let entry = Entry::Done { intent, ended };
        journal.append(None, entry).await.unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn it_stands_where_what_was_written_has_led(moves in moves()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (standing, model) = runtime.block_on(play(&moves));
            let state = match model.over {
                Some(over) => over,
                None if model.paused => State::Paused,
                None if model.done == 3 => State::Soaking,
                None if model.begun.is_empty() => State::Nothing,
                None => State::Applying,
            };
            prop_assert_eq!(standing.state, state);
            prop_assert_eq!(&standing.applied, &model.begun);
            // A rollback is possible as long as something is applied that may be undone, and not after it.
            let over = matches!(state, State::RolledBack | State::Finalized);
            let back = standing.prepared.is_some() && !model.begun.is_empty() && !over;
            prop_assert_eq!(standing.rollback_step().is_some(), back);
            // A rollback that did not arrive is never taken for a beginning.
            let on = matches!(state, State::Nothing | State::Applying);
            prop_assert!(on || standing.remaining_steps().is_empty());
        }
    }
}
