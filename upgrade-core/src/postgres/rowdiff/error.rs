//! What can go wrong with the comparison of rows.

use crate::postgres::fingerprint::FingerprintError;

/// Why the rows of two tables could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowDiffError {
    /// A statement that lists tables, keys or settings failed.
    #[error("cannot read the {what} of the database")]
    List {
        /// What was being read.
        what: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The tables of a database could not be listed.
    #[error("cannot tell which tables can be compared")]
    Tables {
        /// The cause.
        #[source]
        source: FingerprintError,
    },
    /// The rows of a table could not be read: a permission is missing, a row security policy
    /// would hide rows, or the connection broke.
    #[error("cannot compare the rows of table `{table}` (the role must see all of them)")]
    Rows {
        /// The table.
        table: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// Neither side has such a table.
    #[error("there is no table `{table}`")]
    UnknownTable {
        /// The table.
        table: String,
    },
    /// The table does not have such a column in the earlier state.
    #[error("table `{table}` has no column `{column}` before")]
    UnknownColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// The two servers may hash values in different ways.
    #[error("rows of PostgreSQL {before} and {after} cannot be compared (use one major version)")]
    Majors {
        /// The major version of the server of the earlier state.
        before: u32,
        /// That of the later one.
        after: u32,
    },
}
