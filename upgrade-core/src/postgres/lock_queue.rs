//! Who waits for whom while a migration runs: the queue at a lock, and the session at its head.
//!
//! An `alter table` that has to wait for a long reader stops everybody who comes after it, although
//! it does nothing itself; one that works for long under its lock does the same. Requests of users
//! show only that they were slow. A [`LockQueue`] observes the cause.
//!
//! It takes no lock on anything of a user, and waits for none.

mod queue;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use self::queue::{Sample, Seen};
use super::database::{Database, close};
use super::sql::quote_literal;
use crate::event::millis;
use crate::finding::Finding;
use crate::ids::RunId;

/// How long a migration runs before anything is observed: shorter ones cost nothing.
const SHORT: Duration = Duration::from_millis(100);

/// The time from one observation to the next.
const EVERY: Duration = Duration::from_millis(25);

/// The time before a lost session is reopened.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How long a connection, an observation, and the end of the last one may take.
const WITHIN: Duration = Duration::from_secs(2);

/// The name of the sampler's session on the server.
const APPLICATION: &str = "upgrade lock queue";

/// Everyone in this database who waits for a lock, with those whom they wait for, and the sessions
/// of the migration. `$APPLICATION` is what their names begin with.
///
/// `pg_blocking_pids` holds up the lock manager for a moment, so only those who wait are looked up.
/// Servers before version 14 do not have `waitstart`.
const SAMPLE: &str = "
    with waits as (
        select l.pid, l.locktype, l.mode, l.database,
            coalesce(l.relation, (select t.relation from pg_catalog.pg_locks t
                where t.pid = l.pid and t.locktype = 'tuple' and t.granted limit 1)) as relation,
            (pg_catalog.to_jsonb(l) ->> 'waitstart')::timestamptz as since,
            pg_catalog.pg_blocking_pids(l.pid) as blockers
        from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a on a.pid = l.pid
        where not l.granted and a.datname = pg_catalog.current_database()
            and l.pid <> pg_catalog.pg_backend_pid()
    )
    select pg_catalog.json_build_object(
        'waits', (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'pid', w.pid, 'kind', w.locktype, 'mode', w.mode, 'blockers', w.blockers,
            'waited_ms', abs(extract(epoch from pg_catalog.clock_timestamp() - w.since) * 1000)::int8,
            'relation', (select pg_catalog.format('%s %I.%I',
                    case c.relkind when 'i' then 'index' when 'I' then 'index' when 'v' then 'view'
                        when 'm' then 'materialized view' when 'S' then 'sequence'
                        else 'table' end, n.nspname, c.relname)
                from pg_catalog.pg_class c
                join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                where c.oid = w.relation),
            'held', (select coalesce(pg_catalog.json_agg(
                    pg_catalog.json_build_array(h.pid, h.mode)), '[]')
                from pg_catalog.pg_locks h
                where h.granted and h.locktype = 'relation' and h.relation = w.relation
                    and h.database = w.database and h.pid = any(w.blockers)))), '[]')
            from waits w),
        'sessions', (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'pid', a.pid, 'application', coalesce(a.application_name, ''),
            'backend', a.backend_type, 'state', a.state, 'query', a.query,
            'transaction_ms', abs(extract(epoch from
                pg_catalog.clock_timestamp() - a.xact_start) * 1000)::int8)), '[]')
            from pg_catalog.pg_stat_activity a
            where a.pid in (select pid from waits)
                or a.pid in (select pg_catalog.unnest(blockers) from waits)
                or (a.datname = pg_catalog.current_database()
                    and pg_catalog.starts_with(a.application_name, $APPLICATION)))
    )::text";

/// Observes who waits for whom in a database, from the moment before a migration until its end.
pub(crate) struct LockQueue {
    stop: CancellationToken,
    seen: Arc<Mutex<Seen>>,
    /// Its end ends the task.
    task: JoinSet<()>,
}

impl LockQueue {
    /// Begins. Nothing is opened or observed before the migration has run for [`SHORT`].
    pub(crate) fn begin(live: &Database, run: &RunId) -> Self {
        let stop = CancellationToken::new();
        let seen = Arc::new(Mutex::new(Seen::new(run, live.name())));
        let mut task = JoinSet::new();
        task.spawn(observe(live.clone(), stop.clone(), Arc::clone(&seen)));
        Self { stop, seen, task }
    }

    /// Ends, and reports who waited. What could not be observed fails nothing.
    pub(crate) async fn end(mut self) -> Vec<Finding> {
        self.stop.cancel();
        if timeout(WITHIN, self.task.join_next()).await.is_err() {
            tracing::debug!("an observation of the lock queue did not end in time");
        }
        lock(&self.seen).findings()
    }
}

impl fmt::Debug for LockQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockQueue").finish_non_exhaustive()
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Observes until it is stopped. A lost session is reopened: its server may have been killed, its
/// database replaced.
async fn observe(live: Database, stop: CancellationToken, seen: Arc<Mutex<Seen>>) {
    let began = Instant::now();
    let application = quote_literal(&lock(&seen).prefix);
    let sample = SAMPLE.replace("$APPLICATION", &application);
    let mut pause = SHORT;
    while !stopped(&stop, pause).await {
        let opening = tokio::select! {
            () = stop.cancelled() => return,
            opened = timeout(WITHIN, open(&live)) => opened,
        };
        match opening {
            Ok(Ok(mut session)) => {
                loop {
                    match timeout(WITHIN, sampled(&mut session, &sample)).await {
                        Ok(Ok(now)) => lock(&seen).add(&now, millis(began.elapsed())),
                        // A limit of time; a server that shuts down ends the session next.
                        Ok(Err(sqlx::Error::Database(error))) => {
                            tracing::debug!(%error, "the lock queue could not be observed");
                        }
                        Ok(Err(_)) | Err(_) => break,
                    }
                    if stopped(&stop, EVERY).await {
                        return close(session).await;
                    }
                }
                drop(session);
            }
            Ok(Err(error)) => tracing::debug!(%error, "the lock queue could not be observed"),
            Err(_) => {}
        }
        pause = AGAIN_AFTER;
    }
}

/// Waits, and answers whether it was stopped.
async fn stopped(stop: &CancellationToken, pause: Duration) -> bool {
    timeout(pause, stop.cancelled()).await.is_ok()
}

async fn open(live: &Database) -> Result<PgConnection, sqlx::Error> {
    let options = live.connect_options().application_name(APPLICATION);
    let mut session = PgConnection::connect_with(&options).await?;
    session
        .execute("set lock_timeout = '50ms'; set statement_timeout = '1s'; set jit = off")
        .await?;
    // An observation that fails is not for the log; only a superuser may say so.
    let _ = session.execute("set log_min_messages = 'fatal'").await;
    Ok(session)
}

async fn sampled(session: &mut PgConnection, sql: &str) -> Result<Sample, sqlx::Error> {
    let row = session
        .fetch_one(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
        .await?;
    let text: String = row.try_get(0)?;
    serde_json::from_str(&text).map_err(|error| sqlx::Error::Decode(error.into()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use sqlx::postgres::PgConnectOptions;

    use super::*;

    /// A server that accepts connections and never answers, and a database on it.
    fn mute() -> (TcpListener, Database) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = PgConnectOptions::new().host("127.0.0.1").port(port);
        (listener, Database::new(&options, "shop"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_migration_opens_no_session() {
        let (listener, live) = mute();
        let queue = LockQueue::begin(&live, &RunId::generate());
        tokio::time::sleep(SHORT / 2).await;
        assert_eq!(queue.end().await, []);
        let opened = listener.accept().map(drop);
        assert_eq!(
            opened.unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock,
            "a session was opened"
        );
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_waited_for_no_longer_than_the_migration() {
        let (listener, live) = mute();
        let queue = LockQueue::begin(&live, &RunId::generate());
        let mut opened = false;
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_millis(10)).await; // poll
            opened = listener.accept().is_ok();
            if opened {
                break;
            }
        }
        assert!(opened, "no session was opened");
        let ended = Instant::now();
        assert_eq!(queue.end().await, []);
        assert!(ended.elapsed() < WITHIN, "the connection was waited for");
    }
}
