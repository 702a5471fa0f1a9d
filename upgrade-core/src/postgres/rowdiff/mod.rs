//! Which rows differ between the same table in two databases: each one by its name, the numbers
//! exact.
//!
//! A [fingerprint](super::fingerprint) tells that a table differs; [`diff`] tells in which rows,
//! and of a row that changed in which columns. The two databases are on servers of one major
//! version, usually on one server: a state that was kept, and the state of now.
//!
//! # How it works
//!
//! Rows are recognised by their primary key, else by a unique index over columns that are not
//! null, where both sides have its columns; else whole rows are compared, and equal ones counted.
//!
//! 1. One scan of each side, both at once, gives the number and the sum of hashes of the rows in
//!    each of [`RowDiffOptions::buckets`] buckets, by the hash of the key.
//! 2. The rows of the buckets that differ are read as key and hash, in one order on both sides
//!    (the hash of the key, then its text by bytes, so no collation matters), and merged.
//! 3. The rows that are to be named are read whole.
//!
//! So the memory that it takes does not depend on the size of a table, and the time is that of
//! two scans of each side if few rows differ; where many do, the server sorts their keys.
//!
//! What counts as equal is what counts as equal to a fingerprint, with the same odds; see
//! [there](super::fingerprint#what-counts-as-the-same). Keys are compared by their text, without
//! the trailing zeros of a `numeric`.
//!
//! Partitioned tables are one table, so a row that moved to another partition is no difference.
//! A table that others inherit from is compared without their rows.

mod dropped;
mod error;
mod key;
mod merge;
mod show;
mod sql;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, BoxStream, StreamExt as _};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

pub use self::error::RowDiffError;
pub use super::catalog::TableName;

use self::key::Key;
use self::merge::{Entry, Merged, merge};
use self::sql::{Side, Statements};
use super::catalog::{CatalogScope, Pinned, ScopeOids, server_major};
use super::fingerprint::{TableShape, Tables};
use crate::observation::{Columns, RowDiff, RowDiffRequest, ValueChanges};

/// How rows are compared and how many of them are named.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowDiffOptions {
    /// How many rows of each kind (lost, changed, added) are named. 10 where nothing is said.
    pub named: usize,
    /// How many characters of a value are shown. 60 where nothing is said.
    pub value_chars: usize,
    /// Into how many buckets a table is divided, rounded up to a power of two. 4,096 where
    /// nothing is said: of a million rows, one that differs then has some 250 others read with it.
    pub buckets: u32,
}

impl Default for RowDiffOptions {
    fn default() -> Self {
        Self {
            named: 10,
            value_chars: 60,
            buckets: 4096,
        }
    }
}

impl RowDiffOptions {
    /// Names at most `rows` rows of each kind.
    #[must_use]
    pub fn with_named(mut self, rows: usize) -> Self {
        self.named = rows;
        self
    }

    /// Divides a table into `buckets` buckets.
    #[must_use]
    pub fn with_buckets(mut self, buckets: u32) -> Self {
        self.buckets = buckets;
        self
    }
}

/// Compares the rows of one table in two databases, see [`diff_all`].
///
/// # Errors
/// As [`diff_all`].
pub async fn diff(
    before: &mut PgConnection,
    after: &mut PgConnection,
    table: &TableName,
    columns: &Columns,
    options: &RowDiffOptions,
) -> Result<RowDiff, RowDiffError> {
    let request = RowDiffRequest::new(table.to_string(), columns.clone());
    let mut all = diff_all(before, after, &[request], options).await?;
    Ok(all
        .remove(&table.to_string())
        .expect("every table that was asked for is compared"))
}

/// Compares the rows of several tables in two databases: `before` and `after`, each in one state.
///
/// A table that only one side has is compared with an empty one; of a column that only the earlier
/// side has, the values are [counted](RowDiff::dropped). Each side is read in one
/// `REPEATABLE READ READ ONLY` transaction (or that of the caller) with `ACCESS SHARE`; row
/// security is switched off, so a role from which a policy would hide rows gets an error. The
/// answer is by the names of the requests.
///
/// # Errors
/// [`RowDiffError::UnknownTable`] or [`RowDiffError::UnknownColumn`] for a name that does not
/// exist, [`RowDiffError::Rows`] when a table cannot be read, [`RowDiffError::Majors`] when the
/// servers are of two major versions.
pub async fn diff_all(
    before: &mut PgConnection,
    after: &mut PgConnection,
    requests: &[RowDiffRequest],
    options: &RowDiffOptions,
) -> Result<BTreeMap<String, RowDiff>, RowDiffError> {
    let (mut before, mut after) = tokio::try_join!(Database::open(before), Database::open(after))?;
    if before.major != after.major {
        return Err(RowDiffError::Majors {
            before: before.major,
            after: after.major,
        });
    }
    let mut all = BTreeMap::new();
    for request in requests {
        let found = one(&mut before, &mut after, request, options).await?;
        all.insert(request.table.clone(), found);
    }
    tokio::try_join!(before.close(), after.close())?;
    Ok(all)
}

/// One of the two databases, in one state.
struct Database<'c> {
    session: Pinned<'c>,
    major: u32,
    tables: BTreeMap<String, (TableName, TableShape)>,
}

impl<'c> Database<'c> {
    async fn open(conn: &'c mut PgConnection) -> Result<Self, RowDiffError> {
        let mut session = Pinned::begin(conn).await.map_err(list("settings"))?;
        let major = server_major(session.conn())
            .await
            .map_err(list("version"))?;
        let scope = ScopeOids::resolve(session.conn(), &CatalogScope::new())
            .await
            .map_err(|source| RowDiffError::Tables {
                source: super::fingerprint::FingerprintError::Scope { source },
            })?;
        let tables = Tables::list(session.conn(), &scope)
            .await
            .map_err(|source| RowDiffError::Tables { source })?;
        Ok(Self {
            session,
            major,
            tables: tables
                .tables
                .into_iter()
                .map(|(name, shape)| (name.to_string(), (name, shape)))
                .collect(),
        })
    }

    async fn close(self) -> Result<(), RowDiffError> {
        self.session.end().await.map_err(list("settings"))
    }
}

fn list(what: &'static str) -> impl FnOnce(sqlx::Error) -> RowDiffError {
    move |source| RowDiffError::List { what, source }
}

async fn one(
    before: &mut Database<'_>,
    after: &mut Database<'_>,
    request: &RowDiffRequest,
    options: &RowDiffOptions,
) -> Result<RowDiff, RowDiffError> {
    let old = before.tables.get(&request.table).cloned();
    let new = after.tables.get(request.name_after()).cloned();
    if old.is_none() && new.is_none() {
        return Err(RowDiffError::UnknownTable {
            table: request.table.clone(),
        });
    }
    let failed = |source| RowDiffError::Rows {
        table: request.table.clone(),
        source,
    };
    let shape =
        |side: &Option<(TableName, TableShape)>| side.as_ref().map(|(_, shape)| shape.clone());
    let (columns, dropped) = sql::columns(request, shape(&old).as_ref(), shape(&new).as_ref())?;
    let key = Key::choose(
        before.session.conn(),
        after.session.conn(),
        [&old, &new].map(|side| side.as_ref().map(|(_, shape)| shape.oid)),
        &columns,
    )
    .await
    .map_err(list("keys"))?;
    let of = |side| Statements::new(&columns, side, &key, options);
    let (of_old, of_new) = (of(Side::Before), of(Side::After));
    let old_shape = shape(&old);
    let old = old.map(|(name, shape)| sql::from(&name, &shape));
    let new = new.map(|(name, shape)| sql::from(&name, &shape));

    let (sums_before, sums_after) = tokio::try_join!(
        buckets(&mut before.session, &of_old, old.as_deref()),
        buckets(&mut after.session, &of_new, new.as_deref()),
    )
    .map_err(failed)?;
    let mut diff = RowDiff {
        before: sums_before.values().map(|bucket| bucket.0).sum(),
        after: sums_after.values().map(|bucket| bucket.0).sum(),
        key: key.columns.clone(),
        ..RowDiff::default()
    };
    if let (Some(from), Some(shape)) = (&old, &old_shape)
        && !dropped.is_empty()
    {
        let session = &mut before.session;
        diff.dropped = dropped::read(session, (from, shape), &dropped, &key.columns, options)
            .await
            .map_err(failed)?;
    }
    let differing: Vec<i32> = sums_before
        .keys()
        .chain(sums_after.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .filter(|bucket| sums_before.get(bucket) != sums_after.get(bucket))
        .copied()
        .collect();
    if differing.is_empty() {
        return Ok(diff);
    }
    let merged: Merged = {
        let keyed = !key.is_whole_row();
        merge(
            entries(&mut before.session, &of_old, old.as_deref(), &differing),
            entries(&mut after.session, &of_new, new.as_deref(), &differing),
            keyed,
            options.named,
        )
        .await
        .map_err(failed)?
    };
    (diff.lost, diff.changed, diff.added) = (merged.lost, merged.changed, merged.added);
    diff.lost_rows.clone_from(&merged.lost_rows);
    diff.added_rows.clone_from(&merged.added_rows);
    diff.values = merged.values.as_ref().map(|changes| {
        let columns = of_old.columns.iter().cloned();
        let differing = columns.zip(changes.iter().copied());
        differing
            .filter(|(_, changes)| *changes != ValueChanges::default())
            .collect()
    });
    let (rows_before, rows_after) = tokio::try_join!(
        show::read(
            &mut before.session,
            &of_old,
            old.as_deref(),
            merged.places_before()
        ),
        show::read(
            &mut after.session,
            &of_new,
            new.as_deref(),
            merged.places_after()
        ),
    )
    .map_err(failed)?;
    diff.rows = show::changes(&merged, &of_old, &rows_before, &rows_after, options);
    Ok(diff)
}

/// The number of rows and the sum of their hashes in each bucket that has any.
async fn buckets(
    session: &mut Pinned<'_>,
    statements: &Statements,
    from: Option<&str>,
) -> Result<BTreeMap<i32, (u64, String)>, sqlx::Error> {
    let Some(from) = from else {
        return Ok(BTreeMap::new());
    };
    // The planner expects a separate group for each key and would sort them all.
    sqlx::raw_sql("SET LOCAL enable_sort = off")
        .execute(session.conn())
        .await?;
    let rows = sqlx::query(AssertSqlSafe(statements.buckets(from)))
        .persistent(false)
        .fetch_all(session.conn())
        .await?;
    sqlx::raw_sql("SET LOCAL enable_sort = on")
        .execute(session.conn())
        .await?;
    rows.iter()
        .map(|row| {
            let count: i64 = row.try_get(1)?;
            Ok((row.try_get(0)?, (count.unsigned_abs(), row.try_get(2)?)))
        })
        .collect()
}

/// The rows of some buckets, in the order of the merge.
fn entries<'s>(
    session: &'s mut Pinned<'_>,
    statements: &Statements,
    from: Option<&str>,
    buckets: &[i32],
) -> BoxStream<'s, Result<Entry, sqlx::Error>> {
    let Some(from) = from else {
        return stream::empty().boxed();
    };
    sqlx::query(AssertSqlSafe(statements.entries(from)))
        .persistent(false)
        .bind(buckets.to_vec())
        .fetch(session.conn())
        .map(|row| row.and_then(|row| Entry::read(&row)))
        .boxed()
}
