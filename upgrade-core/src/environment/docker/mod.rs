//! A system of services in containers, with the database that they share.

mod database;
mod faults;
mod look;
mod shared;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use self::database::{Login, POSTGRES, StackDatabase};
pub use self::shared::SharedEnvironment;
use super::postgres::PostgresEnvironment;
use super::{
    At, DATABASE, DatabaseFaults, DatabaseSource, Endpoint, Endpoints, Environment, Fault,
    Instances, LogTail, Refusal, RowComparison, ServiceFaults, Services, SessionMonitor, Snapshots,
    StatementTrial,
};
use crate::context::UpgradeContext;
use crate::docker::staging::{self, Frozen, Kept, Staging, StagingOptions};
use crate::docker::{Port, Ready, Stack, Strategy};
use crate::error::{Error, ErrorKind, Result};
use crate::finding::Finding;
use crate::ids::Version;
use crate::observation::{Observation, RowDiff, RowDiffRequest, Scope};
use crate::outcome::Outcome;
use crate::postgres::{Database, Observer};
use crate::redact::server_log;

/// A staging environment in containers: the services of each release, and the database that they
/// share.
///
/// Each environment has networks, volumes and an address of its own. Its networks have no way out,
/// but for hosts that are [allowed](Self::with_allowed). The ports that services declare are open
/// on the environment's address, under their own numbers where this user may have them; the
/// endpoints stay the same when containers are replaced.
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
}

/// What there is since `prepare`.
#[derive(Debug)]
struct Running {
    staging: Arc<Staging>,
    endpoints: Endpoints,
    database: Option<Arc<PostgresEnvironment>>,
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
    /// Those of the first release, but for so many instances of the second.
    Both(Version, Version, usize),
}

/// What a label keeps beside the database.
#[derive(Debug, Clone)]
struct Snapshot {
    runs: Runs,
    volumes: Arc<Kept>,
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
    /// containers, as a proxy: a [restore](Environment::restore) leaves its containers as they are,
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
    /// ports on this machine are closed at once.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] when it does not run, [`ErrorKind::Io`] when that cannot be
    /// noted, and then everything is removed.
    pub fn keep(self, period: Duration) -> Result<String> {
        self.running()?;
        let staging = self.leave().ok_or_else(still_held)?;
        staging.keep_until(SystemTime::now() + period)
    }

    /// The containers, which this environment knows no more; `None` while a call uses them.
    fn leave(&self) -> Option<Staging> {
        let running = Arc::into_inner(self.slot().take()?)?;
        // The database holds on to the containers; with them it goes.
        drop(running.database);
        Arc::into_inner(running.staging)
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

    /// The same, if the database that runs can stay.
    fn stack_beside(&self, version: &Version) -> Result<Stack> {
        let stack = self.stack(version)?;
        let now = self.state(|state| state.runs.clone());
        let (Runs::One(now) | Runs::Both(now, ..)) = now;
        let service = self.database_service();
        if self.stack(&now)?.services.get(service) != stack.services.get(service) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("service `{service}`, the database, is another one in release {version}"),
            )
            .with_hint(
                "its data would not come along: an upgrade of the server is a rehearsal of its own",
            ));
        }
        Ok(stack)
    }

    /// How many instances are replaced one by one between two of the releases, at most.
    fn number_of_instances(&self) -> u32 {
        let all: Vec<&Stack> = self.releases.values().collect();
        let pairs = all
            .iter()
            .enumerate()
            .flat_map(|(index, from)| all[index + 1..].iter().map(move |to| (*from, *to)));
        let numbers = pairs.filter_map(|(from, to)| {
            let found = staging::instances(from, to, &self.options).ok()?;
            u32::try_from(found.iter().map(|(_, number)| number).sum::<usize>()).ok()
        });
        numbers.max().unwrap_or(0)
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

    /// The database, as an environment of its own.
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
        let options = self.options.clone();
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
        (endpoints, database)
    }

    /// The database, as an environment of its own.
    fn over(&self, source: impl DatabaseSource) -> PostgresEnvironment {
        PostgresEnvironment::new(&self.name, source).with_observer(self.observer.clone())
    }

    /// Keeps volumes and database, while nothing but the database runs.
    async fn take_snapshot(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        let staging = &self.running()?.staging;
        let runs = self.state(|state| state.runs.clone());
        let volumes = staging.keep_volumes(self.database_service()).await?;
        self.postgres()?.take(cx, label).await?;
        let snapshot = Snapshot {
            runs,
            volumes: Arc::new(volumes),
        };
        self.state(|state| state.snapshots.insert(label.to_owned(), snapshot));
        Ok(())
    }

    async fn put_back(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        let running = self.running()?;
        let known = self.state(|state| state.snapshots.get(label).cloned());
        let snapshot = match known {
            Some(snapshot) => snapshot,
            // The services of the empty system are those of the previous release.
            None if label == super::EMPTY => Snapshot {
                runs: Runs::One(cx.from().clone()),
                volumes: Arc::default(),
            },
            None => {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!("no state was kept as `{label}`"),
                ));
            }
        };
        let (Runs::One(release) | Runs::Both(release, ..)) = &snapshot.runs;
        let stack = self.stack(release)?;
        let service = self.database_service();
        // On the heap: these futures are large.
        let between = Box::pin(async {
            self.postgres()?.restore(cx, label).await?;
            running
                .staging
                .put_back_volumes(&stack, &snapshot.volumes, service)
                .await
        });
        Box::pin(running.staging.start_anew(&stack, service, between)).await?;
        if let Runs::Both(_, to, count) = &snapshot.runs {
            let to = self.stack(to)?;
            running.staging.move_between(&stack, &to, *count).await?;
        }
        self.state(|state| state.runs = snapshot.runs);
        Ok(())
    }
}

/// Containers that do not get ready are a defect of their release.
fn came_up(result: Result<()>) -> Result<Outcome> {
    Outcome::judged(result.map(|()| Outcome::Done), &[ErrorKind::Environment])
}

fn still_held() -> Error {
    Error::new(
        ErrorKind::Internal,
        "somebody still holds the containers of the environment",
    )
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
        if self.slot().is_none() {
            return Ok(());
        }
        match self.leave() {
            Some(staging) => staging.end().await,
            None => Err(still_held()),
        }
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

#[async_trait]
impl Services for DockerEnvironment {
    async fn replace(&self, cx: &UpgradeContext, to: &Version) -> Result<Outcome> {
        let stack = self.stack_beside(to)?;
        let staging = &Arc::clone(&self.running()?.staging);
        let moving = staging.move_to(&stack);
        let moved = cx.bounded("replace the services", moving).await?;
        if moved.is_ok() {
            self.state(|state| state.runs = Runs::One(to.clone()));
        }
        came_up(moved)
    }

    fn instances(&self) -> Option<&dyn Instances> {
        (self.number_of_instances() > 0).then_some(self as _)
    }
}

#[async_trait]
impl Instances for DockerEnvironment {
    fn count(&self) -> u32 {
        self.number_of_instances()
    }

    async fn replace_first(&self, cx: &UpgradeContext, count: u32) -> Result<Outcome> {
        let staging = &Arc::clone(&self.running()?.staging);
        let (from, to) = (self.stack(cx.from())?, self.stack_beside(cx.to())?);
        let most = usize::try_from(count).unwrap_or(usize::MAX);
        let moving = staging.move_between(&from, &to, most);
        let moved = cx
            .bounded("replace the first instances of the services", moving)
            .await?;
        if moved.is_ok() {
            let runs = Runs::Both(cx.from().clone(), cx.to().clone(), most);
            self.state(|state| state.runs = runs);
        }
        came_up(moved)
    }
}

#[async_trait]
impl Snapshots for DockerEnvironment {
    fn has_empty(&self) -> bool {
        true
    }

    async fn take(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        let (running, database) = (self.running()?, self.database_service());
        let staging = &running.staging;
        // A kept state is one without faults.
        self.heal_all(cx).await?;
        // Frozen, nobody writes into a volume, and nobody comes back while the database is copied.
        let mut frozen = Frozen::none(staging);
        let freezing = cx.bounded(
            "freeze the services",
            frozen.freeze_others(staging, database),
        );
        let kept = match freezing.await.flatten() {
            Ok(()) => {
                let keeping = self.take_snapshot(cx, label);
                let keeping = cx.bounded("keep the state of the services", keeping);
                keeping.await.flatten()
            }
            Err(error) => Err(error),
        };
        // They go on, however that ended.
        match (kept, frozen.thaw().await) {
            (Err(error), Err(frozen)) => Err(error.with_context("besides", frozen)),
            (kept, gone_on) => kept.and(gone_on),
        }
    }

    async fn restore(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        let staging = &Arc::clone(&self.running()?.staging);
        let healed = staging.heal_before_anew(self.database_service());
        cx.bounded("heal all faults", healed).await??;
        cx.bounded("put the services back", self.put_back(cx, label))
            .await?
    }
}

#[async_trait]
impl RowComparison for DockerEnvironment {
    async fn row_diff(
        &self,
        cx: &UpgradeContext,
        from: &At,
        to: &At,
        requests: &[RowDiffRequest],
    ) -> Result<BTreeMap<String, RowDiff>> {
        self.postgres()?.row_diff(cx, from, to, requests).await
    }
}

#[async_trait]
impl DatabaseFaults for DockerEnvironment {
    fn supports(&self, _: Fault) -> bool {
        true
    }

    async fn inject(&self, cx: &UpgradeContext, fault: Fault) -> Result<()> {
        self.postgres()?.inject(cx, fault).await
    }
}

#[async_trait]
impl SessionMonitor for DockerEnvironment {
    async fn begin(&self, cx: &UpgradeContext) -> Result<()> {
        self.postgres()?.begin(cx).await
    }

    async fn end(&self, cx: &UpgradeContext) -> Result<Vec<Finding>> {
        self.postgres()?.end(cx).await
    }
}

#[async_trait]
impl StatementTrial for DockerEnvironment {
    async fn try_statements(&self, cx: &UpgradeContext, of: &At) -> Result<Vec<Refusal>> {
        self.postgres()?.try_statements(cx, of).await
    }
}
