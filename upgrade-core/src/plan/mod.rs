//! What will be done, in which order and within which time: data, made without IO.
//!
//! [`Plan::new`] turns the outline of an upgrade, a scenario and a seed into steps. The same three
//! give the same plan. A plan is printed before it runs ([`Display`](std::fmt::Display)), saved
//! with [`Plan::to_json`] and replayed from the file with [`Plan::from_json`].

mod action;
mod check;
mod outline;
pub(crate) mod past;
mod planner;
mod policy;
mod sequence;
mod steps;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::fault::Excluded;
use crate::ids::{MigrationId, Phase, Version};
use crate::saved;
use crate::scenario::Scenario;

pub use crate::ids::StepId;
pub use action::{Action, Equal, Moment, Victim};
pub use outline::{FaultOutline, MigrationOutline, Outline, StrategyOutline};
pub use policy::{Difference, OnFailure, Policy};
pub use sequence::{Sequence, SequenceStep};
pub use steps::PlannedStep;

/// The version of the format in which plans are saved.
pub const FORMAT: u32 = 4;

/// The label of the previous release, as it was before anything moved.
pub(crate) const BASELINE: &str = "baseline";

/// What will be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// The version of this format.
    pub format: u32,
    /// The name of the upgrade.
    pub name: String,
    /// The scenario that the steps follow.
    pub scenario: Scenario,
    /// The seed of everything that is drawn.
    pub seed: u64,
    /// The release that it starts at.
    pub from: Version,
    /// The release that it leads to.
    pub to: Version,
    /// The budget of every rollback, in milliseconds.
    pub rollback_within_ms: u64,
    /// What gets no fault, where faults were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Excluded>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Step {
    /// Its number.
    pub id: StepId,
    /// The attempt that it belongs to: when one of its steps ends the attempt, the rest is skipped
    /// and the next attempt begins. Attempt 0 is what all others need.
    pub attempt: u32,
    /// The phase of the upgrade that it belongs to.
    pub phase: Phase,
    /// What is done.
    pub action: Action,
    /// How long it may take, in milliseconds.
    pub within_ms: u64,
    /// What the runner does beside it, and when it fails.
    #[serde(default)]
    pub policy: Policy,
}

/// The label of the second observation of a state, which was reached in the same way: what differs
/// between the two observations differs from run to run.
pub(crate) fn again(label: &str) -> String {
    format!("{label}, again")
}

impl Plan {
    /// Plans an upgrade through a scenario. Pure: the same input gives the same plan.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when there is nothing to upgrade, and
    /// [`Unsupported`](crate::ErrorKind::Unsupported) when the scenario needs a power that the environment does not
    /// have or a rollback that the upgrade does not name.
    pub fn new(outline: &Outline, scenario: Scenario, seed: u64) -> Result<Self> {
        planner::plan(outline, scenario, seed)
    }

    /// The plan as JSON, to be saved.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a plan has only string keys")
    }

    /// Reads a saved plan.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) with line and column, or when the format is of another version.
    pub fn from_json(json: &str) -> Result<Self> {
        let again = "plan again, with the seed of the saved plan";
        saved::read(json, "plan", FORMAT, again)
    }

    /// The rollback strategy that it prepares first.
    pub(crate) fn strategy(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| match &step.action {
            Action::PrepareRollback { strategy } => Some(strategy.as_str()),
            _ => None,
        })
    }

    /// The name of the upgrade and the scenario, where it follows one.
    pub fn title(&self) -> String {
        match self.scenario {
            Scenario::Custom => self.name.clone(),
            scenario => format!("{} {scenario}", self.name),
        }
    }

    /// Plans an upgrade of a real system until users are to watch it: as the scenario `upgrade`, and
    /// nothing is made final. It ends before [`Phase::Finalize`].
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) where nothing is pending; [`Refused`](crate::ErrorKind::Refused) where no rollback
    /// strategy can undo all that is pending; those of [`Plan::check`].
    pub fn until_soak(outline: &Outline) -> Result<Self> {
        planner::until_soak(outline)
    }

    /// The migrations that the plan touches, in the order in which they first appear.
    pub fn migrations(&self) -> Vec<&MigrationId> {
        let mut seen = Vec::new();
        for step in &self.steps {
            if let Action::Apply { migration }
            | Action::Crash { migration, .. }
            | Action::MergeLate { migration, .. }
            | Action::Revert { migration } = &step.action
                && !seen.contains(&migration)
            {
                seen.push(migration);
            }
        }
        seen
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "plan {} {} ({} -> {}), {} steps, seed {}, rollback within {:?}",
            self.name,
            self.scenario,
            self.from,
            self.to,
            self.steps.len(),
            self.seed,
            Duration::from_millis(self.rollback_within_ms),
        )?;
        let mut attempt = 0;
        for step in &self.steps {
            if step.attempt != attempt && !step.action.ends() {
                attempt = step.attempt;
                writeln!(f, "  attempt {attempt}")?;
            }
            writeln!(f, "  {:>4}  {:<9}  {}", step.id, step.phase, step.action)?;
        }
        match &self.excluded {
            Some(excluded) => write!(f, "no fault of services is injected\n{excluded}"),
            None => Ok(()),
        }
    }
}
