//! Naming the rows that a comparison found to differ.

use std::collections::{BTreeMap, BTreeSet};

use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::{ErrorKind, Result};
use crate::finding::Severity;
use crate::observation::{Columns, Reading, RowDiff, RowDiffRequest, RowSet, TableState};
use crate::runner::judge::{Counts, Difference};
use crate::runner::state::Run;
use crate::subject::{Subject, TableRef};

/// The ids of the findings about rows.
#[derive(Debug, Clone, Copy)]
pub(in crate::runner) struct Ids {
    pub(in crate::runner) lost: &'static str,
    pub(in crate::runner) changed: &'static str,
}

impl Ids {
    pub(in crate::runner) const fn same(id: &'static str) -> Self {
        Self {
            lost: id,
            changed: id,
        }
    }
}

/// What an up does to rows.
pub(in crate::runner) const UP: Ids = Ids {
    lost: "up/rows-lost",
    changed: "up/rows-changed",
};

/// What a down does to the rows that were there before the up.
pub(in crate::runner) const DOWN: Ids = Ids {
    lost: "down/rows-lost",
    changed: "down/rows-changed",
};

/// What a rollback does to what users wrote after the up.
pub(in crate::runner) const LATE: Ids = Ids::same("down/new-rows-lost");

/// What a rollback itself found when it compared the system with what it was.
pub(in crate::runner) const BACK: Ids = Ids {
    lost: "rollback/rows-lost",
    changed: "rollback/rows-changed",
};

/// What changed rows that had not to change, or that were back.
pub(in crate::runner) const NOT_RESTORED: Ids = Ids::same("restore/rows-differ");

/// A column that had values is missing.
pub(in crate::runner) const COLUMN_DROPPED: &str = "up/column-lost";

/// The subject of the findings about the rows of a table.
pub(in crate::runner) fn subject(table: &str) -> Subject {
    TableRef::new(table).into()
}

/// All columns that were read of a table.
pub(in crate::runner) fn columns_of(table: &TableState) -> Columns {
    table
        .columns
        .keys()
        .map(|column| (column.clone(), Reading::Value))
        .collect()
}

/// The rows in which tables differ from the state of a label; `None` where the environment cannot
/// tell, or does not keep that state.
pub(in crate::runner) async fn differing(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    to: &At,
    requests: &[RowDiffRequest],
) -> Result<Option<BTreeMap<String, RowDiff>>> {
    let Some(rows) = run.environment.row_comparison() else {
        return Ok(None);
    };
    if !run.snapshots.contains_key(with) || requests.is_empty() {
        return Ok(None);
    }
    let from = At::Snapshot(with.to_owned());
    let found = rows.row_diff(cx, &from, to, requests).await?;
    Ok(Some(found))
}

/// Adds to each difference of a table which rows they are: numbers into the message, rows as
/// evidence. Answers with what was found, by table.
pub(in crate::runner) async fn name(
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
            facts.values_in = values_in(diff);
        }
        let finding = &mut difference.finding;
        let gone: Vec<String> = diff
            .dropped
            .iter()
            .map(|dropped| {
                format!(
                    "`{}` is missing (it had {} values)",
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

/// The columns in which rows of both sides have other values, if that is known.
pub(in crate::runner) fn values_in(diff: &RowDiff) -> Option<BTreeSet<String>> {
    diff.value_changes()
        .map(|values| values.into_keys().collect())
}

/// Adds the rows to the differences of all tables, compared in every column of the earlier state.
pub(in crate::runner) async fn name_all(
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
pub(in crate::runner) struct OwnRows(BTreeMap<String, Vec<(Vec<String>, RowSet)>>);

impl OwnRows {
    /// Takes in what an up has added to a table; `table` is its name after the up.
    pub(in crate::runner) fn add(&mut self, table: &str, diff: &RowDiff) {
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
    pub(in crate::runner) fn among_lost(&self, table: &str, diff: &RowDiff) -> u64 {
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
pub(in crate::runner) fn changed_by_up(difference: &mut Difference, diff: Option<&RowDiff>) {
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
