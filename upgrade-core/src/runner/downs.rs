//! What a comparison of rows across downs says: whose rows are missing, and what is no loss.

use std::collections::BTreeSet;

use super::run::Run;
use crate::observation::Observation;
use crate::plan::{Action, Plan, Step};
use crate::validator::{Finding, Severity};

/// Turns the findings of a comparison across a move up into those of one across downs.
///
/// A table that the previous release does not have may go with its rows. Of a table whose values
/// an up has changed, the down may change them back, so that is for a person to look at; of one
/// that no up has touched, every value has to be there.
pub(super) fn findings(
    run: &Run<'_>,
    step: &Step,
    now: &Observation,
    across_up: Vec<Finding>,
) -> Vec<Finding> {
    let lost = if written_late(run.plan, step) {
        "rows-written-late-lost"
    } else {
        "data-lost-through-down"
    };
    let mut findings = across_up;
    // A column of the new release goes with its down.
    findings.retain(|finding| finding.id != "column-dropped-with-data");
    findings
        .retain(|finding| finding.id != "rows-lost-by-up" || has_place(run, step, now, finding));
    for finding in &mut findings {
        if finding.id == "rows-lost-by-up" {
            finding.id = lost.to_owned();
            finding.help = None;
        } else if finding.id == "rows-changed-by-up" {
            let by_up = run.report.findings.iter().any(|found| {
                found.finding.id == finding.id && found.finding.subject == finding.subject
            });
            finding.id = "data-changed-through-down".to_owned();
            if !by_up {
                finding.severity = Severity::Error;
            }
        }
    }
    findings
}

/// Whether the table of a finding is there now, or was there at the previous release.
fn has_place(run: &Run<'_>, step: &Step, now: &Observation, finding: &Finding) -> bool {
    let Some(table) = finding.subject.strip_prefix("table ") else {
        return true;
    };
    let gone = !now.objects.contains_key(&finding.subject);
    let first = run.plan.steps.iter().find_map(|other| match &other.action {
        Action::Observe { label } if other.id < step.id => run.observations.get(label),
        _ => None,
    });
    !gone || first.is_none_or(|first| first.tables.contains_key(table))
}

/// Whether users wrote above the boundary that a step stands at, since it was last left upwards.
fn written_late(plan: &Plan, step: &Step) -> bool {
    let before = plan
        .steps
        .iter()
        .filter(|other| other.attempt == step.attempt && other.id < step.id);
    let mut applied: usize = 0;
    let mut written: BTreeSet<usize> = BTreeSet::new();
    for other in before {
        match &other.action {
            Action::Apply { .. } => {
                applied += 1;
                // What was written on an earlier way up has been judged.
                written.split_off(&applied);
            }
            Action::Revert { .. } => applied = applied.saturating_sub(1),
            Action::Write { .. } => {
                written.insert(applied);
            }
            _ => {}
        }
    }
    written.range(applied + 1..).next().is_some()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::environment::Capabilities;
    use crate::migration::{MigrationId, Reversibility};
    use crate::plan::{MigrationOutline, Outline};
    use crate::version::Version;

    /// What the comparison after the last down of a history takes for written late.
    #[track_caller]
    fn check(history: &str, late: bool) {
        let migration = |version: &str| MigrationOutline {
            id: MigrationId::new(version, ""),
            reversibility: Reversibility::Reversible,
            statements: 1,
        };
        let outline = Outline {
            writes_anywhere: false,
            released: Vec::new(),
            releases: Vec::new(),
            name: "orders".to_owned(),
            from: Version::new("0"),
            to: Version::new("9"),
            migrations: ["1", "2"].map(migration).into(),
            strategies: Vec::new(),
            writes: true,
            capabilities: Capabilities::none().with_snapshots(),
            rollback_within: Duration::from_secs(300),
            step_within: Duration::from_secs(600),
            reversible: false,
            every_crash: false,
        };
        let plan = Plan::from_history(&outline, &history.parse().unwrap(), 1).unwrap();
        let is_last = |step: &&Step| matches!(step.action, Action::Compare { .. });
        let step = plan.steps.iter().rfind(is_last).unwrap();
        assert_eq!(written_late(&plan, step), late, "{history}\n{plan}");
    }

    #[test]
    fn late_is_what_was_written_above_the_boundary_on_the_last_way_up() {
        check("write seed 1; up 2; down 2", false);
        check("up 2; write seed 1; down 1", true);
        check("up 2; write seed 1; down 1; down 1", true);
        check("up 1; write seed 1; up 1; down 1", false);
        check("up 2; write seed 1; down 2; up 1; down 1", false);
    }
}
