//! A plan whose order its user wrote.

use super::planner::plan_steps;
use super::{Action, Outline, Plan};
use crate::error::{Error, ErrorKind, Result};
use crate::migration::MigrationId;
use crate::version::Phase;

impl Plan {
    /// Plans steps in an order of the user's own, where no scenario has it: one attempt, between a
    /// provision and a teardown, which need not be named. Pure: the same input gives the same plan.
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
    /// [`ErrorKind::InvalidInput`] when a step names a migration, a release or a way back that the
    /// upgrade does not have, or a state that no earlier step has kept or observed.
    pub fn from_steps(
        outline: &Outline,
        steps: impl IntoIterator<Item = (Phase, Action)>,
        seed: u64,
    ) -> Result<Self> {
        let steps: Vec<(Phase, Action)> = steps.into_iter().collect();
        let mut labels = Vec::new();
        for (index, (_, action)) in steps.iter().enumerate() {
            possible(outline, action, &labels).map_err(|what| {
                Error::new(
                    ErrorKind::InvalidInput,
                    format!(
                        "step {} of {}, `{action}`, names {what}",
                        index + 1,
                        steps.len()
                    ),
                )
            })?;
            if let Action::Snapshot { label } | Action::Observe { label } = action {
                labels.push(label.as_str());
            }
        }
        Ok(plan_steps(outline, steps, seed))
    }
}

/// Whether a step can be taken; the error is what it names in vain.
fn possible(
    outline: &Outline,
    action: &Action,
    labels: &[&str],
) -> std::result::Result<(), &'static str> {
    let known = |found: bool, what| found.then_some(()).ok_or(what);
    let migration = |id: &MigrationId| {
        let all = outline.released.iter().chain(&outline.migrations);
        known(
            all.into_iter().any(|one| one.id == *id),
            "a migration that the upgrade does not have",
        )
    };
    let strategy = |name: &String| {
        known(
            outline.strategies.iter().any(|one| one.name == *name),
            "a way back that the upgrade does not have",
        )
    };
    match action {
        Action::Apply { migration: id }
        | Action::ApplyAgain { migration: id }
        | Action::Revert { migration: id }
        | Action::RevertAgain { migration: id }
        | Action::MergeLate { migration: id, .. }
        | Action::Crash { migration: id, .. }
        | Action::Settle { migration: id, .. } => migration(id),
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
        Action::Replace { version } => known(
            [&outline.from, &outline.to].contains(&version),
            "a release that the upgrade does not have",
        ),
        Action::Restore { label } | Action::Compare { with: label, .. } => known(
            labels.contains(&label.as_str()),
            "a state that no earlier step has kept",
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Capabilities;
    use crate::plan::Equal;
    use crate::upgrade::Upgrade;
    use crate::version::Version;

    fn replace(version: &str) -> Action {
        let version = Version::new(version);
        Action::Replace { version }
    }

    fn planned(steps: impl IntoIterator<Item = (Phase, Action)>) -> Result<Plan> {
        let capabilities = Capabilities::none().with_services().with_snapshots();
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
                error.starts_with("step 2 of 2") && error.contains("does not have"),
                "{error}"
            );
        }
    }
}
