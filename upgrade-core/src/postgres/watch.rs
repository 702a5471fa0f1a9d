//! What a migration leaves behind in sessions: locks, transactions, statements that were prepared.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::time::Instant;

use super::Observer;
use super::database::{Database, close};
use super::fingerprint::Tables;
use super::sql::quote_ident;
use crate::error::{Error, ErrorKind, Result};
use crate::validator::Finding;

/// A session that has ended is on the server's list a moment longer.
const A_MOMENT: Duration = Duration::from_millis(500);

/// For how many tables statements are prepared, the first by name.
const TABLES: usize = 100;

/// What the server answers when the result of a prepared statement has other columns.
const RESULT_CHANGED: &str = "0A000";

/// What sessions of a database hold: who, since when, what. Not this one, nor the server's own.
const HELD: &str = "
    select a.pid, coalesce(a.backend_start::text, ''), 'lock',
        format('session %s (%s) holds advisory lock %s', a.pid, coalesce(a.application_name, ''),
            case l.objsubid when 1 then ((l.classid::int8 << 32) | l.objid::int8)::text
                else l.classid || ', ' || l.objid end)
    from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.granted and a.datname = pg_catalog.current_database()
        and l.pid <> pg_catalog.pg_backend_pid()
    union all
    select a.pid, coalesce(a.backend_start::text, ''), 'transaction',
        format('session %s (%s) is %s', a.pid, coalesce(a.application_name, ''), a.state)
    from pg_catalog.pg_stat_activity a
    where a.datname = pg_catalog.current_database() and a.state like 'idle in transaction%'
        and a.pid <> pg_catalog.pg_backend_pid()
    union all
    select 0, p.prepared::text, 'transaction',
        format('transaction %L is prepared, and neither committed nor rolled back', p.gid)
    from pg_catalog.pg_prepared_xacts p where p.database = pg_catalog.current_database()
    order by 3, 4";

type Held = (i32, String, String, String);

/// A watch over the sessions of one database, from before a migration to its end.
pub(crate) struct Watch {
    /// A session as a service of the previous release has it: connected, its statements prepared,
    /// no transaction open.
    session: PgConnection,
    /// The tables that it can read by a prepared statement: name, and number of the statement.
    prepared: Vec<String>,
    before: BTreeSet<Held>,
}

impl Watch {
    pub(crate) async fn begin(live: &Database, observer: &Observer) -> Result<Self> {
        let mut session = live.connect().await?;
        // What is left locked is to be told, not waited for.
        session.execute("set lock_timeout = '1s'").await?;
        // What fails here on purpose is not for the log; only a superuser may say so.
        let _ = session.execute("set log_min_messages = 'fatal'").await;
        let before = held(&mut session).await?;
        let tables = Tables::read(&mut session, observer.scope())
            .await
            .map_err(|source| {
                Error::new(ErrorKind::Database, "the tables could not be read").with_source(source)
            })?;
        let mut prepared = Vec::new();
        for name in tables.tables.keys().take(TABLES) {
            let table = format!("{}.{}", quote_ident(&name.schema), quote_ident(&name.name));
            // No row is read: what matters is the plan.
            let sql = format!(
                "prepare \"upgrade {}\" as select * from only {table} limit 0",
                prepared.len()
            );
            // A table that may not be read is none that a service reads.
            if session.execute(AssertSqlSafe(sql)).await.is_ok() {
                prepared.push(name.to_string());
            }
        }
        Ok(Self {
            session,
            prepared,
            before,
        })
    }

    pub(crate) async fn end(mut self, live: &Database) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        if self.session.ping().await.is_ok() {
            for (number, table) in self.prepared.iter().enumerate() {
                let sql = format!("execute \"upgrade {number}\"");
                let Err(error) = self.session.execute(AssertSqlSafe(sql)).await else {
                    continue;
                };
                let Some(error) = error.as_database_error() else {
                    continue;
                };
                if error.code().as_deref() == Some(RESULT_CHANGED) {
                    findings.push(Finding::note(
                        "prepared-statement-broken",
                        format!("table {table}"),
                        format!(
                            "`select *` that was prepared before fails now: {}",
                            error.message()
                        ),
                    ));
                }
            }
        }
        close(self.session).await;
        let mut session = live.connect().await?;
        let deadline = Instant::now() + A_MOMENT;
        let left = loop {
            let now = held(&mut session).await?;
            let left: Vec<Held> = now.difference(&self.before).cloned().collect();
            if left.is_empty() || Instant::now() >= deadline {
                break left;
            }
            tokio::time::sleep(Duration::from_millis(10)).await; // poll
        };
        close(session).await;
        findings.extend(left.into_iter().map(|(_, _, what, said)| {
            let subject = format!("database {}", live.name());
            if what == "lock" {
                Finding::error("advisory-lock-leaked", subject, said)
            } else {
                Finding::error("transaction-left-open", subject, said)
            }
        }));
        Ok(findings)
    }
}

async fn held(session: &mut PgConnection) -> Result<BTreeSet<Held>> {
    let held: Vec<Held> = sqlx::query_as(HELD).fetch_all(session).await?;
    Ok(held.into_iter().collect())
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("prepared", &self.prepared.len())
            .finish_non_exhaustive()
    }
}
