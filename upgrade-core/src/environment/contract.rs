//! The trait, and what its implementations are held to.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::claim::Claims;
use super::facets::{
    DatabaseFaults, RowComparison, ServiceFaults, Services, SessionMonitor, SideBySide, Snapshots,
    StatementTrial,
};
use crate::configuration::Configuration;
use crate::context::UpgradeContext;
use crate::endpoint::{Endpoints, LogTail};
use crate::error::Result;
use crate::observation::{Observation, Scope};

/// The label of the empty system: what there is before the first migration. An environment whose
/// snapshots [have it](Snapshots::has_empty) can restore it at any time.
pub const EMPTY: &str = "empty";

/// One system at one release: its database, its services, its configuration.
///
/// An optional power is a facet: a separate trait. [`services`](Self::services),
/// [`snapshots`](Self::snapshots) and so on return it, or `None`. A plan takes only what the
/// environment has ([`Capabilities`](super::Capabilities)).
///
/// # Contract
///
/// - What [`prepare`](Self::prepare) makes is registered before it is made, so that it can be
///   swept when this process is killed.
/// - Two environments share no state.
/// - Every wait ends at the context's deadline and on its cancellation.
/// - Only the runner calls these methods during a run, one at a time.
/// - Which facets there are is known before [`prepare`](Self::prepare), and stays so.
#[async_trait]
pub trait Environment: fmt::Debug + Send + Sync + 'static {
    /// The name that a person reads in plans and reports.
    fn name(&self) -> &str;

    /// Whether the system was made for a rehearsal and is thrown away afterwards. On a system that is
    /// not, a run that ends keeps what a rollback needs, and every check that can be made before the
    /// first change is made before it.
    fn is_disposable(&self) -> bool;

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
    /// [`prepare`](Self::prepare); none by default. A migration that touches one of them is never
    /// judged as good: the run ends as inconclusive. An environment over real data has no such
    /// table: where that is empty, it is empty in production.
    fn unfilled(&self) -> Vec<Unfilled> {
        Vec::new()
    }

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

    /// The size of the data, in bytes: what the time of a rollback is predicted from. `None`, the default,
    /// where that is not known.
    ///
    /// # Behavior
    /// - It changes nothing.
    ///
    /// # Errors
    /// [`Database`](crate::ErrorKind::Database) when it cannot be read.
    async fn size(&self, _cx: &UpgradeContext) -> Result<Option<u64>> {
        Ok(None)
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
    /// - Called again it does nothing.
    /// - It runs also after a panic, a timeout and a cancellation: it does not look at the
    ///   cancellation of the context.
    /// - What the user provided (a server, a database) stays as it is.
    ///
    /// # Errors
    /// [`Environment`](crate::ErrorKind::Environment), which lists the leftovers.
    async fn teardown(&self, cx: &UpgradeContext) -> Result<()>;

    /// The services that are replaced in an upgrade; none by default.
    fn services(&self) -> Option<&dyn Services> {
        None
    }

    /// The files that are switched in an upgrade, before the services; none by default.
    fn configuration(&self) -> Option<&dyn Configuration> {
        None
    }

    /// The states that can be kept and restored; none by default.
    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }

    /// How further systems are run side by side with the live one; not at all by default.
    fn side_by_side(&self) -> Option<&dyn SideBySide> {
        None
    }

    /// How the rows in which two states differ are named; not at all by default.
    fn row_comparison(&self) -> Option<&dyn RowComparison> {
        None
    }

    /// The faults of sessions and of the database's server; none by default.
    fn database_faults(&self) -> Option<&dyn DatabaseFaults> {
        None
    }

    /// The faults of single containers of services; none by default.
    fn service_faults(&self) -> Option<&dyn ServiceFaults> {
        None
    }

    /// How sessions are monitored while a migration runs; not at all by default.
    fn session_monitor(&self) -> Option<&dyn SessionMonitor> {
        None
    }

    /// To which operation the system belongs while no process works on it; not known by default, and a
    /// second operation is then refused only while a process works on the system.
    fn claims(&self) -> Option<&dyn Claims> {
        None
    }

    /// How the statements of a release are tried; not at all by default.
    fn statement_trial(&self) -> Option<&dyn StatementTrial> {
        None
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
