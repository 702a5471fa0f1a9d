//! What a system looks like, as data that can be compared: its schema and its rows.

mod beside;
pub(crate) mod collateral;
mod cosmetic;
mod row_diff;
mod schema;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use similar::TextDiff;

use crate::finding::Finding;
use crate::subject::{Subject, TableRef};

pub use beside::{Counted, LargeObjects, SequenceState};
pub use row_diff::{
    ColumnChange, ColumnValue, DroppedColumn, RowChange, RowChangeKind, RowDiff, RowDiffRequest,
    RowSet, ValueChanges,
};

/// The schema of a system and the state of its rows at one moment.
///
/// It holds no rows, only sums over them, so its size depends on the schema alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Observation {
    /// Every object of the schema by its readable path, with its facts one to a line.
    pub objects: BTreeMap<String, String>,
    /// Every table by its name.
    pub tables: BTreeMap<String, TableState>,
    /// Every sequence by its name.
    #[serde(default)]
    pub sequences: BTreeMap<String, SequenceState>,
    /// The column that each sequence counts for, and the highest number in it, by the sequence's name;
    /// for sequences that count for a column with rows.
    #[serde(default)]
    pub counted: BTreeMap<String, Counted>,
    /// The large objects, where the system has such.
    #[serde(default)]
    pub large_objects: Option<LargeObjects>,
    /// The columns of every table in the order in which they are shown, by its name.
    #[serde(default)]
    pub column_order: BTreeMap<String, Vec<String>>,
}

/// The rows of one table, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TableState {
    /// The columns that were read, by name, with their types.
    pub columns: BTreeMap<String, String>,
    /// How many rows there are.
    pub rows: u64,
    /// A sum of hashes over the rows; equal sums over equal columns mean equal rows.
    pub sum: String,
    /// What the system knows the table by, where that stays when the table is renamed.
    pub identity: Option<u64>,
    /// What the system knows each column of the table by, also those that were not read, where
    /// that stays when the column is renamed. It holds within tables of one identity.
    #[serde(default)]
    pub column_identities: BTreeMap<String, u64>,
}

impl TableState {
    /// The state of a table: its columns that were read, its rows, the sum over them.
    pub fn new(columns: BTreeMap<String, String>, rows: u64, sum: impl Into<String>) -> Self {
        Self {
            columns,
            rows,
            sum: sum.into(),
            identity: None,
            column_identities: BTreeMap::new(),
        }
    }

    /// The same state of a table that the system knows by this number.
    #[must_use]
    pub fn with_identity(mut self, identity: u64) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The same state of a table whose columns the system knows by these numbers.
    #[must_use]
    pub fn with_column_identities(mut self, identities: BTreeMap<String, u64>) -> Self {
        self.column_identities = identities;
        self
    }

    /// The name of a column in a later state of the same table, if it is there: the one that it
    /// was given, else its own. A column that was made anew under the old name of one that was
    /// renamed is another column.
    pub(crate) fn column_later<'s>(&self, column: &'s str, later: &'s Self) -> Option<&'s str> {
        if self.identity.is_some()
            && self.identity == later.identity
            && let Some(known_by) = self.column_identities.get(column)
            && let Some((name, _)) = later
                .column_identities
                .iter()
                .find(|(_, number)| *number == known_by)
        {
            return Some(name);
        }
        let has =
            |name| later.column_identities.contains_key(name) || later.columns.contains_key(name);
        has(column).then_some(column)
    }
}

/// What an observation is to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Scope {
    /// The whole schema, all columns of all tables, and what there is beside them.
    #[default]
    All,
    /// The schema, and no rows.
    Schema,
    /// All columns of all tables, and what there is beside them, but not the schema.
    Rows,
    /// The rows of these tables, in these columns only, and where the sequences stand.
    Columns(BTreeMap<String, Columns>),
}

/// The columns of a table that are to be read, and how.
pub type Columns = BTreeMap<String, Reading>;

/// How the values of a column are compared.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reading {
    /// As what they are: two values are the same if no reader can tell them apart, whatever type of
    /// one family they have (`integer` or `bigint`, `text` or `varchar`). `1.0` and `1.00` are two.
    #[default]
    Value,
    /// As numbers, so that those of two types can be compared: `1`, `1.0` and `1.00` are the same.
    Number,
    /// As text, so that values of two types can be compared.
    Text,
}

impl Reading {
    /// How values of two types are compared, which are named as Postgres prints them.
    pub fn between(one: &str, other: &str) -> Self {
        #[derive(PartialEq, Clone, Copy)]
        enum Family {
            Integer,
            Numeric,
            Float,
            Text,
            Instant,
        }
        use Family::{Float, Instant, Integer, Numeric, Text};
        let family = |name: &str| {
            Some(match name.split('(').next()? {
                "smallint" | "integer" | "bigint" => Integer,
                "numeric" if !name.ends_with(']') => Numeric,
                "real" | "double precision" => Float,
                "text" => Text,
                "character varying" if !name.ends_with(']') => Text,
                "timestamp without time zone" | "timestamp with time zone" => Instant,
                "timestamp" if !name.ends_with(']') => Instant,
                _ => return None,
            })
        };
        match (family(one), family(other)) {
            _ if one == other => Self::Value,
            (Some(Numeric), Some(Numeric)) => Self::Number,
            (Some(one), Some(other)) if one == other => Self::Value,
            (Some(Integer | Numeric | Float), Some(Integer | Numeric | Float)) => Self::Number,
            _ => Self::Text,
        }
    }
}

impl Observation {
    /// What an observation of this scope would have shown of the same state, if this one was of
    /// everything; and the columns that would have to be read for the rest of it.
    pub(crate) fn part(&self, scope: &Scope) -> (Self, BTreeMap<String, Columns>) {
        let wanted = match scope {
            Scope::All => return (self.clone(), BTreeMap::new()),
            Scope::Schema => {
                let schema = Self {
                    objects: self.objects.clone(),
                    column_order: self.column_order.clone(),
                    ..Self::default()
                };
                return (schema, BTreeMap::new());
            }
            Scope::Rows => {
                let rows = Self {
                    objects: BTreeMap::new(),
                    column_order: BTreeMap::new(),
                    ..self.clone()
                };
                return (rows, BTreeMap::new());
            }
            Scope::Columns(wanted) => wanted,
        };
        let mut rows = Self {
            sequences: self.sequences.clone(),
            ..Self::default()
        };
        let mut missing = BTreeMap::new();
        for (name, columns) in wanted {
            // A table that is not there is shown by neither.
            let Some(table) = self.tables.get(name) else {
                continue;
            };
            // A sum is over all columns that were read, so it says nothing about some of them.
            let mut read = table.columns.keys();
            if read.all(|column| columns.get(column) == Some(&Reading::Value)) {
                rows.tables.insert(name.clone(), table.clone());
            } else {
                missing.insert(name.clone(), columns.clone());
            }
        }
        (rows, missing)
    }

    /// The table of `other` that is the table `name` of this observation: the one that the system
    /// knows by the same number, else the one of the same name. One that was made anew under the
    /// old name of a table that was renamed is another table.
    pub(crate) fn counterpart<'s>(
        &self,
        name: &str,
        other: &'s Self,
    ) -> Option<(&'s str, &'s TableState)> {
        let table = self.tables.get(name)?;
        let same = |(_, found): &(&String, &TableState)| {
            table.identity.is_some() && found.identity == table.identity
        };
        let by_name = || {
            let (found, state) = other.tables.get_key_value(name)?;
            let taken = state.identity.is_some()
                && self
                    .tables
                    .values()
                    .any(|one| one.identity == state.identity);
            (!taken).then_some((found, state))
        };
        let found = other.tables.iter().find(same).or_else(by_name);
        found.map(|(name, state)| (name.as_str(), state))
    }

    /// How many rows there are in all tables.
    pub fn rows(&self) -> u64 {
        self.tables.values().map(|table| table.rows).sum()
    }

    /// The columns that both observations have, by table: what can be compared across a change
    /// of the schema.
    pub fn shared_columns(&self, other: &Self) -> BTreeMap<String, Columns> {
        self.tables
            .iter()
            .filter_map(|(name, table)| {
                let other = other.tables.get(name)?;
                let columns = table
                    .columns
                    .keys()
                    .filter(|column| other.columns.contains_key(*column))
                    .map(|column| (column.clone(), Reading::Value))
                    .collect();
                Some((name.clone(), columns))
            })
            .collect()
    }

    /// What differs in the schema of `actual` from this one, under the given id: one finding for
    /// each object, which names the facts that differ. What goes or comes with its table is named
    /// in the finding of the table.
    pub fn schema_findings(&self, actual: &Self, id: &str) -> Vec<Finding> {
        schema::findings(self, actual, id)
    }

    /// What `after` has begun and not finished, and this one has not: indexes that are not valid,
    /// constraints that were never validated.
    pub(crate) fn unfinished_findings(&self, after: &Self) -> Vec<Finding> {
        schema::unfinished(self, after)
    }

    /// The facts of a table and of all that goes with it, by their paths: columns, constraints,
    /// indexes, triggers, rules, policies.
    pub(crate) fn facts_of_table(&self, table: &str) -> BTreeMap<&str, &str> {
        schema::of_table(&self.objects, table)
    }

    /// What differs in the rows of `actual` from this one, where both read the same columns: one
    /// finding for each table. Rows that are missing go under `lost`, anything else under
    /// `changed`.
    pub fn row_findings(&self, actual: &Self, lost: &str, changed: &str) -> Vec<Finding> {
        self.tables
            .iter()
            .filter_map(|(name, expected)| {
                let subject = Subject::from(TableRef::new(name));
                let Some(found) = actual.tables.get(name) else {
                    let rows = expected.rows;
                    return (rows > 0).then(|| {
                        Finding::error(lost, subject, format!("is missing; it had {rows} rows"))
                    });
                };
                if found.rows < expected.rows {
                    let (from, to) = (expected.rows, found.rows);
                    return Some(Finding::error(
                        lost,
                        subject,
                        format!("has lost rows: {from} before, {to} now"),
                    ));
                }
                if found.rows > expected.rows {
                    let (from, to) = (expected.rows, found.rows);
                    return Some(Finding::error(
                        changed,
                        subject,
                        format!("has gained rows: {from} before, {to} now"),
                    ));
                }
                if found.sum != expected.sum {
                    let columns: Vec<&str> = expected.columns.keys().map(String::as_str).collect();
                    return Some(Finding::error(
                        changed,
                        subject,
                        format!(
                            "has {} rows as before, but their content has changed (compared: {})",
                            expected.rows,
                            columns.join(", ")
                        ),
                    ));
                }
                None
            })
            .collect()
    }
}

/// A unified diff with three lines of context, expected `-`, actual `+`.
fn unified(expected: &str, actual: &str) -> String {
    TextDiff::from_lines(expected, actual)
        .unified_diff()
        .context_radius(3)
        .header("expected", "actual")
        .missing_newline_hint(false)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str], rows: u64, sum: &str) -> TableState {
        let columns = columns
            .iter()
            .map(|name| ((*name).to_owned(), "text".to_owned()))
            .collect();
        TableState::new(columns, rows, sum)
    }

    fn observation(objects: &[(&str, &str)], tables: &[(&str, TableState)]) -> Observation {
        Observation {
            objects: objects
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            tables: tables
                .iter()
                .map(|(k, v)| ((*k).to_owned(), v.clone()))
                .collect(),
            ..Observation::default()
        }
    }

    #[test]
    fn schema_differences_name_each_object() {
        let before = observation(&[("a", "x: 1\n"), ("b", "x: 1\n"), ("c", "x: 1\n")], &[]);
        let after = observation(&[("a", "x: 1\n"), ("b", "x: 2\n"), ("d", "x: 1\n")], &[]);
        let findings = before.schema_findings(&after, "differs");
        let seen: Vec<_> = findings
            .iter()
            .map(|f| (f.subject.as_str(), f.message.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("b", "x: was `1`, is `2`"),
                ("c", "is missing"),
                ("d", "was not there before")
            ]
        );
        assert!(
            findings[0]
                .evidence
                .as_deref()
                .unwrap()
                .contains("-x: 1\n+x: 2")
        );
    }

    #[test]
    fn row_differences_tell_lost_from_changed() {
        let before = observation(
            &[],
            &[
                ("gone", table(&["a"], 2, "1")),
                ("empty_and_gone", table(&["a"], 0, "0")),
                ("less", table(&["a"], 2, "1")),
                ("more", table(&["a"], 2, "1")),
                ("other", table(&["a"], 2, "1")),
                ("same", table(&["a"], 2, "1")),
            ],
        );
        let after = observation(
            &[],
            &[
                ("less", table(&["a"], 1, "1")),
                ("more", table(&["a"], 3, "1")),
                ("other", table(&["a"], 2, "9")),
                ("same", table(&["a"], 2, "1")),
            ],
        );
        let findings = before.row_findings(&after, "lost", "changed");
        let seen: Vec<_> = findings
            .iter()
            .map(|f| (f.id.as_str(), f.subject.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("lost", "table gone"),
                ("lost", "table less"),
                ("changed", "table more"),
                ("changed", "table other"),
            ]
        );
    }

    #[test]
    fn a_part_has_what_its_scope_asks_for_and_names_what_it_cannot_tell() {
        let mut seen = observation(
            &[("o", "x: 1\n")],
            &[
                ("whole", table(&["a", "b"], 2, "1")),
                ("some", table(&["a", "b"], 2, "1")),
                ("text", table(&["a"], 2, "1")),
                ("other", table(&["a"], 2, "1")),
            ],
        );
        seen.sequences
            .insert("s".to_owned(), SequenceState::new(7, true));
        seen.large_objects = Some(LargeObjects::new(0, None));
        assert_eq!(seen.part(&Scope::All), (seen.clone(), BTreeMap::new()));
        let (schema, missing) = seen.part(&Scope::Schema);
        assert_eq!((schema.objects, missing.len()), (seen.objects.clone(), 0));
        assert!(schema.tables.is_empty() && schema.sequences.is_empty());

        let columns = |picked: &[(&str, Reading)]| -> Columns {
            let picked = picked.iter();
            picked.map(|(c, how)| ((*c).to_owned(), *how)).collect()
        };
        let value = Reading::Value;
        let wanted = [
            (
                "whole",
                columns(&[("a", value), ("b", value), ("c", value)]),
            ),
            ("some", columns(&[("a", value)])),
            ("text", columns(&[("a", Reading::Text)])),
            ("gone", columns(&[("a", value)])),
        ];
        let wanted = wanted.map(|(name, columns)| (name.to_owned(), columns));
        let (rows, missing) = seen.part(&Scope::Columns(wanted.into()));
        assert_eq!(rows.tables.keys().collect::<Vec<_>>(), ["whole"]);
        assert_eq!(missing.keys().collect::<Vec<_>>(), ["some", "text"]);
        assert_eq!(rows.sequences, seen.sequences);
        assert!(rows.objects.is_empty() && rows.large_objects.is_none());
    }

    #[test]
    fn two_types_are_read_by_what_they_have_in_common() {
        use Reading::{Number, Text, Value};
        for (one, other, expected) in [
            ("integer", "bigint", Value),
            ("real", "double precision", Value),
            ("character varying(20)", "text", Value),
            (
                "timestamp(3) without time zone",
                "timestamp with time zone",
                Value,
            ),
            ("numeric(10,2)", "numeric(12,4)", Number),
            ("numeric(10,2)", "bigint", Number),
            ("real", "numeric", Number),
            ("numeric(10,2)[]", "numeric(12,4)[]", Text),
            ("character varying(20)[]", "text[]", Text),
            ("character(3)", "text", Text),
            ("integer", "text", Text),
            ("public.mood", "text", Text),
            ("public.mood", "public.mood", Value),
        ] {
            assert_eq!(Reading::between(one, other), expected, "{one}, {other}");
            assert_eq!(Reading::between(other, one), expected, "{other}, {one}");
        }
    }

    #[test]
    fn shared_columns_are_those_of_both() {
        let before = observation(
            &[],
            &[
                ("t", table(&["a", "b"], 0, "")),
                ("u", table(&["a"], 0, "")),
            ],
        );
        let after = observation(&[], &[("t", table(&["b", "c"], 0, ""))]);
        let shared = before.shared_columns(&after);
        assert_eq!(shared.len(), 1);
        assert_eq!(
            shared["t"],
            Columns::from([("b".to_owned(), Reading::Value)])
        );
    }
}
