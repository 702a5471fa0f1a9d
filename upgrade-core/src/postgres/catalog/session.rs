//! A read-only transaction in which the same value always prints as the same text.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};

use super::{CatalogError, CatalogScope, ScopeOids};

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
    SET LOCAL jit = off;";

/// For the queries of a catalog, whose joins stand in the order in which they are best made: planning
/// them takes longer than running them, and a new session plans them again.
const LISTING: &str = "
    SET LOCAL plan_cache_mode = force_generic_plan;
    SET LOCAL join_collapse_limit = 1;
    SET LOCAL from_collapse_limit = 1;
    SET LOCAL max_parallel_workers_per_gather = 0";

/// A superuser goes on as a role that may read everything and do nothing else: what a value, an index or a
/// generated column computes in a function of the user's then runs with no more rights than that.
/// Where a table has row security, or where there are user mappings, only the role that is there
/// already sees all of it.
const READER: &str = "
    SELECT set_config('role', 'pg_read_all_data', true)
    FROM pg_roles
    WHERE rolname = current_user AND rolsuper
        AND NOT EXISTS (SELECT FROM pg_class WHERE relrowsecurity)
        AND NOT EXISTS (SELECT FROM pg_user_mappings)";

/// At most this number of relations that a query excludes are compared one by one.
const FEW: usize = 100;

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
        Self::begin_with(conn, SETTINGS).await
    }

    async fn begin_with(conn: &'c mut PgConnection, settings: &str) -> Result<Self, sqlx::Error> {
        if conn.is_in_transaction() {
            let mut transaction = conn.begin().await?;
            sqlx::raw_sql(AssertSqlSafe(format!("{settings}; {READER}")))
                .execute(&mut *transaction)
                .await?;
            return Ok(Self(transaction));
        }
        // One message, and so one round trip.
        let begin =
            format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {settings}; {READER}");
        Ok(Self(conn.begin_with(AssertSqlSafe(begin)).await?))
    }

    /// Begins a reading of a schema: the queries for it are planned once in a session, and not for
    /// the names that each of them is about.
    pub(in crate::postgres) async fn begin_listing(
        conn: &'c mut PgConnection,
        scope: &CatalogScope,
    ) -> Result<(Self, ScopeOids), CatalogError> {
        let failed = |source| CatalogError::Query {
            what: "settings",
            source,
        };
        let settings = format!("{SETTINGS}; {LISTING}");
        let mut session = Self::begin_with(conn, &settings).await.map_err(failed)?;
        let oids = ScopeOids::resolve(session.conn(), scope).await?;
        // Where much is hidden a plan that knows the list looks names up in a hash table.
        if oids.hidden.len() > FEW {
            sqlx::raw_sql("SET LOCAL plan_cache_mode = auto")
                .execute(session.conn())
                .await
                .map_err(failed)?;
        }
        Ok((session, oids))
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
    // The server tells it when a session begins; what stands between may not.
    if let Some(number) = conn.server_version_num() {
        return Ok(number);
    }
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
