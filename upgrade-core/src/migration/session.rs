//! A migration's session: one connection, stopped on the server when its time is over.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgDatabaseError, PgErrorPosition};
use sqlx::{Connection, Executor, Row as _};
use tokio::time::Instant;
use tracing::Instrument;

use super::MigrationId;
use super::record::ToolRecord;
use super::waits::{Holders, is_lock_timeout};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::outcome::Outcome;
use crate::postgres::Database;
use crate::postgres::database::{NAME_LIMIT, close};
use crate::postgres::sql;

/// The advisory lock that keeps two runs from migrating one database at the same time: the first
/// eight bytes of the BLAKE3 hash of `upgrade migrations`.
fn lock_key() -> i64 {
    let hash = blake3::hash(b"upgrade migrations");
    i64::from_le_bytes(
        hash.as_bytes()[..8]
            .try_into()
            .expect("a hash has 32 bytes"),
    )
}

/// Opens a session for a migration, does the work in it, and closes it.
///
/// Only one session of this library works on a database at a time, and under the lock of the tool
/// whose record it keeps, so that a service that migrates when it starts waits. When the deadline
/// passes or the run is cancelled, the session is terminated on the server, so that nothing goes
/// on there that nobody waits for.
pub(super) async fn in_session<T>(
    cx: &UpgradeContext,
    id: &MigrationId,
    record: Option<&ToolRecord>,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    let database = cx.database()?;
    let mut session = cx.bounded("connect", session(cx, id, &database)).await??;
    let doing = format!("migration {id}");
    let holders = Holders::default();
    let span = tracing::info_span!("migration", id = %id, pid = tracing::field::Empty);
    let locked = async {
        let pid = lock(&mut session, record).await?;
        tracing::Span::current().record("pid", pid);
        database.verify(&mut session).await?;
        let done = match cx.lock_timeout() {
            None => work(&mut session).await,
            Some(_) => tokio::select! {
                done = work(&mut session) => done,
                () = holders.report(cx, &database, pid) => Err(Error::new(
                    ErrorKind::Cancelled,
                    format!("`{doing}` was cancelled"),
                )),
            },
        };
        // Who looks next need not wait until the server has noticed that the session is closed.
        unlock(&mut session).await;
        done
    };
    let done = cx.bounded(&doing, locked.instrument(span)).await;
    let result = done.unwrap_or_else(Err);
    let late = |error: &Error| matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Cancelled);
    if result.as_ref().is_err_and(late) {
        drop(session);
        stop(&database, &application(cx, id)).await;
    } else {
        // Closing ends the session and with it the lock, whatever the work has left.
        close(session).await;
    }
    result.map_err(|error| {
        let waited = cx.lock_timeout().is_some()
            && (is_lock_timeout(&error) || error.kind() == ErrorKind::Timeout);
        let error = error.with_context("migration", id);
        match waited {
            true => error.with_hint(format!(
                "what it waited for was held by {holders}: wait for the end of that transaction or end it, \
                 then try again"
            )),
            false => error,
        }
    })
}

/// Whether what an act came to says that the migration is bad: the server or the command refuses
/// it, or the one that is applied is another.
pub(super) fn judged(result: Result<Outcome>) -> Result<Outcome> {
    Outcome::judged(result, &[ErrorKind::Migration, ErrorKind::Divergent])
}

async fn session(
    cx: &UpgradeContext,
    id: &MigrationId,
    database: &Database,
) -> Result<PgConnection> {
    let options = database
        .connect_options()
        .application_name(&application(cx, id));
    PgConnection::connect_with(&options)
        .await
        .map_err(|source| {
            Error::new(
                ErrorKind::Unavailable,
                format!("no connection to database `{}`", database.name()),
            )
            .with_source(source)
        })
}

/// Waits until no other session of this library works on the database, and then until the tool of
/// the record does not. Answers with the number of the server process.
async fn lock(session: &mut PgConnection, record: Option<&ToolRecord>) -> Result<i32> {
    let pid = wait_for(session, lock_key()).await?;
    if let Some(record) = record
        && let Some(key) = record.lock_key(session).await.map_err(|source| {
            Error::new(
                ErrorKind::Database,
                "the lock of the migration tool is unknown",
            )
            .with_source(source)
        })?
    {
        wait_for(session, key).await?;
    }
    Ok(pid)
}

/// Takes an advisory lock as soon as it is free. A statement that waits on the server would hold a
/// snapshot during its wait, and `create index concurrently` of another session waits for that
/// snapshot.
async fn wait_for(session: &mut PgConnection, key: i64) -> Result<i32> {
    // A text needs one round trip, a statement that is prepared for one use two.
    let sql = format!("select pg_catalog.pg_try_advisory_lock({key}), pg_catalog.pg_backend_pid()");
    loop {
        let ask = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.as_str()));
        let answer = ask.fetch_one(&mut *session).await?;
        if answer.try_get(0)? {
            return Ok(answer.try_get(1)?);
        }
        tokio::time::sleep(Duration::from_millis(50)).await; // poll, within the deadline
    }
}

/// Gives the locks up. Where that fails, in a broken session, closing it does.
async fn unlock(session: &mut PgConnection) {
    if let Err(error) = execute(session, "select pg_catalog.pg_advisory_unlock_all()").await {
        tracing::debug!(%error, "the lock of migrations ends with its session");
    }
}

/// The name under which the sessions of a migration are known to the server: those of this
/// library, and those of commands, which get it in `PGAPPNAME`.
pub(super) fn application(cx: &UpgradeContext, id: &MigrationId) -> String {
    let name = format!("{}{id}", cx.run_id().session_prefix());
    // The server keeps no more of it.
    name.chars()
        .filter(char::is_ascii)
        .take(NAME_LIMIT)
        .collect()
}

/// Terminates the sessions of a migration on the server, and waits a moment until they have ended:
/// a session whose client is killed goes on until its statement ends.
async fn stop(database: &Database, application: &str) {
    let sql = "select count(pg_catalog.pg_terminate_backend(pid)) from pg_catalog.pg_stat_activity \
         where pid <> pg_catalog.pg_backend_pid() and datname = $1 and application_name = $2";
    let stopping = async {
        let mut admin = database.connect_maintenance().await?;
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let left: i64 = sqlx::query_scalar(sql)
                .bind(database.name())
                .bind(application)
                .fetch_one(&mut admin)
                .await?;
            if left == 0 || Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await; // poll
        }
        close(admin).await;
        Ok::<_, Error>(())
    };
    if let Err(error) = stopping.await {
        tracing::warn!(?error, "a session that is out of time may still be running");
    }
}

/// Runs one text by the simple protocol, as every migration tool does.
pub(super) async fn execute(session: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    session
        .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql)))
        .await
        .map(drop)
}

/// A text that was sent, and where it stands in its file.
pub(super) struct Sent<'a> {
    pub(super) text: &'a str,
    /// The line at which the text begins.
    pub(super) begins: usize,
    /// The line of its first word, for errors without a position.
    pub(super) line: usize,
}

/// An error of a statement as a person wants it: the file, the line, what the server said.
pub(super) fn failed(
    id: &MigrationId,
    doing: &str,
    path: &str,
    sent: Sent<'_>,
    source: sqlx::Error,
) -> Error {
    let mut at = sent.line;
    if let sqlx::Error::Database(error) = &source
        && let Some(error) = error.try_downcast_ref::<PgDatabaseError>()
        && let Some(PgErrorPosition::Original(position)) = error.position()
    {
        at = sent.begins + sql::line_of(sent.text, position) - 1;
    }
    let message = format!("migration `{id}` failed to {doing} at {path}:{at}");
    Error::new(ErrorKind::Migration, message).with_source(source)
}
