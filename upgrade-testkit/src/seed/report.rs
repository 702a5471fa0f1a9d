//! What seeding did: rows by table, and everything that was left out, with the reason.

use std::fmt;

use super::write::Changed;

/// What [`Seeder::fill`](super::Seeder::fill) or [`Seeder::write`](super::Seeder::write) did, in the order in which tables were filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeedReport {
    pub(crate) tables: Vec<TableReport>,
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) empty: Vec<EmptyTable>,
}

/// What happened to one table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableReport {
    /// `schema.table`.
    pub table: String,
    /// Rows that were there before.
    pub existing: u64,
    /// Rows that were asked for.
    pub wanted: u64,
    /// Rows that the seeder inserted.
    pub inserted: u64,
    /// Rows in the table at the end; triggers may have added or removed some.
    pub total: u64,
    /// Rows drawn again because Postgres refused them or a row had their unique values already, and
    /// rows that could be neither changed nor deleted.
    pub refused: u64,
    /// Rows that [`write`](super::Seeder::write) changed.
    pub updated: u64,
    /// Rows that [`write`](super::Seeder::write) deleted; not those that a cascade took along.
    pub deleted: u64,
    /// Why fewer rows were inserted than wanted.
    pub short: Option<String>,
}

/// A table or column that was left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct LeftOut {
    /// `schema.table` or `schema.table.column`.
    pub object: String,
    /// Why.
    pub reason: String,
}

/// A table that has no rows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmptyTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Why it has none: what refused them, in the words of the server.
    pub reason: String,
    /// What to do about it.
    pub help: String,
    /// Whether rows were refused, and not only left out.
    pub(crate) refused: bool,
}

impl SeedReport {
    /// The filled tables, parents first.
    pub fn tables(&self) -> &[TableReport] {
        &self.tables
    }

    /// Tables and columns that were left out, by name.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// The tables that have no rows, by name; not those in which migration tools keep their books.
    pub fn empty(&self) -> &[EmptyTable] {
        &self.empty
    }

    /// Tables with fewer rows than were asked for, and all that was left out; a line each.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let short = self.tables.iter().filter_map(|table| {
            let reason = table.short.as_ref()?;
            let (name, inserted, wanted) = (&table.table, table.inserted, table.wanted);
            Some(format!(
                "{name}: {inserted} rows of {wanted} wanted: {reason}"
            ))
        });
        let left_out = self.left_out.iter();
        let left_out = left_out.map(|item| format!("left out {}: {}", item.object, item.reason));
        short.chain(left_out).collect()
    }

    /// The first table that refused its rows, where no table has any.
    pub(crate) fn nothing_filled(&self) -> Option<&EmptyTable> {
        let filled = self.tables.iter().any(|table| table.total > 0);
        let mut empty = self.empty.iter();
        empty.find(|table| table.refused && !filled)
    }

    /// What happened to `schema.table`.
    pub fn table(&self, name: &str) -> Option<&TableReport> {
        self.tables.iter().find(|report| report.table == name)
    }

    /// Rows that the seeder inserted, over all tables.
    pub fn inserted(&self) -> u64 {
        self.tables.iter().map(|report| report.inserted).sum()
    }

    /// Rows that [`write`](super::Seeder::write) changed, over all tables.
    pub fn updated(&self) -> u64 {
        self.tables.iter().map(|report| report.updated).sum()
    }

    /// Rows that [`write`](super::Seeder::write) deleted, over all tables.
    pub fn deleted(&self) -> u64 {
        self.tables.iter().map(|report| report.deleted).sum()
    }

    pub(crate) fn add(&mut self, table: &str, changed: Changed) {
        if let Some(report) = self.tables.iter_mut().find(|report| report.table == table) {
            report.updated += changed.updated;
            report.deleted += changed.deleted;
            report.refused += changed.refused;
            report.existing += changed.deleted;
        }
    }
}

impl fmt::Display for SeedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seeded {} rows into {} tables",
            self.inserted(),
            self.tables.len()
        )?;
        for table in &self.tables {
            write!(f, "  {}: {} rows", table.table, table.inserted)?;
            if let Some(reason) = &table.short {
                write!(f, " of {} wanted: {reason}", table.wanted)?;
            }
            if (table.updated, table.deleted) != (0, 0) {
                write!(f, ", {} updated, {} deleted", table.updated, table.deleted)?;
            }
            writeln!(f)?;
        }
        for item in &self.left_out {
            writeln!(f, "  left out {}: {}", item.object, item.reason)?;
        }
        Ok(())
    }
}
