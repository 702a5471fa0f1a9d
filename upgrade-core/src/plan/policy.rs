//! What the runner does beside a step, and when the step fails. A plan says all of it: the runner
//! does not know which scenario the steps come from.

use serde::{Deserialize, Serialize};

use super::{Action, Equal, PlannedStep};
use crate::ids::Phase;

/// What the runner does beside a step, and when the step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Policy {
    /// What happens when the step fails. Default: [`OnFailure::EndAttempt`].
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Whether users make their requests ([`Upgrade::with_traffic`]) while the step is done.
    /// Default: no.
    ///
    /// [`Upgrade::with_traffic`]: crate::Upgrade::with_traffic
    #[serde(default)]
    pub traffic: bool,
    /// Whether sessions are monitored for what a migration leaves in them, where the environment
    /// can. Default: no.
    #[serde(default)]
    pub monitor: bool,
    /// What a difference that a comparison finds is a difference between; it decides the name of
    /// the finding. Default: what follows from the phase and from how much has to be equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
}

impl Policy {
    /// Sets what happens when the step fails.
    #[must_use]
    pub fn with_on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Has users make their requests while the step is done.
    #[must_use]
    pub fn with_traffic(mut self) -> Self {
        self.traffic = true;
        self
    }

    /// Has sessions monitored for what a migration leaves in them.
    #[must_use]
    pub fn with_monitor(mut self) -> Self {
        self.monitor = true;
        self
    }

    /// Sets what a difference is a difference between.
    #[must_use]
    pub fn with_difference(mut self, difference: Difference) -> Self {
        self.difference = Some(difference);
        self
    }
}

/// What happens when a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnFailure {
    /// The rest of the attempt is skipped.
    #[default]
    EndAttempt,
    /// A failure that was only seen, by a validator, a comparison, a monitor or a user, ends
    /// nothing: the state is the one that the next step begins with, and there is more to learn. A
    /// step that did not reach its state ends the attempt.
    Continue,
    /// What this run has changed is rolled back, by the strategy that was prepared and by the
    /// previous services; then the rest of the attempt is skipped. Nothing is rolled back after
    /// [`Action::Finalize`], and nothing where a [watch](Action::Watch) asks a person or could not go on.
    RollBack,
}

/// What a difference that a comparison finds is a difference between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Difference {
    /// A state that had to stay, or to be restored, and is another.
    NotRestored,
    /// The state before an up, and the one after its down.
    RoundTrip,
    /// The states after a first and a second up, with a down between them.
    SecondUp,
    /// The state that an empty system reaches, and the one that an upgrade reaches.
    FreshInstall,
    /// The states that two ways over earlier releases reach.
    ReleasePath,
    /// The state that a migration reaches without a crash, and after one.
    Crash,
}

impl Difference {
    /// What follows from the phase and from how much has to be equal.
    pub(crate) fn of(phase: Phase, equal: Equal) -> Self {
        match (phase, equal) {
            (_, Equal::Reproducible) => Self::Crash,
            (Phase::Rollback, _) => Self::RoundTrip,
            (_, Equal::Schema) => Self::SecondUp,
            _ => Self::NotRestored,
        }
    }
}

/// Gives steps that were planned without a policy the one that suits a real system: what this run
/// has changed is rolled back as long as a rollback is prepared and nothing is final.
pub(super) fn of_custom_steps(steps: &mut [PlannedStep]) {
    let mut prepared = false;
    for PlannedStep { action, policy, .. } in steps {
        if matches!(action, Action::Finalize { .. } | Action::RollBack { .. }) {
            prepared = false;
        }
        let on_failure = if prepared {
            OnFailure::RollBack
        } else {
            OnFailure::EndAttempt
        };
        policy.get_or_insert_with(|| Policy::default().with_on_failure(on_failure));
        prepared |= matches!(action, Action::PrepareRollback { .. });
    }
}
