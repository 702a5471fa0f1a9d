//! A system that is one Postgres database, wherever that comes from.

mod claims;
mod copies;
mod faults;
mod sessions;
mod source;
#[cfg(feature = "docker")]
mod unlogged;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::{
    At, Claims, DATABASE, DatabaseFaults, Endpoints, Environment, LogTail, RowComparison, Services,
    SessionMonitor, Snapshots, StatementTrial, Unfilled,
};
use crate::configuration::Configuration;
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Scope};
use crate::postgres::cluster::{self, ClusterObject};
use crate::postgres::database::{close, derived_name};
use crate::postgres::{Database, LockQueue, Observer, Release, Watch};

pub use self::source::{DatabaseSource, Existing};

/// How long sessions may take to end where the context has no deadline.
const PATIENCE: Duration = Duration::from_secs(60);

/// An environment that is one database.
///
/// Over a disposable database ([`DatabaseSource::is_disposable`]) it keeps states as copies of the
/// database, ends sessions on request, and keeps a session open between calls. Over a real one
/// it does none of that.
#[derive(Debug)]
pub struct PostgresEnvironment {
    name: String,
    source: Box<dyn DatabaseSource>,
    observer: Observer,
    services: Option<Box<dyn Services>>,
    configuration: Option<Box<dyn Configuration>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    database: Option<Database>,
    snapshots: BTreeMap<String, Database>,
    /// The tables of the releases that were read from these, to try their statements.
    releases: BTreeMap<String, Arc<Release>>,
    /// The names of all copies that were begun, whatever became of them, and how many there were.
    copies: BTreeSet<String>,
    copied: u32,
    watch: Option<Watch>,
    lock_queue: Option<LockQueue>,
    /// What was on the server before the first migration, and before the one that is monitored.
    server_before: BTreeSet<ClusterObject>,
    server_watched: BTreeSet<ClusterObject>,
    /// A session in the database, and one in the server's maintenance database, for the next call
    /// that needs one: a new one takes some milliseconds, and knows nothing of the catalog yet.
    live: Option<PgConnection>,
    admin: Option<PgConnection>,
    /// A session in the copy of a state, with the label of the state.
    past: Option<(String, PgConnection)>,
    /// The session that keeps a snapshot open, until the next fault was injected.
    holds: Option<PgConnection>,
}

impl PostgresEnvironment {
    /// An environment over a database from a source.
    pub fn new(name: impl Into<String>, source: impl DatabaseSource) -> Self {
        Self {
            name: name.into(),
            source: Box::new(source),
            observer: Observer::default(),
            services: None,
            configuration: None,
            state: Mutex::default(),
        }
    }

    /// Observes in another way than by default.
    #[must_use]
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// Adds the services that use the database, and are replaced in an upgrade.
    #[must_use]
    pub fn with_services(mut self, services: impl Services + 'static) -> Self {
        self.services = Some(Box::new(services));
        self
    }

    /// Adds the configuration of the services. An [operation](crate::operation::Operation) switches it
    /// before the services, and restores it in a rollback; a rehearsal leaves it alone.
    #[must_use]
    pub fn with_configuration(mut self, configuration: impl Configuration) -> Self {
        self.configuration = Some(Box::new(configuration));
        self
    }

    /// The database that keeps a state.
    #[cfg(feature = "docker")]
    pub(super) fn kept(&self, label: &str) -> Option<Database> {
        self.state(|state| state.snapshots.get(label).cloned())
    }

    /// Whether the database is there.
    #[cfg(feature = "docker")]
    pub(super) async fn exists(&self) -> Result<bool> {
        let live = self.database()?;
        let mut admin = self.admin_session(&live).await?;
        let exists = live.exists(&mut admin).await?;
        self.keep_admin(admin).await;
        Ok(exists)
    }

    /// Tells where a state is kept that another process has kept.
    #[cfg(feature = "docker")]
    pub(super) fn knows(&self, label: &str, kept: Database) {
        self.state(|state| {
            state.releases.remove(label);
            state.snapshots.insert(label.to_owned(), kept)
        });
    }

    fn state<T>(&self, read: impl FnOnce(&mut State) -> T) -> T {
        read(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn database(&self) -> Result<Database> {
        self.state(|state| state.database.clone()).ok_or_else(|| {
            Error::new(
                ErrorKind::Environment,
                format!("environment `{}` has no database yet", self.name),
            )
            .with_hint("call `prepare` first")
        })
    }

    fn at(&self, at: &At) -> Result<Database> {
        match at {
            At::Live => self.database(),
            At::Snapshot(label) => self
                .state(|state| state.snapshots.get(label).cloned())
                .ok_or_else(|| unknown(label)),
        }
    }

    /// What it can do over a disposable database alone.
    fn disposable(&self) -> Option<&Self> {
        self.source.is_disposable().then_some(self)
    }

    /// Refuses what is done to a disposable database only, whoever calls.
    fn only_disposable(&self) -> Result<()> {
        if self.source.is_disposable() {
            return Ok(());
        }
        let name = &self.name;
        let message = format!(
            "environment `{name}` is over a real database, which it does not copy, replace or clear of sessions"
        );
        Err(Error::new(ErrorKind::Unsupported, message)
            .with_hint("a database of which nothing has to be kept is `Existing::disposable`"))
    }

    /// A session in the database: the one that is kept, if it still lives.
    async fn live_session(&self, live: &Database) -> Result<PgConnection> {
        match alive(self.state(|state| state.live.take())).await {
            Some(session) => Ok(session),
            None => live.connect().await,
        }
    }

    /// A session in the database at a state: the one that is kept, if it still lives.
    async fn session_at(&self, at: &At, database: &Database) -> Result<PgConnection> {
        let At::Snapshot(label) = at else {
            return self.live_session(database).await;
        };
        if let Some((of, session)) = self.state(|state| state.past.take()) {
            if of != *label {
                close(session).await;
            } else if let Some(session) = alive(Some(session)).await {
                return Ok(session);
            }
        }
        database.connect().await
    }

    async fn keep_at(&self, at: &At, session: PgConnection) {
        let At::Snapshot(label) = at else {
            return self.keep_live(session).await;
        };
        let other = self.state(|state| state.past.replace((label.clone(), session)));
        if let Some((_, other)) = other {
            close(other).await;
        }
    }

    /// A session in the maintenance database: the one that is kept, if it still lives.
    async fn admin_session(&self, live: &Database) -> Result<PgConnection> {
        match alive(self.state(|state| state.admin.take())).await {
            Some(session) => Ok(session),
            None => live.connect_maintenance().await,
        }
    }

    /// Keeps a session for the next call. On a real system none stays open: what is done there
    /// between two steps may need the database without sessions.
    async fn keep(&self, session: PgConnection, of: fn(&mut State) -> &mut Option<PgConnection>) {
        if !self.source.is_disposable() {
            return close(session).await;
        }
        if let Some(other) = self.state(|state| of(state).replace(session)) {
            close(other).await;
        }
    }

    async fn keep_live(&self, session: PgConnection) {
        self.keep(session, |state| &mut state.live).await;
    }

    async fn keep_admin(&self, session: PgConnection) {
        self.keep(session, |state| &mut state.admin).await;
    }
}

/// The session, if it still lives: it may have been ended, or its server killed.
async fn alive(session: Option<PgConnection>) -> Option<PgConnection> {
    let mut session = session?;
    session.ping().await.ok()?;
    Some(session)
}

/// The name under which a copy is made that then takes the place of the database.
fn fresh_name(live: &Database) -> String {
    derived_name(live.name(), "back")
}

fn unknown(label: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("no state was kept as `{label}`"),
    )
}

#[async_trait]
impl Environment for PostgresEnvironment {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_disposable(&self) -> bool {
        self.source.is_disposable()
    }

    async fn prepare(&self, cx: &UpgradeContext) -> Result<()> {
        if self.state(|state| state.database.is_some()) {
            return Ok(());
        }
        let database = cx.bounded("provision", self.source.provision(cx)).await??;
        self.state(|state| state.database = Some(database.clone()));
        if self.source.is_disposable() {
            let mut admin = self.admin_session(&database).await?;
            let before = cluster::objects(&mut admin, database.name()).await?;
            self.state(|state| state.server_before = before);
            self.keep_admin(admin).await;
        }
        Ok(())
    }

    fn unfilled(&self) -> Vec<Unfilled> {
        self.source.unfilled()
    }

    fn endpoints(&self) -> Endpoints {
        match self.state(|state| state.database.clone()) {
            Some(database) => Endpoints::default().with(DATABASE, database.endpoint()),
            None => Endpoints::default(),
        }
    }

    async fn observe(&self, cx: &UpgradeContext, at: &At, scope: &Scope) -> Result<Observation> {
        let database = self.at(at)?;
        let observe = async {
            let mut session = self.session_at(at, &database).await?;
            let observation = self.observer.observe(&mut session, scope).await?;
            self.keep_at(at, session).await;
            Ok(observation)
        };
        cx.bounded("observe", observe).await?
    }

    async fn size(&self, cx: &UpgradeContext) -> Result<Option<u64>> {
        let database = self.database()?;
        let ask = async {
            let mut session = self.live_session(&database).await?;
            let sql = "select pg_catalog.pg_database_size(pg_catalog.current_database())";
            let bytes: i64 = sqlx::query_scalar(sql)
                .fetch_one(&mut session)
                .await
                .map_err(|source| {
                    Error::new(
                        ErrorKind::Database,
                        "the size of the database cannot be read",
                    )
                    .with_source(source)
                })?;
            self.keep_live(session).await;
            Ok(u64::try_from(bytes).ok())
        };
        cx.bounded("read the size of the data", ask).await?
    }

    async fn logs(&self, _: &UpgradeContext, lines: usize) -> Result<Vec<LogTail>> {
        Ok(self.source.log_tail(lines))
    }

    async fn teardown(&self, cx: &UpgradeContext) -> Result<()> {
        drop(self.state(|state| (state.watch.take(), state.lock_queue.take())));
        let sessions = self.state(|state| {
            let past = state.past.take().map(|(_, session)| session);
            let kept = [&mut state.live, &mut state.admin, &mut state.holds];
            kept.map(Option::take).into_iter().chain([past])
        });
        for session in sessions.flatten() {
            close(session).await;
        }
        let Some(database) = self.state(|state| state.database.clone()) else {
            return self.source.release(cx, None).await;
        };
        // What stays is known, and the database is not released, until another call has removed it.
        let dropped = self.drop_copies(&database).await;
        dropped.map_err(|error| {
            let message = format!(
                "environment `{}` did not remove a snapshot, whose name begins with `{}_`",
                self.name,
                database.name()
            );
            Error::new(ErrorKind::Environment, message).with_source(error)
        })?;
        self.source.release(cx, Some(database)).await?;
        self.state(|state| *state = State::default());
        Ok(())
    }

    fn services(&self) -> Option<&dyn Services> {
        self.services.as_deref()
    }

    fn configuration(&self) -> Option<&dyn Configuration> {
        self.configuration.as_deref()
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.disposable().map(|it| it as _)
    }

    fn row_comparison(&self) -> Option<&dyn RowComparison> {
        self.disposable().map(|it| it as _)
    }

    fn database_faults(&self) -> Option<&dyn DatabaseFaults> {
        self.disposable().map(|it| it as _)
    }

    fn session_monitor(&self) -> Option<&dyn SessionMonitor> {
        self.disposable().map(|it| it as _)
    }

    // A database that is thrown away belongs to its run anyway.
    fn claims(&self) -> Option<&dyn Claims> {
        (!self.source.is_disposable()).then_some(self as _)
    }

    // A real system makes no statement that nobody asked for.
    fn statement_trial(&self) -> Option<&dyn StatementTrial> {
        self.disposable().map(|it| it as _)
    }
}
