//! One operation at a time on a database.
//!
//! The lock is two advisory locks in the maintenance database, so that it does not depend on the
//! database itself, which may be renamed, replaced or cleared of sessions: one for the name, one
//! for the oid. It is held by one session, whose `application_name` names the run.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use super::{Database, close, known};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::RunId;

/// How long the lock may be taken before it is refused: a session whose client has ended ends
/// within a moment.
const PATIENCE: Duration = Duration::from_millis(500);

/// The lock of an operation on a database, held until [`Operation::release`] or until its session
/// ends.
pub(crate) struct Operation {
    target: String,
    run: RunId,
    system: String,
    oid: AtomicI64,
    session: Arc<Mutex<Option<PgConnection>>>,
}

impl Operation {
    async fn begin(database: &Database, run: &RunId) -> Result<Self> {
        let maintenance = database.maintenance();
        let mut named = maintenance.clone();
        named.server = named
            .server
            .application_name(&format!("upgrade operation {run}"));
        let mut session = named.connect().await?;
        let failed = |source| database.failed("lock", source);
        // An idle session is this lock's whole purpose.
        sqlx::query(
            "select pg_catalog.set_config(name, '0', false) from pg_catalog.pg_settings \
             where name in ('idle_session_timeout', 'statement_timeout')",
        )
        .execute(&mut session)
        .await
        .map_err(failed)?;
        let (system, oid) = identity(database, &mut session).await?;
        let Some(oid) = oid else {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("database `{}` does not exist", database.name),
            ));
        };
        let deadline = Instant::now() + PATIENCE;
        while !take(&mut session, &keys(&database.name, oid))
            .await
            .map_err(failed)?
        {
            if Instant::now() >= deadline {
                let error = refused(database, oid, &mut session).await;
                close(session).await;
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // poll
        }
        let this = Self {
            target: database.name.clone(),
            run: run.clone(),
            system,
            oid: AtomicI64::new(oid),
            session: Arc::new(Mutex::new(Some(session))),
        };
        // A pooler that hands the server's session on after each transaction cannot hold it.
        this.held().await?;
        Ok(this)
    }

    /// The run that holds the lock.
    pub(crate) fn run(&self) -> &RunId {
        &self.run
    }

    /// The session that holds the lock, for an act that must not be done without it.
    pub(crate) async fn session(&self) -> Result<OwnedMutexGuard<Option<PgConnection>>> {
        let session = Arc::clone(&self.session).lock_owned().await;
        match *session {
            Some(_) => Ok(session),
            None => Err(self.lost()),
        }
    }

    /// Refuses unless the lock is still held.
    pub(crate) async fn held(&self) -> Result<()> {
        let keys = keys(&self.target, self.oid.load(Ordering::SeqCst));
        let mut session = self.session().await?;
        let Some(session) = session.as_mut() else {
            return Err(self.lost());
        };
        let held: i64 = sqlx::query_scalar(
            "select count(distinct key) from ( \
                 select (classid::int8 << 32) | objid::int8 as key from pg_catalog.pg_locks \
                 where locktype = 'advisory' and objsubid = 1 and granted \
                   and pid = pg_catalog.pg_backend_pid() \
             ) held where key = any ($1)",
        )
        .bind(keys.as_slice())
        .fetch_one(session)
        .await
        .map_err(|source| self.lost().with_source(source))?;
        match usize::try_from(held) {
            Ok(held) if held == keys.len() => Ok(()),
            _ => Err(self.lost()),
        }
    }

    /// Refuses unless the lock is held, the session leads to the server on which it was taken, and
    /// the target, if the database is it, is still the same database.
    pub(super) async fn verify(
        &self,
        database: &Database,
        session: &mut PgConnection,
    ) -> Result<()> {
        self.held().await?;
        let (system, oid) = identity(database, session).await?;
        if system != self.system {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "the address of database `{}` leads to another cluster now, and nothing is done to it",
                    self.target
                ),
            )
            .with_context("system identifier of this operation", &self.system)
            .with_context("system identifier now", system)
            .with_hint("was there a failover, or a change of DNS? Look which server is in use, and start again"));
        }
        let ours = self.oid.load(Ordering::SeqCst);
        if database.name == self.target && oid != Some(ours) {
            let now = oid.map_or_else(|| "none".to_owned(), |oid| oid.to_string());
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "database `{}` is not the one that this operation began with, and nothing is done to it",
                    self.target
                ),
            )
            .with_context("oid of this operation", ours)
            .with_context("oid now", now)
            .with_hint("somebody dropped, renamed or replaced it since then: check the databases of the server"));
        }
        Ok(())
    }

    /// Goes on with the database that has the target's name now, after this operation itself has
    /// put another one in its place.
    pub(super) async fn replaced(&self, database: &Database) -> Result<()> {
        let mut guard = self.session().await?;
        let Some(session) = guard.as_mut() else {
            return Err(self.lost());
        };
        let (_, oid) = identity(database, session).await?;
        if let Some(oid) = oid
            && oid != self.oid.load(Ordering::SeqCst)
        {
            // Nobody else has it: its name is locked.
            take(session, &keys(&self.target, oid)[1..])
                .await
                .map_err(|source| database.failed("lock", source))?;
            self.oid.store(oid, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Gives the lock up.
    pub(crate) async fn release(&self) {
        if let Some(session) = self.session.lock().await.take() {
            close(session).await;
        }
    }

    fn lost(&self) -> Error {
        Error::new(
            ErrorKind::Refused,
            format!(
                "the lock of this operation on database `{}` was lost, and nothing more is done to the database",
                self.target
            ),
        )
        .with_context("run", &self.run)
        .with_hint("its session on the server has ended, and another operation may have begun: look at the database, and start again")
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("target", &self.target)
            .field("run", &self.run.as_str())
            .finish_non_exhaustive()
    }
}

impl Database {
    /// The same database, with the lock of an operation on it: no other operation of this library
    /// begins on it, from whatever process, until [`Self::release`] is called or the session that
    /// holds the lock ends. Every act of this value and of its copies that renames, drops, reverts
    /// or ends sessions verifies first that the lock is held, that the server is the same, and
    /// that nobody has put another database in the place of this one.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] with the run, the process and the start of the operation that is
    /// under way; [`ErrorKind::NotFound`] when there is no such database;
    /// [`ErrorKind::Unavailable`] when the server does not answer.
    pub async fn locked_for(mut self, run: &RunId) -> Result<Self> {
        self.operation = Some(Arc::new(Operation::begin(&self, run).await?));
        Ok(self)
    }

    /// Gives up the lock that [`Self::locked_for`] has taken; without one it does nothing.
    pub async fn release(&self) {
        if let Some(operation) = &self.operation {
            operation.release().await;
        }
    }

    /// The lock under which this value works.
    pub(crate) fn operation(&self) -> Option<&Arc<Operation>> {
        self.operation.as_ref()
    }

    /// The same database under a lock that is held already.
    pub(crate) fn under(mut self, operation: Arc<Operation>) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Refuses where this value works under a lock and that is lost, or the database is another
    /// one. The session may be any on its server.
    pub(crate) async fn verify(&self, session: &mut PgConnection) -> Result<()> {
        match &self.operation {
            Some(operation) => operation.verify(self, session).await,
            None => Ok(()),
        }
    }

    /// After a copy has taken the place of this database: it is known as what its comment says, and
    /// no more as a copy.
    pub(crate) async fn is_no_copy(&self, admin: &mut PgConnection) -> Result<()> {
        known::forget(self, admin).await?;
        self.marker(admin).await.map(drop)
    }

    /// Tells the lock that this operation has put another database in the place of this one.
    pub(crate) async fn replaced(&self) -> Result<()> {
        match &self.operation {
            Some(operation) => operation.replaced(self).await,
            None => Ok(()),
        }
    }
}

/// The keys of the lock: of the name, and of the oid.
fn keys(name: &str, oid: i64) -> [i64; 2] {
    [
        format!("upgrade operation on the database named {name}"),
        format!("upgrade operation on the database with oid {oid}"),
    ]
    .map(|text| {
        let hash = blake3::hash(text.as_bytes());
        i64::from_le_bytes(
            hash.as_bytes()[..8]
                .try_into()
                .expect("a hash has 32 bytes"),
        )
    })
}

/// Takes all of these locks or none.
async fn take(session: &mut PgConnection, keys: &[i64]) -> Result<bool, sqlx::Error> {
    for (taken, key) in keys.iter().enumerate() {
        let free: bool = sqlx::query_scalar("select pg_catalog.pg_try_advisory_lock($1)")
            .bind(key)
            .fetch_one(&mut *session)
            .await?;
        if !free {
            for key in &keys[..taken] {
                sqlx::query("select pg_catalog.pg_advisory_unlock($1)")
                    .bind(key)
                    .execute(&mut *session)
                    .await?;
            }
            return Ok(false);
        }
    }
    Ok(true)
}

/// What tells a cluster from every other one, and the oid of the database if it exists.
async fn identity(
    database: &Database,
    session: &mut PgConnection,
) -> Result<(String, Option<i64>)> {
    sqlx::query_as(
        "select coalesce(case when pg_catalog.has_function_privilege( \
             'pg_catalog.pg_control_system()', 'execute') \
             then (select system_identifier::text from pg_catalog.pg_control_system()) end, \
             'hidden'), \
         (select oid::int8 from pg_catalog.pg_database where datname = $1)",
    )
    .bind(&database.name)
    .fetch_one(session)
    .await
    .map_err(|source| database.failed("identify", source))
}

/// Server process, role, application and start of a session.
type Owner = (i32, Option<String>, Option<String>, Option<String>);

/// The error that names who holds the lock.
async fn refused(database: &Database, oid: i64, session: &mut PgConnection) -> Error {
    let found: Result<Vec<Owner>, _> = sqlx::query_as(
        "select distinct a.pid, a.usename::text, a.application_name, \
                 to_char(a.backend_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"') \
             from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a on a.pid = l.pid \
             where l.locktype = 'advisory' and l.objsubid = 1 and l.granted \
               and l.database = (select oid from pg_catalog.pg_database \
                   where datname = current_database()) \
               and ((l.classid::int8 << 32) | l.objid::int8) = any ($1)",
    )
    .bind(keys(&database.name, oid).as_slice())
    .fetch_all(session)
    .await;
    let error = |by: &str| {
        Error::new(
            ErrorKind::Refused,
            format!(
                "another operation is under way on database `{}`{by}, and nothing was done to it",
                database.name
            ),
        )
    };
    let Some((pid, role, application, since)) =
        found.ok().and_then(|owners| owners.into_iter().next())
    else {
        return error("").with_hint("it has just ended: try again");
    };
    // The server hides name and start of a session from roles that are not its own.
    let unknown = || "unknown".to_owned();
    let run = application
        .as_deref()
        .and_then(|name| name.strip_prefix("upgrade operation "))
        .map_or_else(unknown, str::to_owned);
    error(&format!(
        " (run {run}, since {}, role {}, server process {pid})",
        since.unwrap_or_else(unknown),
        role.unwrap_or_else(unknown)
    ))
    .with_hint(format!(
        "wait until it has ended; if its program no longer runs: `select pg_terminate_backend({pid})`"
    ))
}
