//! Rows that users wrote after the up: whether a way back keeps them.

use std::collections::BTreeMap;

use super::losses;
use super::rows::{self, subject};
use super::run::Run;
use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::Result;
use crate::observation::{
    Columns, Observation, Reading, RowDiff, RowDiffRequest, Scope, TableState,
};
use crate::plan::{Action, Step};
use crate::report::RollbackReport;
use crate::rollback::Safety;
use crate::upgrade::MadeBy;
use crate::validator::{Finding, Severity};

/// Rows are gone, or have lost their values.
const LOST: &str = "rows-written-late-lost";

/// One table, by its names in the three states.
#[derive(Debug)]
struct Table<'s> {
    /// At the previous release.
    old: &'s str,
    /// After users wrote.
    written: &'s str,
    now: &'s str,
    /// The columns that all three have.
    columns: Columns,
    retyped: bool,
}

/// What is missing of what was there when users had written, in the tables and columns that both
/// releases have. What only the newer release has a place for is lost by any way back, and is said
/// beforehand.
///
/// An up may change values, and the down change them back. So of a table that the up, or the
/// users, left as it was, every value has to be there; of another one, every row.
pub(super) async fn compare(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    with: &str,
    expected: &Observation,
) -> Result<Vec<Finding>> {
    let live = run.environment.observe(cx, &At::Live, &Scope::All).await?;
    let Some((start, before)) = run
        .restored
        .as_ref()
        .and_then(|label| Some((label.clone(), run.observations.get(label)?.clone())))
    else {
        return Ok(Vec::new());
    };
    let mut findings = Vec::new();
    let mut tables = Vec::new();
    for (name, table) in expected.tables.iter().filter(|(_, table)| table.rows > 0) {
        let Some((old, then)) = find(&before, name, table) else {
            continue;
        };
        match find(&live, old, then) {
            Some((now, state)) => tables.push(in_all(old, then, name, table, now, state)),
            None => findings.push(Finding::error(
                LOST,
                subject(name),
                format!("is gone, and its {} rows with it", table.rows),
            )),
        }
    }
    tables.retain(|table| !table.columns.is_empty());
    let differing = differing(run, cx, with, &tables).await?;
    let requests: Vec<RowDiffRequest> = differing
        .iter()
        .map(|table| {
            RowDiffRequest::new(table.written, table.columns.clone()).renamed_to(table.now)
        })
        .collect();
    let found = rows::differing(run, cx, with, &At::Live, &requests)
        .await?
        .unwrap_or_default();
    for table in &differing {
        if let Some(diff) = found.get(table.written) {
            let finding = judge(run, cx, &start, with, table, diff).await?;
            findings.extend(finding);
        }
    }
    findings.extend(expected.sequence_findings(&live));
    for finding in &mut findings {
        if let Some(named) = named_before(run, step, finding) {
            finding.severity = Severity::Note;
            finding.help = Some(format!("said before the rollback: {named}"));
        }
    }
    losses::excuse(run, cx, with, MadeBy::Down, findings).await
}

/// The table of a name, else the one that the system knows by the same number.
fn find<'s>(
    seen: &'s Observation,
    name: &str,
    table: &TableState,
) -> Option<(&'s str, &'s TableState)> {
    let by_identity = || {
        let mut all = seen.tables.iter();
        all.find(|(_, other)| table.identity.is_some() && other.identity == table.identity)
    };
    let found = seen.tables.get_key_value(name).or_else(by_identity);
    found.map(|(name, state)| (name.as_str(), state))
}

fn in_all<'s>(
    old: &'s str,
    then: &TableState,
    written: &'s str,
    table: &TableState,
    now: &'s str,
    state: &TableState,
) -> Table<'s> {
    let shared = table.columns.iter().filter(|(column, _)| {
        then.columns.contains_key(*column) && state.columns.contains_key(*column)
    });
    let retyped = |column: &str, of_type: &String| state.columns.get(column) != Some(of_type);
    Table {
        old,
        written,
        now,
        retyped: shared
            .clone()
            .any(|(column, of_type)| retyped(column, of_type)),
        columns: shared
            .map(|(column, _)| (column.clone(), Reading::Value))
            .collect(),
    }
}

/// The tables whose rows are not what they were. Where a column has another type now, texts are
/// compared if values differ.
async fn differing<'t>(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    tables: &'t [Table<'_>],
) -> Result<Vec<Table<'t>>> {
    let mut left: Vec<Table<'t>> = tables
        .iter()
        .map(|table| Table {
            columns: table.columns.clone(),
            ..*table
        })
        .collect();
    for as_text in [false, true] {
        if as_text {
            for table in left.iter_mut().filter(|table| table.retyped) {
                table.columns.values_mut().for_each(|reading| {
                    *reading = Reading::Text;
                });
            }
        }
        if left.is_empty() {
            break;
        }
        let scope = |name: &dyn Fn(&Table<'t>) -> &'t str| {
            let all = left.iter();
            Scope::Columns(
                all.map(|table| (name(table).to_owned(), table.columns.clone()))
                    .collect(),
            )
        };
        let past = At::Snapshot(with.to_owned());
        let (then, now) = (scope(&|table| table.written), scope(&|table| table.now));
        let then = run.environment.observe(cx, &past, &then).await?;
        let now = run.environment.observe(cx, &At::Live, &now).await?;
        left.retain(|table| {
            let (then, now) = (then.tables.get(table.written), now.tables.get(table.now));
            then.map(|state| (state.rows, &state.sum)) != now.map(|state| (state.rows, &state.sum))
        });
        if !left.iter().any(|table| table.retyped) {
            break;
        }
    }
    Ok(left)
}

/// What is missing of one table.
async fn judge(
    run: &Run<'_>,
    cx: &UpgradeContext,
    start: &str,
    with: &str,
    table: &Table<'_>,
    diff: &RowDiff,
) -> Result<Option<Finding>> {
    let (lost, changed) = missing(diff);
    if lost == 0 && changed == 0 {
        return Ok(None);
    }
    let finding = Finding::error(
        LOST,
        subject(table.written),
        format!("{} after users wrote", diff.summary()),
    )
    .with_evidence(diff.to_string());
    if lost > 0 {
        return Ok(Some(finding));
    }
    let request = RowDiffRequest::new(table.old, table.columns.clone()).renamed_to(table.written);
    let written = At::Snapshot(with.to_owned());
    let moved: BTreeMap<String, RowDiff> = rows::differing(run, cx, start, &written, &[request])
        .await?
        .unwrap_or_default();
    let left_alone = moved
        .get(table.old)
        .is_none_or(|diff| diff.lost == 0 && diff.changed == 0);
    Ok(Some(if left_alone {
        finding
    } else {
        Finding {
            severity: Severity::Warning,
            ..finding
        }
        .with_help("the up changes these values; look whether the down is its inverse for all that users can write")
    }))
}

/// The rows that are gone, and those that have other values. Without a key, a row that changed is
/// one that is gone and one that was not there.
fn missing(diff: &RowDiff) -> (u64, u64) {
    if diff.key.is_empty() {
        let changed = diff.lost.min(diff.added);
        (diff.lost - changed, changed)
    } else {
        (diff.lost, diff.changed)
    }
}

/// What a way back of the same attempt said that it would lose, if it named what a finding is
/// about. One by downs speaks of what the older schema has no place for, which is not looked at
/// here.
fn named_before(run: &Run<'_>, step: &Step, finding: &Finding) -> Option<String> {
    let of_attempt = run.plan.steps.iter().find(|other| {
        other.attempt == step.attempt && matches!(other.action, Action::RollBack { .. })
    })?;
    let by_downs = |report: &RollbackReport| {
        let mut all = run.upgrade.rollbacks().iter();
        all.any(|rollback| rollback.name() == report.strategy && rollback.requires_reversible())
    };
    let mut rollbacks = run.report.rollbacks.iter().filter(|one| !by_downs(one));
    let report = rollbacks.find(|report| report.step == of_attempt.id)?;
    let Safety::SafeWithLoss { losses } = &report.safety else {
        return None;
    };
    // The numbers of a sequence go with the rows that have them.
    if finding.id == "sequence-went-back" {
        return Some(losses.join("; "));
    }
    let table = finding.subject.strip_prefix("table ")?;
    losses.iter().find(|loss| names(loss, table)).cloned()
}

/// Whether a text has a name in it, and not only one that begins or ends like it.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '"');
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_from_longer_ones() {
        let loss = "what was written to public.orders since the copy";
        assert!(names(loss, "public.orders"));
        assert!(!names(loss, "public.order") && !names(loss, "orders"));
        assert!(names("changes to public.a and public.b", "public.b"));
    }
}
