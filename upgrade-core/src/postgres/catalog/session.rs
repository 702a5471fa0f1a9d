//! A read-only transaction in which the same value always prints as the same text.

use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

/// Every setting that changes how the server prints names, expressions and values. `pg_temp` comes
/// last so that a temporary table cannot stand in for a catalog. Row security is off, which makes
/// a policy that would hide rows an error and not a silently smaller answer. Just-in-time compilation
/// is off because the planner overrates the cost of catalog queries: compiling them takes longer
/// than running them.
const SETTINGS: &str = "
    SET LOCAL search_path = pg_catalog, pg_temp;
    SET LOCAL quote_all_identifiers = off;
    SET LOCAL DateStyle = 'ISO, MDY';
    SET LOCAL IntervalStyle = 'postgres';
    SET LOCAL TimeZone = 'UTC';
    SET LOCAL extra_float_digits = 1;
    SET LOCAL bytea_output = 'hex';
    SET LOCAL xmloption = 'content';
    SET LOCAL lc_monetary = 'C';
    SET LOCAL row_security = off;
    SET LOCAL jit = off";

/// A transaction with pinned settings. It sees one state of the database: `REPEATABLE READ`, or,
/// as a savepoint inside a transaction of the caller's, what that transaction sees. The end of it
/// puts every setting back.
#[derive(Debug)]
pub(in crate::postgres) struct Pinned<'c>(Transaction<'c, Postgres>);

impl<'c> Pinned<'c> {
    /// Begins.
    pub(in crate::postgres) async fn begin(
        conn: &'c mut PgConnection,
    ) -> Result<Self, sqlx::Error> {
        let mut transaction = if conn.is_in_transaction() {
            conn.begin().await?
        } else {
            conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await?
        };
        sqlx::raw_sql(SETTINGS).execute(&mut *transaction).await?;
        Ok(Self(transaction))
    }

    /// The connection inside the transaction.
    pub(in crate::postgres) fn conn(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    /// Ends; there is nothing to keep.
    pub(in crate::postgres) async fn end(self) -> Result<(), sqlx::Error> {
        self.0.rollback().await
    }
}

/// The server's version as a number: 150018 is 15.18.
pub(in crate::postgres) async fn server_version_num(
    conn: &mut PgConnection,
) -> Result<u32, sqlx::Error> {
    let number: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int4")
        .persistent(false)
        .fetch_one(conn)
        .await?;
    Ok(number.unsigned_abs())
}

/// The server's major version: 15.
pub(in crate::postgres) async fn server_major(conn: &mut PgConnection) -> Result<u32, sqlx::Error> {
    Ok(server_version_num(conn).await? / 10_000)
}
