//! Rows that users wrote after the up: whether a way back keeps them.

use std::collections::BTreeMap;

use super::losses;
use super::rows::{self, columns_of, subject};
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
    let Some((start, before)) = run
        .restored
        .as_ref()
        .and_then(|label| Some((label.clone(), run.observations.get(label)?.clone())))
    else {
        return Ok(Vec::new());
    };
    let populated = expected.tables.iter().filter(|(_, table)| table.rows > 0);
    let of_both: Vec<_> = populated
        .filter_map(|(name, table)| {
            let (old, then) = find(&before, name, table)?;
            let mut columns = columns_of(table);
            columns.retain(|column, _| then.columns.contains_key(column));
            Some((old, name.as_str(), table, columns))
        })
        .collect();
    // Now it has the name of one of the two releases.
    let names = of_both.iter().flat_map(|(old, name, _, columns)| {
        [old, name].map(|name| ((*name).to_owned(), columns.clone()))
    });
    let scope = Scope::Columns(names.collect());
    let live = run.environment.observe(cx, &At::Live, &scope).await?;
    let mut findings = Vec::new();
    let mut tables = Vec::new();
    for (old, name, table, columns) in of_both {
        match find(&live, old, &before.tables[old]) {
            Some((now, state)) => {
                tables.push(Table::new(old, (name, table), (now, state), columns));
            }
            None => findings.push(Finding::error(
                LOST,
                subject(name),
                format!("is gone, and its {} rows with it", table.rows),
            )),
        }
    }
    tables.retain(|table| !table.columns.is_empty());
    let differing = differing(run, cx, with, tables, &live).await?;
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
    findings.retain(|finding| !was_said_before(run, step, finding));
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

impl<'s> Table<'s> {
    fn new(
        old: &'s str,
        (written, then): (&'s str, &TableState),
        (now, state): (&'s str, &TableState),
        mut columns: Columns,
    ) -> Self {
        columns.retain(|column, _| state.columns.contains_key(column));
        Self {
            old,
            written,
            now,
            retyped: columns
                .keys()
                .any(|column| then.columns.get(column) != state.columns.get(column)),
            columns,
        }
    }
}

/// The tables whose rows are not what they were; `now` has read their columns as values. Where a
/// column has another type now, texts are compared if values differ.
async fn differing<'t>(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    mut tables: Vec<Table<'t>>,
    now: &Observation,
) -> Result<Vec<Table<'t>>> {
    let past = At::Snapshot(with.to_owned());
    let scope = |tables: &[Table<'t>], name: fn(&Table<'t>) -> &'t str| {
        let columns = |table: &Table<'t>| (name(table).to_owned(), table.columns.clone());
        Scope::Columns(tables.iter().map(columns).collect())
    };
    let differs = |table: &Table<'t>, then: &Observation, now: &Observation| {
        let read = |seen: &Observation, name| {
            let table = seen.tables.get(name)?;
            Some((table.rows, table.sum.clone()))
        };
        read(then, table.written) != read(now, table.now)
    };
    let then = scope(&tables, |table| table.written);
    let then = run.environment.observe(cx, &past, &then).await?;
    tables.retain(|table| differs(table, &then, now));
    if tables.iter().any(|table| table.retyped) {
        for table in tables.iter_mut().filter(|table| table.retyped) {
            for reading in table.columns.values_mut() {
                *reading = Reading::Text;
            }
        }
        let (then, now) = (
            scope(&tables, |table| table.written),
            scope(&tables, |table| table.now),
        );
        let then = run.environment.observe(cx, &past, &then).await?;
        let now = run.environment.observe(cx, &At::Live, &now).await?;
        tables.retain(|table| differs(table, &then, &now));
    }
    Ok(tables)
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

/// Whether a way back of the same attempt named beforehand, as `rollback-loses`, what a finding is
/// about. One by downs speaks of what the older schema has no place for, which is not looked at
/// here.
fn was_said_before(run: &Run<'_>, step: &Step, finding: &Finding) -> bool {
    let of_attempt = run.plan.steps.iter().find(|other| {
        other.attempt == step.attempt && matches!(other.action, Action::RollBack { .. })
    });
    let by_downs = |report: &RollbackReport| {
        let mut all = run.upgrade.rollbacks().iter();
        all.any(|rollback| rollback.name() == report.strategy && rollback.requires_reversible())
    };
    let mut rollbacks = run.report.rollbacks.iter();
    let report = rollbacks.find(|report| {
        of_attempt.is_some_and(|other| report.step == other.id) && !by_downs(report)
    });
    let Some(Safety::SafeWithLoss { losses }) = report.map(|report| &report.safety) else {
        return false;
    };
    match finding.subject.strip_prefix("table ") {
        Some(table) => losses.iter().any(|loss| names(loss, table)),
        // The numbers of a sequence go with the rows that have them.
        None => finding.id == "sequence-went-back",
    }
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
