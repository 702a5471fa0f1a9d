//! A plan whose order its user wrote.

use super::planner::plan_steps;
use super::{Action, Outline, Plan, Policy};
use crate::error::Result;
use crate::ids::Phase;

/// One step of an order of the user's own; see [`Plan::from_steps`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedStep {
    /// The phase of the upgrade that it belongs to.
    pub phase: Phase,
    /// What is done.
    pub action: Action,
    /// What the runner does beside it, and when it fails. Without one it is
    /// [`OnFailure::RollBack`](super::OnFailure::RollBack) between the step that prepares a
    /// rollback and the one that takes it or gives it up, and
    /// [`OnFailure::EndAttempt`](super::OnFailure::EndAttempt) elsewhere, without users or a
    /// monitor.
    pub policy: Option<Policy>,
}

impl PlannedStep {
    /// A step whose policy follows from its place.
    pub fn new(phase: Phase, action: Action) -> Self {
        Self {
            phase,
            action,
            policy: None,
        }
    }

    /// Sets what the runner does beside it, and when it fails.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }
}

impl From<(Phase, Action)> for PlannedStep {
    fn from((phase, action): (Phase, Action)) -> Self {
        Self::new(phase, action)
    }
}

impl Plan {
    /// Plans steps in an order of the user's own, where no scenario has it: one attempt, between a
    /// provision and a teardown, which need not be named. A step is a [`PlannedStep`], or a pair of
    /// phase and action. Pure: the same input gives the same plan.
    ///
    /// ```
    /// use upgrade_core::environment::Capabilities;
    /// use upgrade_core::plan::{Action, Plan};
    /// use upgrade_core::{Phase, Upgrade, Version};
    ///
    /// let outline = Upgrade::new("shop", "1", "2").outline(Capabilities::none().with_services());
    /// let by = |version: &str| Action::Replace { version: Version::new(version) };
    /// let steps = [
    ///     (Phase::Switch, by("2")),
    ///     (Phase::Soak, Action::Validate),
    ///     (Phase::Rollback, by("1")),
    ///     (Phase::Verify, Action::Validate),
    /// ];
    /// let plan = Plan::from_steps(&outline, steps, 7)?;
    /// assert_eq!(plan.steps.len(), 6);
    /// # Ok::<(), upgrade_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Plan::check`].
    pub fn from_steps<S: Into<PlannedStep>>(
        outline: &Outline,
        steps: impl IntoIterator<Item = S>,
        seed: u64,
    ) -> Result<Self> {
        plan_steps(outline, steps.into_iter().map(Into::into).collect(), seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Capabilities;
    use crate::ids::MigrationId;
    use crate::ids::Version;
    use crate::plan::Equal;
    use crate::upgrade::Upgrade;

    fn replace(version: &str) -> Action {
        let version = Version::new(version);
        Action::Replace { version }
    }

    fn planned(steps: impl IntoIterator<Item = (Phase, Action)>) -> Result<Plan> {
        let capabilities = Capabilities::none()
            .with_disposable()
            .with_services()
            .with_snapshots();
        Plan::from_steps(
            &Upgrade::new("shop", "1", "2").outline(capabilities),
            steps,
            7,
        )
    }

    #[test]
    fn the_order_is_as_it_was_given() {
        let steps = [
            (Phase::Switch, replace("2")),
            (Phase::Rollback, replace("1")),
            (Phase::Verify, Action::Validate),
        ];
        let plan = planned(steps).unwrap();
        let told: Vec<String> = plan
            .steps
            .iter()
            .map(|step| format!("{} {} {}", step.id, step.attempt, step.action))
            .collect();
        assert_eq!(
            told,
            [
                "1 0 provision the previous release",
                "2 1 replace the services by 2",
                "3 1 replace the services by 1",
                "4 1 validate",
                "5 1 remove everything",
            ]
        );
        assert_eq!(Plan::from_json(&plan.to_json()).unwrap(), plan);
    }

    #[test]
    fn what_is_not_there_is_named_with_its_step() {
        let label = "before".to_owned();
        let compare = Action::Compare {
            with: label.clone(),
            equal: Equal::Schema,
        };
        let error = planned([(Phase::Verify, compare.clone())]).unwrap_err();
        assert!(error.to_string().contains("no earlier step"), "{error}");
        planned([
            (Phase::Baseline, Action::Observe { label }),
            (Phase::Verify, compare),
        ])
        .unwrap();
        for action in [
            replace("3"),
            Action::Apply {
                migration: MigrationId::new("9", "none"),
            },
            Action::Finalize {
                strategy: "none".to_owned(),
            },
        ] {
            let error = planned([(Phase::Soak, Action::Validate), (Phase::Soak, action)]);
            let error = error.unwrap_err().to_string();
            assert!(
                error.starts_with("step 3 of 4") && error.contains("does not have"),
                "{error}"
            );
        }
    }
}
