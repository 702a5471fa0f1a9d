//! The default: a separate server for each test process, on a copy of a cached data directory.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use upgrade_core::BoxError;
use upgrade_core::lease::{FileLease, Mode};
use upgrade_core::postgres::database::{Database, Marker, MarkerKind};
use upgrade_core::postgres::server::{LocalServer, Profile, ServerBinaries, ServerOptions};

use super::cache::{Cache, TemplateInfo};
use super::error::PoolError;
use super::hand_out::{Host, KeepRule, TestDatabase};
use super::options::PoolOptions;
use super::registry::{Handle, Registry};
use super::strategy::{self, StrategyChoice};
use super::template::Making;
use super::worker::{AtEnd, Worker};

/// The name of the template in its data directory.
pub(super) const TEMPLATE_NAME: &str = "upgrade_template";

/// How long the sessions of a closure that has returned may take to end.
const LEAVE: Duration = Duration::from_secs(10);

/// How long after a broken connection the server may take to end.
const DEATH_WITHIN: Duration = Duration::from_secs(1);

/// How many lines of the log stand in an error.
const LOG_LINES: usize = 20;

/// The servers of this process, by everything that decides what they hold.
static HOSTS: Registry<LocalHost> = Registry::new();

/// A running server and the worker that works on it.
#[derive(Debug)]
pub(super) struct LocalHost {
    // Fields are dropped in this order: connections end before their server does.
    pub(super) worker: Worker,
    pub(super) server: LocalServer,
    /// Whether one database has it for itself.
    pub(super) alone: bool,
    /// How many databases are with tests now.
    pub(super) tests: AtomicUsize,
}

impl LocalHost {
    /// A database of the server by its name.
    pub(super) fn database(&self, name: &str) -> Database {
        Database::new(&self.server.connect_options(), name)
    }
}

/// The error as it is, unless the server is dead, which explains it.
async fn explain(server: &LocalServer, error: PoolError) -> PoolError {
    // A broken connection is noticed before the end of the process is.
    let deadline = Instant::now() + DEATH_WITHIN;
    while server.pid().is_some() {
        if !error.is_disconnect() || Instant::now() >= deadline {
            return error;
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // poll
    }
    PoolError::ServerDied {
        log: server.log_tail(LOG_LINES),
        source: Box::new(error),
    }
}

/// Where local servers and their templates come from.
#[derive(Debug)]
pub(super) struct LocalBackend {
    pub(super) binaries: ServerBinaries,
    pub(super) cache: Cache,
    options: PoolOptions,
}

impl LocalBackend {
    pub(super) fn open(binaries: ServerBinaries, options: &PoolOptions) -> Result<Self, PoolError> {
        let backend = Self {
            binaries,
            cache: Cache::open(&options.provider.directories.cache)?,
            options: options.clone(),
        };
        // A bad setting is said here, before anything is built.
        backend.server_options()?;
        Ok(backend)
    }

    /// What decides the content of a template besides its key.
    pub(super) fn fingerprint(&self) -> String {
        format!(
            "{} in {}",
            self.binaries.version().text(),
            self.binaries.bin_dir().display()
        )
    }

    fn server_options(&self) -> Result<ServerOptions, PoolError> {
        let profile = if self.options.killable {
            Profile::Killable
        } else {
            Profile::ThrowAway
        };
        let mut options =
            ServerOptions::new(profile).with_directories(self.options.provider.directories.clone());
        for (name, value) in &self.options.settings {
            options = options.with_setting(name, value)?;
        }
        Ok(options)
    }

    /// The template of that hash: from the cache, or built now, by one process at a time. It stays
    /// in the cache for as long as the lock is held that comes with it.
    pub(super) async fn template<F, Fut, E>(
        &self,
        hash: &str,
        build: F,
    ) -> Result<(TemplateInfo, FileLease), PoolError>
    where
        F: FnOnce(Database) -> Fut,
        Fut: Future<Output = Result<(), E>>,
        E: Into<BoxError>,
    {
        let within = self.options.build_deadline;
        if let Some(cached) = self.cached(hash).await? {
            return Ok(cached);
        }
        let gate = self.cache.gate(hash, within).await?;
        // Another process may have built it before this one got through the gate.
        if let Some(cached) = self.cached(hash).await? {
            return Ok(cached);
        }
        let lock = self.cache.lock(hash, Mode::Exclusive, within).await?;
        let start = Instant::now();
        let built = self.build(hash, build).await;
        tracing::info!(
            template = hash,
            elapsed = ?start.elapsed(),
            ok = built.is_ok(),
            "built a template"
        );
        let place = self.cache.folder();
        let info =
            built.map_err(|error| error.or_disk_full("building a template", place, place))?;
        // Nobody removes it in between: that takes the gate.
        let path = lock.path().to_owned();
        let lock = lock
            .share(&gate)
            .map_err(PoolError::io("share lock", &path))?;
        drop(gate);
        self.cache.enforce(self.options.cache_limit, Some(hash))?;
        Ok((info, lock))
    }

    /// The template of that hash from the cache, with the lock that keeps it there.
    async fn cached(&self, hash: &str) -> Result<Option<(TemplateInfo, FileLease)>, PoolError> {
        let within = self.options.build_deadline;
        let lock = self.cache.lock(hash, Mode::Shared, within).await?;
        let info = self.whole(hash).await?;
        Ok(info.map(|info| {
            self.cache.touch(hash);
            (info, lock)
        }))
    }

    /// The template of that hash, if it is in the cache and as it was left there. One that was
    /// garbled or cut short counts as none: it is built again.
    async fn whole(&self, hash: &str) -> Result<Option<TemplateInfo>, PoolError> {
        let Some(info) = self.cache.read(hash) else {
            return Ok(None);
        };
        let data = self.cache.data(hash);
        let intact = super::blocking(move || LocalServer::is_intact(&data)).await?;
        if !intact {
            tracing::warn!(
                template = hash,
                "a template in the cache is damaged, and built again"
            );
        }
        Ok(intact.then_some(info))
    }

    async fn build<F, Fut, E>(&self, hash: &str, build: F) -> Result<TemplateInfo, PoolError>
    where
        F: FnOnce(Database) -> Fut,
        Fut: Future<Output = Result<(), E>>,
        E: Into<BoxError>,
    {
        let unfinished = self.cache.begin(hash)?;
        // The log of the build is not kept, or every copy would carry it.
        let options = self.server_options()?.with_setting("wal_recycle", "off")?;
        let server = LocalServer::start(&self.binaries, options).await?;
        let choice = match self.fill(&server, hash, build).await {
            Ok(choice) => choice,
            Err(error) => {
                let error = explain(&server, error).await;
                // Its own disk is not that of the cache.
                let (data, cache) = (server.data_dir(), self.cache.folder());
                return Err(error.or_disk_full("building a template", &data, cache));
            }
        };
        server.hand_over(&unfinished.data()).await?;
        unfinished.publish(TemplateInfo::new(self.binaries.version().text(), choice))
    }

    /// Makes the template on a server, lets the closure fill it, and shuts it.
    async fn fill<F, Fut, E>(
        &self,
        server: &LocalServer,
        hash: &str,
        build: F,
    ) -> Result<StrategyChoice, PoolError>
    where
        F: FnOnce(Database) -> Fut,
        Fut: Future<Output = Result<(), E>>,
        E: Into<BoxError>,
    {
        let database = Database::new(&server.connect_options(), TEMPLATE_NAME);
        let mut admin = database
            .connect_maintenance()
            .await
            .map_err(PoolError::database("connect to the new server"))?;
        let marker = Marker::new(MarkerKind::Template, hash);
        database
            .create(&mut admin, &marker)
            .await
            .map_err(PoolError::database("make the template"))?;
        build(database.clone())
            .await
            .map_err(|source| PoolError::BuildFailed {
                hash: short(hash),
                source: source.into(),
            })?;
        vacuum(&database).await?;
        shut(&mut admin, &database).await?;
        let choice = strategy::choose(&mut admin, &database, Some(&server.data_dir())).await?;
        // The server ends the connection in any case.
        let _ = admin.close().await;
        Ok(choice)
    }

    /// The server of this process for a template, or for none; started if there is none yet. One
    /// that may be killed is shared with nobody.
    pub(super) async fn host(&self, hash: Option<&str>) -> Result<Handle<LocalHost>, PoolError> {
        if self.options.killable {
            let registry = Registry::new();
            return registry
                .get(String::new(), |_| true, || self.start(hash))
                .await;
        }
        let key = format!(
            "{:?}",
            (
                self.cache.folder(),
                self.binaries.bin_dir(),
                &self.options.settings,
                hash
            )
        );
        // One that was killed is of no use to the tests to come.
        let runs = |host: &LocalHost| host.server.pid().is_some();
        HOSTS.get(key, runs, || self.start(hash)).await
    }

    /// Makes a database on a server of this process.
    pub(super) async fn hand_out(
        &self,
        host: Handle<LocalHost>,
        making: Making,
        keep: KeepRule,
    ) -> Result<TestDatabase, PoolError> {
        let major = self.binaries.version().major();
        let (handle, its_host) = (Arc::clone(host.worker.handle()), host.clone());
        // The answer is the guard itself: if nobody waits for it any more, it cleans up.
        let job = async move {
            let mut admin = handle.admin().await?;
            let mut n = 1;
            loop {
                let database = its_host.database(&making.name(n));
                if making.make(&mut admin, &database).await? {
                    admin.give_back();
                    let host = Host::Local(its_host);
                    return Ok(TestDatabase::new(database, host, major, keep, None));
                }
                n += 1;
            }
        };
        match host.worker.run(job).await {
            Ok(database) => Ok(database),
            Err(error) => {
                let (place, cache) = (host.server.data_dir(), self.cache.folder());
                let error = error.or_disk_full("copying a template", &place, cache);
                Err(explain(&host.server, error).await)
            }
        }
    }

    async fn start(&self, hash: Option<&str>) -> Result<LocalHost, PoolError> {
        let options = self.server_options()?;
        let start = Instant::now();
        let started = match hash {
            None => LocalServer::start(&self.binaries, options).await,
            Some(hash) => {
                LocalServer::start_on_copy(&self.binaries, &self.cache.data(hash), options).await
            }
        };
        let place = &self.options.provider.directories.disk;
        let server = started.map_err(|error| {
            PoolError::from(error).or_disk_full("starting a server", place, self.cache.folder())
        })?;
        tracing::debug!(elapsed = ?start.elapsed(), template = hash, "started a server for test databases");
        let any = Database::new(&server.connect_options(), TEMPLATE_NAME);
        Ok(LocalHost {
            worker: Worker::start(any, AtEnd::Leave)?,
            server,
            alone: self.options.killable,
            tests: AtomicUsize::new(0),
        })
    }
}

/// Leaves the database as a well-kept one is: statistics are there and hint bits are set, so that
/// copies neither plan badly nor write on their first read.
pub(super) async fn vacuum(database: &Database) -> Result<(), PoolError> {
    let failed = || format!("vacuum template `{}`", database.name());
    let mut connection = database
        .connect()
        .await
        .map_err(PoolError::database(failed()))?;
    connection
        .execute("vacuum (analyze)")
        .await
        .map_err(PoolError::database(failed()))?;
    connection
        .close()
        .await
        .map_err(PoolError::database(failed()))
}

/// Ends all sessions of a template and lets nobody in any more. The flag that says that it is
/// complete comes last.
pub(super) async fn shut(admin: &mut PgConnection, database: &Database) -> Result<(), PoolError> {
    let failed = || format!("shut template `{}`", database.name());
    let name = upgrade_core::postgres::sql::quote_ident(database.name());
    database
        .terminate_sessions(admin, LEAVE)
        .await
        .map_err(PoolError::database(failed()))?;
    for act in ["is_template true", "allow_connections false"] {
        let sql = format!("alter database {name} {act}");
        admin
            .execute(sqlx::AssertSqlSafe(sql))
            .await
            .map_err(PoolError::database(failed()))?;
    }
    Ok(())
}

/// As much of a hash as people compare.
pub(super) fn short(hash: &str) -> String {
    hash[..hash.len().min(16)].to_owned()
}
