//! Which rows of a table differ between two states, each by its name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Columns;

/// How many columns of a row that is lost or added are printed.
const PRINTED_COLUMNS: usize = 8;

/// A table whose rows are to be compared between an earlier state and the one of now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowDiffRequest {
    /// The table, as the observation of the earlier state names it.
    pub table: String,
    /// The name that it has now, if that is another one.
    pub renamed_to: Option<String>,
    /// The columns to compare. Of one that the table has no more, its values are counted.
    pub columns: Columns,
}

impl RowDiffRequest {
    /// Compares a table in these columns.
    pub fn new(table: impl Into<String>, columns: Columns) -> Self {
        Self {
            table: table.into(),
            renamed_to: None,
            columns,
        }
    }

    /// Compares it with the table that has this name now.
    #[must_use]
    pub fn renamed_to(mut self, table: impl Into<String>) -> Self {
        self.renamed_to = Some(table.into());
        self
    }

    /// The name that it has now.
    pub fn name_after(&self) -> &str {
        self.renamed_to.as_deref().unwrap_or(&self.table)
    }
}

/// The rows in which one table differs between two states of a system, over the columns that were
/// asked for.
///
/// The numbers are exact. The rows are the first ones of each kind, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RowDiff {
    /// How many rows there were.
    pub before: u64,
    /// How many rows there are.
    pub after: u64,
    /// Rows that are missing.
    pub lost: u64,
    /// Rows that were not there.
    pub added: u64,
    /// Rows of one key with other values. Always none where rows have no key.
    pub changed: u64,
    /// The columns by which rows were recognised; none where whole rows were compared.
    pub key: Vec<String>,
    /// The first rows of each kind: those that are lost, changed, added.
    pub rows: Vec<RowChange>,
    /// The columns that were asked for and that only the earlier state has. They are no part of
    /// the numbers above.
    pub dropped: Vec<DroppedColumn>,
    /// The columns in which rows of one key differ, with the number of rows in each; `None` where
    /// that is not known.
    #[serde(default)]
    pub values: Option<BTreeMap<String, ValueChanges>>,
    /// The rows that are missing; `None` where that is not known.
    #[serde(default)]
    pub lost_rows: Option<RowSet>,
    /// The rows that were not there; `None` where that is not known.
    #[serde(default)]
    pub added_rows: Option<RowSet>,
}

/// In how many rows the value of a column differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ValueChanges {
    /// Rows without a value, that have one now.
    pub filled: u64,
    /// Rows whose value was removed or replaced by another one.
    pub replaced: u64,
}

impl ValueChanges {
    /// Values in this number of rows.
    pub fn new(filled: u64, replaced: u64) -> Self {
        Self { filled, replaced }
    }
}

/// Rows of a table, each by a hash of what names it: its key, or the whole row where it has none.
/// Rows of two sets are the same if the rows of both are named by the same columns.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RowSet(BTreeMap<i64, u64>);

impl RowSet {
    /// The largest number of different rows of which a set is made.
    pub const LIMIT: usize = 10_000;

    /// Adds a number of rows that have this hash.
    pub fn add(&mut self, hash: i64, count: u64) {
        *self.0.entry(hash).or_default() += count;
    }

    /// The number of different rows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of rows that are in the other set as well.
    pub(crate) fn shared_with(&self, other: &Self) -> u64 {
        let count = |hash| other.0.get(hash).copied().unwrap_or(0);
        self.0.iter().map(|(hash, own)| count(hash).min(*own)).sum()
    }
}

/// A column that only the earlier state has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DroppedColumn {
    /// The column.
    pub column: String,
    /// How many rows had a value in it that is not null.
    pub values: u64,
    /// The first of them, with the value as the only column.
    pub rows: Vec<RowChange>,
}

/// One row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RowChange {
    /// What happened to it.
    pub kind: RowChangeKind,
    /// How many equal rows it stands for: 1 wherever rows have a key that is unique.
    pub count: u64,
    /// The columns of the key, with the values that name the row; none where it has no key.
    pub key: Vec<ColumnValue>,
    /// Of a row that changed the columns that differ; else the other columns.
    pub columns: Vec<ColumnChange>,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RowChangeKind {
    /// It is missing.
    Lost,
    /// It has other values.
    Changed,
    /// It was not there.
    Added,
}

/// A value of a column, as a person reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ColumnValue {
    /// The column.
    pub column: String,
    /// The value: text in quotes and cut to a readable length, or `NULL`.
    pub value: String,
}

/// A column of a row, before and after. A side on which there is no such row has no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ColumnChange {
    /// The column.
    pub column: String,
    /// The value that was there, as in [`ColumnValue`].
    pub before: Option<String>,
    /// The value that is there.
    pub after: Option<String>,
}

impl RowDiff {
    /// No difference yet, with `before` rows before and `after` rows after.
    pub fn new(before: u64, after: u64) -> Self {
        Self {
            before,
            after,
            ..Self::default()
        }
    }

    /// Whether no row differs.
    pub fn is_empty(&self) -> bool {
        self.lost == 0 && self.added == 0 && self.changed == 0
    }

    /// [`RowDiff::values`], else what the rows tell that are named, if those are all that changed.
    pub(crate) fn value_changes(&self) -> Option<BTreeMap<String, ValueChanges>> {
        if self.values.is_some() {
            return self.values.clone();
        }
        let changed = || {
            let rows = self.rows.iter();
            rows.filter(|row| row.kind == RowChangeKind::Changed)
        };
        let named: u64 = changed().map(|row| row.count).sum();
        if self.key.is_empty() || named != self.changed {
            return None;
        }
        let mut all: BTreeMap<String, ValueChanges> = BTreeMap::new();
        for row in changed() {
            for change in &row.columns {
                let changes = all.entry(change.column.clone()).or_default();
                match change.before.as_deref() {
                    None | Some("NULL") => changes.filled += row.count,
                    Some(_) => changes.replaced += row.count,
                }
            }
        }
        Some(all)
    }

    /// The numbers in one line: ``3 rows lost, 2 changed in `phone`, of 50``.
    pub fn summary(&self) -> String {
        let mut parts: Vec<String> = [
            (self.lost, "lost".to_owned()),
            (self.changed, format!("changed{}", self.changed_in())),
            (self.added, "added".to_owned()),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .enumerate()
        .map(|(place, (count, what))| match (place, count) {
            (0, 1) => format!("1 row {what}"),
            (0, _) => format!("{count} rows {what}"),
            _ => format!("{count} {what}"),
        })
        .collect();
        if parts.is_empty() {
            parts.push("no row differs".to_owned());
        }
        format!("{}, of {}", parts.join(", "), self.before)
    }

    /// In which columns, as far as the rows that are named tell.
    fn changed_in(&self) -> String {
        let changed = || {
            let rows = self.rows.iter();
            rows.filter(|row| row.kind == RowChangeKind::Changed)
        };
        let columns: BTreeSet<String> = changed()
            .flat_map(|row| &row.columns)
            .map(|change| format!("`{}`", change.column))
            .collect();
        let columns: Vec<String> = columns.into_iter().collect();
        let named: u64 = changed().map(|row| row.count).sum();
        match columns.as_slice() {
            [] => String::new(),
            all if named == self.changed => format!(" in {}", all.join(", ")),
            all => format!(" (the first of them in {})", all.join(", ")),
        }
    }
}

/// The rows, one to a line: `-` lost, `~` changed, `+` added.
impl fmt::Display for RowDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        for (kind, count) in [
            (RowChangeKind::Lost, self.lost),
            (RowChangeKind::Changed, self.changed),
            (RowChangeKind::Added, self.added),
        ] {
            let named: u64 = self
                .rows
                .iter()
                .filter(|row| row.kind == kind)
                .map(|row| row.count)
                .sum();
            if count > named {
                writeln!(f, "{} and {} more", kind.sign(), count - named)?;
            }
        }
        Ok(())
    }
}

impl RowChange {
    /// One row, to which this happened.
    pub fn new(kind: RowChangeKind) -> Self {
        Self {
            kind,
            count: 1,
            key: Vec::new(),
            columns: Vec::new(),
        }
    }

    /// Named by these values.
    #[must_use]
    pub fn with_key(mut self, key: impl IntoIterator<Item = ColumnValue>) -> Self {
        self.key.extend(key);
        self
    }
}

impl DroppedColumn {
    /// A column that had `values` values.
    pub fn new(column: impl Into<String>, values: u64) -> Self {
        Self {
            column: column.into(),
            values,
            rows: Vec::new(),
        }
    }
}

impl ColumnChange {
    /// A column of a row, before and after.
    pub fn new(column: impl Into<String>, before: Option<String>, after: Option<String>) -> Self {
        Self {
            column: column.into(),
            before,
            after,
        }
    }
}

impl ColumnValue {
    /// A value of a column, as a person reads it.
    pub fn new(column: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            column: column.into(),
            value: value.into(),
        }
    }
}

impl RowChangeKind {
    fn sign(self) -> char {
        match self {
            Self::Lost => '-',
            Self::Changed => '~',
            Self::Added => '+',
        }
    }
}

impl fmt::Display for RowChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<String> = self
            .key
            .iter()
            .map(|key| format!("{} = {}", key.column, key.value))
            .collect();
        let printed = match self.kind {
            RowChangeKind::Changed => self.columns.len(),
            _ => PRINTED_COLUMNS,
        };
        let mut columns: Vec<String> = self
            .columns
            .iter()
            .take(printed)
            .map(|change| match (&change.before, &change.after) {
                (Some(before), Some(after)) => {
                    format!("{} {before} -> {after}", change.column)
                }
                (Some(value), None) | (None, Some(value)) => {
                    format!("{} = {value}", change.column)
                }
                (None, None) => change.column.clone(),
            })
            .collect();
        if self.columns.len() > printed {
            columns.push(format!("{} columns more", self.columns.len() - printed));
        }
        let parts: Vec<String> = [key.join(", "), columns.join(", ")]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        let row = if parts.is_empty() {
            "a row without columns".to_owned()
        } else {
            parts.join(": ")
        };
        write!(f, "{} {row}", self.kind.sign())?;
        if self.count > 1 {
            write!(f, " ({} rows)", self.count)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(
        kind: RowChangeKind,
        count: u64,
        before: Option<&str>,
        after: Option<&str>,
    ) -> RowChange {
        RowChange {
            kind,
            count,
            key: vec![ColumnValue {
                column: "id".to_owned(),
                value: "7".to_owned(),
            }],
            columns: vec![ColumnChange {
                column: "phone".to_owned(),
                before: before.map(str::to_owned),
                after: after.map(str::to_owned),
            }],
        }
    }

    #[test]
    fn rows_that_are_named_tell_what_was_filled_if_they_are_all() {
        let changed = |before, after| row(RowChangeKind::Changed, 1, Some(before), after);
        let mut diff = RowDiff {
            before: 5,
            changed: 3,
            key: vec!["id".to_owned()],
            rows: vec![
                changed("NULL", Some("'1'")),
                changed("'NULL'", Some("'1'")),
                changed("'2'", Some("NULL")),
            ],
            ..RowDiff::default()
        };
        let changes = diff.value_changes().unwrap();
        assert_eq!(changes["phone"], ValueChanges::new(1, 2));
        diff.changed = 4;
        assert_eq!(diff.value_changes(), None);
        diff.values = Some(BTreeMap::new());
        assert_eq!(diff.value_changes(), Some(BTreeMap::new()));
    }

    #[test]
    fn rows_of_two_sets_are_counted_each() {
        let set = |rows: &[(i64, u64)]| {
            let mut set = RowSet::default();
            rows.iter().for_each(|(hash, count)| set.add(*hash, *count));
            set
        };
        let own = set(&[(1, 1), (2, 2), (3, 1)]);
        assert_eq!(set(&[(1, 2), (2, 1), (4, 1)]).shared_with(&own), 2);
        assert_eq!(set(&[]).shared_with(&own), 0);
        assert_eq!(own.shared_with(&own), 4);
        assert_eq!(own.len(), 3);
    }

    #[test]
    fn a_difference_reads_as_one_line_and_its_rows() {
        let diff = RowDiff {
            before: 50,
            after: 50,
            lost: 3,
            added: 3,
            changed: 1,
            key: vec!["id".to_owned()],
            dropped: Vec::new(),
            rows: vec![
                row(RowChangeKind::Lost, 2, Some("'1'"), None),
                row(RowChangeKind::Changed, 1, Some("'1'"), Some("NULL")),
                row(RowChangeKind::Added, 1, None, Some("'2'")),
            ],
            ..RowDiff::default()
        };
        assert_eq!(
            diff.summary(),
            "3 rows lost, 1 changed in `phone`, 3 added, of 50"
        );
        assert_eq!(
            diff.to_string(),
            "- id = 7: phone = '1' (2 rows)\n~ id = 7: phone '1' -> NULL\n+ id = 7: phone = '2'\n\
             - and 1 more\n+ and 2 more\n"
        );
        assert!(!diff.is_empty() && RowDiff::default().is_empty());
        let one = RowDiff {
            before: 9,
            added: 1,
            ..RowDiff::default()
        };
        assert_eq!(one.summary(), "1 row added, of 9");
    }
}
