//! A database that one test has for itself.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use upgrade_core::postgres::database::Database;

use super::error::PoolError;
use super::local::LocalHost;
use super::options::Keep;
use super::registry::Handle;
use super::shared::SharedHost;

/// How long the drop of a test database that is kept may wait for the server to write.
const CHECKPOINT_WITHIN: Duration = Duration::from_secs(5);

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
}

/// A database that stays after its test, and how to get at it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptDatabase {
    /// The shell command that starts its server again, in the foreground; `None` for a server that
    /// was there before.
    pub start: Option<String>,
    /// The shell command that enters it.
    pub enter: String,
    /// When a sweep may remove it.
    pub until: SystemTime,
}

impl fmt::Display for KeptDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(start) = &self.start {
            writeln!(f, "start its server: {start}")?;
        }
        write!(f, "enter it: {}", self.enter)
    }
}

/// The server that a test database is on.
#[derive(Debug, Clone)]
pub(super) enum Host {
    Local(Handle<LocalHost>),
    Shared(Handle<SharedHost>),
}

/// What the pool decided about a database's end.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeepRule {
    pub(super) keep: Keep,
    pub(super) keep_for: Duration,
}

/// A database of one test; it derefs to the [`Database`].
///
/// [`release`](Self::release) says how the test ended. Dropping it does the same as well as can be
/// done without a runtime, counts a panicking thread as a failed test, and never panics.
pub struct TestDatabase {
    database: Database,
    host: Host,
    major: u16,
    keep: KeepRule,
    /// The slot on a shared server.
    slot: Option<u32>,
    released: bool,
}

impl TestDatabase {
    pub(super) fn new(
        database: Database,
        host: Host,
        major: u16,
        keep: KeepRule,
        slot: Option<u32>,
    ) -> Self {
        if let Host::Local(host) = &host {
            host.tests.fetch_add(1, Ordering::AcqRel);
        }
        Self {
            database,
            host,
            major,
            keep,
            slot,
            released: false,
        }
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The major version of its server.
    pub fn server_major(&self) -> u16 {
        self.major
    }

    /// The last lines of the server's log; `None` for a server that was there before.
    pub fn server_log_tail(&self, lines: usize) -> Option<String> {
        match &self.host {
            Host::Local(host) => Some(host.server.log_tail(lines)),
            Host::Shared(_) => None,
        }
    }

    /// The shell command that enters it while its server runs. It holds no password.
    pub fn enter_command(&self) -> String {
        match &self.host {
            Host::Local(host) => host.server.psql_command(self.database.name()),
            Host::Shared(host) => host.enter_command(self.database.name()),
        }
    }

    /// Whether it is on its own server, which may be killed.
    pub fn may_kill_server(&self) -> bool {
        matches!(&self.host, Host::Local(host) if host.alone)
    }

    /// Whether no other test uses its server at this moment, and none of another process ever does.
    pub fn has_server_alone(&self) -> bool {
        matches!(&self.host, Host::Local(host) if host.tests.load(Ordering::Acquire) == 1)
    }

    /// Kills its server with all processes and starts it again on the same data, at the same
    /// address. What was committed is there.
    ///
    /// # Errors
    /// [`PoolError::NotKillable`] on a server that others use, [`PoolError::Server`] when it does
    /// not come up again.
    pub async fn kill_server(&self) -> Result<(), PoolError> {
        match &self.host {
            Host::Local(host) if host.alone => {
                host.worker.handle().forget_connections();
                host.server.kill().await?;
                host.server.restart().await?;
                Ok(())
            }
            _ => Err(PoolError::NotKillable),
        }
    }

    /// Ends the test's use of it. Answers with how to get at it if it is kept; otherwise it is
    /// dropped later, because a drop would slow the tests that still run.
    ///
    /// # Errors
    /// [`PoolError::Server`] or [`PoolError::Database`] when it should be kept and cannot be; it is
    /// dropped then.
    pub async fn release(mut self, outcome: Outcome) -> Result<Option<KeptDatabase>, PoolError> {
        if !self.is_to_be_kept(outcome) {
            return Ok(None); // The drop does the rest.
        }
        let (enter, keep_for) = (self.enter_command(), self.keep.keep_for);
        let kept = match &self.host {
            Host::Local(host) => {
                let handle = Arc::clone(host.worker.handle());
                host.worker
                    .run(async move { handle.checkpoint().await })
                    .await?;
                let kept = host.server.keep_directory(keep_for)?;
                KeptDatabase {
                    start: Some(kept.start),
                    enter,
                    until: kept.until,
                }
            }
            Host::Shared(host) => {
                let until = host.keep(&self.database, keep_for).await?;
                host.release(&self.database, self.slot.take(), true);
                KeptDatabase {
                    start: None,
                    enter,
                    until,
                }
            }
        };
        self.released = true;
        Ok(Some(kept))
    }

    fn is_to_be_kept(&self, outcome: Outcome) -> bool {
        let asked = outcome == Outcome::Failed && self.keep.keep == Keep::OnFailure;
        let ends = matches!(&self.host, Host::Shared(host) if host.ends_with_us());
        if asked && ends {
            tracing::warn!("a database in a container ends with its process and is not kept");
        }
        asked && !ends
    }
}

impl Deref for TestDatabase {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

impl fmt::Debug for TestDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestDatabase")
            .field("database", &self.database)
            .field("major", &self.major)
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Host::Local(host) = &self.host {
            host.tests.fetch_sub(1, Ordering::AcqRel);
        }
        if self.released {
            return;
        }
        let keep = std::thread::panicking() && self.is_to_be_kept(Outcome::Failed);
        match &self.host {
            Host::Local(host) if keep => match host.server.keep_directory(self.keep.keep_for) {
                Ok(kept) => {
                    host.worker.handle().checkpoint_blocking(CHECKPOINT_WITHIN);
                    tracing::info!(start = kept.start, enter = %self.enter_command(), "kept a test database");
                }
                Err(error) => tracing::warn!(%error, "cannot keep a test database"),
            },
            Host::Local(host) => host.worker.handle().discard(self.database.clone()),
            Host::Shared(host) if keep => {
                SharedHost::keep_in_background(
                    host,
                    &self.database,
                    self.slot.take(),
                    self.keep.keep_for,
                );
                tracing::info!(enter = %self.enter_command(), "kept a test database");
            }
            Host::Shared(host) => host.release(&self.database, self.slot.take(), false),
        }
    }
}
