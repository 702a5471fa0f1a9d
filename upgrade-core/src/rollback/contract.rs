//! The trait, and what its implementations are held to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::loss::Loss;
use super::prepared::{Prepared, RollbackScope};
use crate::context::UpgradeContext;
use crate::error::Result;
use crate::ids::MigrationId;
use crate::outcome::Outcome;
use crate::validator::contract::Verdict;

/// The time that a rollback may take where nothing else is said.
pub const DEFAULT_BUDGET: Duration = Duration::from_secs(300);

/// What has to be undone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RollbackRequest {
    /// The migrations that were applied, or begun, since the baseline; oldest first.
    pub applied: Vec<MigrationId>,
}

impl RollbackRequest {
    /// A request to undo these migrations, oldest first.
    pub fn new(applied: impl IntoIterator<Item = MigrationId>) -> Self {
        Self {
            applied: applied.into_iter().collect(),
        }
    }
}

/// Whether a rollback is possible, checked before any change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Safety {
    /// Nothing that the system acknowledged would be lost.
    Safe,
    /// The rollback succeeds, but loses the listed data.
    SafeWithLoss {
        /// What is lost.
        losses: Vec<Loss>,
    },
    /// This boundary cannot be rolled back.
    Unsafe {
        /// The migration, or whatever else, that cannot be crossed.
        boundary: String,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Safety {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Safe => f.write_str("safe"),
            Self::SafeWithLoss { losses } => write!(f, "with losses: {}", Loss::list(losses)),
            Self::Unsafe { boundary, reason } => {
                write!(f, "no rollback across {boundary}: {reason}")
            }
        }
    }
}

/// A rollback strategy.
///
/// The order of calls in an upgrade is [`prepare`](Self::prepare), any number of
/// [`check`](Self::check), then [`begin`](Self::begin), [`execute`](Self::execute) and
/// [`confirm`](Self::confirm) where it is rolled back, and [`finalize`](Self::finalize) in any case.
///
/// What `prepare` keeps is a value that every later call is given back. Each call may come from another
/// process than the one before it: an upgrade takes days, and any of them may be killed.
///
/// # Contract
///
/// - It reaches the system only through the endpoints of the context.
/// - It destroys only what the library made, or what the user adopted by name.
/// - Every wait ends at the context's deadline and on its cancellation.
#[async_trait]
pub trait Rollback: fmt::Debug + Send + Sync + 'static {
    /// The name that a person reads in plans and reports.
    fn name(&self) -> &str;

    /// Whether every migration that it undoes must be
    /// [reversible](crate::migration::Reversibility::Reversible). The planner offers it only then.
    fn requires_reversible(&self) -> bool;

    /// Whether it keeps what users write after [`prepare`](Self::prepare), but for the losses that
    /// [`check`](Self::check) names. `false`, the default, is a promise of nothing.
    fn keeps_writes(&self) -> bool {
        false
    }

    /// Keeps what the later calls will need, and says what that is; called before the first change.
    ///
    /// # Behavior
    /// - It changes nothing that an observation would see. Sessions may be ended.
    /// - What it keeps outside of this process bears the run's id, and does so from its beginning.
    ///
    /// # Errors
    /// Any kind; nothing is kept then.
    async fn prepare(&self, cx: &UpgradeContext, scope: &RollbackScope) -> Result<Prepared>;

    /// Says whether the rollback is possible.
    ///
    /// # Behavior
    /// - It changes nothing.
    /// - What it calls [`Safety::Unsafe`], [`execute`](Self::execute) does not do: it fails or is
    ///   refused, and changes nothing.
    /// - A [`Loss`] of a table or a column that it names is expected when users have written since
    ///   the upgrade; anything else that is lost then is a finding.
    ///
    /// # Errors
    /// Any kind, when it could not tell.
    async fn check(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        request: &RollbackRequest,
    ) -> Result<Safety>;

    /// The last call before the first [`execute`](Self::execute): the strategy can measure what users have
    /// written until now. The value that it returns takes the place of the former one. By default it is
    /// the same.
    ///
    /// # Behavior
    /// - It changes nothing that an observation would see.
    /// - Called again, after an `execute` that was interrupted, it keeps what it had measured.
    ///
    /// # Errors
    /// Any kind; nothing is rolled back then.
    async fn begin(
        &self,
        _cx: &UpgradeContext,
        prepared: &Prepared,
        _request: &RollbackRequest,
    ) -> Result<Prepared> {
        Ok(prepared.clone())
    }

    /// Rolls back.
    ///
    /// # Behavior
    /// - Also from a migration that was interrupted in the middle.
    /// - Others have sessions in the system, services and the environment among them: those that
    ///   are in its way it ends itself.
    /// - Interrupted itself, it can be called again, by another process as well, and arrives.
    /// - Where it does not arrive it is [`Outcome::Failed`], with how far it came and what to do.
    /// - With the value of another strategy it is [`Refused`](crate::ErrorKind::Refused), and
    ///   nothing is changed.
    ///
    /// # Errors
    /// Any kind, when it could not tell whether it arrived.
    async fn execute(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        request: &RollbackRequest,
    ) -> Result<Outcome>;

    /// Judges whether the system is where it was at [`prepare`](Self::prepare), by schema and
    /// rows.
    ///
    /// # Behavior
    /// - Before [`execute`](Self::execute), on a system that has changed, it is
    ///   [`Verdict::Fail`].
    /// - What was kept aside until now may be dropped when it passes.
    /// - A finding about the rows of a table has the id `rollback/rows-lost` or
    ///   `rollback/rows-changed` and a [`TableRef`](crate::TableRef) as its subject; nothing else
    ///   is excused by what an upgrade declares, or by what users wrote.
    ///
    /// # Errors
    /// Any kind, when it could not tell.
    async fn confirm(&self, cx: &UpgradeContext, prepared: &Prepared) -> Result<Verdict>;

    /// Gives up what was kept: from here on no rollback is possible.
    ///
    /// # Behavior
    /// - Called twice, it does nothing.
    ///
    /// # Errors
    /// Any kind; the error lists the leftovers.
    async fn finalize(&self, cx: &UpgradeContext, prepared: &Prepared) -> Result<()>;
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: Rollback + ?Sized> Rollback for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn requires_reversible(&self) -> bool {
        (**self).requires_reversible()
    }

    fn keeps_writes(&self) -> bool {
        (**self).keeps_writes()
    }

    async fn prepare(&self, cx: &UpgradeContext, scope: &RollbackScope) -> Result<Prepared> {
        (**self).prepare(cx, scope).await
    }

    async fn check(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        request: &RollbackRequest,
    ) -> Result<Safety> {
        (**self).check(cx, prepared, request).await
    }

    async fn begin(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        request: &RollbackRequest,
    ) -> Result<Prepared> {
        (**self).begin(cx, prepared, request).await
    }

    async fn execute(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        request: &RollbackRequest,
    ) -> Result<Outcome> {
        (**self).execute(cx, prepared, request).await
    }

    async fn confirm(&self, cx: &UpgradeContext, prepared: &Prepared) -> Result<Verdict> {
        (**self).confirm(cx, prepared).await
    }

    async fn finalize(&self, cx: &UpgradeContext, prepared: &Prepared) -> Result<()> {
        (**self).finalize(cx, prepared).await
    }
}
