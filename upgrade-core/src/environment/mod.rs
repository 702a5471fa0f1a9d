//! The system that is upgraded, as something that can be made, observed, put back and removed.

#[cfg(feature = "docker")]
mod docker;
#[cfg(feature = "postgres")]
mod postgres;
mod statements;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::fault::{ServiceFault, Site};
use crate::observation::{Observation, RowDiff, RowDiffRequest, Scope};
use crate::secret::Secret;
use crate::validator::Finding;
use crate::version::Version;

#[cfg(feature = "docker")]
pub use docker::{DockerEnvironment, SharedEnvironment};
#[cfg(feature = "postgres")]
pub use postgres::{DatabaseSource, Existing, PostgresEnvironment};

pub use statements::{Refusal, StatementKind};

/// The name of the endpoint at which the database answers.
pub const DATABASE: &str = "database";

/// The label of the empty system: what there is before the first migration. An environment that
/// declares [`Capabilities::empty`] can restore it at any time.
pub const EMPTY: &str = "empty";

/// One system at one release: its database, its services, its configuration.
///
/// # Contract
///
/// - What [`prepare`](Self::prepare) makes is registered before it is made, so that it can be
///   swept when this process is killed.
/// - Two environments share no state.
/// - Every wait ends at the context's deadline and on its cancellation.
/// - Only the runner calls these methods, one at a time.
#[async_trait]
pub trait Environment: fmt::Debug + Send + Sync + 'static {
    /// The name that a person reads in plans and reports.
    fn name(&self) -> &str;

    /// The optional powers. The planner reads them; a method of a power that is not declared
    /// answers with [`Unsupported`](crate::ErrorKind::Unsupported).
    fn capabilities(&self) -> Capabilities;

    /// Makes the system at the previous release, populated, and waits until it answers.
    ///
    /// # Behavior
    /// - When it returns, everything that [`endpoints`](Self::endpoints) lists can be reached.
    /// - Called a second time it changes nothing.
    /// - When it fails, nothing of it is left that [`teardown`](Self::teardown) does not remove.
    ///
    /// # Errors
    /// [`Environment`](crate::ErrorKind::Environment) when it cannot be made,
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when a component is missing.
    async fn prepare(&self, cx: &UpgradeContext) -> Result<()>;

    /// Where the parts of the system can be reached; empty before [`prepare`](Self::prepare).
    fn endpoints(&self) -> Endpoints;

    /// The tables of the previous release that should have rows and have none, known after
    /// [`prepare`](Self::prepare). A migration that touches one of them is never judged as good:
    /// the run ends as inconclusive. An environment over real data has no such table: where that
    /// is empty, it is empty in production.
    fn unfilled(&self) -> Vec<Unfilled> {
        Vec::new()
    }

    /// Replaces the services by those of a release. An environment that is only a database has
    /// none to replace and agrees.
    ///
    /// # Behavior
    /// - When it returns, the services of that release answer.
    /// - Called again with the same release it changes nothing.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for a release that it does not know,
    /// [`Environment`](crate::ErrorKind::Environment) when the services do not come up.
    async fn replace(&self, cx: &UpgradeContext, to: &Version) -> Result<()>;

    /// Has both releases run side by side: the first `count` instances of services that of
    /// [`cx.to()`](UpgradeContext::to), all others that of [`cx.from()`](UpgradeContext::from).
    ///
    /// # Behavior
    /// - When it returns, all instances answer, and users are led to all of them.
    /// - From any other number it goes there instance by instance, up or down; the others stay as
    ///   they are.
    /// - With 0 it is as after [`replace`](Self::replace) by the old release, and with
    ///   [`Capabilities::instances`] or more as after that by the new one.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where [`Capabilities::instances`] is 0, else
    /// as [`replace`](Self::replace).
    async fn replace_first(&self, cx: &UpgradeContext, count: u32) -> Result<()>;

    /// Measures everything that is compared: the schema and the rows.
    ///
    /// # Behavior
    /// - Observed twice with no change in between, the two are equal.
    /// - It changes nothing.
    /// - [`At::Snapshot`] with a label that was never taken is
    ///   [`NotFound`](crate::ErrorKind::NotFound).
    ///
    /// # Errors
    /// [`Database`](crate::ErrorKind::Database) when it cannot be read.
    async fn observe(&self, cx: &UpgradeContext, at: &At, scope: &Scope) -> Result<Observation>;

    /// Names the rows in which tables differ between two states; the answer is by the tables'
    /// names at `from`.
    ///
    /// # Behavior
    /// - Its numbers are exact: they lead from the number of rows at `from` to that at `to`.
    /// - Where nothing was changed, no row differs.
    /// - It changes nothing.
    /// - [`At::Snapshot`] with a label that was never taken is
    ///   [`NotFound`](crate::ErrorKind::NotFound).
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without [`Capabilities::row_diffs`],
    /// [`Database`](crate::ErrorKind::Database) when a table cannot be read.
    async fn row_diff(
        &self,
        cx: &UpgradeContext,
        from: &At,
        to: &At,
        requests: &[RowDiffRequest],
    ) -> Result<BTreeMap<String, RowDiff>>;

    /// Keeps the state of the system under a label.
    ///
    /// # Behavior
    /// - Sessions of users may be disconnected.
    /// - A label that is taken again is overwritten.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without [`Capabilities::snapshots`].
    async fn snapshot(&self, cx: &UpgradeContext, label: &str) -> Result<()>;

    /// Puts the system back into the state that a label keeps.
    ///
    /// # Behavior
    /// - Afterwards an observation equals the one made at the snapshot.
    /// - The label is kept, and can be restored again.
    /// - With [`Capabilities::empty`], the label [`EMPTY`] can be restored although it was never
    ///   taken. No row is left then, no table that had rows, and every label.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for a label that was never taken,
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without [`Capabilities::snapshots`].
    async fn restore(&self, cx: &UpgradeContext, label: &str) -> Result<()>;

    /// Makes something go wrong, on purpose.
    ///
    /// # Behavior
    /// - When it returns, no session that was hit holds anything any more, and the system can be
    ///   reached again at the same endpoints.
    /// - What was committed before a server was killed is there.
    /// - A killed process is waited for until its sessions have ended.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without [`Capabilities::faults`], and for
    /// [`Fault::KillServer`] without [`Capabilities::server_faults`].
    async fn inject(&self, cx: &UpgradeContext, fault: Fault) -> Result<()>;

    /// Where each kind of [fault](crate::fault) of a service can strike in a release and, where it
    /// cannot, why. It is asked before anything is made, for the plan. An environment without
    /// [`Capabilities::service_faults`] has no such place, and need not implement it.
    ///
    /// # Behavior
    /// - It says the same before and after [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for a release that it does not know.
    fn fault_sites(&self, release: &Version) -> Result<Vec<Site>> {
        let _ = release;
        Ok(Vec::new())
    }

    /// Has a fault of one container strike, until it is [healed](Self::heal).
    ///
    /// # Behavior
    /// - It stays until `heal`, a snapshot, a restore or a teardown, which heal what is not healed.
    /// - A replacement does not heal: a release may be rolled out while a container is frozen. A
    ///   container that is replaced takes its fault along.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without [`Capabilities::service_faults`], and
    /// with the reason where the site is closed; [`NotFound`](crate::ErrorKind::NotFound) where
    /// there is no such container; [`Refused`](crate::ErrorKind::Refused) for one that has a fault
    /// already.
    async fn strike(&self, cx: &UpgradeContext, fault: &ServiceFault) -> Result<()> {
        let _ = cx;
        Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "`{fault}` cannot strike: `{}` has no faults of services",
                self.name()
            ),
        ))
    }

    /// Undoes a fault, and waits until its container is ready again.
    ///
    /// # Behavior
    /// - One that is healed already, or whose container is gone, is left alone.
    ///
    /// # Errors
    /// [`Environment`](crate::ErrorKind::Environment) when the container does not get ready again.
    async fn heal(&self, cx: &UpgradeContext, fault: &ServiceFault) -> Result<()> {
        let _ = (cx, fault);
        Ok(())
    }

    /// Begins to watch for what the next migration leaves behind in sessions.
    ///
    /// # Behavior
    /// - It holds nothing that a migration could wait for.
    /// - Called again, it begins anew.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without [`Capabilities::watches`].
    async fn watch(&self, cx: &UpgradeContext) -> Result<()>;

    /// Tells what sessions hold on to since [`watch`](Self::watch), now that the migration has
    /// ended, well or not: locks, transactions, statements that do not work any more. It ends the
    /// watch.
    ///
    /// # Behavior
    /// - Without a change in between, nothing is left behind.
    /// - What a session holds on to is found, as an error.
    /// - It ends the watch: what is taken afterwards is not told.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without [`Capabilities::watches`].
    async fn left_behind(&self, cx: &UpgradeContext) -> Result<Vec<Finding>>;

    /// Tries, on the live system, the statements that a release makes on its tables: it reads, adds,
    /// changes and removes rows. The release is the one whose tables, columns and rows the state
    /// `of` has; [`At::Live`] is the live system itself. An environment that cannot try them has
    /// nothing to answer, and need not implement it.
    ///
    /// # Behavior
    /// - It answers with the statements that are refused, in a fixed order; what is refused only
    ///   because a row is in the way is not among them.
    /// - Afterwards an observation equals the one before, but for sequences that have gone on.
    /// - A table that the live system does not have is left out.
    ///
    /// # Errors
    /// [`Database`](crate::ErrorKind::Database) when the tables cannot be read.
    async fn try_statements(&self, cx: &UpgradeContext, of: &At) -> Result<Vec<Refusal>> {
        let _ = (cx, of);
        Ok(Vec::new())
    }

    /// The last lines that the parts of the system logged, for a report.
    ///
    /// # Behavior
    /// - Available also after a part has crashed.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) when a log cannot be read.
    async fn logs(&self, cx: &UpgradeContext, lines: usize) -> Result<Vec<LogTail>>;

    /// Removes everything that this environment made.
    ///
    /// # Behavior
    /// - Nothing is left afterwards, also when [`prepare`](Self::prepare) failed or never ran.
    /// - It runs also after a panic, a timeout and a cancellation: it does not look at the
    ///   cancellation of the context.
    /// - What the user handed over is left as it is.
    ///
    /// # Errors
    /// [`Environment`](crate::ErrorKind::Environment) with what is left.
    async fn teardown(self: Box<Self>, cx: &UpgradeContext) -> Result<()>;
}

/// The optional powers of an [`Environment`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether the system was made for a rehearsal and is thrown away afterwards. A system that is
    /// not disposable keeps what a rollback needs when a run ends, and nothing moves there before
    /// all that is known beforehand is good. Default: no; no other power implies it.
    #[serde(default)]
    pub disposable: bool,
    /// It can keep a state under a label, restore it, and observe it.
    pub snapshots: bool,
    /// It can make something go wrong on purpose.
    pub faults: bool,
    /// It can kill the server of its database, and start it again.
    pub server_faults: bool,
    /// It can have single containers of services go wrong: [`Environment::strike`].
    #[serde(default)]
    pub service_faults: bool,
    /// It can tell what a migration left in sessions: [`Environment::watch`].
    pub watches: bool,
    /// It can be emptied: [`EMPTY`] can be restored.
    pub empty: bool,
    /// It runs services that are replaced in an upgrade.
    pub services: bool,
    /// It can name the rows in which two states differ.
    #[serde(default)]
    pub row_diffs: bool,
    /// How many instances of services it can replace one by one, 0 where it replaces all at once:
    /// [`Environment::replace_first`].
    #[serde(default)]
    pub instances: u32,
}

impl Capabilities {
    /// No optional power.
    pub fn none() -> Self {
        Self::default()
    }

    /// With [`Capabilities::disposable`].
    #[must_use]
    pub fn with_disposable(mut self) -> Self {
        self.disposable = true;
        self
    }

    /// With [`Capabilities::snapshots`].
    #[must_use]
    pub fn with_snapshots(mut self) -> Self {
        self.snapshots = true;
        self
    }

    /// With [`Capabilities::faults`].
    #[must_use]
    pub fn with_faults(mut self) -> Self {
        self.faults = true;
        self
    }

    /// With [`Capabilities::server_faults`].
    #[must_use]
    pub fn with_server_faults(mut self) -> Self {
        self.server_faults = true;
        self
    }

    /// With [`Capabilities::service_faults`].
    #[must_use]
    pub fn with_service_faults(mut self) -> Self {
        self.service_faults = true;
        self
    }

    /// With [`Capabilities::watches`].
    #[must_use]
    pub fn with_watches(mut self) -> Self {
        self.watches = true;
        self
    }

    /// With [`Capabilities::empty`].
    #[must_use]
    pub fn with_empty(mut self) -> Self {
        self.empty = true;
        self
    }

    /// With [`Capabilities::services`].
    #[must_use]
    pub fn with_services(mut self) -> Self {
        self.services = true;
        self
    }

    /// With [`Capabilities::services`], and [`Capabilities::instances`].
    #[must_use]
    pub fn with_instances(mut self, count: u32) -> Self {
        self.services = true;
        self.instances = count;
        self
    }

    /// With [`Capabilities::row_diffs`].
    #[must_use]
    pub fn with_row_diffs(mut self) -> Self {
        self.row_diffs = true;
        self
    }
}

/// A table that should have rows and has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unfilled {
    /// Its name, as [observations](Observation) have it.
    pub table: String,
    /// Why it has no rows: what refused them, in the words of the server.
    pub reason: String,
    /// What to do about it.
    pub help: String,
}

impl Unfilled {
    /// A table, why it has no rows, and what to do about it.
    pub fn new(
        table: impl Into<String>,
        reason: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            table: table.into(),
            reason: reason.into(),
            help: help.into(),
        }
    }
}

/// Which state of a system is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum At {
    /// The running system.
    Live,
    /// A state that is kept under a label.
    Snapshot(String),
}

/// Something that goes wrong, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// Every session of the database is terminated, the migrating one among them.
    TerminateSessions,
    /// The server is killed with all its processes, and started again on the data it left. What it
    /// had committed is there; unlogged tables are empty, as after any crash.
    KillServer,
    /// The migrating process is killed. The runner lets go of it, so that its connections are
    /// closed without a word; what the environment does is to wait until its sessions have ended
    /// by themselves. A statement that runs goes on until its end before the server notices.
    KillProcess,
    /// A session keeps a snapshot of the database open until the next fault has struck, so that what
    /// waits for old snapshots waits: a concurrent build of an index, say, can be struck before its
    /// end, however small its table is.
    HoldSnapshot,
}

/// Where one part of a system can be reached. The URL may hold a password.
#[derive(Debug, Clone)]
pub struct Endpoint {
    url: Secret,
    /// The lock under which whoever uses the endpoint works.
    #[cfg(feature = "postgres")]
    operation: Option<std::sync::Arc<crate::postgres::database::Operation>>,
}

/// Endpoints are equal where their URLs are.
impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
    }
}

impl Eq for Endpoint {}

impl Endpoint {
    /// An endpoint at a URL.
    pub fn new(url: impl Into<Secret>) -> Self {
        Self {
            url: url.into(),
            #[cfg(feature = "postgres")]
            operation: None,
        }
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn with_operation(
        mut self,
        operation: std::sync::Arc<crate::postgres::database::Operation>,
    ) -> Self {
        self.operation = Some(operation);
        self
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn operation(
        &self,
    ) -> Option<&std::sync::Arc<crate::postgres::database::Operation>> {
        self.operation.as_ref()
    }

    /// The URL.
    pub fn url(&self) -> &Secret {
        &self.url
    }
}

/// The endpoints of an environment, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoints(BTreeMap<String, Endpoint>);

impl Endpoints {
    /// With one endpoint more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, endpoint: Endpoint) -> Self {
        self.0.insert(name.into(), endpoint);
        self
    }

    /// The endpoint of that name.
    pub fn get(&self, name: &str) -> Option<&Endpoint> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Endpoint)> {
        self.0
            .iter()
            .map(|(name, endpoint)| (name.as_str(), endpoint))
    }
}

/// The end of one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTail {
    /// Who wrote it.
    pub source: String,
    /// Its last lines, oldest first.
    pub lines: Vec<String>,
}
