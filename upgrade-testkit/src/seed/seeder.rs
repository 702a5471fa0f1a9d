//! What the user says: how many rows, which values are theirs, what to leave out.

use std::collections::{BTreeMap, BTreeSet};

use proptest::strategy::{SBoxedStrategy, Strategy};

use super::error::SeedError;
use super::schema::Schema;
use super::value::{Row, SqlValue};

/// Tables in which migration tools keep their books.
const BOOKKEEPING: [&str; 8] = [
    "_sqlx_migrations",
    "__diesel_schema_migrations",
    "schema_migrations",
    "schema_migration",
    "refinery_schema_history",
    "flyway_schema_history",
    "seaql_migrations",
    "_upgrade_migrations",
];

/// Rows of a table that the user supplies. Columns that a row does not name are drawn.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TableRows {
    /// These rows, in this order, and no others.
    Fixed(Vec<Row>),
    /// As many as are asked for, drawn.
    Drawn(SBoxedStrategy<Row>),
}

impl From<Vec<Row>> for TableRows {
    fn from(rows: Vec<Row>) -> Self {
        Self::Fixed(rows)
    }
}

impl From<SBoxedStrategy<Row>> for TableRows {
    fn from(rows: SBoxedStrategy<Row>) -> Self {
        Self::Drawn(rows)
    }
}

/// Fills a schema with rows. See the [module](super) for what it does.
///
/// Tables are named `table` or `schema.table`, columns `table.column` or `schema.table.column`,
/// in the case in which Postgres keeps them. A name that fits nothing is an error.
#[derive(Clone, Debug)]
#[must_use = "a seeder does nothing before `fill`"]
pub struct Seeder {
    pub(crate) seed: u64,
    pub(crate) rows: u64,
    pub(crate) tries: u32,
    pub(crate) updates: Option<u64>,
    pub(crate) deletes: Option<u64>,
    pub(crate) lenient: bool,
    pub(crate) extremes: bool,
    pub(crate) table_rows: Vec<(String, u64)>,
    pub(crate) columns: Vec<(String, SBoxedStrategy<SqlValue>)>,
    pub(crate) tables: Vec<(String, TableRows)>,
    pub(crate) skipped: Vec<String>,
}

impl Seeder {
    /// Raised when the same seed gives other rows than before, so that templates are made anew.
    pub(crate) const REVISION: &'static str = "2";

    /// A seeder that inserts 20 rows into each table.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rows: 20,
            tries: 100,
            updates: None,
            deletes: None,
            lenient: false,
            extremes: false,
            table_rows: Vec::new(),
            columns: Vec::new(),
            tables: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// How many rows each table gets, beside those it has.
    pub fn rows(mut self, rows: u64) -> Self {
        self.rows = rows;
        self
    }

    /// How many rows one table gets.
    pub fn table_rows(mut self, table: impl Into<String>, rows: u64) -> Self {
        self.table_rows.push((table.into(), rows));
        self
    }

    /// How many rows of each table [`write`](Self::write) changes; as many as [`rows`](Self::rows)
    /// unless told.
    pub fn updates(mut self, rows: u64) -> Self {
        self.updates = Some(rows);
        self
    }

    /// How many rows of each table [`write`](Self::write) deletes at most; as many as
    /// [`rows`](Self::rows) unless told, and never more than a quarter of those there are.
    pub fn deletes(mut self, rows: u64) -> Self {
        self.deletes = Some(rows);
        self
    }

    /// Draws a column from a strategy: of text, numbers, [`SqlValue`] or `Option`s of them, each in
    /// the text form that the column's type reads.
    ///
    /// A `&str` is a strategy too: a regular expression.
    pub fn column<S>(mut self, column: impl Into<String>, strategy: S) -> Self
    where
        S: Strategy + Send + Sync + 'static,
        S::Value: Into<SqlValue>,
    {
        self.columns
            .push((column.into(), strategy.prop_map(Into::into).sboxed()));
        self
    }

    /// Supplies the rows of a table: a `Vec<Row>`, or a strategy made with `.sboxed()`.
    pub fn table(mut self, table: impl Into<String>, rows: impl Into<TableRows>) -> Self {
        self.tables.push((table.into(), rows.into()));
        self
    }

    /// Leaves a table out; foreign keys can still refer to the rows it has.
    pub fn skip(mut self, table: impl Into<String>) -> Self {
        self.skipped.push(table.into());
        self
    }

    /// Reports tables that cannot be filled instead of failing.
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Draws NaN, infinities and NULL array elements as well.
    pub fn extremes(mut self) -> Self {
        self.extremes = true;
        self
    }

    /// How often a refused row is drawn again before its table is given up; 100 unless told.
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries.max(1);
        self
    }
}

/// The options with every name looked up.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    pub(crate) rows: BTreeMap<usize, u64>,
    pub(crate) columns: BTreeMap<usize, BTreeMap<usize, SBoxedStrategy<SqlValue>>>,
    pub(crate) tables: BTreeMap<usize, TableRows>,
    /// Why a table is left out.
    pub(crate) skipped: BTreeMap<usize, String>,
}

impl Seeder {
    /// Looks all names up.
    pub(crate) fn resolve(&self, schema: &Schema) -> Result<Resolved, SeedError> {
        let mut resolved = Resolved::default();
        for (at, table) in schema.tables.iter().enumerate() {
            if BOOKKEEPING.contains(&table.name.as_str()) {
                resolved
                    .skipped
                    .insert(at, "a migration tool keeps its books in it".to_owned());
            } else if let Some(extension) = &table.extension {
                resolved
                    .skipped
                    .insert(at, format!("it belongs to the extension `{extension}`"));
            } else if table.partitioned && table.leaves.is_empty() {
                resolved
                    .skipped
                    .insert(at, "it is partitioned and has no partition".to_owned());
            }
        }
        for name in &self.skipped {
            // Skipping a tool's table that is not there is no mistake: one list serves many schemas.
            match find_table(schema, name) {
                Err(SeedError::UnknownTable { .. }) if BOOKKEEPING.contains(&last_part(name)) => {}
                found => drop(
                    resolved
                        .skipped
                        .insert(found?, "skipped as asked".to_owned()),
                ),
            }
        }
        for (name, rows) in &self.table_rows {
            resolved.rows.insert(find_table(schema, name)?, *rows);
        }
        for (name, rows) in &self.tables {
            let at = find_table(schema, name)?;
            if let TableRows::Fixed(rows) = rows {
                let table = &schema.tables[at];
                let named: BTreeSet<&str> = rows
                    .iter()
                    .flat_map(Row::iter)
                    .map(|(column, _)| column)
                    .collect();
                for column in named {
                    if !table.columns.iter().any(|known| known.name == column) {
                        return Err(SeedError::UnknownColumn {
                            name: format!("{}.{column}", table.label()),
                        });
                    }
                }
            }
            resolved.tables.insert(at, rows.clone());
        }
        for (name, strategy) in &self.columns {
            let (table, column) = find_column(schema, name)?;
            resolved
                .columns
                .entry(table)
                .or_default()
                .insert(column, strategy.clone());
        }
        Ok(resolved)
    }
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The table that a name means.
pub(crate) fn find_table(schema: &Schema, name: &str) -> Result<usize, SeedError> {
    let fits = |at: &usize| {
        let table = &schema.tables[*at];
        table.name == name || table.label() == name
    };
    let found: Vec<usize> = (0..schema.tables.len()).filter(fits).collect();
    match found[..] {
        [at] => Ok(at),
        [] => Err(SeedError::UnknownTable {
            name: name.to_owned(),
            known: known(schema),
            hint: "partitions are filled through their parent",
        }),
        _ => Err(SeedError::Ambiguous {
            name: name.to_owned(),
            matches: found
                .iter()
                .map(|at| schema.tables[*at].label())
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

fn find_column(schema: &Schema, name: &str) -> Result<(usize, usize), SeedError> {
    let mut found = Vec::new();
    for (at, table) in schema.tables.iter().enumerate() {
        for (place, column) in table.columns.iter().enumerate() {
            let short = format!("{}.{}", table.name, column.name);
            if short == name || format!("{}.{short}", table.schema) == name {
                found.push((at, place));
            }
        }
    }
    match found[..] {
        [place] => Ok(place),
        [] => Err(SeedError::UnknownColumn {
            name: name.to_owned(),
        }),
        _ => Err(SeedError::Ambiguous {
            name: name.to_owned(),
            matches: found
                .iter()
                .map(|(at, _)| schema.tables[*at].label())
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// The first few tables, for a message.
fn known(schema: &Schema) -> String {
    let names: Vec<String> = schema
        .tables
        .iter()
        .take(12)
        .map(super::schema::Table::label)
        .collect();
    let more = if schema.tables.len() > names.len() {
        ", .."
    } else {
        ""
    };
    format!("{}{more}", names.join(", "))
}
