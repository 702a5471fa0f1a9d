//! Databases for tests: each test gets its own populated database, in the time of one copy.
//!
//! A [`Template`] is the previous release with its data. It is built once, by a closure that runs
//! migrations and seeds, and named by the hash of everything that went into it ([`TemplateKey`]).
//! A test gets a copy ([`TestDatabase`]), made with the strategy that was measured to be the
//! fastest ([`StrategyChoice`]).
//!
//! There are three places for both, behind one API:
//!
//! - **Local**, the default: a template is a stopped data directory in the user's cache. Each test
//!   process starts a server on a copy of it, which its threads share and which ends with it.
//! - **A container**, if that is asked for or there is nothing else (feature `docker`): one for a
//!   test process, used like a shared server that nobody else uses.
//! - **A shared server**, if one is named: a template is a database there. Locks, leases and slots
//!   are advisory locks, which end with the process that holds them.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use upgrade_core::RunId;
//! use upgrade_testkit::pool::{Outcome, Pool, PoolOptions, TemplateKey};
//!
//! const MIGRATION: &str = "create table orders (id bigint primary key)";
//!
//! let pool = Pool::connect(PoolOptions::from_env()?).await?;
//! let key = TemplateKey::new().with_migration("0001_orders", MIGRATION).with("rows of orders", "1000");
//! let template = pool
//!     .template(&key, async |database| {
//!         let mut connection = database.connect().await?;
//!         sqlx::raw_sql(MIGRATION).execute(&mut connection).await?;
//!         sqlx::raw_sql("insert into orders select generate_series(1, 1000)")
//!             .execute(&mut connection)
//!             .await?;
//!         Ok::<_, upgrade_core::Error>(())
//!     })
//!     .await?;
//! let database = template.hand_out(&RunId::generate()).await?;
//! let mut connection = database.connect().await?;
//! # drop(connection);
//! database.release(Outcome::Passed).await?;
//! # Ok(())
//! # }
//! ```

mod cache;
mod error;
mod hand_out;
mod key;
mod local;
mod options;
mod registry;
mod shared;
mod strategy;
mod template;
mod worker;

use std::future::Future;
use std::sync::Arc;

use upgrade_core::postgres::database::Database;
use upgrade_core::postgres::server::{self, Found, ServerRequirement};
use upgrade_core::{BoxError, RunId};

pub use error::PoolError;
use hand_out::KeepRule;
pub use hand_out::{KeptDatabase, Outcome, TestDatabase};
pub use key::TemplateKey;
use local::LocalBackend;
pub use options::{Keep, PoolOptions};
use registry::Handle;
use shared::SharedHost;
pub use shared::{BudgetFacts, Swept};
pub use strategy::StrategyChoice;
use template::Making;
pub use template::Template;

/// Where test databases come from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool {
    backend: Backend,
    options: Arc<PoolOptions>,
}

#[derive(Debug, Clone)]
enum Backend {
    Local(Arc<LocalBackend>),
    Shared(Handle<SharedHost>),
}

impl Pool {
    /// Finds a server, or the binaries for one, and checks that it can be used. A shared server is
    /// swept in the background.
    ///
    /// # Errors
    /// [`PoolError::Server`] with everything that was tried, [`PoolError::NotOurCache`]; on a shared
    /// server [`PoolError::WrongMajor`], [`PoolError::TooOld`], [`PoolError::InRecovery`],
    /// [`PoolError::NoCreateDb`], [`PoolError::Database`].
    pub async fn connect(options: PoolOptions) -> Result<Self, PoolError> {
        let mut requirement = ServerRequirement::any();
        requirement.major = options.major;
        let provider = options.provider.clone();
        let found = blocking(move || server::discover(&requirement, &provider)).await??;
        let backend = match found {
            Found::Url(url) => Backend::Shared(SharedHost::open(&url, &options).await?),
            #[cfg(feature = "docker")]
            Found::Container { major } => {
                Backend::Shared(SharedHost::open_container(major, &options).await?)
            }
            Found::Binaries(binaries) => {
                let options = options.clone();
                let open = move || LocalBackend::open(binaries, &options);
                Backend::Local(Arc::new(blocking(open).await??))
            }
            other => {
                return Err(PoolError::Worker {
                    what: "knows no such server",
                    source: format!("{other:?}").into(),
                });
            }
        };
        Ok(Self {
            backend,
            options: Arc::new(options),
        })
    }

    /// The major version of the server.
    pub fn server_major(&self) -> u16 {
        match &self.backend {
            Backend::Local(backend) => backend.binaries.version().major(),
            Backend::Shared(host) => host.major(),
        }
    }

    /// Whether each database is on its own server, which may be killed.
    pub fn is_killable(&self) -> bool {
        matches!(self.backend, Backend::Local(_)) && self.options.killable
    }

    /// The template of a key. If there is none, `build` gets an empty database and fills it; of
    /// all processes that ask at once, one builds and the others wait for it.
    ///
    /// Whatever `build` leaves open is closed; the template is vacuumed and analyzed.
    ///
    /// # Errors
    /// [`PoolError::BuildFailed`] with the error of `build`, [`PoolError::DiskFull`],
    /// [`PoolError::LockTimeout`], [`PoolError::Server`], [`PoolError::Database`]. Nothing of a
    /// failed build is used later.
    pub async fn template<F, Fut, E>(
        &self,
        key: &TemplateKey,
        build: F,
    ) -> Result<Template, PoolError>
    where
        F: FnOnce(Database) -> Fut,
        Fut: Future<Output = Result<(), E>>,
        E: Into<BoxError>,
    {
        match &self.backend {
            Backend::Local(backend) => {
                let hash = key.clone().with("server", backend.fingerprint()).hash();
                let (info, lock) = backend.template(&hash, build).await?;
                let backend = Arc::clone(backend);
                let found = (info.strategy, lock);
                Ok(Template::local(backend, hash, found, self.keep()))
            }
            Backend::Shared(host) => {
                let hash = key.clone().with("server", host.fingerprint()).hash();
                let within = self.options.build_deadline;
                let (name, choice) = host.template(&hash, within, build).await?;
                let host = host.clone();
                Ok(Template::shared(host, hash, name, choice, self.keep()))
            }
        }
    }

    /// An empty database, for a test that needs no template.
    ///
    /// # Errors
    /// As [`Template::hand_out`].
    pub async fn empty_database(&self, run_id: &RunId) -> Result<TestDatabase, PoolError> {
        let making = Making::empty(run_id);
        match &self.backend {
            Backend::Local(backend) => {
                let host = backend.host(None).await?;
                backend.hand_out(host, making, self.keep()).await
            }
            Backend::Shared(host) => SharedHost::hand_out(host, making, self.keep()).await,
        }
    }

    /// Drops at most `limit` databases that dead processes left on a shared server. Local servers
    /// that nobody owns are swept with every start of one.
    ///
    /// # Errors
    /// [`PoolError::Database`] when the server cannot be asked.
    pub async fn sweep(&self, limit: usize) -> Result<Swept, PoolError> {
        match &self.backend {
            Backend::Local(_) => {
                let directories = self.options.provider.directories.clone();
                blocking(move || server::sweep(&directories)).await?;
                Ok(Swept::default())
            }
            Backend::Shared(host) => host.sweep(limit).await,
        }
    }

    /// Removes every template and every kept database that nobody uses. Touches only what this
    /// library made.
    ///
    /// # Errors
    /// [`PoolError::Io`] or [`PoolError::Database`].
    pub async fn clean(&self) -> Result<(), PoolError> {
        match &self.backend {
            Backend::Local(backend) => {
                let directories = self.options.provider.directories.clone();
                let cache = backend.cache.clone();
                blocking(move || {
                    server::clean(&directories);
                    cache.enforce(0, None)
                })
                .await??;
                Ok(())
            }
            Backend::Shared(host) => host.clean().await.map(drop),
        }
    }

    fn keep(&self) -> KeepRule {
        KeepRule {
            keep: self.options.keep,
            keep_for: self.options.keep_for,
        }
    }
}

/// Runs file and process work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PoolError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => Ok(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(PoolError::Worker {
                what: "was not begun",
                source: error.into(),
            }),
        },
    }
}
