//! A populated database of the previous release, from which test databases are copied.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use upgrade_core::RunId;
use upgrade_core::lease::FileLease;
use upgrade_core::postgres::database::{CopyStrategy, Database, Marker, MarkerKind};

use super::error::PoolError;
use super::hand_out::{KeepRule, TestDatabase};
use super::local::{LocalBackend, LocalHost, TEMPLATE_NAME};
use super::registry::Handle;
use super::shared::{SharedHost, TEST_PREFIX};
use super::strategy::StrategyChoice;
use super::worker::lock;

/// How long a copy may wait for sessions of the template to end; it has none.
const COPY_WITHIN: Duration = Duration::from_secs(60);

/// The server that the copies are made on.
#[derive(Debug)]
pub(super) enum Place {
    Local {
        backend: Arc<LocalBackend>,
        /// Kept for the next copy: a server that stopped between two would have to start again.
        host: Mutex<Option<Handle<LocalHost>>>,
        /// Keeps the template in the cache.
        _lock: FileLease,
    },
    Shared(Handle<SharedHost>),
}

/// A template: complete, shut, and ready to be copied.
#[derive(Debug)]
pub struct Template {
    place: Place,
    hash: String,
    /// Its name on the server.
    name: String,
    choice: StrategyChoice,
    major: u16,
    keep: KeepRule,
}

impl Template {
    pub(super) fn local(
        backend: Arc<LocalBackend>,
        hash: String,
        (choice, lock): (StrategyChoice, FileLease),
        keep: KeepRule,
    ) -> Self {
        Self {
            major: backend.binaries.version().major(),
            place: Place::Local {
                backend,
                host: Mutex::default(),
                _lock: lock,
            },
            hash,
            name: TEMPLATE_NAME.to_owned(),
            choice,
            keep,
        }
    }

    pub(super) fn shared(
        host: Handle<SharedHost>,
        hash: String,
        name: String,
        choice: StrategyChoice,
        keep: KeepRule,
    ) -> Self {
        Self {
            major: host.major(),
            place: Place::Shared(host),
            hash,
            name,
            choice,
            keep,
        }
    }

    /// The hash of everything that went into it.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The name of its database on the server of the copies.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How it is copied, and why so.
    pub fn strategy(&self) -> &StrategyChoice {
        &self.choice
    }

    /// The major version of the server that it is for.
    pub fn server_major(&self) -> u16 {
        self.major
    }

    /// Copies it for one test. The first call in a process starts the local server.
    ///
    /// # Errors
    /// [`PoolError::NoSlot`] when the shared server is full, [`PoolError::ServerDied`] with the end
    /// of its log, [`PoolError::DiskFull`], [`PoolError::Server`], [`PoolError::Database`].
    pub async fn hand_out(&self, run_id: &RunId) -> Result<TestDatabase, PoolError> {
        match &self.place {
            Place::Local { backend, host, .. } => {
                let host = self.host(backend, host).await?;
                let template = host.database(&self.name);
                let making = Making::copy(template, &self.choice, run_id);
                backend.hand_out(host, making, self.keep).await
            }
            Place::Shared(host) => {
                let template = host.database(&self.name);
                let making = Making::copy(template, &self.choice, run_id);
                SharedHost::hand_out(host, making, self.keep).await
            }
        }
    }

    async fn host(
        &self,
        backend: &LocalBackend,
        held: &Mutex<Option<Handle<LocalHost>>>,
    ) -> Result<Handle<LocalHost>, PoolError> {
        let live = lock(held)
            .clone()
            .filter(|host| host.server.pid().is_some() && !host.alone);
        if let Some(host) = live {
            return Ok(host);
        }
        let host = backend.host(Some(&self.hash)).await?;
        *lock(held) = Some(host.clone());
        Ok(host)
    }
}

/// A database that is to be made, with all that a job on another thread needs for it.
#[derive(Debug, Clone)]
pub(super) struct Making {
    source: Option<(Database, CopyStrategy)>,
    marker: Marker,
}

impl Making {
    /// An empty database.
    pub(super) fn empty(run_id: &RunId) -> Self {
        Self {
            source: None,
            marker: Marker::new(MarkerKind::Test, run_id.as_str()),
        }
    }

    fn copy(template: Database, choice: &StrategyChoice, run_id: &RunId) -> Self {
        Self {
            source: Some((template, choice.strategy())),
            ..Self::empty(run_id)
        }
    }

    /// The name of the `n`th database of a run, counted from 1.
    pub(super) fn name(&self, n: u32) -> String {
        let owner = &self.marker.owner;
        match n {
            1 => format!("{TEST_PREFIX}{owner}"),
            _ => format!("{TEST_PREFIX}{owner}_{n}"),
        }
    }

    /// Makes it; answers `false` when a database of that name exists.
    pub(super) async fn make(
        &self,
        admin: &mut PgConnection,
        target: &Database,
    ) -> Result<bool, PoolError> {
        let made = match &self.source {
            None => target.create(admin, &self.marker).await,
            Some((template, strategy)) => template
                .copy(admin, target.name(), &self.marker, *strategy, COPY_WITHIN)
                .await
                .map(drop),
        };
        let failed = PoolError::database(format!("make test database `{}`", target.name()));
        match made.map_err(failed) {
            Ok(()) => Ok(true),
            Err(error) if error.is_duplicate() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
