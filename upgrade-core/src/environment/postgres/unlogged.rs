//! What a copy of a server's files does not have: the rows of unlogged tables, and where unlogged sequences stand.

use futures_util::TryStreamExt as _;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Database;
use crate::postgres::database::close;

/// Unlogged tables with the columns that can be written, then sequences.
const UNLOGGED: &str = "
    select pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind = 'S',
        coalesce((select ' (' || pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' order by a.attnum) || ')'
            from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''), '')
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relpersistence = 'u' and c.relkind in ('r', 'S')
    order by 2, 1";

/// Brings them from a database to a copy of it, where they are empty. No trigger runs.
pub(super) async fn copy(from: &Database, to: &Database) -> Result<()> {
    let mut source = from.connect().await?;
    let mut target = to.connect().await?;
    let copied = between(&mut source, &mut target).await;
    close(source).await;
    close(target).await;
    copied.map_err(|error| {
        let message = format!(
            "the unlogged tables of database `{}` could not be copied",
            from.name()
        );
        Error::new(ErrorKind::Database, message).with_source(error)
    })
}

async fn between(source: &mut PgConnection, target: &mut PgConnection) -> sqlx::Result<()> {
    let all: Vec<(String, bool, String)> = sqlx::query_as(UNLOGGED).fetch_all(&mut *source).await?;
    target
        .execute("set session_replication_role = replica")
        .await?;
    for (name, is_sequence, columns) in all {
        if is_sequence {
            let sql = format!("select last_value, is_called from {name}");
            let stands = sqlx::query(AssertSqlSafe(sql))
                .fetch_one(&mut *source)
                .await?;
            sqlx::query("select pg_catalog.setval($1::text::regclass, $2, $3)")
                .bind(&name)
                .bind(stands.try_get::<i64, _>(0)?)
                .bind(stands.try_get::<bool, _>(1)?)
                .execute(&mut *target)
                .await?;
            continue;
        }
        let out = format!("copy {name}{columns} to stdout (format binary)");
        let back = format!("copy {name}{columns} from stdin (format binary)");
        let mut rows = source.copy_out_raw(&out).await?;
        let mut sink = target.copy_in_raw(&back).await?;
        while let Some(part) = rows.try_next().await? {
            sink.send(part).await?;
        }
        sink.finish().await?;
    }
    Ok(())
}
