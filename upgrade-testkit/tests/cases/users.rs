//! Users of a case whose answer depends on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use upgrade_testkit::prelude::*;

/// The number of users who wait for the table.
const USERS: u32 = 4;

/// No request is lost, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(300);

/// Requests that read a table.
pub(crate) fn readers(table: &'static str) -> Traffic {
    let requests = validator_fn("rides are shown", move |cx: UpgradeContext| async move {
        let mut session = cx.connect().await?;
        run(&mut session, &format!("select count(*) from {table}")).await?;
        session.close().await?;
        Ok(Verdict::Pass)
    });
    Traffic::new(requests)
        .with_users(USERS)
        .with_slow_after(Duration::from_millis(500))
        .with_lost_after(PATIENCE)
}

/// A report that reads the table once, in a transaction that stays open until all [`readers`] wait
/// for the table, and then until they have waited for long.
pub(crate) fn long_report(table: &'static str) -> Traffic {
    let is_done = Arc::new(AtomicBool::new(false));
    let requests = validator_fn("reporting", move |cx: UpgradeContext| {
        let is_done = is_done.swap(true, Ordering::SeqCst);
        async move {
            if !is_done {
                report(&cx, table).await?;
            }
            Ok(Verdict::Pass)
        }
    });
    Traffic::new(requests)
        .with_users(1)
        .with_slow_after(PATIENCE)
        .with_lost_after(PATIENCE)
}

async fn report(cx: &UpgradeContext, table: &str) -> Result<()> {
    let options = cx.database()?.connect_options();
    let mut session = PgConnection::connect_with(&options.application_name("reporting")).await?;
    run(
        &mut session,
        &format!(
            "begin; lock table {table} in access share mode; \
             select pg_advisory_xact_lock(4711)"
        ),
    )
    .await?;
    let sql = format!("select count(*) from {table} where id > 4711");
    run(&mut session, &sql).await?;
    let mut other = cx.connect().await?;
    let waiting = "select count(*) from pg_locks where not granted and mode = 'AccessShareLock' \
         and database = (select oid from pg_database where datname = current_database())";
    let queue = async {
        while sqlx::query_scalar::<_, i64>(waiting)
            .fetch_one(&mut other)
            .await?
            < i64::from(USERS)
        {
            tokio::time::sleep(Duration::from_millis(10)).await; // poll
        }
        Ok::<_, sqlx::Error>(())
    };
    let queued = tokio::time::timeout(Duration::from_secs(60), queue).await;
    queued.expect("the users wait behind the migration")?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    run(&mut session, "commit").await?;
    session.close().await?;
    other.close().await?;
    Ok(())
}

async fn run(session: &mut PgConnection, sql: &str) -> Result<()> {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(session).await?;
    Ok(())
}
