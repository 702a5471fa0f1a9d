//! What was done before a step, told from the plan: every step that comes before one in its
//! attempt was done, or the attempt would have ended.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, BASELINE, Equal, Plan, Step, StepId};
use crate::ids::{MigrationId, Phase};

/// The steps before one in its attempt, in order.
pub(crate) fn before<'p>(
    plan: &'p Plan,
    step: &Step,
) -> impl DoubleEndedIterator<Item = &'p Step> + use<'p> {
    let (attempt, id) = (step.attempt, step.id);
    let all = plan.steps.iter();
    all.filter(move |other| other.attempt == attempt && other.id < id)
}

/// The label that an attempt restored last before a step.
pub(crate) fn restored<'p>(plan: &'p Plan, step: &Step) -> Option<&'p str> {
    before(plan, step)
        .rev()
        .find_map(|other| match &other.action {
            Action::Restore { label } => Some(label.as_str()),
            _ => None,
        })
}

/// The state at which an attempt has prepared its rollback, where it was restored or kept in the
/// attempt; else the state that the attempt restored.
pub(crate) fn prepared_at<'p>(plan: &'p Plan, step: &Step) -> Option<&'p str> {
    let prepared = before(plan, step)
        .rev()
        .skip_while(|other| !matches!(other.action, Action::PrepareRollback { .. }));
    let mut states = prepared.filter_map(|other| match &other.action {
        Action::Restore { label } | Action::Snapshot { label } => Some(label.as_str()),
        _ => None,
    });
    states.next().or_else(|| restored(plan, step))
}

/// Whether users have written in an attempt, since it restored a state.
pub(crate) fn written(plan: &Plan, step: &Step) -> bool {
    before(plan, step)
        .rev()
        .take_while(|other| !matches!(other.action, Action::Restore { .. }))
        .any(|other| matches!(other.action, Action::Write { .. }))
}

/// Whether all that is compared with the observations of a label is what users have written.
pub(crate) fn only_written(plan: &Plan, label: &str) -> bool {
    let mut uses = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Compare { with, equal } if with == label => Some(*equal == Equal::Written),
        Action::Restore { label: restored } if restored == label => Some(false),
        _ => None,
    });
    uses.next() == Some(true) && uses.all(|written| written)
}

/// How a system that was rolled back to a boundary had come above it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WayUp<'p> {
    /// The state from which it left the boundary: the one that was kept or restored last.
    pub(crate) from: &'p str,
    /// Whether users wrote above the boundary since then.
    pub(crate) written: bool,
    /// Whether it stands at the boundary now; else it has gone up once more.
    pub(crate) is_back: bool,
}

/// The way up to the state of an observation, from the lowest boundary to which the attempt was
/// rolled back since then.
pub(crate) fn way_up<'p>(plan: &'p Plan, step: &Step, observed: &str) -> WayUp<'p> {
    let steps: Vec<&Step> = before(plan, step).collect();
    let mut height = 0;
    let heights: Vec<isize> = steps
        .iter()
        .map(|other| {
            height += climbed(&other.action);
            height
        })
        .collect();
    let is_observed =
        |other: &&Step| matches!(&other.action, Action::Observe { label } if label == observed);
    let top = steps.iter().rposition(is_observed).unwrap_or(0);
    let boundary = heights[top..].iter().copied().min().unwrap_or(0);
    let mut kept = BASELINE;
    let mut from = kept;
    let mut written = BTreeSet::new();
    for (other, &height) in steps[..top].iter().zip(&heights) {
        match &other.action {
            Action::Restore { label } | Action::Snapshot { label } => kept = label,
            Action::Apply { .. } => {
                // What was written on an earlier way up has been judged.
                written.split_off(&height);
                if height == boundary + 1 {
                    from = kept;
                }
            }
            Action::Write { .. } => {
                written.insert(height);
            }
            _ => {}
        }
    }
    WayUp {
        from,
        written: written.range(boundary + 1..).next().is_some(),
        is_back: height == boundary,
    }
}

/// How many migrations more are applied after an action.
fn climbed(action: &Action) -> isize {
    match action {
        Action::Apply { .. } => 1,
        Action::Revert { .. } => -1,
        Action::RollBack { applied, .. } => -applied.len().cast_signed(),
        _ => 0,
    }
}

/// The state below the one that a comparison of rows across a rollback starts from: it has to be
/// observed, too.
pub(crate) fn below<'p>(
    plan: &'p Plan,
    step: &Step,
    observed: &str,
    equal: Equal,
) -> Option<&'p str> {
    let across = equal == Equal::Written || step.phase == Phase::Rollback;
    across.then(|| way_up(plan, step, observed).from)
}

/// The migrations that are applied in the state of a label, in order, where the plan says that it
/// comes about by ups alone.
pub(crate) fn applied_at(plan: &Plan, label: &str) -> Option<Vec<MigrationId>> {
    if label == BASELINE {
        return Some(Vec::new());
    }
    let keeps =
        |step: &&Step| matches!(&step.action, Action::Snapshot { label: of } if of == label);
    let kept = plan.steps.iter().find(keeps)?;
    let mut applied = applied_at(plan, restored(plan, kept)?)?;
    let since = before(plan, kept);
    for step in since {
        match &step.action {
            Action::Restore { .. }
            | Action::Snapshot { .. }
            | Action::Observe { .. }
            | Action::Compare { .. }
            | Action::Validate => {}
            Action::Apply { migration } => applied.push(migration.clone()),
            _ => return None,
        }
    }
    Some(applied)
}

/// The states that a plan keeps, by the last step that needs each. The baseline is needed until the end.
pub(crate) fn last_needed(plan: &Plan) -> BTreeMap<StepId, Vec<String>> {
    let mut last: BTreeMap<&str, StepId> = BTreeMap::new();
    for step in &plan.steps {
        let mut needed: Vec<&str> = restored(plan, step).into_iter().collect();
        match &step.action {
            Action::Snapshot { label } | Action::Restore { label } | Action::Observe { label } => {
                needed.push(label);
            }
            Action::Compare { with, equal } => {
                needed.push(with);
                needed.extend(below(plan, step, with, *equal));
            }
            Action::MergeLate { with, .. } => needed.push(with),
            Action::RollBack { .. } => needed.extend(prepared_at(plan, step)),
            Action::JudgeCrash {
                before,
                after,
                label,
                ..
            } => needed.extend([before, after, label].map(String::as_str)),
            _ => {}
        }
        last.extend(needed.into_iter().map(|label| (label, step.id)));
    }
    let mut by_step: BTreeMap<StepId, Vec<String>> = BTreeMap::new();
    for (label, step) in last {
        if label != BASELINE {
            by_step.entry(step).or_default().push(label.to_owned());
        }
    }
    by_step
}

/// Whether a plan takes a down of every migration that it applies.
pub(crate) fn reverts_all(plan: &Plan) -> bool {
    let is_reverted = |id| {
        plan.steps
            .iter()
            .any(|step| matches!(&step.action, Action::Revert { migration } if migration == id))
    };
    plan.migrations().into_iter().all(is_reverted)
}

/// Whether a plan observes the state after every migration that it applies.
pub(crate) fn observes_every_state(plan: &Plan) -> bool {
    let is_observed = |id| {
        plan.steps.windows(3).any(|steps| {
            matches!(&steps[0].action, Action::Apply { migration } if migration == id)
                && steps[1..]
                    .iter()
                    .any(|step| matches!(step.action, Action::Observe { .. }))
        })
    };
    plan.migrations().into_iter().all(is_observed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::environment::Capabilities;
    use crate::ids::Version;
    use crate::migration::{MigrationId, Reversibility};
    use crate::plan::{MigrationOutline, Outline, StrategyOutline};
    use crate::scenario::Scenario;

    fn outline() -> Outline {
        let migration = |version: &str| MigrationOutline {
            id: MigrationId::new(version, ""),
            reversibility: Reversibility::Reversible,
            statements: 1,
            waits_for_snapshots: false,
            tested: false,
            unit: None,
        };
        Outline {
            writes_anywhere: false,
            traffic: false,
            comparisons: false,
            released: Vec::new(),
            releases: Vec::new(),
            install_order: Vec::new(),
            name: "orders".to_owned(),
            from: Version::new("0"),
            to: Version::new("9"),
            migrations: ["1", "2"].map(migration).into(),
            strategies: vec![StrategyOutline {
                name: "downs".to_owned(),
                requires_reversible: true,
            }],
            writes: true,
            capabilities: Capabilities::none().with_snapshots(),
            rollback_within: Duration::from_secs(300),
            step_within: Duration::from_secs(600),
            reversible: false,
            every_crash: false,
            configuration: None,
            faults: None,
        }
    }

    /// The way up of the comparison of rows after the last down of a sequence.
    #[track_caller]
    fn check(sequence: &str, from: &str, written: bool) {
        let plan = Plan::from_sequence(&outline(), &sequence.parse().unwrap(), 1).unwrap();
        let compared = |step: &Step| match &step.action {
            Action::Compare {
                with,
                equal: Equal::SharedRows,
            } => Some(way_up(&plan, step, with)),
            _ => None,
        };
        let mut steps = plan.steps.iter().rev();
        let is_back = true;
        let expected = WayUp {
            from,
            written,
            is_back,
        };
        assert_eq!(
            steps.find_map(compared),
            Some(expected),
            "{sequence}\n{plan}"
        );
    }

    #[test]
    fn late_is_what_was_written_above_the_boundary_on_the_last_way_up() {
        check("write seed 1; up 2; down 2", "before step 2", false);
        check("up 2; write seed 1; down 1", BASELINE, true);
        check("up 2; write seed 1; down 1; down 1", BASELINE, true);
        check("up 1; write seed 1; up 1; down 1", "before step 3", false);
        check(
            "up 2; write seed 1; down 2; up 1; down 1",
            "before step 4",
            false,
        );
    }

    #[test]
    fn a_way_back_and_up_again_are_told_apart() {
        let ways = |scenario| -> Vec<(String, bool, bool)> {
            let plan = Plan::new(&outline(), scenario, 1).unwrap();
            let steps = plan.steps.iter();
            let compared = steps.filter_map(|step| match &step.action {
                Action::Compare {
                    with,
                    equal: Equal::Written,
                } => {
                    let way = way_up(&plan, step, with);
                    Some((way.from.to_owned(), way.written, way.is_back))
                }
                _ => None,
            });
            compared.collect()
        };
        let way = |from: &str, is_back| (from.to_owned(), true, is_back);
        assert_eq!(
            ways(Scenario::RoundTrip),
            [
                way(BASELINE, true),
                way(BASELINE, false),
                way("after 1", true),
                way("after 1", false),
                way(BASELINE, true),
                way(BASELINE, false),
            ]
        );
        assert_eq!(ways(Scenario::Rollback), [way(BASELINE, true)]);
    }
}
