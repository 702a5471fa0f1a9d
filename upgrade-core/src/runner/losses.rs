//! Losses that are declared: each excuses what it names, and has to happen.

use std::collections::BTreeSet;

use super::rows::{COLUMN_DROPPED, DOWN, LATE, NOT_RESTORED, UP, subject};
use super::run::Run;
use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::{Error, Result};
use crate::observation::{Columns, Reading, Scope};
use crate::plan::{Action, BASELINE, Equal, Plan, Step, past};
use crate::upgrade::{ExpectedChange, MadeBy};
use crate::validator::{Finding, Severity};

/// Of large objects, which a declaration names as a table is named: `large objects`.
const LARGE_OBJECTS: &str = "large-objects-differ";

/// The findings that a declaration can turn into notes.
const EXCUSABLE: [&str; 10] = [
    LARGE_OBJECTS,
    UP.lost,
    UP.changed,
    COLUMN_DROPPED,
    DOWN.lost,
    DOWN.changed,
    NOT_RESTORED.lost,
    LATE.lost,
    // Of the way back itself.
    "rollback-lost-rows",
    "rollback-changed-rows",
];

/// Turns into notes what was declared, with a reason, for one direction; `with` is the state that
/// the rows were compared with.
pub(super) async fn excuse(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    direction: MadeBy,
    mut findings: Vec<Finding>,
) -> Result<Vec<Finding>> {
    let upgrade = run.upgrade;
    let declared: Vec<(usize, &ExpectedChange)> = upgrade
        .expected_changes()
        .iter()
        .enumerate()
        .filter(|(_, change)| change.is_made_by(direction))
        .collect();
    for finding in &mut findings {
        if !EXCUSABLE.contains(&finding.id.as_str()) {
            continue;
        }
        let of_finding: Vec<(usize, &ExpectedChange)> = declared
            .iter()
            .filter(|(_, change)| concerns(change, finding))
            .copied()
            .collect();
        let whole = of_finding
            .iter()
            .find(|(_, change)| change.column.is_none() || finding.id == COLUMN_DROPPED);
        let excused = match whole {
            Some(one) => vec![*one],
            None => in_columns_only(run, cx, with, &of_finding).await?,
        };
        if excused.is_empty() {
            continue;
        }
        let reasons: Vec<&str> = excused
            .iter()
            .map(|(_, change)| change.reason.as_str())
            .collect();
        finding.severity = Severity::Note;
        finding.help = Some(format!("declared: {}", reasons.join("; ")));
        run.happened.extend(excused.iter().map(|(place, _)| *place));
    }
    Ok(findings)
}

/// Whether a declaration is about the table of a finding, or about its column.
fn concerns(change: &ExpectedChange, finding: &Finding) -> bool {
    if finding.id == COLUMN_DROPPED {
        let of_table = finding
            .subject
            .strip_prefix(&format!("column {}.", change.table));
        return of_table.is_some_and(|name| match &change.column {
            Some(column) => column == name,
            None => true,
        });
    }
    finding.subject == subject(&change.table)
        || (finding.id == LARGE_OBJECTS && finding.subject == change.table)
}

/// The declarations of columns, if the table is what it was in all other columns.
async fn in_columns_only<'c>(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    declared: &[(usize, &'c ExpectedChange)],
) -> Result<Vec<(usize, &'c ExpectedChange)>> {
    let Some((_, first)) = declared.first() else {
        return Ok(Vec::new());
    };
    let table = &first.table;
    if !run.snapshots.contains_key(with) {
        return Ok(Vec::new());
    }
    let Some(before) = run
        .observations
        .get(with)
        .and_then(|seen| seen.tables.get(table))
    else {
        return Ok(Vec::new());
    };
    let lost: BTreeSet<&str> = declared
        .iter()
        .filter_map(|(_, change)| change.column.as_deref())
        .collect();
    let read = async |at: &At, columns: &Columns| {
        let scope = Scope::Columns([(table.clone(), columns.clone())].into());
        let mut seen = run.look(cx, at, &scope).await?;
        Ok::<_, Error>(seen.tables.remove(table))
    };
    let mut columns: Columns = before
        .columns
        .keys()
        .filter(|column| !lost.contains(column.as_str()))
        .map(|column| (column.clone(), Reading::Value))
        .collect();
    let Some(now) = read(&At::Live, &columns).await? else {
        return Ok(Vec::new());
    };
    columns.retain(|column, _| now.columns.contains_key(column));
    let then = read(&At::Snapshot(with.to_owned()), &columns).await?;
    let same = then.is_some_and(|then| then.rows == now.rows && then.sum == now.sum);
    Ok(if same { declared.to_vec() } else { Vec::new() })
}

/// The declared losses that did not happen although there were rows to lose: asked once, at the
/// last comparison of the rows of both releases.
pub(super) fn that_did_not_happen(run: &Run<'_>, step: &Step) -> Vec<Finding> {
    if last_of_both_releases(run.plan) != Some(step.id) {
        return Vec::new();
    }
    let back = past::reverts_all(run.plan);
    let sees_all = past::observes_every_state(run.plan);
    let all = run.upgrade.expected_changes().iter().enumerate();
    all.filter(|(place, change)| {
        let tried = change.made_by == MadeBy::Up || back;
        tried && !run.happened.contains(place) && !is_more_than_declared(run, change)
    })
    .filter_map(|(_, change)| {
        let seen = run.observations.values();
        let states: Vec<u64> = seen
            .filter_map(|seen| Some(seen.tables.get(&change.table)?.rows))
            .collect();
        let (object, reason) = (change.object(), &change.reason);
        let message = match states.iter().max() {
            // It may be made by one migration and removed by a later one.
            None if !sees_all => return None,
            None => format!("is declared to be lost ({reason}), and there is no such table"),
            // Without rows it cannot be told.
            Some(0) => return None,
            Some(_) => format!("is declared to be lost ({reason}), and nothing was lost"),
        };
        Some(
            Finding::error("loss-did-not-happen", object, message)
                .with_help("remove the declaration, or name what is lost"),
        )
    })
    .collect()
}

/// Whether the table of a declaration has lost more than was declared, so that what was declared is
/// not told from the rest.
fn is_more_than_declared(run: &Run<'_>, change: &ExpectedChange) -> bool {
    let mut found = run.report.findings.iter().map(|found| &found.finding);
    found.any(|finding| finding.fails() && finding.subject == subject(&change.table))
}

fn last_of_both_releases(plan: &Plan) -> Option<crate::plan::StepId> {
    let is_one = |step: &&Step| {
        matches!(
            &step.action,
            Action::Compare { with, equal: Equal::SharedRows } if with == BASELINE
        )
    };
    plan.steps.iter().rev().find(is_one).map(|step| step.id)
}
