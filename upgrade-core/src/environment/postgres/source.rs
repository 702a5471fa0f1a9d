//! Where the database comes from, and where it goes.

use std::fmt;

use async_trait::async_trait;

use crate::context::UpgradeContext;
use crate::endpoint::LogTail;
use crate::environment::Unfilled;
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Database;
use crate::postgres::database::{CopyStrategy, close};

/// Where the database of a [`PostgresEnvironment`](super::PostgresEnvironment) comes from, and where it goes.
#[async_trait]
pub trait DatabaseSource: fmt::Debug + Send + Sync + 'static {
    /// Hands out a database at the previous release, populated.
    ///
    /// # Errors
    /// Any kind; [`release`](Self::release) removes what was made until then.
    async fn provision(&self, cx: &UpgradeContext) -> Result<Database>;

    /// Takes the database back, at the end of the run. `passed_on` is what `provision` handed
    /// out; `None` when that failed or was cut off: what it has made until then has to go, too. It may
    /// be called again, and then has nothing to do.
    ///
    /// # Errors
    /// Any kind; the error lists the leftovers.
    async fn release(&self, cx: &UpgradeContext, passed_on: Option<Database>) -> Result<()>;

    /// Whether the database was made for a rehearsal and is thrown away afterwards. Only then may
    /// the environment copy it, replace it, and end the sessions in it.
    fn is_disposable(&self) -> bool;

    /// The tables that should have rows and have none, known after
    /// [`provision`](Self::provision).
    fn unfilled(&self) -> Vec<Unfilled> {
        Vec::new()
    }

    /// How its server copies a database best, where that was found out.
    fn copy_strategy(&self) -> CopyStrategy {
        CopyStrategy::ServerDefault
    }

    /// The last lines of the server's log, as far as they can be read.
    fn log_tail(&self, lines: usize) -> Vec<LogTail>;

    /// Whether the database may be made anew, without anything in it.
    fn may_be_emptied(&self) -> bool {
        false
    }

    /// Makes in an empty database what is there before the first migration: extensions, say.
    ///
    /// # Errors
    /// Any kind.
    async fn set_up(&self, _: &UpgradeContext, _: &Database) -> Result<()> {
        Ok(())
    }

    /// Whether the server may be killed: it is nobody else's. A server that was there before never
    /// may.
    fn may_kill_server(&self) -> bool {
        false
    }

    /// Whether roles, tablespaces, replication slots and databases that appear on the server while
    /// migrations run may be removed again when the database is put back: nobody else uses the server
    /// at this moment. As [`may_kill_server`](Self::may_kill_server) where nothing else is said.
    fn may_clear_server(&self) -> bool {
        self.may_kill_server()
    }

    /// Kills the server of the database with all its processes, starts it again on the same data,
    /// and waits until it answers where it did before.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where it may not be killed,
    /// [`Unavailable`](ErrorKind::Unavailable) when it does not come up again.
    async fn kill_server(&self, _: &UpgradeContext) -> Result<()> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "the server was not started by this library and cannot be killed",
        ))
    }
}

/// A database that exists already; it stays when the run ends, and is locked against other
/// operations until then (see [`Database::locked_for`]).
#[derive(Debug, Clone)]
pub struct Existing {
    database: Database,
    disposable: bool,
}

impl Existing {
    /// A real database, which is upgraded and never copied, replaced or cleared of sessions by its
    /// environment.
    pub fn new(database: Database) -> Self {
        Self {
            database,
            disposable: false,
        }
    }

    /// A database of which nothing has to be kept: its environment may copy it, replace it, and
    /// end the sessions in it.
    pub fn disposable(database: Database) -> Self {
        Self {
            database,
            disposable: true,
        }
    }
}

#[async_trait]
impl DatabaseSource for Existing {
    async fn provision(&self, cx: &UpgradeContext) -> Result<Database> {
        close(cx.bounded("connect", self.database.connect()).await??).await;
        let locking = self.database.clone().locked_for(cx.run_id());
        cx.bounded("lock the database", locking).await?
    }

    fn is_disposable(&self) -> bool {
        self.disposable
    }

    async fn release(&self, _: &UpgradeContext, passed_on: Option<Database>) -> Result<()> {
        if let Some(database) = passed_on {
            database.release().await;
        }
        Ok(())
    }

    fn log_tail(&self, _: usize) -> Vec<LogTail> {
        Vec::new()
    }
}
