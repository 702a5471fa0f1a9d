//! Naming the rows that a comparison found to differ.

use std::collections::BTreeMap;

use super::run::Run;
use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::{ErrorKind, Result};
use crate::observation::{Columns, Reading, RowDiff, RowDiffRequest, TableState};
use crate::validator::Finding;

/// The ids of the findings about rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    pub(super) lost: &'static str,
    pub(super) changed: &'static str,
}

impl Ids {
    pub(super) const fn same(id: &'static str) -> Self {
        Self {
            lost: id,
            changed: id,
        }
    }
}

/// What an up does to rows.
pub(super) const UP: Ids = Ids {
    lost: "rows-lost-by-up",
    changed: "rows-changed-by-up",
};

/// What a down does to the rows that were there before the up.
pub(super) const DOWN: Ids = Ids {
    lost: "data-lost-through-down",
    changed: "data-changed-through-down",
};

/// What a way back does to what users wrote after the up.
pub(super) const LATE: Ids = Ids::same("rows-written-late-lost");

/// What changed rows that had not to change, or that were back.
pub(super) const NOT_RESTORED: Ids = Ids::same("data-not-restored");

/// A column is gone that had values.
pub(super) const COLUMN_DROPPED: &str = "column-dropped-with-data";

/// The subject of the findings about a table.
pub(super) fn subject(table: &str) -> String {
    format!("table {table}")
}

/// All columns that were read of a table.
pub(super) fn columns_of(table: &TableState) -> Columns {
    table
        .columns
        .keys()
        .map(|column| (column.clone(), Reading::Value))
        .collect()
}

/// The rows in which tables differ from the state of a label; `None` where the environment cannot
/// tell, or does not keep that state.
pub(super) async fn differing(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    to: &At,
    requests: &[RowDiffRequest],
) -> Result<Option<BTreeMap<String, RowDiff>>> {
    let able = run.environment.capabilities().row_diffs && run.snapshots.contains_key(with);
    if !able || requests.is_empty() {
        return Ok(None);
    }
    let from = At::Snapshot(with.to_owned());
    let found = run.environment.row_diff(cx, &from, to, requests).await?;
    Ok(Some(found))
}

/// Adds to each finding about a table which rows they are: numbers into the message, rows as
/// evidence. Answers with what was found, by table.
pub(super) async fn name(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    requests: &[RowDiffRequest],
    ids: Ids,
    findings: &mut [Finding],
) -> Result<BTreeMap<String, RowDiff>> {
    let found = match differing(run, cx, with, &At::Live, requests).await {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(BTreeMap::new()),
        Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Cancelled) => {
            return Err(error);
        }
        Err(error) => {
            // That they differ is known; which ones they are is only evidence.
            for finding in findings {
                finding.evidence = Some(format!("the rows could not be named: {error:?}"));
            }
            return Ok(BTreeMap::new());
        }
    };
    for (table, diff) in &found {
        let of_table = findings
            .iter_mut()
            .find(|finding| finding.subject == subject(table));
        let Some(finding) = of_table else {
            continue;
        };
        let gone: Vec<String> = diff
            .dropped
            .iter()
            .map(|dropped| {
                format!(
                    "`{}` is gone with {} values",
                    dropped.column, dropped.values
                )
            })
            .collect();
        if !diff.is_empty() {
            let id = if Counts::of(diff).lost > 0 {
                ids.lost
            } else {
                ids.changed
            };
            finding.id = id.to_owned();
            finding.message = diff.summary();
            finding.evidence = Some(diff.to_string());
        } else if !gone.is_empty() {
            finding.message = gone.join(", ");
        }
    }
    Ok(found)
}

/// How many rows are gone, have other values, were not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) lost: u64,
    pub(super) changed: u64,
    pub(super) added: u64,
}

impl Counts {
    /// What can be told from how many there were and are.
    pub(super) fn by_number((then, now): (u64, u64)) -> Self {
        Self {
            lost: then.saturating_sub(now),
            changed: u64::from(then == now),
            added: now.saturating_sub(then),
        }
    }

    /// Without a key, a row that changed is one that is gone and one that was not there.
    pub(super) fn of(diff: &RowDiff) -> Self {
        let changed = if diff.key.is_empty() {
            diff.lost.min(diff.added)
        } else {
            0
        };
        Self {
            lost: diff.lost - changed,
            changed: diff.changed + changed,
            added: diff.added - changed,
        }
    }
}
