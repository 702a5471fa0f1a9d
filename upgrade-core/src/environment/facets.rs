//! What some systems can do and others cannot: one trait each, so that the type says what is there.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::contract::At;
use super::statements::Refusal;
use crate::context::UpgradeContext;
use crate::endpoint::Endpoints;
use crate::error::Result;
use crate::fault::{ServiceFault, Site};
use crate::finding::Finding;
use crate::ids::Version;
use crate::observation::{RowDiff, RowDiffRequest};
use crate::outcome::Outcome;
use crate::side::Side;

/// Services that are replaced in an upgrade.
#[async_trait]
pub trait Services: fmt::Debug + Send + Sync {
    /// Replaces the services by those of a release.
    ///
    /// # Behavior
    /// - When it is [`Outcome::Done`], the services of that release answer.
    /// - Called again with the same release it changes nothing.
    /// - Services that do not come up are [`Outcome::Failed`].
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for a release that it does not know, and any other
    /// kind where it could not tell whether the services are good.
    async fn replace(&self, cx: &UpgradeContext, to: &Version) -> Result<Outcome>;

    /// The same where the files that the services read have changed: also those that serve the release
    /// already have to read them. [`replace`](Self::replace), where nothing else is said, which suits
    /// services that bring their files with them.
    ///
    /// # Behavior
    /// - As [`replace`](Self::replace), but for services that serve the release already.
    ///
    /// # Errors
    /// As [`replace`](Self::replace).
    async fn restart(&self, cx: &UpgradeContext, to: &Version) -> Result<Outcome> {
        self.replace(cx, to).await
    }

    /// Which release each service runs, by its name; `None` for one of which no release runs. Nothing, the
    /// default, where that is not known.
    ///
    /// # Behavior
    /// - It changes nothing.
    ///
    /// # Errors
    /// Any kind, when it could not tell.
    async fn running(&self, _cx: &UpgradeContext) -> Result<BTreeMap<String, Option<Version>>> {
        Ok(BTreeMap::new())
    }

    /// What each service consists of at a release, by its name: a text that is another one for another
    /// artifact, such as the digest of an image. Nothing, the default, where that is not known.
    ///
    /// # Behavior
    /// - It changes nothing, and it fetches nothing.
    /// - What it answers with is on the machine: [`replace`](Self::replace) does not have to fetch it.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) with the service whose artifact is not there.
    async fn artifacts(
        &self,
        _cx: &UpgradeContext,
        _release: &Version,
    ) -> Result<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }

    /// The instances that can be replaced one by one; `None`, the default, where all are replaced
    /// at once.
    fn instances(&self) -> Option<&dyn Instances> {
        None
    }
}

/// Instances of services that can be replaced one by one, so that two releases run side by side.
#[async_trait]
pub trait Instances: Send + Sync {
    /// How many there are, known before anything is made; at least 1.
    fn count(&self) -> u32;

    /// Has both releases run side by side: the first `count` instances those of
    /// [`cx.to()`](UpgradeContext::to), all others those of [`cx.from()`](UpgradeContext::from).
    ///
    /// # Behavior
    /// - When it is [`Outcome::Done`], all instances answer, and users are led to all of them.
    /// - From any other number it goes there instance by instance, up or down; the others stay as
    ///   they are.
    /// - With 0 it is as after [`Services::replace`] by the old release, and with
    ///   [`count`](Self::count) or more as after that by the new one.
    ///
    /// # Errors
    /// As [`Services::replace`].
    async fn replace_first(&self, cx: &UpgradeContext, count: u32) -> Result<Outcome>;
}

/// What the services of a system have used since they were started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// Time of processors.
    pub cpu: Option<Duration>,
    /// Memory now, in bytes.
    pub memory: Option<u64>,
    /// Transactions of the database.
    pub transactions: Option<u64>,
    /// Statements of the database, where the server counts them (`pg_stat_statements`).
    pub statements: Option<u64>,
}

/// Systems that run side by side with the live one, each with a copy of a state that was kept.
#[async_trait]
pub trait SideBySide: Send + Sync {
    /// Copies the state of a label for one side; its services come later. What the side had before is
    /// removed first.
    ///
    /// # Behavior
    /// - [`endpoints`](Self::endpoints) has the database of the copy then.
    /// - The state that is kept, and the live system, are as they were.
    /// - [`NotFound`](crate::ErrorKind::NotFound) for a label that was never taken.
    ///
    /// # Errors
    /// Any kind; nothing is left then that [`remove`](Self::remove) or the teardown does not remove.
    async fn copy(&self, cx: &UpgradeContext, side: Side, label: &str) -> Result<()>;

    /// Starts the services of a release over the copy of a side.
    ///
    /// # Behavior
    /// - When it is [`Outcome::Done`], they answer, and [`endpoints`](Self::endpoints) has them.
    /// - Services that do not come up are [`Outcome::Failed`].
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for a release that it does not know and for a side without a copy.
    async fn start(&self, cx: &UpgradeContext, side: Side, release: &Version) -> Result<Outcome>;

    /// Where a side can be reached, under the names of the live system; empty where there is none.
    fn endpoints(&self, side: Side) -> Endpoints;

    /// What the services of a side have used since they were started, and what their database has done. What
    /// is not known, by default everything, is left out of reports.
    ///
    /// # Behavior
    /// - It changes nothing.
    ///
    /// # Errors
    /// Any kind; the figures are then left out of the report.
    async fn usage(&self, _cx: &UpgradeContext, _side: Side) -> Result<Usage> {
        Ok(Usage::default())
    }

    /// Ends the services of a side and removes its copy.
    ///
    /// # Behavior
    /// - A side that was never made is no error.
    /// - It runs also after a timeout and a cancellation.
    ///
    /// # Errors
    /// Any kind; the teardown of the environment tries again.
    async fn remove(&self, cx: &UpgradeContext, side: Side) -> Result<()>;
}

/// States of the system that are kept under labels.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Whether the label [`EMPTY`](super::EMPTY) can be restored although it was never taken;
    /// `false` by default.
    fn has_empty(&self) -> bool {
        false
    }

    /// Keeps the state of the system under a label.
    ///
    /// # Behavior
    /// - Sessions of users may be disconnected.
    /// - A label that is taken again is overwritten.
    ///
    /// # Errors
    /// Any kind; a label that is new is not known then.
    async fn take(&self, cx: &UpgradeContext, label: &str) -> Result<()>;

    /// Puts the system back into the state that a label keeps.
    ///
    /// # Behavior
    /// - Afterwards an observation equals the one made when it was taken.
    /// - The label is kept, and can be restored again.
    /// - Where it [has](Self::has_empty) the label [`EMPTY`](super::EMPTY), no row is left after
    ///   that, no table that had rows, and every label.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for a label that was never taken.
    async fn restore(&self, cx: &UpgradeContext, label: &str) -> Result<()>;

    /// Gives up the state of a label, which no later step of a plan needs: what it takes in memory or
    /// on disk is free again. By default nothing is given up before the teardown.
    ///
    /// # Behavior
    /// - All other labels are kept, and the live state is as it was.
    /// - A label that was never taken is no error.
    ///
    /// # Errors
    /// Any kind; the run continues, and the teardown removes the state.
    async fn forget(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        let _ = (cx, label);
        Ok(())
    }
}

/// The rows in which two states of the system differ.
#[async_trait]
pub trait RowComparison: Send + Sync {
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
    /// [`Database`](crate::ErrorKind::Database) when a table cannot be read.
    async fn row_diff(
        &self,
        cx: &UpgradeContext,
        from: &At,
        to: &At,
        requests: &[RowDiffRequest],
    ) -> Result<BTreeMap<String, RowDiff>>;
}

/// Faults of sessions and of the server of the database.
#[async_trait]
pub trait DatabaseFaults: Send + Sync {
    /// Whether a fault can be injected, known before anything is made.
    fn supports(&self, fault: Fault) -> bool;

    /// Makes something go wrong, on purpose.
    ///
    /// # Behavior
    /// - When it returns, no session that was hit holds anything any more, and the system can be
    ///   reached again at the same endpoints.
    /// - What was committed before a server was killed is there.
    /// - A killed process is waited for until its sessions have ended.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for one that it does not
    /// [support](Self::supports).
    async fn inject(&self, cx: &UpgradeContext, fault: Fault) -> Result<()>;
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
    /// The migrating process is killed. The runner drops it, which closes its connections without
    /// a message to the server. The environment waits until the server has ended the sessions: a
    /// statement that runs goes on until its end before the server notices.
    KillProcess,
    /// A session keeps a snapshot of the database open until the next fault was injected, so that what
    /// waits for old snapshots waits: a concurrent build of an index, say, can be crashed before its
    /// end, however small its table is.
    HoldSnapshot,
}

/// Faults of single containers of services.
#[async_trait]
pub trait ServiceFaults: Send + Sync {
    /// Where each kind of [fault](crate::fault) of a service can be injected in a release and, where
    /// it cannot, why. It is asked before anything is made, for the plan.
    ///
    /// # Behavior
    /// - It says the same before and after [`prepare`](super::Environment::prepare).
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for a release that it does not know.
    fn sites(&self, release: &Version) -> Result<Vec<Site>>;

    /// Injects a fault of one container, until the service [recovers](Self::recover).
    ///
    /// # Behavior
    /// - It stays until `recover`, a snapshot, a restore or a teardown, which recover from what is still injected.
    /// - A replacement does not recover from a fault: a release may be rolled out while a container is frozen. A
    ///   container that is replaced takes its fault along.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) with the reason where the site is closed;
    /// [`NotFound`](crate::ErrorKind::NotFound) where there is no such container;
    /// [`Refused`](crate::ErrorKind::Refused) for one that has a fault already.
    async fn inject(&self, cx: &UpgradeContext, fault: &ServiceFault) -> Result<()>;

    /// Undoes a fault, and waits until its container is ready again.
    ///
    /// # Behavior
    /// - A fault that was undone already, or whose container no longer exists, is left alone.
    /// - A container that does not get ready again is [`Outcome::Failed`].
    ///
    /// # Errors
    /// Any kind, when it could not tell whether the container is ready.
    async fn recover(&self, cx: &UpgradeContext, fault: &ServiceFault) -> Result<Outcome>;
}

/// What sessions hold and wait for while a migration runs.
#[async_trait]
pub trait SessionMonitor: Send + Sync {
    /// Begins to monitor sessions, before a migration.
    ///
    /// # Behavior
    /// - It holds nothing that a migration could wait for.
    /// - Called again, it begins anew.
    ///
    /// # Errors
    /// [`Database`](crate::ErrorKind::Database) when the sessions cannot be read.
    async fn begin(&self, cx: &UpgradeContext) -> Result<()>;

    /// Answers with what the migration has left, now that it has ended, well or not: what sessions
    /// hold since [`begin`](Self::begin) (locks, transactions), prepared statements that do not work
    /// any more, and objects of the server. Which session had to wait for which one during the
    /// migration is not among them: it goes to [`UpgradeContext::notice`].
    ///
    /// # Behavior
    /// - Without a change in between, there is nothing.
    /// - What a session still holds is found, as an error.
    /// - It ends the monitoring: what is taken afterwards is not reported.
    ///
    /// # Errors
    /// [`Database`](crate::ErrorKind::Database) when the sessions cannot be read.
    async fn end(&self, cx: &UpgradeContext) -> Result<Vec<Finding>>;
}

/// The statements of a release, tried on the live system.
#[async_trait]
pub trait StatementTrial: Send + Sync {
    /// Tries the statements that a release makes on its tables: it reads, adds, changes and removes
    /// rows. The release is the one whose tables, columns and rows the state `of` has;
    /// [`At::Live`] is the live system itself.
    ///
    /// # Behavior
    /// - It answers with the statements that are refused, in a fixed order; what is refused only
    ///   because a row is in the way is not among them.
    /// - Afterwards an observation equals the one before, but for sequences that have gone on.
    /// - A table that the live system does not have is left out.
    ///
    /// # Errors
    /// [`Database`](crate::ErrorKind::Database) when the tables cannot be read.
    async fn try_statements(&self, cx: &UpgradeContext, of: &At) -> Result<Vec<Refusal>>;
}
