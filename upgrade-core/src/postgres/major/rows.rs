//! Rows and sequences, streamed from one server to the other.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Database;
use crate::postgres::database::close;
use crate::postgres::sql::quote_literal;

/// Pins what changes how values print, on both sides; a value may also name a table or a role.
const PINNED: &str = "set statement_timeout = 0; set lock_timeout = 0; \
    set idle_in_transaction_session_timeout = 0; set row_security = off; \
    set datestyle = 'ISO'; set intervalstyle = 'postgres'; set extra_float_digits = 3; \
    set bytea_output = 'hex'; set xmloption = 'content'; set search_path = pg_catalog";

/// Every table that stores rows itself, the largest first, with the columns that can be written. Of
/// an extension's tables only those, and only the rows, that it declares to be the user's.
const TABLES: &str = "\
select format('%I.%I', n.nspname, c.relname), \
    (select ' (' || string_agg(quote_ident(a.attname), ', ' order by a.attnum) || ')' \
        from pg_attribute a \
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''), \
    own.condition \
from pg_class c \
join pg_namespace n on n.oid = c.relnamespace \
left join lateral (select x.condition from pg_extension e \
    cross join unnest(e.extconfig, e.extcondition) as x(t, condition) where x.t = c.oid) own on true \
where c.relkind = $1::\"char\" and c.relpersistence <> 't' \
    and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' \
    and (own.condition is not null or not exists (select from pg_depend d \
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')) \
order by pg_relation_size(c.oid) desc, 1";

/// A table, as it is written in SQL.
struct Table {
    name: String,
    /// In parentheses; empty for a table without columns.
    columns: String,
    /// The rows that are the user's; empty for all.
    condition: String,
}

/// A session whose values read the same on every server, in the state of a snapshot.
pub(super) async fn reader(database: &Database, snapshot: Option<&str>) -> Result<PgConnection> {
    let mut session = pinned(database).await?;
    session
        .execute("begin isolation level repeatable read read only")
        .await?;
    if let Some(snapshot) = snapshot {
        let sql = format!("set transaction snapshot {}", quote_literal(snapshot));
        session.execute(AssertSqlSafe(sql)).await?;
    }
    Ok(session)
}

async fn pinned(database: &Database) -> Result<PgConnection> {
    let mut session = database.connect().await?;
    session.execute(sqlx::raw_sql(PINNED)).await?;
    Ok(session)
}

/// Copies the rows of all tables, `sessions` tables at the same time. Returns the number of rows
/// and of tables.
pub(super) async fn copy(
    from: &Database,
    snapshot: &str,
    to: &Database,
    sessions: usize,
) -> Result<(u64, usize)> {
    let mut session = reader(from, Some(snapshot)).await?;
    let tables = list(&mut session, "r").await?;
    close(session).await;
    let count = tables.len();
    let rows = stream::iter(tables)
        .map(|table| async move { copy_table(from, snapshot, to, &table).await })
        .buffer_unordered(sessions)
        .try_fold(0, |sum, rows| async move { Ok(sum + rows) })
        .await?;
    Ok((rows, count))
}

/// Puts the sequences where they stand on the old server.
pub(super) async fn copy_sequences(from: &Database, snapshot: &str, to: &Database) -> Result<()> {
    let mut source = reader(from, Some(snapshot)).await?;
    let mut target = to.connect().await?;
    for sequence in list(&mut source, "S").await? {
        let name = sequence.name;
        let sql = format!("select last_value, is_called from {name}");
        let row = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .fetch_one(&mut source)
            .await?;
        sqlx::query("select setval($1::text::regclass, $2, $3)")
            .bind(&name)
            .bind(row.try_get::<i64, _>(0)?)
            .bind(row.try_get::<bool, _>(1)?)
            .execute(&mut target)
            .await?;
    }
    close(source).await;
    close(target).await;
    Ok(())
}

async fn list(session: &mut PgConnection, kind: &str) -> Result<Vec<Table>> {
    let found: Vec<(String, Option<String>, Option<String>)> =
        sqlx::query_as(TABLES).bind(kind).fetch_all(session).await?;
    let tables = found.into_iter().map(|(name, columns, condition)| Table {
        name,
        columns: columns.unwrap_or_default(),
        condition: condition.unwrap_or_default(),
    });
    Ok(tables.collect())
}

async fn copy_table(from: &Database, snapshot: &str, to: &Database, table: &Table) -> Result<u64> {
    let failed = |source: sqlx::Error| {
        Error::new(
            ErrorKind::Database,
            format!("the rows of table `{}` could not be copied", table.name),
        )
        .with_source(source)
    };
    let mut source = reader(from, Some(snapshot)).await?;
    let mut target = pinned(to).await?;
    // The bytes pass as they are, also those of an encoding that says nothing about them.
    let encoding: String = sqlx::query_scalar("show server_encoding")
        .fetch_one(&mut source)
        .await?;
    for session in [&mut source, &mut target] {
        let sql = format!("set client_encoding = {}", quote_literal(&encoding));
        session.execute(AssertSqlSafe(sql)).await?;
    }
    let Table {
        name,
        columns,
        condition,
    } = table;
    let rows = async {
        let picked = columns
            .trim_start_matches(" (")
            .strip_suffix(')')
            .unwrap_or_default();
        let out = match condition.is_empty() {
            true => format!("copy {name}{columns} to stdout"),
            false => format!("copy (select {picked} from only {name} {condition}) to stdout"),
        };
        let mut stream = source.copy_out_raw(&out).await?;
        let mut sink = target
            .copy_in_raw(&format!("copy {name}{columns} from stdin"))
            .await?;
        while let Some(part) = stream.try_next().await? {
            sink.send(part).await?;
        }
        sink.finish().await
    }
    .await
    .map_err(failed)?;
    source.close().await.map_err(failed)?;
    close(target).await;
    Ok(rows)
}
