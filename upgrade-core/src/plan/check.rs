//! Whether a plan can be carried out, wherever it comes from: planned, composed, or read from a
//! file. Pure.

use std::collections::BTreeSet;

use super::{Action, Equal, Moment, OnFailure, Outline, Plan, Step, Victim};
use crate::environment::contract::EMPTY;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{MigrationId, Version};

impl Plan {
    /// Checks that every step can be carried out for an upgrade in an environment: its number, what
    /// it names, the states that it needs, and the powers that it takes. The runner checks every
    /// plan before the first step, so that a plan that was edited or that belongs to another
    /// upgrade changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], or [`ErrorKind::Unsupported`] for a power that the environment
    /// does not have, with the number of the step and what is wrong with it.
    pub fn check(&self, outline: &Outline) -> Result<()> {
        let mut seen = Seen::new(outline);
        for (index, step) in self.steps.iter().enumerate() {
            let place = index + 1;
            let checked = if usize::try_from(step.id.0) == Ok(place) {
                seen.step(self, step)
            } else {
                Err(Wrong::Input(format!("has number {}", step.id)))
            };
            checked.map_err(|wrong| {
                let (kind, what) = match wrong {
                    Wrong::Input(what) => (ErrorKind::InvalidInput, what),
                    Wrong::Power(what) => (ErrorKind::Unsupported, format!("needs {what}")),
                };
                let all = self.steps.len();
                Error::new(
                    kind,
                    format!("step {place} of {all}, `{}`, {what}", step.action),
                )
                .with_hint("plan again")
            })?;
        }
        if seen.ended {
            Ok(())
        } else {
            Err(Error::new(
                ErrorKind::InvalidInput,
                "the plan has no last step that removes or releases the system",
            )
            .with_hint("plan again"))
        }
    }
}

enum Wrong {
    Input(String),
    /// A power of the environment.
    Power(&'static str),
}

type Checked = std::result::Result<(), Wrong>;

/// What the steps until now have made.
struct Seen<'p> {
    outline: &'p Outline,
    attempt: u32,
    provisioned: bool,
    ended: bool,
    finalized: bool,
    /// The labels of states that are kept, and of those that are observed.
    kept: BTreeSet<&'p str>,
    observed: BTreeSet<&'p str>,
    applied: BTreeSet<&'p MigrationId>,
}

impl<'p> Seen<'p> {
    fn new(outline: &'p Outline) -> Self {
        let mut kept = BTreeSet::new();
        if outline.capabilities.empty {
            kept.insert(EMPTY);
        }
        Self {
            outline,
            attempt: 0,
            provisioned: false,
            ended: false,
            finalized: false,
            kept,
            observed: BTreeSet::new(),
            applied: BTreeSet::new(),
        }
    }

    fn step(&mut self, plan: &Plan, step: &'p Step) -> Checked {
        self.place(step)?;
        self.names(&step.action)?;
        self.powers(&step.action)?;
        self.states(plan, step)?;
        if self.finalized && step.policy.on_failure == OnFailure::RollBack {
            return input("asks for a rollback on failure after the upgrade was made final");
        }
        self.remember(&step.action);
        Ok(())
    }

    /// The frame of a plan: provisioned first, removed last, attempts in order.
    fn place(&mut self, step: &Step) -> Checked {
        let provisions = step.action.begins();
        match (provisions, self.provisioned, self.ended) {
            (_, _, true) => return input("follows the last step"),
            (true, true, _) => return input("begins a second time"),
            (false, false, _) => return input("comes before the system is there"),
            _ => {}
        }
        let of_staging = matches!(step.action, Action::Provision | Action::Teardown);
        let of_real = matches!(step.action, Action::Attach | Action::Detach);
        match self.outline.capabilities.disposable {
            true if of_real => {
                return input("is about a system that stays, and this one may be thrown away");
            }
            false if of_staging => {
                return input("is about a system that may be thrown away, and this one is real");
            }
            _ => {}
        }
        if step.attempt < self.attempt {
            return input("belongs to an attempt that has ended");
        }
        self.attempt = step.attempt;
        self.provisioned = true;
        Ok(())
    }

    /// Every migration, strategy and release is one of the upgrade's.
    fn names(&self, action: &Action) -> Checked {
        let outline = self.outline;
        let migration = |id: &MigrationId| {
            let mut all = outline.released.iter().chain(&outline.migrations);
            known(all.any(|one| one.id == *id), "migration", id.to_string())
        };
        let strategy = |name: &String| {
            let mut all = outline.strategies.iter();
            known(
                all.any(|one| one.name == *name),
                "rollback strategy",
                name.clone(),
            )
        };
        let release = |version: &Version| {
            known(
                [&outline.from, &outline.to].contains(&version),
                "release",
                version.to_string(),
            )
        };
        match action {
            Action::Apply { migration: id }
            | Action::ApplyAgain { migration: id }
            | Action::Given { migration: id }
            | Action::Judge { migration: id, .. }
            | Action::Revert { migration: id }
            | Action::RevertAgain { migration: id }
            | Action::MergeLate { migration: id, .. }
            | Action::Crash { migration: id, .. }
            | Action::JudgeCrash { migration: id, .. } => migration(id),
            Action::Inspect { irreversible } => {
                irreversible.iter().try_for_each(|(id, _)| migration(id))
            }
            Action::CheckRollback {
                strategy: name,
                applied,
            }
            | Action::RollBack {
                strategy: name,
                applied,
            } => strategy(name).and_then(|()| applied.iter().try_for_each(migration)),
            Action::PrepareRollback { strategy: name } | Action::Finalize { strategy: name } => {
                strategy(name)
            }
            Action::Replace { version } => release(version),
            _ => Ok(()),
        }
    }

    /// The environment can do what the step takes.
    fn powers(&self, action: &Action) -> Checked {
        let powers = &self.outline.capabilities;
        let power = |has: bool, what| if has { Ok(()) } else { Err(Wrong::Power(what)) };
        match action {
            Action::Snapshot { .. } | Action::Restore { .. } => {
                power(powers.snapshots, "an environment that can take snapshots")
            }
            Action::Crash { victim, moment, .. } => {
                power(
                    *moment != Moment::WhileWaiting || powers.held_snapshots,
                    "an environment that can hold a snapshot open",
                )?;
                power(
                    powers.faults,
                    "an environment in which faults may be injected",
                )?;
                power(
                    *victim != Victim::Server || powers.server_faults,
                    "a server that may be killed",
                )
            }
            Action::Configure { .. } => {
                power(powers.configuration, "an environment with a configuration")
            }
            Action::Replace { .. } => power(powers.services, "an environment with services"),
            Action::ReplaceFirst { count, of } => {
                power(
                    powers.instances > 0,
                    "an environment that replaces services instance by instance",
                )?;
                if count > of || *of > powers.instances {
                    return input(format!(
                        "names more than the {} instances",
                        powers.instances
                    ));
                }
                Ok(())
            }
            Action::InjectFault { .. } | Action::Recover { .. } => power(
                powers.service_faults,
                "an environment in which faults of services may be injected",
            ),
            _ => Ok(()),
        }
    }

    /// Every state that the step reads was kept, or observed, by an earlier one.
    fn states(&self, plan: &Plan, step: &Step) -> Checked {
        let kept = |label: &str| match self.kept.contains(label) {
            true => Ok(()),
            false => input(format!(
                "names the state `{label}`, which no earlier step has kept"
            )),
        };
        let observed = |label: &str| match self.observed.contains(label) {
            true => Ok(()),
            false => input(format!(
                "names the state `{label}`, which no earlier step has observed"
            )),
        };
        match &step.action {
            Action::Restore { label } => kept(label),
            Action::Compare { with, equal } => {
                observed(with)?;
                if let Equal::SharedRows | Equal::Written = equal {
                    // They are read once more, in the columns of both sides.
                    kept(with)?;
                    if let Some(below) = super::past::below(plan, step, with, *equal) {
                        observed(below)?;
                    }
                }
                Ok(())
            }
            Action::MergeLate { with, .. } => observed(with),
            Action::JudgeCrash { before, after, .. } => {
                observed(before).and_then(|()| observed(after))
            }
            Action::Crash { migration, .. } => match self.applied.contains(migration) {
                true => Ok(()),
                false => input("interrupts a migration that no earlier step has applied in full"),
            },
            Action::Finalize { .. } if self.finalized => input("makes it final a second time"),
            Action::RollBack { .. } if self.finalized => {
                input("rolls back after the upgrade was made final")
            }
            _ => Ok(()),
        }
    }

    fn remember(&mut self, action: &'p Action) {
        match action {
            Action::Snapshot { label } => {
                self.kept.insert(label);
            }
            Action::Observe { label } => {
                self.observed.insert(label);
            }
            Action::JudgeCrash { label, .. } => {
                self.kept.insert(label);
            }
            Action::Apply { migration } => {
                self.applied.insert(migration);
            }
            Action::Finalize { .. } => self.finalized = true,
            Action::Restore { .. } => self.finalized = false,
            Action::Teardown | Action::Detach => self.ended = true,
            _ => {}
        }
    }
}

fn input(what: impl Into<String>) -> Checked {
    Err(Wrong::Input(what.into()))
}

fn known(found: bool, kind: &str, name: String) -> Checked {
    if found {
        return Ok(());
    }
    input(format!(
        "names the {kind} `{name}`, which the upgrade does not have"
    ))
}
