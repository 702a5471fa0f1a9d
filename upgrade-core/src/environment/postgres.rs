//! A system that is one Postgres database, wherever that comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::{
    At, Capabilities, DATABASE, EMPTY, Endpoints, Environment, Fault, LogTail, Refusal, Unfilled,
};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, RowDiff, RowDiffRequest, Scope};
use crate::postgres::cluster::{self, ClusterObject};
use crate::postgres::database::{CopyStrategy, Marker, MarkerKind, close, derived_name};
use crate::postgres::rowdiff::{self, RowDiffOptions};
use crate::postgres::{Database, LockQueue, Observer, Release, Watch};
use crate::validator::Finding;
use crate::version::Version;

/// How long sessions may take to end where the context has no deadline.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the database of a [`PostgresEnvironment`] comes from, and where it goes.
#[async_trait]
pub trait DatabaseSource: fmt::Debug + Send + Sync + 'static {
    /// Hands out a database at the previous release, populated.
    ///
    /// # Errors
    /// Any kind; what is left is removed by [`release`](Self::release).
    async fn provision(&self, cx: &UpgradeContext) -> Result<Database>;

    /// Takes the database back, at the end of the run. `passed_on` is what `provision` handed
    /// out; `None` when that failed or was cut off: what it has made until then has to go, too.
    ///
    /// # Errors
    /// Any kind, with what is left.
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
            "the server is not ours to kill",
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
    capabilities: Capabilities,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    database: Option<Database>,
    snapshots: BTreeMap<String, Database>,
    watch: Option<Watch>,
    lock_queue: Option<LockQueue>,
    /// What was on the server before the first migration, and before the one that is monitored.
    server_before: BTreeSet<ClusterObject>,
    server_watched: BTreeSet<ClusterObject>,
    /// A session in the database, and one in the server's maintenance database, for the next call
    /// that needs one: a new one takes some milliseconds, and knows nothing of the catalog yet.
    live: Option<PgConnection>,
    admin: Option<PgConnection>,
    /// The session that keeps a snapshot open, until the next fault has struck.
    holds: Option<PgConnection>,
}

impl PostgresEnvironment {
    /// An environment over a database from a source.
    pub fn new(name: impl Into<String>, source: impl DatabaseSource) -> Self {
        let mut capabilities = Capabilities::none();
        if source.is_disposable() {
            capabilities = capabilities
                .with_disposable()
                .with_snapshots()
                .with_faults()
                .with_row_diffs()
                .with_watches();
            capabilities.server_faults = source.may_kill_server();
            capabilities.empty = source.may_be_emptied();
        }
        Self {
            name: name.into(),
            source: Box::new(source),
            observer: Observer::default(),
            capabilities,
            state: Mutex::default(),
        }
    }

    /// Observes in another way than by default.
    #[must_use]
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
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
        self.state(|state| state.snapshots.insert(label.to_owned(), kept));
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

    fn require(&self, has: bool, what: &str) -> Result<()> {
        if has {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("environment `{}` was made without {what}", self.name),
        ))
    }

    /// A session in the database: the one that is kept, if it still lives.
    async fn live_session(&self, live: &Database) -> Result<PgConnection> {
        match alive(self.state(|state| state.live.take())).await {
            Some(session) => Ok(session),
            None => live.connect().await,
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
        if !self.capabilities.disposable {
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

    /// Ends the session in the database, before that is copied or replaced.
    async fn leave(&self) {
        drop(self.state(|state| state.holds.take()));
        if let Some(session) = self.state(|state| state.live.take()) {
            close(session).await;
        }
    }

    async fn copy(
        &self,
        cx: &UpgradeContext,
        admin: &mut PgConnection,
        from: &Database,
        to: &str,
    ) -> Result<Database> {
        // What is overwritten is only ever a copy that this environment made.
        from.sibling(to).drop(admin).await?;
        let live = self.database()?;
        let marker = Marker::new(MarkerKind::Kept, cx.run_id().as_str()).beside(&live);
        let within = cx.remaining().unwrap_or(PATIENCE);
        from.copy(admin, to, &marker, self.source.copy_strategy(), within)
            .await
    }

    /// Keeps a copy of the database under another name.
    async fn keep_state(&self, cx: &UpgradeContext, live: &Database, to: &str) -> Result<()> {
        self.leave().await;
        let mut admin = self.admin_session(live).await?;
        self.copy(cx, &mut admin, live, to).await?;
        self.keep_admin(admin).await;
        Ok(())
    }

    /// What appeared on the server since the watch began, as findings.
    async fn new_on_server(&self, live: &Database) -> Result<Vec<Finding>> {
        let before = self.state(|state| std::mem::take(&mut state.server_watched));
        let alone = self.source.may_clear_server();
        let mut admin = self.admin_session(live).await?;
        let new = cluster::new_objects(&mut admin, live.name(), &before, alone).await?;
        self.keep_admin(admin).await;
        let lasts = match self.source.may_clear_server() {
            true => {
                "no down of a database's schema and no copy of a database brings it back or takes it away"
            }
            false => "nothing removes it: the server may be somebody else's as well",
        };
        let finding = |object: &ClusterObject| {
            let said = format!("{object} appeared on the server while a migration ran; {lasts}");
            Finding::note("server-object-made", object.to_string(), said)
        };
        Ok(new.iter().map(finding).collect())
    }

    /// Makes a database anew, without anything in it.
    async fn make_anew(&self, live: &Database) -> Result<()> {
        let mut admin = live.connect_maintenance().await?;
        live.guard(&mut admin, "emptied").await?;
        let comment = lasting_comment(live, &mut admin).await?;
        live.drop(&mut admin).await?;
        self.clear_server(&mut admin, live).await?;
        live.create(&mut admin, &Marker::new(MarkerKind::Kept, live.name()))
            .await?;
        let comment = live.comment_sql(comment.as_deref());
        live.act(&mut admin, "mark", &comment).await?;
        live.replaced().await?;
        close(admin).await;
        Ok(())
    }

    /// Removes what migrations have made on the server outside of the database, which is dropped.
    async fn clear_server(&self, admin: &mut PgConnection, live: &Database) -> Result<()> {
        if !self.source.may_clear_server() {
            return Ok(());
        }
        let before = self.state(|state| state.server_before.clone());
        cluster::remove_new(admin, live.name(), &before).await
    }

    /// Puts a copy of what was kept in the place of the database. The copy comes first: should it
    /// fail, for want of disk space say, nothing has changed.
    async fn put_back(&self, cx: &UpgradeContext, kept: &Database) -> Result<()> {
        let live = self.database()?;
        self.leave().await;
        let mut admin = self.admin_session(&live).await?;
        if live.exists(&mut admin).await? {
            live.guard(&mut admin, "put back").await?;
        }
        let comment = lasting_comment(&live, &mut admin).await?;
        let fresh = self.copy(cx, &mut admin, kept, &fresh_name(&live)).await?;
        live.drop(&mut admin).await?;
        self.clear_server(&mut admin, &live).await?;
        let live = fresh.rename(&mut admin, live.name()).await?;
        let comment = live.comment_sql(comment.as_deref());
        live.act(&mut admin, "mark", &comment).await?;
        live.is_no_copy(&mut admin).await?;
        live.replaced().await?;
        self.keep_admin(admin).await;
        Ok(())
    }
}

/// What is written on a database that takes the place of this one: our marker, also where a
/// migration has written something else over it.
async fn lasting_comment(live: &Database, admin: &mut PgConnection) -> Result<Option<String>> {
    match live.marker(admin).await? {
        Some(marker) => Ok(Some(marker.to_comment())),
        None => live.comment(admin).await,
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

/// Waits until no session of the database runs a statement or has a transaction open.
async fn until_nothing_runs(admin: &mut PgConnection, live: &Database) -> Result<()> {
    let sql = "select exists (select from pg_catalog.pg_stat_activity \
         where datname = $1 and backend_type = 'client backend' and state <> 'idle')";
    while sqlx::query_scalar::<_, bool>(sql)
        .bind(live.name())
        .fetch_one(&mut *admin)
        .await?
    {
        tokio::time::sleep(Duration::from_millis(2)).await; // poll, within the deadline
    }
    Ok(())
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

    fn capabilities(&self) -> Capabilities {
        self.capabilities
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

    async fn replace(&self, _: &UpgradeContext, _: &Version) -> Result<()> {
        Ok(())
    }

    async fn replace_first(&self, _: &UpgradeContext, _: u32) -> Result<()> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "a database has no instances of services to replace",
        ))
    }

    async fn observe(&self, cx: &UpgradeContext, at: &At, scope: &Scope) -> Result<Observation> {
        let database = self.at(at)?;
        let observe = async {
            let mut session = match at {
                At::Live => self.live_session(&database).await?,
                At::Snapshot(_) => database.connect().await?,
            };
            let observation = self.observer.observe(&mut session, scope).await?;
            match at {
                At::Live => self.keep_live(session).await,
                At::Snapshot(_) => close(session).await,
            }
            Ok(observation)
        };
        cx.bounded("observe", observe).await?
    }

    async fn row_diff(
        &self,
        cx: &UpgradeContext,
        from: &At,
        to: &At,
        requests: &[RowDiffRequest],
    ) -> Result<BTreeMap<String, RowDiff>> {
        self.require(self.capabilities.row_diffs, "comparisons of rows")?;
        let (from, to) = (self.at(from)?, self.at(to)?);
        let compare = async {
            let (mut before, mut after) = tokio::try_join!(from.connect(), to.connect())?;
            let options = RowDiffOptions::default();
            let found = rowdiff::diff_all(&mut before, &mut after, requests, &options)
                .await
                .map_err(|source| {
                    Error::new(ErrorKind::Database, "the rows could not be compared")
                        .with_source(source)
                })?;
            close(before).await;
            close(after).await;
            Ok(found)
        };
        cx.bounded("compare rows", compare).await?
    }

    async fn snapshot(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        self.require(self.capabilities.snapshots, "snapshots")?;
        let live = self.database()?;
        let number = self.state(|state| state.snapshots.len());
        let name = self
            .state(|state| {
                state
                    .snapshots
                    .get(label)
                    .map(|kept| kept.name().to_owned())
            })
            .unwrap_or_else(|| derived_name(live.name(), &format!("s{number}")));
        // Known before it is made, so that teardown removes also what was made by half.
        self.state(|state| {
            state
                .snapshots
                .insert(label.to_owned(), live.sibling(&name))
        });
        let copied = cx
            .bounded("take a snapshot", self.keep_state(cx, &live, &name))
            .await?;
        if let Err(error) = copied {
            self.state(|state| state.snapshots.remove(label));
            return Err(error);
        }
        Ok(())
    }

    async fn restore(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        self.require(self.capabilities.snapshots, "snapshots")?;
        if label == EMPTY && self.capabilities.empty {
            let live = self.database()?;
            self.leave().await;
            cx.bounded("empty the database", self.make_anew(&live))
                .await??;
            return cx
                .bounded("set the database up", self.source.set_up(cx, &live))
                .await?;
        }
        let kept = self.at(&At::Snapshot(label.to_owned()))?;
        cx.bounded("restore a snapshot", self.put_back(cx, &kept))
            .await?
    }

    async fn inject(&self, cx: &UpgradeContext, fault: Fault) -> Result<()> {
        self.require(self.capabilities.faults, "faults")?;
        let live = self.database()?;
        // What it makes wait has to be struck first.
        let holds = self.state(|state| state.holds.take());
        match fault {
            Fault::HoldSnapshot => {
                let hold = async {
                    let mut session = live.connect().await?;
                    let begin = "begin isolation level repeatable read; select 1";
                    sqlx::raw_sql(begin).execute(&mut session).await?;
                    Ok::<_, Error>(session)
                };
                let session = cx.bounded("hold a snapshot", hold).await??;
                self.state(|state| state.holds = Some(session));
                Ok(())
            }
            Fault::TerminateSessions => {
                let mut admin = self.admin_session(&live).await?;
                let within = cx.remaining().unwrap_or(PATIENCE);
                live.terminate_sessions(&mut admin, within).await?;
                self.keep_admin(admin).await;
                Ok(())
            }
            Fault::KillServer => {
                self.require(self.capabilities.server_faults, "a server that it may kill")?;
                cx.bounded("kill the server", self.source.kill_server(cx))
                    .await?
            }
            Fault::KillProcess => {
                drop(holds);
                let mut admin = self.admin_session(&live).await?;
                let gone = until_nothing_runs(&mut admin, &live);
                cx.bounded("wait for the sessions of a killed process", gone)
                    .await??;
                self.keep_admin(admin).await;
                Ok(())
            }
        }
    }

    async fn watch(&self, cx: &UpgradeContext) -> Result<()> {
        self.require(self.capabilities.watches, "a watch over sessions")?;
        let live = self.database()?;
        let begin = async {
            let session = self.live_session(&live).await?;
            let mut admin = self.admin_session(&live).await?;
            let before = cluster::objects(&mut admin, live.name()).await?;
            self.keep_admin(admin).await;
            Ok::<_, Error>((Watch::begin(session, &self.observer).await?, before))
        };
        let (begun, before) = cx.bounded("watch sessions", begin).await??;
        let queue = LockQueue::begin(&live, cx.run_id());
        self.state(|state| {
            (state.watch, state.server_watched) = (Some(begun), before);
            state.lock_queue = Some(queue);
        });
        Ok(())
    }

    async fn left_behind(&self, cx: &UpgradeContext) -> Result<Vec<Finding>> {
        self.require(self.capabilities.watches, "a watch over sessions")?;
        let live = self.database()?;
        let waited = match self.state(|state| state.lock_queue.take()) {
            Some(queue) => queue.end().await,
            None => Vec::new(),
        };
        match self.state(|state| state.watch.take()) {
            Some(watch) => {
                let ended = cx.bounded("look at sessions", watch.end(&live));
                let (mut findings, session) = ended.await??;
                self.keep_live(session).await;
                findings.extend(waited);
                findings.extend(
                    cx.bounded("look at the server", self.new_on_server(&live))
                        .await??,
                );
                Ok(findings)
            }
            None => Ok(Vec::new()),
        }
    }

    async fn try_statements(&self, cx: &UpgradeContext, of: &At) -> Result<Vec<Refusal>> {
        // Only in staging: a real system makes no statement that nobody asked for.
        if !self.capabilities.snapshots {
            return Ok(Vec::new());
        }
        let is_live = *of == At::Live;
        let (of, live) = (self.at(of)?, self.database()?);
        let tried = async {
            let mut session = of.connect().await?;
            let release = Release::read(&mut session, &self.observer, is_live).await?;
            close(session).await;
            let mut session = live.connect().await?;
            let refused = release.tried(&mut session).await?;
            close(session).await;
            Ok(refused)
        };
        cx.bounded("try the statements of a release", tried).await?
    }

    async fn logs(&self, _: &UpgradeContext, lines: usize) -> Result<Vec<LogTail>> {
        Ok(self.source.log_tail(lines))
    }

    async fn teardown(self: Box<Self>, cx: &UpgradeContext) -> Result<()> {
        let State {
            database,
            snapshots,
            watch,
            live,
            admin,
            holds,
            ..
        } = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        drop(watch);
        for session in live.into_iter().chain(admin).chain(holds) {
            close(session).await;
        }
        let Some(database) = database else {
            return self.source.release(cx, None).await;
        };
        let mut failed = None;
        if !snapshots.is_empty() {
            let mut admin = database.connect_maintenance().await?;
            if database.exists(&mut admin).await? {
                let fresh = database.sibling(fresh_name(&database));
                for copy in snapshots.values().chain([&fresh]) {
                    if let Err(error) = copy.drop(&mut admin).await {
                        failed.get_or_insert(error);
                    }
                }
            } else {
                // A restore was interrupted: the copies are all that there is.
                failed = Some(Error::new(
                    ErrorKind::NotFound,
                    format!("database `{}` is gone, so its copies stay", database.name()),
                ));
            }
            close(admin).await;
        }
        let copies = database.name().to_owned();
        let released = self.source.release(cx, Some(database)).await;
        match failed {
            Some(error) => Err(Error::new(
                ErrorKind::Environment,
                format!(
                    "environment `{}` left a snapshot behind, whose name begins with `{copies}_`",
                    self.name
                ),
            )
            .with_source(error)),
            None => released,
        }
    }
}
