//! A system of services in containers, with the database that they share.

mod database;
mod delegated;
mod faults;
mod look;
mod services;
mod shared;
mod side_by_side;
mod snapshots;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use self::database::{Login, POSTGRES, StackDatabase};
pub use self::shared::SharedEnvironment;
use self::side_by_side::Beside;
use self::snapshots::Snapshot;
use super::postgres::PostgresEnvironment;
use super::processes::folder::Folder;
use super::{
    At, DATABASE, DatabaseFaults, DatabaseSource, Endpoint, Endpoints, Environment, LogTail,
    RowComparison, ServiceFaults, Services, SessionMonitor, SideBySide, Snapshots, StatementTrial,
};
use crate::context::UpgradeContext;
use crate::docker::staging::{Staging, StagingOptions};
use crate::docker::{Port, Ready, Stack, Strategy};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Version;
use crate::observation::{Observation, Scope};
use crate::postgres::{Database, Observer};
use crate::redact::server_log;
use crate::side::Side;

/// A staging environment in containers: the services of each release, and the database that they
/// share.
///
/// Each environment has its own networks, volumes and address. Its networks have no way out, but
/// for hosts that are [allowed](Self::with_allowed). The ports that services declare are open
/// on the environment's address, under their own numbers where this user may have them; the
/// endpoints stay the same when containers are replaced. What the containers of a service print, but
/// for the database, is in a file, whose `file` URL is the endpoint `SERVICE.log`.
///
/// ```no_run
/// use upgrade_core::docker::{Condition, Image, Ready, Service, Stack};
/// use upgrade_core::environment::DockerEnvironment;
///
/// let stack = |version: &str| {
///     let database = Service::new(Image::named("postgres:17"))
///         .with_env("POSTGRES_PASSWORD", "staging")
///         .with_port(5432);
///     let api = Service::new(Image::named(format!("shop-api:{version}")))
///         .with_env("DATABASE_URL", "postgres://postgres:staging@db/postgres")
///         .with_port(8080)
///         .with_replicas(2)
///         .after("db", Condition::Healthy);
///     Stack::new().with_service("db", database).with_service("api", api)
/// };
/// let environment = DockerEnvironment::new("shop")
///     .with_release("1.4", stack("1.4"))
///     .with_release("1.5", stack("1.5"))
///     .with_database("db")
///     .with_ready("api", Ready::http(8080, "/health"));
/// ```
#[derive(Debug)]
pub struct DockerEnvironment {
    name: String,
    releases: BTreeMap<String, Stack>,
    database: Option<String>,
    populate: Option<Populate>,
    observer: Observer,
    options: StagingOptions,
    running: Mutex<Option<Arc<Running>>>,
    state: Mutex<State>,
    sides: Mutex<BTreeMap<Side, Arc<Beside>>>,
}

/// What there is since `prepare`.
#[derive(Debug)]
struct Running {
    staging: Arc<Staging>,
    endpoints: Endpoints,
    database: Option<Arc<PostgresEnvironment>>,
    /// Where the logs are. An environment that several processes share has none.
    folder: Option<Folder>,
}

#[derive(Debug)]
struct State {
    runs: Runs,
    snapshots: BTreeMap<String, Snapshot>,
}

/// Which services run.
#[derive(Debug, Clone)]
enum Runs {
    /// Those of a release.
    One(Version),
    /// Those of the first release, but for this number of instances of the second.
    Both(Version, Version, usize),
}

impl DockerEnvironment {
    /// An environment without any release.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            releases: BTreeMap::new(),
            database: None,
            populate: None,
            observer: Observer::default(),
            options: StagingOptions::default(),
            running: Mutex::default(),
            state: Mutex::new(State {
                runs: Runs::One(Version::new("")),
                snapshots: BTreeMap::new(),
            }),
            sides: Mutex::default(),
        }
    }

    /// Knows the services of one release more.
    #[must_use]
    pub fn with_release(mut self, version: impl Into<Version>, stack: Stack) -> Self {
        stack.add_secrets(&self.options.secrets);
        self.releases
            .insert(version.into().as_str().to_owned(), stack);
        self
    }

    /// Tells which service is the Postgres server. User, password and database are those of its
    /// variables `POSTGRES_USER`, `POSTGRES_PASSWORD` and `POSTGRES_DB`, or of the secrets that
    /// these name with `_FILE`, as the official image takes them. The user has to be a superuser,
    /// which it is there.
    #[must_use]
    pub fn with_database(mut self, service: impl Into<String>) -> Self {
        self.database = Some(service.into());
        self
    }

    /// Fills the previous release with data, through its endpoints, as soon as it is ready.
    #[must_use]
    pub fn with_data<F, Fut>(mut self, populate: F) -> Self
    where
        F: Fn(UpgradeContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.populate = Some(Populate(Arc::new(move |cx| Box::pin(populate(cx)))));
        self
    }

    /// Tells when the containers of a service are ready, where [`Ready::Sensible`] does not do.
    #[must_use]
    pub fn with_ready(mut self, service: impl Into<String>, ready: Ready) -> Self {
        self.options.ready.insert(service.into(), ready);
        self
    }

    /// Bounds the time until all services of a release are ready; 2 minutes if not said. Pulling
    /// images does not count.
    #[must_use]
    pub fn with_ready_within(mut self, limit: Duration) -> Self {
        self.options.ready_within = limit;
        self
    }

    /// Replaces services in this way; [`Strategy::Rolling`] if not said.
    #[must_use]
    pub fn with_strategy(mut self, strategy: Strategy) -> Self {
        self.options.strategy = strategy;
        self
    }

    /// Replaces one service in another way than the others.
    #[must_use]
    pub fn with_strategy_of(mut self, service: impl Into<String>, strategy: Strategy) -> Self {
        self.options.strategies.insert(service.into(), strategy);
        self
    }

    /// Says that a service keeps nothing from one request to the next, neither in memory nor in its
    /// containers, as a proxy: a [restore](Snapshots::restore) leaves its containers as they are,
    /// which saves most of its time. What such a service keeps all the same, a test may find of the
    /// test before it.
    #[must_use]
    pub fn with_stateless(mut self, service: impl Into<String>) -> Self {
        self.options.stateless.insert(service.into());
        self
    }

    /// Lets the services reach a TCP port of a host outside, by the host's name. Everything else
    /// outside stays out of reach.
    #[must_use]
    pub fn with_allowed(mut self, host: impl Into<String>, port: u16) -> Self {
        self.options.allowed.push((host.into(), port));
        self
    }

    /// Observes the database in another way than by default.
    #[must_use]
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// Registers what it makes in this folder instead of
    /// [`default_registry_dir`](crate::docker::default_registry_dir).
    #[must_use]
    pub fn with_registry_dir(mut self, dir: impl Into<std::path::PathBuf>) -> Self {
        self.options.registry_dir = Some(dir.into());
        self
    }

    /// Leaves the containers as they are, instead of a teardown, for a person who wants to look
    /// (`docker exec`, `docker logs`): their names begin with what this returns. After `period`
    /// the next sweep removes them, unless somebody [extends](crate::docker::keep_until) it; the
    /// ports on this machine are closed at once. Systems that run [side by side](SideBySide) with it are
    /// removed.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] when it does not run, [`ErrorKind::Io`] when that cannot be
    /// noted, and then everything is removed.
    pub fn keep(self, period: Duration) -> Result<String> {
        self.running()?;
        self.leave()?.keep_until(SystemTime::now() + period)
    }

    /// The containers, which this environment knows no more.
    ///
    /// # Errors
    /// While a call uses them: then nothing has changed.
    fn leave(&self) -> Result<Staging> {
        let mut slot = self.slot();
        let is_free = |running: &Arc<Running>| {
            // Only these two hold on to the containers.
            let database = running.database.as_ref();
            Arc::strong_count(running) == 1
                && database.is_none_or(|database| Arc::strong_count(database) == 1)
        };
        let running = slot.take_if(|running| is_free(running));
        let staging = running.and_then(Arc::into_inner).and_then(|running| {
            drop(running.database);
            Arc::into_inner(running.staging)
        });
        let staging = staging.ok_or_else(|| {
            let name = &self.name;
            let message = format!("a call still uses the containers of environment `{name}`");
            Error::new(ErrorKind::Environment, message)
                .with_hint("wait until it has ended, and call this again")
        })?;
        self.state(|state| state.snapshots.clear());
        Ok(staging)
    }

    /// The services of a release; the port of the database is open, whether production publishes it
    /// or not.
    fn stack(&self, version: &Version) -> Result<Stack> {
        let mut stack = self.known(version)?.clone();
        let database = stack.services.get_mut(self.database_service());
        if let Some(service) = database
            && !service.ports.iter().any(|port| port.container == POSTGRES)
        {
            service.ports.push(Port::tcp(POSTGRES));
        }
        Ok(stack)
    }

    fn known(&self, version: &Version) -> Result<&Stack> {
        self.releases.get(version.as_str()).ok_or_else(|| {
            let known: Vec<&str> = self.releases.keys().map(String::as_str).collect();
            Error::new(
                ErrorKind::NotFound,
                format!("environment `{}` knows no release `{version}`", self.name),
            )
            .with_hint(match known.is_empty() {
                true => "give it one by `with_release`".to_owned(),
                false => format!("it knows {}", known.join(", ")),
            })
        })
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> Result<Arc<Running>> {
        self.slot().clone().ok_or_else(|| {
            Error::new(
                ErrorKind::Environment,
                format!("environment `{}` does not run yet", self.name),
            )
            .with_hint("call `prepare` first")
        })
    }

    /// The database, as a separate environment.
    fn postgres(&self) -> Result<Arc<PostgresEnvironment>> {
        self.running()?.database.clone().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("environment `{}` has no database", self.name),
            )
            .with_hint("name its service by `with_database`")
        })
    }

    /// What it can do with a database alone.
    fn with_a_database(&self) -> Option<&Self> {
        self.database.is_some().then_some(self)
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The service of the database; empty where there is none.
    fn database_service(&self) -> &str {
        self.database.as_deref().unwrap_or_default()
    }

    async fn start(&self, cx: &UpgradeContext) -> Result<Running> {
        let stack = self.stack(cx.from())?;
        let login = match &self.database {
            Some(service) => Some(Login::of(&stack, service)?),
            None => None,
        };
        cx.secrets().add_all(&self.options.secrets);
        let folder = match self.options.shared {
            Some(_) => None,
            None => Some(Folder::make()?),
        };
        let options = StagingOptions {
            log_files: match &folder {
                Some(folder) => Some(self.log_files(folder, "live")?),
                None => None,
            },
            ..self.options.clone()
        };
        let run = cx.run_id().as_str();
        let staging = Arc::new(Staging::start(&self.name, run, &stack, options).await?);
        let (endpoints, database) = self.endpoints_of(&staging, &stack, login.as_ref()).await;
        let database = match (&self.database, database) {
            (Some(service), Some(database)) => {
                let source = StackDatabase {
                    staging: Arc::clone(&staging),
                    service: service.clone(),
                    database,
                };
                Some(Arc::new(self.over(source)))
            }
            _ => None,
        };
        if let Some(database) = &database {
            database.prepare(cx).await?;
        }
        if let Some(populate) = &self.populate {
            let cx = cx.clone().with_endpoints(endpoints.clone());
            (populate.0)(cx).await?;
        }
        Ok(Running {
            staging,
            endpoints,
            database,
            folder,
        })
    }

    /// Where everything can be reached, and the database if there is one.
    async fn endpoints_of(
        &self,
        staging: &Staging,
        stack: &Stack,
        login: Option<&Login>,
    ) -> (Endpoints, Option<Database>) {
        let mut endpoints = Endpoints::default();
        let mut database = None;
        for (service, port, address) in staging.ports().await {
            if self.database.as_deref() == Some(&service)
                && port == POSTGRES
                && let Some(login) = login
            {
                let found = login.database(&address.ip().to_string(), address.port());
                endpoints = endpoints.with(DATABASE, found.endpoint());
                database = Some(found);
                continue;
            }
            let endpoint = Endpoint::new(format!("http://{address}"));
            let of_service = stack.services.get(&service);
            if of_service.is_some_and(|service| service.ports.len() == 1) {
                endpoints = endpoints.with(&service, endpoint.clone());
            }
            endpoints = endpoints.with(format!("{service}:{port}"), endpoint);
        }
        for service in stack.services.keys() {
            if let Some(log) = staging.log_file(service) {
                let log = Endpoint::new(format!("file://{}", log.display()));
                endpoints = endpoints.with(format!("{service}.log"), log);
            }
        }
        (endpoints, database)
    }

    /// The database, as a separate environment.
    fn over(&self, source: impl DatabaseSource) -> PostgresEnvironment {
        PostgresEnvironment::new(&self.name, source).with_observer(self.observer.clone())
    }
}

type Population =
    dyn Fn(UpgradeContext) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync;

#[derive(Clone)]
struct Populate(Arc<Population>);

impl fmt::Debug for Populate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Populate(..)")
    }
}

#[async_trait]
impl Environment for DockerEnvironment {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_disposable(&self) -> bool {
        true
    }

    async fn prepare(&self, cx: &UpgradeContext) -> Result<()> {
        if self.slot().is_some() {
            return Ok(());
        }
        let running = cx.bounded("start the services", self.start(cx)).await??;
        self.state(|state| state.runs = Runs::One(cx.from().clone()));
        *self.slot() = Some(Arc::new(running));
        Ok(())
    }

    fn endpoints(&self) -> Endpoints {
        let running = self.slot().clone();
        running.map_or_else(Endpoints::default, |running| running.endpoints.clone())
    }

    async fn observe(&self, cx: &UpgradeContext, at: &At, scope: &Scope) -> Result<Observation> {
        match self.database {
            Some(_) => self.postgres()?.observe(cx, at, scope).await,
            None => Ok(Observation::default()),
        }
    }

    async fn size(&self, cx: &UpgradeContext) -> Result<Option<u64>> {
        match self.database {
            Some(_) => self.postgres()?.size(cx).await,
            None => Ok(None),
        }
    }

    async fn logs(&self, cx: &UpgradeContext, lines: usize) -> Result<Vec<LogTail>> {
        let running = self.slot().clone();
        match running {
            Some(running) => {
                let reading = running.staging.logs(lines);
                let mut logs = cx.bounded("read the logs", reading).await?;
                // What a server logs of statements and rows is as open as its own.
                let of_database = format!("{}.", self.database_service());
                let tails = logs.iter_mut();
                for tail in tails.filter(|tail| tail.source.starts_with(&of_database)) {
                    let text = server_log(&tail.lines.join("\n"));
                    tail.lines = text.lines().map(str::to_owned).collect();
                }
                Ok(logs)
            }
            None => Ok(Vec::new()),
        }
    }

    async fn teardown(&self, _: &UpgradeContext) -> Result<()> {
        let runs = self.slot().is_some();
        let live = match runs {
            true => Some(self.leave()?),
            false => None,
        };
        let ending = async {
            match live {
                Some(live) => live.end().await,
                None => Ok(()),
            }
        };
        let (ended, removed) = tokio::join!(ending, self.remove_sides());
        ended.and(removed)
    }

    fn services(&self) -> Option<&dyn Services> {
        Some(self)
    }

    fn service_faults(&self) -> Option<&dyn ServiceFaults> {
        Some(self)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.with_a_database().map(|it| it as _)
    }

    fn side_by_side(&self) -> Option<&dyn SideBySide> {
        self.with_a_database().map(|it| it as _)
    }

    fn row_comparison(&self) -> Option<&dyn RowComparison> {
        self.with_a_database().map(|it| it as _)
    }

    fn database_faults(&self) -> Option<&dyn DatabaseFaults> {
        self.with_a_database().map(|it| it as _)
    }

    fn session_monitor(&self) -> Option<&dyn SessionMonitor> {
        self.with_a_database().map(|it| it as _)
    }

    fn statement_trial(&self) -> Option<&dyn StatementTrial> {
        self.with_a_database().map(|it| it as _)
    }
}
