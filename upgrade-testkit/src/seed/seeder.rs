//! What the user says: how many rows, which values are theirs, what to leave out.

use std::collections::{BTreeMap, BTreeSet};

use proptest::strategy::{SBoxedStrategy, Strategy};

use super::error::SeedError;
use super::schema::Schema;
use super::value::{Row, SqlValue};

/// Tables in which migration tools keep their books.
const BOOKKEEPING: [&str; 11] = [
    "_sqlx_migrations",
    "__diesel_schema_migrations",
    "schema_migrations",
    "schema_migration",
    "refinery_schema_history",
    "flyway_schema_history",
    "goose_db_version",
    "gorp_migrations",
    "pgmigrations",
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

/// How values of a table spread; see [`Seeder::distribution`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Distribution {
    pub(crate) skewed: bool,
    pub(crate) null_in: u32,
    pub(crate) long_in: u32,
}

impl Default for Distribution {
    /// Skewed parents, one NULL in 8, one long text in 500.
    fn default() -> Self {
        Self {
            skewed: true,
            null_in: 8,
            long_in: 500,
        }
    }
}

impl Distribution {
    /// Whether a number that picks a key picks NULL.
    pub(crate) fn is_null(self, pick: u64) -> bool {
        self.null_in > 0 && pick.is_multiple_of(self.null_in.into())
    }

    /// What is left of the number to pick a key with.
    pub(crate) fn key(self, pick: u64) -> u64 {
        pick / u64::from(self.null_in.max(1))
    }

    /// Whether a few parents have most of the children, as customers have orders: the parent of rank
    /// `n` has about `1/n` as many as the first, after Zipf. Otherwise all have about the same.
    ///
    /// Keys that may be used once are not concerned, and where few combinations of a unique index
    /// are left, all parents are equal.
    pub fn skewed(mut self, skewed: bool) -> Self {
        self.skewed = skewed;
        self
    }

    /// One cell in this many is NULL where the column may be; none for 0, all for 1.
    pub fn null_in(mut self, cells: u32) -> Self {
        self.null_in = cells;
        self
    }

    /// One text in this many is 4,200 to 20,000 characters long, so that Postgres stores it out of
    /// line (TOAST); none for 0. Columns that are indexed or limited in length stay short.
    pub fn long_text_in(mut self, cells: u32) -> Self {
        self.long_in = cells;
        self
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
    pub(crate) distribution: Distribution,
    pub(crate) table_distributions: Vec<(String, Distribution)>,
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
    pub(crate) const REVISION: &'static str = "3";

    /// A seeder that inserts 20 rows into each table.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rows: 20,
            tries: 100,
            distribution: Distribution::default(),
            table_distributions: Vec::new(),
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

    /// How values spread, in all tables.
    pub fn distribution(mut self, distribution: Distribution) -> Self {
        self.distribution = distribution;
        self
    }

    /// How values of one table spread.
    pub fn table_distribution(
        mut self,
        table: impl Into<String>,
        distribution: Distribution,
    ) -> Self {
        self.table_distributions.push((table.into(), distribution));
        self
    }

    /// Reports tables that cannot be filled instead of failing.
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Draws NaN, infinities, NULL array elements, arrays of several dimensions, dates before Christ,
    /// and times and intervals at their ends as well.
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
    pub(crate) distributions: BTreeMap<usize, Distribution>,
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
        for (name, distribution) in &self.table_distributions {
            let at = find_table(schema, name)?;
            resolved.distributions.insert(at, *distribution);
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
