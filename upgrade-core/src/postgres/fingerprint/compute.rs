//! Computing fingerprints.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::value::{exact_hash, row_text};
use super::{FingerprintError, TableName, TableShape, Tables};
use crate::observation::Reading;
use crate::postgres::catalog::{CatalogScope, Pinned, server_major};
use crate::postgres::sql::quote_ident;

/// How rows are hashed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HashMode {
    /// With the server's hash of the row's binary form. Fast; comparable between servers of one
    /// major version.
    #[default]
    Native,
    /// With SHA-256 over the text of the row, of which 64 bits are used. Comparable everywhere.
    Portable,
}

impl fmt::Display for HashMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Native => "native",
            Self::Portable => "portable",
        })
    }
}

/// A column to take into a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ColumnPick {
    /// The column.
    pub name: String,
    /// What of its values is hashed.
    pub reading: Reading,
}

impl ColumnPick {
    /// A column, by its exact values.
    pub fn new(name: impl Into<String>) -> Self {
        Self::read(name, Reading::Value)
    }

    /// A column, read in this way; so that values of two types can be compared.
    pub fn read(name: impl Into<String>, reading: Reading) -> Self {
        Self {
            name: name.into(),
            reading,
        }
    }
}

impl fmt::Display for ColumnPick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reading = match self.reading {
            Reading::Value => "",
            Reading::Number => "::numeric",
            Reading::Text => "::text",
        };
        write!(f, "{}{reading}", self.name)
    }
}

/// The data of one table, or of some of its columns, as a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The number of rows.
    pub rows: u64,
    /// The sum of the rows' hashes, a decimal number. `0` for no rows.
    pub sum: String,
    /// The columns it is of, sorted by name.
    pub columns: Vec<ColumnPick>,
    /// How rows were hashed.
    pub mode: HashMode,
    /// The major version of the server that computed it.
    pub server_major: u32,
}

impl Fingerprint {
    /// Whether both are of the same rows.
    ///
    /// # Errors
    /// [`FingerprintError::Columns`], [`FingerprintError::Modes`] or [`FingerprintError::Majors`]
    /// when equal data could have unequal fingerprints.
    pub fn same_data(&self, other: &Self) -> Result<bool, FingerprintError> {
        let list = |fingerprint: &Self| {
            let names: Vec<String> = fingerprint
                .columns
                .iter()
                .map(ToString::to_string)
                .collect();
            names.join(", ")
        };
        if self.columns != other.columns {
            return Err(FingerprintError::Columns {
                left: list(self),
                right: list(other),
            });
        }
        if self.mode != other.mode {
            return Err(FingerprintError::Modes {
                left: self.mode,
                right: other.mode,
            });
        }
        if self.mode == HashMode::Native && self.server_major != other.server_major {
            return Err(FingerprintError::Majors {
                left: self.server_major,
                right: other.server_major,
            });
        }
        Ok(self.rows == other.rows && self.sum == other.sum)
    }
}

/// The fingerprint of one table, see [`fingerprint_all`].
///
/// # Errors
/// As [`fingerprint_all`].
pub async fn fingerprint(
    conn: &mut PgConnection,
    table: &TableName,
    columns: &[ColumnPick],
    mode: HashMode,
) -> Result<Fingerprint, FingerprintError> {
    let request = [(table.clone(), columns.to_vec())];
    let mut all = fingerprint_all(conn, &request, mode).await?;
    Ok(all
        .remove(table)
        .expect("every table that was asked for has a fingerprint"))
}

/// The fingerprints of several tables, all of one state of the database.
///
/// Scans each table once, in one `REPEATABLE READ READ ONLY` transaction; takes `ACCESS SHARE`.
/// If `conn` is in a transaction that sqlx began, that one is used. Row security is switched off,
/// so a role from which a policy would hide rows gets an error: run it as the tables' owner.
///
/// # Errors
/// [`FingerprintError::UnknownTable`] or [`FingerprintError::UnknownColumn`] for a name that does
/// not exist, [`FingerprintError::Rows`] when a table cannot be read.
pub async fn fingerprint_all(
    conn: &mut PgConnection,
    requests: &[(TableName, Vec<ColumnPick>)],
    mode: HashMode,
) -> Result<BTreeMap<TableName, Fingerprint>, FingerprintError> {
    let (mut session, oids) = Pinned::begin_listing(conn, &CatalogScope::new())
        .await
        .map_err(|source| FingerprintError::Scope { source })?;
    let known = Tables::list(session.conn(), &oids).await?;
    let all = fingerprint_listed(session.conn(), &known, requests, mode).await?;
    session.end().await.map_err(settings)?;
    Ok(all)
}

/// The fingerprints of tables that are listed, inside a transaction with pinned settings.
///
/// The statements go to the server in one message, which saves a round trip for each.
pub(in crate::postgres) async fn fingerprint_listed(
    conn: &mut PgConnection,
    known: &Tables,
    requests: &[(TableName, Vec<ColumnPick>)],
    mode: HashMode,
) -> Result<BTreeMap<TableName, Fingerprint>, FingerprintError> {
    let server_major = server_major(conn).await.map_err(settings)?;
    let mut wanted = Vec::with_capacity(requests.len());
    let mut sql = String::new();
    for (table, columns) in requests {
        let shape = known
            .tables
            .get(table)
            .ok_or_else(|| FingerprintError::UnknownTable {
                table: table.clone(),
            })?;
        let mut columns = columns.clone();
        columns.sort();
        columns.dedup();
        sql.push_str(&statement(table, shape, &columns, mode)?);
        sql.push_str(";\n");
        wanted.push((table, columns));
    }
    let mut all = BTreeMap::new();
    let mut answers = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(conn);
    for (table, columns) in wanted {
        let rows = |source| FingerprintError::Rows {
            table: table.clone(),
            source,
        };
        // Each statement answers with one row, and the first that fails ends the message.
        let row = answers.try_next().await.map_err(rows)?;
        let row = row.ok_or_else(|| rows(sqlx::Error::RowNotFound))?;
        let count: i64 = row.try_get(0).map_err(rows)?;
        let fingerprint = Fingerprint {
            rows: count.unsigned_abs(),
            sum: row.try_get(1).map_err(rows)?,
            columns,
            mode,
            server_major,
        };
        all.insert(table.clone(), fingerprint);
    }
    Ok(all)
}

pub(super) fn settings(source: sqlx::Error) -> FingerprintError {
    FingerprintError::List {
        what: "settings",
        source,
    }
}

/// The statement that computes one fingerprint.
fn statement(
    table: &TableName,
    shape: &TableShape,
    columns: &[ColumnPick],
    mode: HashMode,
) -> Result<String, FingerprintError> {
    let mut values = Vec::new();
    for pick in columns {
        let column =
            shape
                .columns
                .get(&pick.name)
                .ok_or_else(|| FingerprintError::UnknownColumn {
                    table: table.clone(),
                    column: pick.name.clone(),
                })?;
        let reading = match (mode, pick.reading) {
            (HashMode::Portable, Reading::Value) => Reading::Text,
            (_, reading) => reading,
        };
        let value = format!("t.{}", quote_ident(&pick.name));
        values.push(column.form.read(&value, reading));
    }
    let hash = match mode {
        HashMode::Native => exact_hash(&values, 0),
        HashMode::Portable => format!(
            "('x' || substr(encode(sha256(convert_to({}, 'UTF8')), 'hex'), 1, 16))::bit(64)::bigint",
            row_text(&values)
        ),
    };
    // A table that others inherit from stores rows itself; a partitioned one does not.
    let only = if shape.partitioned { "" } else { "ONLY " };
    Ok(format!(
        "SELECT count(*), concat(coalesce(sum({hash}), 0)) FROM {only}{} t",
        table.to_sql()
    ))
}
