//! Naming the rows that a comparison found to differ.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::Difference;
use super::run::Run;
use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::{ErrorKind, Result};
use crate::observation::{Columns, Reading, RowDiff, RowDiffRequest, RowSet, TableState};
use crate::subject::{Subject, TableRef};
use crate::validator::Severity;

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

/// What a rollback itself found when it compared the system with what it was.
pub(super) const BACK: Ids = Ids {
    lost: "rollback-lost-rows",
    changed: "rollback-changed-rows",
};

/// What changed rows that had not to change, or that were back.
pub(super) const NOT_RESTORED: Ids = Ids::same("data-not-restored");

/// A column is gone that had values.
pub(super) const COLUMN_DROPPED: &str = "column-dropped-with-data";

/// The subject of the findings about the rows of a table.
pub(super) fn subject(table: &str) -> Subject {
    TableRef::new(table).into()
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

/// Adds to each difference of a table which rows they are: numbers into the message, rows as
/// evidence. Answers with what was found, by table.
pub(super) async fn name(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    requests: &[RowDiffRequest],
    ids: Ids,
    differences: &mut [Difference],
) -> Result<BTreeMap<String, RowDiff>> {
    let found = match differing(run, cx, with, &At::Live, requests).await {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(BTreeMap::new()),
        Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Cancelled) => {
            return Err(error);
        }
        Err(error) => {
            // That they differ is known; which ones they are is only evidence.
            for Difference { finding, .. } in differences {
                finding.evidence = Some(format!("the rows could not be named: {error:?}"));
            }
            return Ok(BTreeMap::new());
        }
    };
    for (table, diff) in &found {
        let mut all = differences.iter_mut();
        let Some(difference) = all.find(|it| it.table().as_ref() == Some(table)) else {
            continue;
        };
        let counts = Counts::of(diff);
        if let Some(facts) = &mut difference.facts {
            facts.counts = Some(counts);
        }
        let finding = &mut difference.finding;
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
            let id = if counts.lost > 0 {
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

/// Adds the rows to the differences of all tables, compared in every column of the earlier state.
pub(super) async fn name_all(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    ids: Ids,
    differences: &mut [Difference],
) -> Result<()> {
    let tables = run.observations.get(with).map(|then| &then.tables);
    let requests: Vec<RowDiffRequest> = differences
        .iter()
        .filter_map(|difference| {
            let name = difference.table()?;
            let table = tables?.get(&name)?;
            Some(RowDiffRequest::new(name, columns_of(table)))
        })
        .collect();
    name(run, cx, with, &requests, ids, differences).await?;
    Ok(())
}

/// The rows that ups have inserted into tables that were there before, by table: those are the
/// migrations' own, and no loss where a down deletes them.
#[derive(Debug, Default)]
pub(super) struct OwnRows(BTreeMap<String, Vec<(Vec<String>, RowSet)>>);

impl OwnRows {
    /// Takes in what an up has added to a table; `table` is its name after the up.
    pub(super) fn add(&mut self, table: &str, diff: &RowDiff) {
        let Some(rows) = diff.added_rows.as_ref().filter(|rows| !rows.is_empty()) else {
            return;
        };
        let added = (diff.key.clone(), rows.clone());
        let known = self.0.entry(table.to_owned()).or_default();
        if !known.contains(&added) {
            known.push(added);
        }
    }

    /// The number of rows among those that a table has lost.
    pub(super) fn among_lost(&self, table: &str, diff: &RowDiff) -> u64 {
        let (Some(lost), Some(known)) = (&diff.lost_rows, self.0.get(table)) else {
            return 0;
        };
        let same_key = known.iter().filter(|(key, _)| *key == diff.key);
        let shared = same_key.map(|(_, rows)| lost.shared_with(rows));
        shared.max().unwrap_or(0).min(diff.lost)
    }
}

/// How much a change of a table by an up weighs. Rows that it inserts are its own, and a value
/// where there was none takes nothing away; a value that is replaced is lost.
pub(super) fn changed_by_up(difference: &mut Difference, diff: Option<&RowDiff>) {
    let Some(diff) = diff else {
        // That content differs is known, and not how: where users write, it may be theirs.
        difference.finding.severity = Severity::Warning;
        return;
    };
    let counts = Counts::of(diff);
    let (mut replaced, mut filled) = (BTreeSet::new(), BTreeSet::new());
    let values = diff.value_changes();
    for (column, changes) in values.iter().flatten() {
        let set = if changes.replaced > 0 {
            &mut replaced
        } else {
            &mut filled
        };
        set.insert(column.clone());
    }
    let finding = &mut difference.finding;
    let only_more = counts.changed == 0 || (values.is_some() && replaced.is_empty());
    if counts.lost == 0 && only_more {
        finding.severity = Severity::Note;
        finding.help = Some("no value was replaced".to_owned());
    } else if let Some(table) = finding.subject.table() {
        let object = match replaced.first() {
            Some(column) => table.column(column).to_string(),
            None => table.to_string(),
        };
        finding.help = Some(format!(
            "keep the old values; if the change is meant, say so in the file: `-- upgrade: changes {object}: <reason>`"
        ));
    }
    if let (Some(facts), 0) = (&mut difference.facts, counts.lost) {
        (facts.only_in, facts.also_in) = (replaced, filled);
    }
}

/// How many rows are gone, have other values, were not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) lost: u64,
    pub(super) changed: u64,
    pub(super) added: u64,
}

impl Counts {
    /// What is known of a table that has fewer rows, where nothing else is.
    pub(super) const SOME_LOST: Self = Self {
        lost: 1,
        changed: 0,
        added: 0,
    };

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
        Self::without(diff, 0)
    }

    /// As [`of`](Self::of), where this number of the rows that are gone do not count.
    pub(super) fn without(diff: &RowDiff, rows: u64) -> Self {
        let lost = diff.lost.saturating_sub(rows);
        let changed = if diff.key.is_empty() {
            lost.min(diff.added)
        } else {
            0
        };
        Self {
            lost: lost - changed,
            changed: diff.changed + changed,
            added: diff.added - changed,
        }
    }
}
