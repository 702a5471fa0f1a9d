//! What happens, in which order.

use upgrade_core::plan::{Action, Equal};
use upgrade_core::{Phase, Upgrade, Version};

/// Up, back by `strategy` and up again. Users come before the first move and stay until the last
/// look.
///
/// The schema moves first when upgrading and last when rolling back, which the runner sees to: release
/// 1 can live with either, release 2 with the new one alone.
pub(crate) fn steps(upgrade: &Upgrade, strategy: &str) -> Vec<(Phase, Action)> {
    let mut steps = Vec::new();
    let mut add = |phase, action| steps.push((phase, action));
    let ids = || upgrade.migrations().iter().map(|one| one.id().clone());
    let by = |version: &Version| Action::Replace {
        version: version.clone(),
    };
    let write = || Action::Write { seed: 0 };
    let observe = |label: &str| Action::Observe {
        label: label.to_owned(),
    };
    let schema_is = |label: &str| Action::Compare {
        with: label.to_owned(),
        equal: Equal::Schema,
    };

    add(Phase::Baseline, observe("release 1"));
    add(Phase::Baseline, write());
    add(Phase::Baseline, Action::Validate);
    let prepare = Action::PrepareRollback {
        strategy: strategy.to_owned(),
    };
    add(Phase::Preflight, prepare);
    for migration in ids() {
        add(Phase::Expand, Action::Apply { migration });
    }
    // Release 1 on the new schema.
    add(Phase::Expand, Action::Validate);
    add(Phase::Switch, by(upgrade.to()));
    add(Phase::Soak, write());
    add(Phase::Soak, Action::Validate);
    add(Phase::Soak, observe("release 2"));

    let rollback = Action::RollBack {
        strategy: strategy.to_owned(),
        applied: ids().collect(),
    };
    add(Phase::Rollback, rollback);
    add(Phase::Rollback, schema_is("release 1"));
    add(Phase::Rollback, Action::Validate);

    add(Phase::Baseline, write());
    for migration in ids() {
        add(Phase::Expand, Action::Apply { migration });
    }
    add(Phase::Switch, by(upgrade.to()));
    add(Phase::Soak, write());
    add(Phase::Verify, schema_is("release 2"));
    add(Phase::Verify, Action::Validate);
    steps
}
