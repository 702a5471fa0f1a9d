//! What can go wrong with fingerprints.

use super::{HashMode, TableName};
use crate::postgres::catalog::CatalogError;

/// Why a fingerprint could not be computed, or why two cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// A statement that lists tables, columns or sequences failed.
    #[error("cannot read the {what} of the database")]
    List {
        /// What was being read.
        what: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The names in the scope could not be looked up.
    #[error("cannot tell which tables are in scope")]
    Scope {
        /// The cause.
        #[source]
        source: CatalogError,
    },
    /// The rows of a table could not be read: a permission is missing, a row security policy
    /// would hide rows, or the connection broke.
    #[error("cannot read the rows of table `{table}` (the role must see all of them)")]
    Rows {
        /// The table.
        table: TableName,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The value of a sequence may not be read.
    #[error(
        "the role may not read sequence `{sequence}` (it needs `select` on it and `usage` on its schema)"
    )]
    Sequence {
        /// The sequence.
        sequence: TableName,
    },
    /// There is no such table.
    #[error("there is no table `{table}`")]
    UnknownTable {
        /// The table.
        table: TableName,
    },
    /// The table has no such column.
    #[error("table `{table}` has no column `{column}`")]
    UnknownColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// The fingerprints are of servers whose hash functions may differ.
    #[error(
        "fingerprints of PostgreSQL {left} and {right} cannot be compared (make both in portable mode)"
    )]
    Majors {
        /// One major version.
        left: u32,
        /// The other.
        right: u32,
    },
    /// The fingerprints were made in different modes.
    #[error("a {left} and a {right} fingerprint cannot be compared (make both in one mode)")]
    Modes {
        /// One mode.
        left: HashMode,
        /// The other.
        right: HashMode,
    },
    /// The fingerprints are of different columns.
    #[error(
        "fingerprints of columns `{left}` and `{right}` cannot be compared (take the shared columns of both)"
    )]
    Columns {
        /// The columns of one, separated by commas.
        left: String,
        /// The columns of the other.
        right: String,
    },
}
