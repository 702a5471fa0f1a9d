//! One migration as data.

use std::path::PathBuf;

use super::checksum::FileChecksum;

/// A version, ordered as its tool orders it. Only keys of one layout can be compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum VersionKey {
    /// Compared as a number: `2` before `10`.
    Number(i128),
    /// Compared part by part as numbers: `1.9` before `1.10`.
    Dotted(Vec<u128>),
    /// Compared as text, byte by byte: `10` before `2`.
    Text(String),
    /// Compared as a number, and by the whole name among equal numbers.
    Named(i128, String),
    /// A repeatable migration: behind all versions, by description.
    Repeatable(String),
}

/// When a migration is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MigrationKind {
    /// Once, in the order of the versions.
    Versioned,
    /// Once, also behind a higher version: refinery's `U` files.
    Unversioned,
    /// Each time its text has changed, behind all others: Flyway's `R` files.
    Repeatable,
}

/// What the tool puts around a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransactionMode {
    /// `BEGIN`, the script, the tool's own row, `COMMIT`.
    Wrapped,
    /// As [`TransactionMode::Wrapped`], at the isolation level `SERIALIZABLE`.
    WrappedSerializable,
    /// No `BEGIN`. With [`Delivery::WholeScript`] Postgres still makes several statements one
    /// transaction, so a `CREATE INDEX CONCURRENTLY` among them fails.
    None,
}

/// How the tool sends a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// All of it as one simple query.
    WholeScript,
    /// One statement after the other.
    PerStatement,
}

/// The SQL of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Script {
    /// The file, relative to the folder.
    pub path: PathBuf,
    /// What the tool sends.
    pub sql: String,
    /// The line of the file, from 1, at which `sql` begins; not 1 where one file holds both
    /// directions.
    pub first_line: usize,
    /// What the tool puts around it.
    pub transaction: TransactionMode,
    /// How the tool sends it.
    pub delivery: Delivery,
}

impl Script {
    /// Where it begins: its file, with the line where one file holds both directions.
    pub fn place(&self) -> String {
        match self.first_line {
            0 | 1 => self.path.display().to_string(),
            line => format!("{}:{line}", self.path.display()),
        }
    }

    /// Whether its statements are sent one by one. In a transaction, one text and its statements
    /// one by one come to the same; so that a crash can happen between two, and an error has its
    /// line, they go one by one.
    pub(crate) fn one_by_one(&self) -> bool {
        self.delivery == Delivery::PerStatement || self.transaction != TransactionMode::None
    }

    /// The statements with their lines in the file.
    pub fn statements(&self) -> Vec<(usize, crate::postgres::sql::Statement<'_>)> {
        crate::postgres::sql::split(&self.sql)
            .into_iter()
            .map(|statement| (self.first_line + statement.line - 1, statement))
            .collect()
    }
}

/// One migration of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationFile {
    /// What orders it.
    pub version: VersionKey,
    /// The version as the tool writes it into its table, but for leading zeros of numbers: the
    /// whole name where the tool records names.
    pub version_text: String,
    /// The name without version and suffixes, as it stands in the file name.
    pub name: String,
    /// When it is applied.
    pub kind: MigrationKind,
    /// The up migration.
    pub up: Script,
    /// The down migration, if there is a file or a part for it.
    pub down: Option<Script>,
    /// What tells an edited file from the one that was applied, as the tool computes it.
    pub checksum: FileChecksum,
}

impl MigrationFile {
    /// Version and name, as people write them: `0007_add_email`.
    pub fn title(&self) -> String {
        match (self.kind, self.name.as_str()) {
            (_, "") | (MigrationKind::Repeatable, _) => self.version_text.clone(),
            (_, name) => format!("{}_{name}", self.version_text),
        }
    }
}
