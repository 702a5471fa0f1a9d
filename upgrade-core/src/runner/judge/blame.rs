//! Which migration a finding blames, told from the plan.

use crate::finding::Blame;
use crate::migration::MigrationId;
use crate::plan::{Action, Plan, Step, past};
use crate::runner::state::Run;

/// One migration, moved in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act<'a> {
    Up(&'a MigrationId),
    Down(&'a MigrationId),
    /// Several at once, or by a way on which no file runs.
    Other,
}

impl<'a> Act<'a> {
    /// What an action moves; `by_downs` tells whether a rollback runs the downs.
    fn of(action: &'a Action, by_downs: &dyn Fn(&str) -> bool) -> Option<Self> {
        match action {
            Action::Apply { migration }
            | Action::ApplyAgain { migration }
            | Action::MergeLate { migration, .. }
            | Action::Crash { migration, .. }
            | Action::JudgeCrash { migration, .. } => Some(Self::Up(migration)),
            Action::Revert { migration } | Action::RevertAgain { migration } => {
                Some(Self::Down(migration))
            }
            Action::RollBack { strategy, applied } => Some(match applied.as_slice() {
                [one] if by_downs(strategy) => Self::Down(one),
                _ => Self::Other,
            }),
            _ => None,
        }
    }

    fn migration(self) -> Option<&'a MigrationId> {
        match self {
            Self::Up(id) | Self::Down(id) => Some(id),
            Self::Other => None,
        }
    }
}

/// The migration that the findings of a step blame, if the step leaves no doubt.
pub(in crate::runner) fn blame(run: &Run<'_>, step: &Step) -> Option<Blame> {
    let by_downs = |strategy: &str| run.goes_by_downs(strategy);
    let act = act(run.plan, step, &by_downs)?;
    let id = act.migration()?;
    let mut all = run.upgrade.migrations().iter();
    let files = all.find(|migration| migration.id() == id)?.files();
    let file = match act {
        Act::Down(_) => files.down,
        _ => files.up,
    };
    Some(Blame {
        migration: id.clone(),
        file,
    })
}

/// What the findings of a step are owed to: what the step itself does; for a comparison, what was
/// done since the state that it compares with, if that was one migration only. Of that migration
/// the last direction is at fault, because every comparison before it has passed.
fn act<'a>(plan: &'a Plan, step: &'a Step, by_downs: &dyn Fn(&str) -> bool) -> Option<Act<'a>> {
    let Action::Compare { with, .. } = &step.action else {
        return Act::of(&step.action, by_downs);
    };
    let before: Vec<&Step> = past::before(plan, step).collect();
    // A state that another attempt has made is on the same way as this one.
    let since = before
        .iter()
        .rposition(|other| reaches(other, with))
        .map_or(0, |at| at + 1);
    let acts = before[since..].iter();
    only(acts.filter_map(|other| Act::of(&other.action, by_downs)))
}

/// Whether a step leaves the state of this label.
fn reaches(step: &Step, state: &str) -> bool {
    matches!(
        &step.action,
        Action::Restore { label } | Action::Observe { label } if label == state
    )
}

/// The last of the acts, if all of them are of one migration.
fn only<'a>(acts: impl Iterator<Item = Act<'a>>) -> Option<Act<'a>> {
    let acts: Vec<Act<'a>> = acts.collect();
    let last = *acts.last()?;
    acts.iter()
        .all(|act| act.migration() == last.migration())
        .then_some(last)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::environment::Capabilities;
    use crate::ids::Version;
    use crate::migration::Reversibility;
    use crate::plan::{Equal, MigrationOutline, Outline, StrategyOutline};
    use crate::scenario::Scenario;
    use std::time::Duration;

    fn plan(scenario: Scenario, versions: &[&str]) -> Plan {
        let migration = |version: &&str| MigrationOutline {
            id: MigrationId::new(*version, ""),
            reversibility: Reversibility::Reversible,
            statements: 2,
            waits_for_snapshots: false,
            tested: false,
            unit: None,
        };
        let strategy = |(name, requires_reversible): (&str, bool)| StrategyOutline {
            name: name.to_owned(),
            requires_reversible,
        };
        let outline = Outline {
            name: "orders".to_owned(),
            from: Version::new("0"),
            to: Version::new("9"),
            migrations: versions.iter().map(migration).collect(),
            strategies: [("copy", false), ("downs", true)].map(strategy).into(),
            writes: false,
            writes_anywhere: false,
            traffic: false,
            comparisons: false,
            released: Vec::new(),
            releases: Vec::new(),
            install_order: Vec::new(),
            capabilities: Capabilities::none().with_snapshots().with_faults(),
            rollback_within: Duration::from_secs(300),
            step_within: Duration::from_secs(600),
            reversible: false,
            every_crash: false,
            configuration: None,
            faults: None,
        };
        Plan::new(&outline, scenario, 1).unwrap()
    }

    /// What each comparison of a plan blames, by the attempt that it is in.
    fn blamed(plan: &Plan) -> Vec<(u32, Equal, String)> {
        let by_downs = |strategy: &str| strategy == "downs";
        let said = |act: Option<Act<'_>>| match act {
            Some(Act::Up(id)) => format!("up {id}"),
            Some(Act::Down(id)) => format!("down {id}"),
            Some(Act::Other) => "other".to_owned(),
            None => "-".to_owned(),
        };
        plan.steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Compare { equal, .. } => {
                    Some((step.attempt, *equal, said(act(plan, step, &by_downs))))
                }
                _ => None,
            })
            .collect()
    }

    #[test]
    fn an_upgrade_of_one_migration_blames_it_and_one_of_two_does_not() {
        let blame = |versions: &[&str]| blamed(&plan(Scenario::Upgrade, versions))[0].2.clone();
        assert_eq!(blame(&["1"]), "up 1");
        assert_eq!(blame(&["1", "2"]), "-");
    }

    #[test]
    fn a_round_trip_blames_the_direction_that_moved_last() {
        let all = blamed(&plan(Scenario::RoundTrip, &["1", "2"]));
        let of = |attempt| -> Vec<&str> {
            let same = all.iter().filter(|(number, ..)| *number == attempt);
            same.map(|(_, _, blamed)| blamed.as_str()).collect()
        };
        assert_eq!(of(2), ["up 1", "down 1", "up 1", "up 1"]);
        assert_eq!(of(3), ["up 2", "down 2", "up 2", "up 2"]);
        assert!(of(4).iter().all(|blamed| *blamed == "-"), "{all:?}");
    }

    #[test]
    fn a_rollback_blames_a_down_only_where_one_ran() {
        let all = blamed(&plan(Scenario::Rollback, &["1", "2"]));
        let whole = all
            .iter()
            .filter(|(_, equal, _)| *equal == Equal::Everything);
        let blamed: Vec<&str> = whole.map(|(_, _, blamed)| blamed.as_str()).collect();
        assert_eq!(blamed, ["-", "down 1", "-", "-"]);
    }

    #[test]
    fn a_crash_blames_the_migration_that_was_interrupted() {
        let all = blamed(&plan(Scenario::Crash, &["1", "2"]));
        let again = all
            .iter()
            .filter(|(_, equal, _)| *equal == Equal::Reproducible);
        let blamed: BTreeSet<&str> = again.map(|(_, _, blamed)| blamed.as_str()).collect();
        // After a rollback and a second upgrade both may be to blame.
        assert_eq!(blamed, ["-", "up 1", "up 2"].into());
    }
}
