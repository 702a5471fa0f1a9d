//! The planner: outline, scenario and seed in, steps out. No IO, no clock, no randomness.

mod crash;
mod draft;
mod faults;
mod migration_tests;
mod order;
mod rollback;
mod rolling;
mod round_trip;
mod sequence;
mod upgrade;

use super::policy::of_custom_steps;
use super::{
    Action, BASELINE, Equal, MigrationOutline, Outline, Plan, PlannedStep, Sequence,
    StrategyOutline,
};
use crate::error::{Error, ErrorKind, Result};
use crate::scenario::Scenario;
use draft::Draft;

const HEAD: &str = "head";
const WRITTEN: &str = "written";

pub(super) fn plan(outline: &Outline, scenario: Scenario, seed: u64) -> Result<Plan> {
    require(outline, scenario)?;
    let mut draft = Draft::begun(outline, scenario, seed);
    match scenario {
        Scenario::Control => draft.control(),
        Scenario::Upgrade => draft.upgrade(),
        Scenario::RoundTrip => draft.round_trip(),
        Scenario::Rollback => draft.rollback(),
        Scenario::Rerun => draft.rerun(),
        Scenario::OutOfOrder => draft.out_of_order(),
        Scenario::FreshInstall => draft.fresh_install(),
        Scenario::SkipRelease => draft.skip_release(),
        Scenario::Crash => draft.crash(),
        Scenario::Rolling => draft.rolling(),
        Scenario::Operation => {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "an operation is several plans, one for each of its calls",
            )
            .with_hint("let `Operation` plan them; the test kit rehearses one"));
        }
        Scenario::Custom => {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the planner knows no order of a custom plan",
            )
            .with_hint("give the steps with `Plan::from_steps`"));
        }
    }
    checked(draft.end(), outline)
}

/// The upgrade without its last steps, which make it final.
pub(super) fn until_soak(outline: &Outline) -> Result<Plan> {
    require(outline, Scenario::Upgrade)?;
    let mut draft = Draft::begun(outline, Scenario::Upgrade, 0);
    if draft.until_soak().is_none() {
        let message = format!(
            "no rollback strategy can undo what is pending in `{}`",
            outline.name
        );
        return Err(Error::new(ErrorKind::Refused, message).with_hint(
            "add one that needs no down migrations, such as `SnapshotSwap`, or write the missing downs",
        ));
    }
    checked(draft.end(), outline)
}

/// A plan that the runner can carry out, wherever its steps come from.
fn checked(plan: Plan, outline: &Outline) -> Result<Plan> {
    plan.check(outline)?;
    Ok(plan)
}

/// Up and down in the order of the sequence, which is known to be possible.
pub(super) fn plan_sequence(outline: &Outline, sequence: &Sequence, seed: u64) -> Result<Plan> {
    let scenario = Scenario::Custom;
    require(outline, scenario)?;
    let mut draft = Draft::begun(outline, scenario, seed);
    draft.sequence(sequence);
    checked(draft.end(), outline)
}

/// Steps in the order of their user, between a provision and a teardown.
pub(super) fn plan_steps(
    outline: &Outline,
    mut steps: Vec<PlannedStep>,
    seed: u64,
) -> Result<Plan> {
    let mut draft = Draft::provisioned(outline, Scenario::Custom, seed);
    draft.attempt = 1;
    of_custom_steps(&mut steps);
    for step in steps {
        draft.push_with(step.phase, step.action, step.policy.unwrap_or_default());
    }
    checked(draft.end(), outline)
}

/// Whether the scenario can be planned at all.
fn require(outline: &Outline, scenario: Scenario) -> Result<()> {
    let unsupported = |what: &str, hint: &str| {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("scenario `{scenario}` of `{}` needs {what}", outline.name),
        )
        .with_hint(hint))
    };
    if scenario != Scenario::Control
        && outline.migrations.is_empty()
        && !outline.capabilities.services
        && outline.configuration.is_none()
    {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "nothing is pending between `{}` and `{}` of `{}`",
                outline.from, outline.to, outline.name
            ),
        )
        .with_hint("name an earlier release with `from`"));
    }
    let begins_empty = matches!(scenario, Scenario::FreshInstall | Scenario::SkipRelease);
    if begins_empty && !outline.capabilities.empty {
        return unsupported(
            "an environment that can be emptied",
            "run it in staging, on a database that the library has made",
        );
    }
    let rehearses = !matches!(scenario, Scenario::Control | Scenario::Upgrade);
    if rehearses && !outline.capabilities.snapshots {
        return unsupported(
            "an environment that can take snapshots",
            "run it in staging, where databases may be copied",
        );
    }
    if scenario == Scenario::Crash && !outline.capabilities.faults {
        return unsupported(
            "an environment in which faults may be injected",
            "run it in staging, where sessions may be terminated",
        );
    }
    if scenario == Scenario::Rolling && outline.capabilities.instances == 0 {
        return unsupported(
            "an environment that replaces services instance by instance",
            "run it in staging, by a `DockerEnvironment` that knows both releases",
        );
    }
    if matches!(scenario, Scenario::Rollback | Scenario::Crash) && outline.strategies.is_empty() {
        return unsupported("a rollback", "add one with `Upgrade::with_rollback`");
    }
    Ok(())
}

fn all_reversible(migrations: &[MigrationOutline]) -> bool {
    migrations
        .iter()
        .all(|migration| migration.reversibility.is_reversible())
}

fn can_cross(strategy: &StrategyOutline, crossed: &[MigrationOutline]) -> bool {
    !strategy.requires_reversible || all_reversible(crossed)
}

#[cfg(test)]
mod tests;
