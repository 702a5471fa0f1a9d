//! Where an operation stands, and what may come next. Pure.

use std::fmt;

use crate::journal::{Record, Standing, State};
use crate::plan::Action;

/// What can be done with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Act {
    /// [`Operation::plan`](super::Operation::plan) and [`apply`](super::Operation::apply).
    Apply,
    /// [`Operation::resume`](super::Operation::resume).
    Resume,
    /// [`Operation::rollback`](super::Operation::rollback).
    RollBack,
    /// [`Operation::finalize`](super::Operation::finalize).
    Finalize,
    /// [`Operation::abort`](super::Operation::abort).
    Abort,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apply => "apply",
            Self::Resume => "resume",
            Self::RollBack => "rollback",
            Self::Finalize => "finalize",
            Self::Abort => "abort",
        })
    }
}

/// What a process was doing when it was killed, and what the next one has to finish.
pub(super) fn interrupted(standing: &Standing) -> Option<Act> {
    match &standing.interrupted {
        Some(Action::RollBack { .. }) => Some(Act::RollBack),
        Some(Action::Finalize { .. }) => Some(Act::Finalize),
        // After a rollback what was kept for it is given up; so it is where an upgrade becomes final.
        _ if standing.state.is_over() => {
            let over = matches!(standing.state, State::RolledBack | State::Finalized);
            (over && !standing.kept.is_empty()).then_some(Act::Finalize)
        }
        // Before the first change there is nothing to go on with: the system may be another one by now, so
        // it is planned again.
        _ if standing.state == State::Nothing => None,
        _ => (!standing.remaining_steps().is_empty()).then_some(Act::Apply),
    }
}

/// What is possible now; never empty.
pub(super) fn acts(standing: &Standing) -> Vec<Act> {
    let interrupted = interrupted(standing);
    let mut acts = Vec::new();
    if standing.state.is_over() || standing.state == State::Nothing {
        acts.push(Act::Apply);
    }
    if interrupted.is_some() {
        acts.push(Act::Resume);
    }
    if standing.rollback_step().is_some() && standing.state != State::Nothing {
        acts.push(Act::RollBack);
    }
    // Half a rollback is not final, and neither is half an upgrade.
    let final_next = match standing.state {
        State::Soaking => interrupted.is_none(),
        State::Finalized => interrupted == Some(Act::Finalize),
        _ => false,
    };
    if final_next {
        acts.push(Act::Finalize);
    }
    let begun = !standing.remaining_steps().is_empty() || !standing.kept.is_empty();
    if standing.state == State::Paused || (standing.state == State::Nothing && begun) {
        acts.push(Act::Abort);
    }
    acts
}

/// Where an operation stands, for a person.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The sum of the journal's records.
    pub standing: Standing,
    /// Who had the journal open before and was killed.
    pub died: Option<Record>,
    /// What is possible now.
    pub acts: Vec<Act>,
}

impl Status {
    /// What the records of a journal say, the oldest first: for who only reads it, also while a process
    /// works on the operation.
    pub fn of(records: &[Record]) -> Self {
        Self::new(Standing::of(records), None)
    }

    pub(super) fn new(standing: Standing, died: Option<Record>) -> Self {
        let acts = acts(&standing);
        Self {
            standing,
            died,
            acts,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing {
            state,
            applied,
            migrations,
            prepared,
            interrupted,
            replaced,
            configured,
            ..
        } = &self.standing;
        writeln!(f, "state        {state}")?;
        if !migrations.is_empty() && !state.is_over() {
            writeln!(
                f,
                "migrations   {} of {} applied or begun",
                applied.len(),
                migrations.len()
            )?;
        }
        if configured.is_some() && !state.is_over() {
            writeln!(f, "config       switched, or begun to be")?;
        }
        if *replaced > 0 && !state.is_over() {
            writeln!(f, "services     replaced, or begun to be")?;
        }
        if let (Some((strategy, _)), false) = (prepared, state.is_over()) {
            writeln!(f, "rollback     by {strategy}")?;
        }
        if let Some(action) = interrupted {
            writeln!(f, "interrupted  {action}")?;
        }
        if let Some(Record {
            actor,
            host,
            pid,
            at,
            ..
        }) = &self.died
        {
            writeln!(
                f,
                "died         process {pid} of {actor} on {host}, began at {at}"
            )?;
        }
        let acts: Vec<String> = self.acts.iter().map(ToString::to_string).collect();
        write!(f, "possible     {}", acts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::environment::Capabilities;
    use crate::ids::{MigrationId, Phase};
    use crate::journal::{Actor, Ended, Entry, Journal, MemoryStore};
    use crate::plan::{MigrationOutline, Plan, PlannedStep, StepId, StrategyOutline};
    use crate::rollback::Prepared;
    use crate::upgrade::Upgrade;

    const SWAP: &str = "swap";

    fn plan(steps: Vec<PlannedStep>) -> Box<Plan> {
        let mut outline = Upgrade::new("shop", "1", "2").outline(Capabilities::none());
        outline.strategies = vec![StrategyOutline {
            name: SWAP.to_owned(),
            requires_reversible: false,
        }];
        outline.migrations = ["1", "2"]
            .map(|number| MigrationOutline {
                id: MigrationId::new(number, "note"),
                reversibility: crate::migration::Reversibility::Reversible,
                statements: 1,
                waits_for_snapshots: false,
                unit: None,
                tested: false,
            })
            .into();
        let plan = match steps.is_empty() {
            true => Plan::until_soak(&outline),
            false => Plan::from_steps(&outline, steps, 0),
        };
        Box::new(plan.unwrap())
    }

    /// What becomes of a step.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum How {
        Done,
        Fails,
        IsKilled,
    }

    /// Does what the calls of an operation write, with a process that is killed as `hows` say.
    struct Tool<'h> {
        journal: Journal,
        hows: &'h mut dyn Iterator<Item = How>,
    }

    impl Tool<'_> {
        async fn standing(&self) -> Standing {
            Standing::of(&self.journal.records().await)
        }

        async fn write(&self, entry: Entry) -> u64 {
            self.journal.append(None, entry).await.unwrap().seq
        }

        /// Whether the process goes on.
        async fn step(&mut self, phase: Phase, action: &Action) -> Option<How> {
            let intent = Entry::Intent {
                step: StepId(1),
                phase,
                action: action.clone(),
                checksum: None,
            };
            let intent = self.write(intent).await;
            let how = self.hows.next().unwrap_or(How::Done);
            if how == How::IsKilled {
                return None;
            }
            if let (Action::PrepareRollback { .. }, How::Done) = (action, how) {
                let strategy = SWAP.to_owned();
                let prepared = Prepared::new(&"a copy").unwrap();
                self.write(Entry::Kept { strategy, prepared }).await;
            }
            let ended = match how {
                How::Done => Ended::Done,
                _ => Ended::Failed("no".to_owned()),
            };
            self.write(Entry::Done { intent, ended }).await;
            Some(how)
        }

        /// A run of steps: where one fails, it is rolled back as long as that is possible.
        async fn run(&mut self, steps: Vec<PlannedStep>) {
            let plan = plan(steps);
            let steps = plan.steps.clone();
            let contents = Vec::new();
            self.write(Entry::Planned { plan, contents }).await;
            for step in &steps {
                if step.action.begins() || step.action.ends() {
                    continue;
                }
                match self.step(step.phase, &step.action).await {
                    None => return,
                    Some(How::Done) => {}
                    Some(_) => {
                        let rolls_back = step.policy.on_failure == crate::plan::OnFailure::RollBack;
                        let back = self.standing().await.rollback_step();
                        if let (true, Some((phase, action))) = (rolls_back, back) {
                            self.step(phase, &action).await;
                        }
                        return;
                    }
                }
            }
        }

        async fn act(&mut self, act: Act) {
            let standing = self.standing().await;
            let give_up = || {
                let kept = standing.kept.keys().cloned();
                let action = kept.map(|strategy| Action::Finalize { strategy });
                action.map(|action| PlannedStep::new(Phase::Finalize, action))
            };
            let act = match act {
                Act::Resume => interrupted(&standing).unwrap(),
                act => act,
            };
            let resumes = !(standing.state.is_over() || standing.state == State::Nothing);
            match act {
                Act::Apply if resumes => self.run(standing.remaining_steps()).await,
                Act::Apply => self.run(Vec::new()).await,
                Act::RollBack => {
                    let mut steps = vec![standing.rollback_step().unwrap().into()];
                    steps.extend(give_up());
                    self.run(steps).await;
                }
                Act::Finalize => self.run(give_up().collect()).await,
                Act::Abort => {
                    let reason = "by hand".to_owned();
                    self.write(Entry::Aborted { reason }).await;
                    if standing.state != State::Paused && !standing.kept.is_empty() {
                        self.run(give_up().collect()).await;
                    }
                }
                Act::Resume => unreachable!("it was turned into what it goes on with"),
            }
        }
    }

    type Transition = (String, Act, String);

    /// Random acts with random ends; then the tool works, and the upgrade has to come to its end.
    async fn walk(choices: &[u8], hows: &[How]) -> BTreeSet<Transition> {
        let journal = Journal::open(MemoryStore::new(), "shop", Actor::new("ann"));
        let (mut hows, mut good) = (hows.iter().copied(), std::iter::empty());
        let mut tool = Tool {
            journal: journal.await.unwrap(),
            hows: &mut hows,
        };
        let mut seen = BTreeSet::new();
        for choice in choices {
            let before = tool.standing().await;
            let possible = acts(&before);
            assert!(!possible.is_empty(), "{before:?}");
            let act = possible[usize::from(*choice) % possible.len()];
            tool.act(act).await;
            let after = tool.standing().await;
            seen.insert((
                format!("{:?}", before.state),
                act,
                format!("{:?}", after.state),
            ));
        }
        tool.hows = &mut good;
        for _ in 0..4 {
            let standing = tool.standing().await;
            let possible = acts(&standing);
            let next = [Act::Resume, Act::RollBack, Act::Finalize, Act::Abort];
            let Some(act) = next.into_iter().find(|act| possible.contains(act)) else {
                break;
            };
            // A rollback that failed is decided by a person.
            tool.act(act).await;
        }
        let end = tool.standing().await;
        assert!(
            end.state.is_over() || end.state == State::Nothing,
            "stuck: {end:?}"
        );
        assert!(acts(&end).contains(&Act::Apply), "{end:?}");
        seen
    }

    /// Which states an act may lead to, from which.
    fn permitted() -> BTreeSet<Transition> {
        let upgrading = &["Nothing", "Applying", "Soaking", "RolledBack", "Paused"][..];
        let back = &["RolledBack", "Paused"][..];
        let mut all = BTreeSet::new();
        let mut add = |from: &str, act: Act, to: &[&str]| {
            all.extend(to.iter().map(|to| (from.to_owned(), act, (*to).to_owned())));
        };
        for from in ["Nothing", "RolledBack", "Finalized", "Aborted"] {
            add(from, Act::Apply, upgrading);
        }
        add("Applying", Act::Resume, &upgrading[1..]);
        add("Soaking", Act::Resume, &upgrading[2..]);
        for over in ["RolledBack", "Finalized"] {
            add(over, Act::Resume, &[over]);
        }
        for from in ["Applying", "Soaking"] {
            add(from, Act::RollBack, back);
            // Killed in the middle.
            add(from, Act::RollBack, &[from]);
        }
        add("Paused", Act::RollBack, back);
        add("Soaking", Act::Finalize, &["Finalized"]);
        add("Finalized", Act::Finalize, &["Finalized"]);
        add("Nothing", Act::Abort, &["Aborted"]);
        add("Paused", Act::Abort, &["Aborted"]);
        all
    }

    #[test]
    fn every_walk_comes_to_its_end_and_no_state_is_left_another_way() {
        let how = prop_oneof![
            5 => Just(How::Done),
            1 => Just(How::Fails),
            1 => Just(How::IsKilled),
        ];
        let walks = (
            prop::collection::vec(any::<u8>(), 0..8),
            prop::collection::vec(how, 0..40),
        );
        let cases = 1_200;
        let mut runner = proptest::test_runner::TestRunner::new_with_rng(
            ProptestConfig {
                failure_persistence: None,
                ..ProptestConfig::with_cases(cases)
            },
            proptest::test_runner::TestRng::deterministic_rng(
                proptest::test_runner::RngAlgorithm::ChaCha,
            ),
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let all = std::cell::RefCell::new(BTreeSet::new());
        runner
            .run(&walks, |(choices, hows)| {
                all.borrow_mut()
                    .extend(runtime.block_on(walk(&choices, &hows)));
                Ok(())
            })
            .unwrap();
        let all = all.into_inner();
        let permitted = permitted();
        let wrong: Vec<_> = all.difference(&permitted).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let unseen: Vec<_> = permitted.difference(&all).collect();
        println!(
            "{cases} walks: {} transitions of {}, unseen {unseen:?}",
            all.len(),
            permitted.len()
        );
        let states = [
            "Nothing",
            "Applying",
            "Soaking",
            "RolledBack",
            "Finalized",
            "Paused",
            "Aborted",
        ];
        for state in states {
            assert!(
                all.iter().any(|(_, _, to)| to == state),
                "{state} was never reached"
            );
        }
    }
}
