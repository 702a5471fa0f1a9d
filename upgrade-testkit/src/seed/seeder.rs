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

/// What fills a table that was left out as asked.
const FILL: &str = "remove its `.skip(..)`, or supply its rows with `.table(..)`";

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

    /// The number with which a key is picked, once it is known not to be NULL.
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

/// Whether a table that cannot be filled is reported instead of failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lenient {
    Never,
    /// One that has no row at all.
    WhereEmpty,
    Always,
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
    pub(crate) lenient: Lenient,
    /// Options may name tables and columns that the schema does not have.
    pub(crate) any_schema: bool,
    pub(crate) settings: Vec<(String, String)>,
    /// Each table gets a row for every limit, beside the rows that are asked for.
    pub(crate) every_limit: bool,
    pub(crate) extremes: bool,
    pub(crate) table_rows: Vec<(String, u64)>,
    pub(crate) columns: Vec<(String, SBoxedStrategy<SqlValue>)>,
    pub(crate) tables: Vec<(String, TableRows)>,
    pub(crate) skipped: Vec<String>,
}

impl Seeder {
    /// Raised when the same seed gives other rows than before, so that templates are made anew.
    pub(crate) const REVISION: &'static str = "4";

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
            lenient: Lenient::Never,
            any_schema: false,
            settings: Vec::new(),
            every_limit: false,
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
        self.lenient = Lenient::Always;
        self
    }

    /// Sets a configuration parameter for the transaction in which rows are made: what the
    /// application sets in its sessions, and triggers, policies and defaults of the schema read
    /// with `current_setting`.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Adds to each table, beside the rows that are asked for, one for every limit of what its
    /// schema allows, at most 40: the longest text, the greatest and the least number, every label,
    /// NULL wherever that may be; and four copies of rows, as far as unique indexes allow. A
    /// schema that allows less, such as that of an earlier release, cannot take them.
    ///
    /// Otherwise such rows take the place of up to half of those that are asked for.
    pub fn every_limit(mut self) -> Self {
        self.every_limit = true;
        self
    }

    /// For writes of users at whatever release there is: `rows` of each table, and
    /// [every limit](Self::every_limit). Options that name what this schema does not have are
    /// ignored, and a table that has never taken a row may refuse these as well.
    pub(crate) fn for_users(mut self, rows: u64) -> Self {
        self.table_rows.clear();
        self.lenient = Lenient::WhereEmpty;
        self.any_schema = true;
        self.rows(rows).every_limit()
    }

    /// Without the values that the user supplies.
    pub(crate) fn without_values(mut self) -> Self {
        self.columns.clear();
        self.tables.clear();
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

/// Why a table is left out.
#[derive(Debug)]
pub(crate) struct Skipped {
    pub(crate) reason: String,
    /// What would fill it; nothing where its rows are nobody's concern.
    pub(crate) help: Option<String>,
}

impl Skipped {
    fn new(reason: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            help: Some(help.into()),
        }
    }
}

/// The options with every name looked up.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    pub(crate) rows: BTreeMap<usize, u64>,
    pub(crate) distributions: BTreeMap<usize, Distribution>,
    pub(crate) columns: BTreeMap<usize, BTreeMap<usize, SBoxedStrategy<SqlValue>>>,
    pub(crate) tables: BTreeMap<usize, TableRows>,
    /// Why a table is left out, and what would fill it.
    pub(crate) skipped: BTreeMap<usize, Skipped>,
}

impl Seeder {
    /// Looks all names up.
    pub(crate) fn resolve(&self, schema: &Schema) -> Result<Resolved, SeedError> {
        let mut resolved = Resolved::default();
        for (at, table) in schema.tables.iter().enumerate() {
            let skipped = if BOOKKEEPING.contains(&table.name.as_str()) {
                Skipped {
                    reason: "a migration tool keeps its books in it".to_owned(),
                    help: None,
                }
            } else if let Some(extension) = &table.extension {
                Skipped::new(
                    format!("it belongs to the extension `{extension}`"),
                    "fill it in `set_up_sql`, where the extension is created",
                )
            } else if table.partitioned && table.leaves.is_empty() {
                Skipped::new(
                    "it is partitioned and has no partition",
                    "attach a partition in a migration of the previous release, or in `set_up_sql`",
                )
            } else {
                continue;
            };
            resolved.skipped.insert(at, skipped);
        }
        for name in &self.skipped {
            // Skipping a tool's table that is not there is no mistake: one list serves many schemas.
            match find_table(schema, name) {
                Err(SeedError::UnknownTable { .. })
                    if self.any_schema || BOOKKEEPING.contains(&last_part(name)) => {}
                found => drop(
                    resolved
                        .skipped
                        .insert(found?, Skipped::new("skipped as asked", FILL)),
                ),
            }
        }
        for (name, rows) in &self.table_rows {
            if let Some(at) = self.known(find_table(schema, name))? {
                resolved.rows.insert(at, *rows);
            }
        }
        for (name, distribution) in &self.table_distributions {
            if let Some(at) = self.known(find_table(schema, name))? {
                resolved.distributions.insert(at, *distribution);
            }
        }
        for (name, rows) in &self.tables {
            let Some(at) = self.known(find_table(schema, name))? else {
                continue;
            };
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
            if let Some((table, column)) = self.known(find_column(schema, name))? {
                resolved
                    .columns
                    .entry(table)
                    .or_default()
                    .insert(column, strategy.clone());
            }
        }
        Ok(resolved)
    }

    /// What a name means; nothing where it may mean nothing.
    fn known<T>(&self, found: Result<T, SeedError>) -> Result<Option<T>, SeedError> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(SeedError::UnknownTable { .. } | SeedError::UnknownColumn { .. })
                if self.any_schema =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
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
