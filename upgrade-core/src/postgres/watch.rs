//! Leftovers of a migration in sessions: locks, transactions, prepared statements that are broken.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor, FromRow as _};
use tokio::time::Instant;

use super::Observer;
use super::batch::each;
use super::database::Database;
use super::fingerprint::{TableName, Tables};
use super::sql::quote_ident;
use crate::error::{Error, ErrorKind, Result};
use crate::finding::Finding;

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
    select a.pid, coalesce(a.xact_start::text, ''), 'transaction',
        format('session %s (%s) is %s', a.pid, coalesce(a.application_name, ''), a.state)
    from pg_catalog.pg_stat_activity a
    where a.datname = pg_catalog.current_database() and a.state like 'idle in transaction%'
        and a.pid <> pg_catalog.pg_backend_pid()
    union all
    select 0, p.prepared::text, 'transaction',
        format('transaction %L is prepared, and neither committed nor rolled back', p.gid)
    from pg_catalog.pg_prepared_xacts p where p.database = pg_catalog.current_database()
    order by 3, 4";

/// How many sessions of other roles may not be looked at: the server hides what they do. Its own
/// processes have no role.
const HIDDEN: &str = "
    select count(*) from pg_catalog.pg_stat_activity a
    where a.datname = pg_catalog.current_database() and a.usesysid is not null
        and a.pid <> pg_catalog.pg_backend_pid() and a.query = '<insufficient privilege>'";

type Held = (i32, String, String, String);

/// A watch over the sessions of one database, from before a migration to its end.
pub(crate) struct Watch {
    /// A session as a service of the previous release has it: connected, its statements prepared,
    /// no transaction open.
    session: PgConnection,
    /// The tables that it can read by a prepared statement, by the number of the statement.
    prepared: BTreeMap<usize, String>,
    before: BTreeSet<Held>,
}

impl Watch {
    /// Begins to watch the database of this session, which is at the watch's disposal until its
    /// end.
    pub(crate) async fn begin(mut session: PgConnection, observer: &Observer) -> Result<Self> {
        // What fails here on purpose is not for the log; only a superuser may say so.
        let _ = session.execute("set log_min_messages = 'fatal'").await;
        // A table that stays locked is reported, not waited for.
        let before = held(&mut session, "set lock_timeout = '1s'").await?;
        let tables = Tables::readable(&mut session, observer.scope())
            .await
            .map_err(|source| {
                Error::new(ErrorKind::Database, "the tables could not be read").with_source(source)
            })?;
        let tables: Vec<TableName> = tables.into_iter().take(TABLES).collect();
        // No row is read: what matters is the plan.
        let failed = each(&mut session, tables.len(), |number| {
            let table = tables[number].to_sql();
            format!("prepare \"upgrade {number}\" as select * from only {table} limit 0")
        });
        let failed = failed.await?;
        // A table that may not be read is none that a service reads.
        let prepared = tables.iter().enumerate();
        let prepared = prepared.filter(|(number, _)| !failed.contains_key(number));
        Ok(Self {
            prepared: prepared
                .map(|(number, table)| (number, table.to_string()))
                .collect(),
            session,
            before,
        })
    }

    /// The leftovers since the beginning, and a session in the database for whoever comes next.
    pub(crate) async fn end(mut self, live: &Database) -> Result<(Vec<Finding>, PgConnection)> {
        let mut findings = Vec::new();
        let (mut session, mut now) = match self.broken().await {
            Ok((broken, now)) => {
                findings.extend(broken);
                (self.session, now)
            }
            // The migration, or what it was rehearsed with, has ended this session.
            Err(_) => {
                let mut session = live.connect().await?;
                let now = held(&mut session, "").await?;
                (session, now)
            }
        };
        let deadline = Instant::now() + A_MOMENT;
        // What is taken from now on is of others, who go on with their work.
        let mut left: Vec<Held> = now.difference(&self.before).cloned().collect();
        while !left.is_empty() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await; // poll
            now = held(&mut session, "").await?;
            left.retain(|one| now.contains(one));
        }
        let hidden: i64 = sqlx::query_scalar(HIDDEN).fetch_one(&mut session).await?;
        if hidden > 0 {
            let role = live.connect_options().get_username().to_owned();
            findings.push(
                Finding::note(
                    "session/not-seen",
                    format!("database {}", live.name()),
                    format!(
                        "whether {hidden} sessions of other roles have a transaction open cannot \
                         be told: `{role}` may not see what they do"
                    ),
                )
                .with_help(format!("grant pg_read_all_stats to {}", quote_ident(&role))),
            );
        }
        findings.extend(left.into_iter().map(|(_, _, what, said)| {
            let subject = format!("database {}", live.name());
            if what == "lock" {
                Finding::error("session/lock-leaked", subject, said)
            } else {
                Finding::error("session/transaction-open", subject, said)
            }
        }));
        Ok((findings, session))
    }

    /// The tables whose prepared statement fails now, and what sessions hold. Nothing of the watch
    /// stays in its session but what that may write to the log.
    async fn broken(&mut self) -> Result<(Vec<Finding>, BTreeSet<Held>), sqlx::Error> {
        let numbers: Vec<usize> = self.prepared.keys().copied().collect();
        let failed = each(&mut self.session, numbers.len(), |n| {
            format!("execute \"upgrade {}\"", numbers[n])
        });
        let failed = failed.await?;
        let reset = numbers
            .iter()
            .fold("reset lock_timeout".to_owned(), |sql, n| {
                format!("{sql}; deallocate \"upgrade {n}\"")
            });
        let held = held(&mut self.session, &reset).await?;
        let changed = failed
            .into_iter()
            .filter(|(_, error)| error.code().as_deref() == Some(RESULT_CHANGED));
        let findings = changed
            .map(|(n, error)| {
                Finding::note(
                    "statement/prepared-fails",
                    format!("table {}", self.prepared[&numbers[n]]),
                    format!(
                        "`select *` that was prepared before fails now: {}",
                        error.message()
                    ),
                )
            })
            .collect();
        Ok((findings, held))
    }
}

/// What sessions hold, after these statements; all in one message.
async fn held(session: &mut PgConnection, first: &str) -> Result<BTreeSet<Held>, sqlx::Error> {
    let sql = format!("{first};{HELD}");
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(session).await?;
    rows.iter().map(Held::from_row).collect()
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("prepared", &self.prepared.len())
            .finish_non_exhaustive()
    }
}
