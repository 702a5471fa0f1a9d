//! A migration that waits for a lock on a live system: briefly, again and again, and not in silence.
//!
//! Whoever comes after a statement that waits for a strong lock waits behind it. So a statement that does
//! not get its lock within a moment gives up, lets the others pass, and is tried again.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use crate::context::UpgradeContext;
use crate::error::{Error, Result};
use crate::event::{Event, LockHolder};
use crate::postgres::Database;
use crate::postgres::database::close;

/// How long the others may pass before the next attempt.
const PAUSE: Duration = Duration::from_millis(500);

/// How often the holders of the lock are looked for, and how often the same ones are reported.
const LOOKED_FOR: Duration = Duration::from_millis(250);
const REPORTED: Duration = Duration::from_secs(10);

/// Whether a statement did not get its lock in time.
pub(super) fn is_lock_timeout(error: &Error) -> bool {
    error.sqlstate() == Some("55P03")
}

/// Waits until the next attempt; false where there is no time for one.
pub(super) async fn pause(cx: &UpgradeContext) -> bool {
    let needed = PAUSE + cx.lock_timeout().unwrap_or_default();
    if cx.remaining().is_some_and(|remaining| remaining < needed) {
        return false;
    }
    tokio::time::sleep(PAUSE).await; // the time of the others
    true
}

/// Who has held what a migration waited for, last.
#[derive(Debug, Default)]
pub(super) struct Holders(Mutex<Vec<LockHolder>>);

impl Holders {
    /// Reports, until it is dropped, who holds what a session waits for.
    pub(super) async fn report(&self, cx: &UpgradeContext, database: &Database, pid: i32) {
        let Err(error) = self.watch(cx, database, pid).await else {
            return;
        };
        // The migration itself needs nothing of it.
        tracing::warn!(?error, "who holds a lock is not reported");
        std::future::pending().await
    }

    async fn watch(&self, cx: &UpgradeContext, database: &Database, pid: i32) -> Result<()> {
        // A migration that waits for nothing needs no second session.
        tokio::time::sleep(LOOKED_FOR).await;
        let mut session = database.connect().await?;
        let mut reported: Option<(Instant, Vec<i32>)> = None;
        loop {
            let holders = holders(&mut session, pid)
                .await
                .map_err(|source| database.failed("look for locks in", source))?;
            if !holders.is_empty() {
                let pids: Vec<i32> = holders.iter().map(|holder| holder.pid).collect();
                let known = reported
                    .as_ref()
                    .is_some_and(|(at, known)| *known == pids && at.elapsed() < REPORTED);
                if !known {
                    cx.emit(Event::LockAwaited {
                        holders: holders.clone(),
                    });
                    reported = Some((Instant::now(), pids));
                }
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = holders;
            }
            if cx.cancellation().is_cancelled() {
                close(session).await;
                return Ok(());
            }
            tokio::time::sleep(LOOKED_FOR).await; // poll
        }
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.is_empty() {
            return f.write_str("nobody that could be seen");
        }
        let all: Vec<String> = holders.iter().map(ToString::to_string).collect();
        f.write_str(&all.join("; "))
    }
}

/// The sessions that a session waits for. What the role may not see of them is left out.
async fn holders(session: &mut PgConnection, pid: i32) -> Result<Vec<LockHolder>, sqlx::Error> {
    type Row = (
        i32,
        Option<String>,
        Option<String>,
        Option<String>,
        Option<i64>,
    );
    let rows: Vec<Row> = sqlx::query_as(
        "select a.pid, a.usename::text, nullif(a.application_name, ''), a.state, \
             extract(epoch from clock_timestamp() - a.xact_start)::int8 \
         from pg_catalog.pg_stat_activity a \
         where a.pid = any (pg_catalog.pg_blocking_pids($1)) order by a.pid",
    )
    .bind(pid)
    .fetch_all(session)
    .await?;
    let holders = rows
        .into_iter()
        .map(|(pid, role, application, state, seconds)| LockHolder {
            pid,
            role,
            application,
            state,
            in_transaction_s: seconds.and_then(|seconds| u64::try_from(seconds).ok()),
        });
    Ok(holders.collect())
}
