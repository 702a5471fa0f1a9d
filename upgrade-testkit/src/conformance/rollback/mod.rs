//! The clauses of [`Rollback`].

mod execute;
mod finish;
mod prepare;
mod time;

use std::sync::Arc;

use async_trait::async_trait;
use upgrade_core::migration::Outcome;
use upgrade_core::rollback::{Prepared, RollbackRequest, RollbackScope};
use upgrade_core::{Result, Rollback, UpgradeContext};

pub use execute::*;
pub use finish::*;
pub use prepare::*;
pub use time::*;

use super::check::Clause;
use super::macros::{list_clauses, run_clauses};
use super::outcome::{Case, ClauseFailed, ClauseInfo, ClauseResult, Hold};

/// What the suite needs from the author of a [`Rollback`]: systems that can be upgraded, and ways
/// to look at them that do not go through the strategy.
///
/// A context carries the endpoints of its system, which lives as long as the fixture. A strategy
/// may replace what stands behind an endpoint; the other methods find it there again.
#[async_trait]
pub trait RollbackFixture: Send + Sync {
    /// A new, populated system at the previous release, and a new instance of the strategy for
    /// it.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn system(&self) -> Result<(Arc<dyn Rollback>, UpgradeContext)>;

    /// Another instance of the strategy for a system, as another process would make it: it knows nothing
    /// of the first one.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn again(&self, cx: &UpgradeContext) -> Result<Arc<dyn Rollback>>;

    /// Changes a row, as a user of the previous release would. Each call makes another change.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn write(&self, cx: &UpgradeContext) -> Result<()>;

    /// Upgrades the system: applies at least two migrations, writes rows where the strategy
    /// undoes writes, and answers with what has to be undone.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn upgrade(&self, cx: &UpgradeContext) -> Result<RollbackRequest>;

    /// Upgrades the system as far as into the middle of the last migration, which stays as a
    /// crash leaves it, and answers with what has to be undone, that one included.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn interrupt(&self, cx: &UpgradeContext) -> Result<RollbackRequest>;

    /// Upgrades the system across something that the strategy cannot cross, so that
    /// [`check`](Rollback::check) says [`Safety::Unsafe`](upgrade_core::rollback::Safety::Unsafe).
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn cross(&self, cx: &UpgradeContext) -> Result<Case<RollbackRequest>>;

    /// Everything that a user of the system can see, schema and rows, as text that is equal when
    /// it is; without a migration tool's own record.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn state(&self, cx: &UpgradeContext) -> Result<String>;

    /// What the strategy keeps aside for this system, outside the memory of this process:
    /// databases, schemas, files. Empty when it keeps nothing.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn kept(&self, cx: &UpgradeContext) -> Result<Vec<String>>;

    /// Takes what every reader of the rows has to wait for.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold>;
}

/// The one list of the clauses of `Rollback`, handed to the macro that is named first.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_rollback_clause {
    ([$($callback:tt)+] $($arguments:tt)*) => {
        $($callback)+! {
            $($arguments)*
            the_name_can_be_read: "required",
            prepare_changes_nothing_for_users: "required",
            prepare_again_leads_to_the_later_state: "required",
            a_failed_prepare_keeps_nothing: "a prepare that waits",
            check_changes_nothing: "required",
            what_is_called_unsafe_is_refused: "fixture: cross",
            execute_arrives_where_prepare_was: "required",
            execute_arrives_from_an_interrupted_migration: "required",
            an_interrupted_execute_can_be_called_again: "required",
            another_process_goes_on: "required",
            what_another_strategy_kept_is_refused: "required",
            another_system_is_left_alone: "required",
            the_system_is_reached_only_through_the_endpoints: "required",
            confirm_fails_before_execute_on_a_changed_system: "required",
            confirm_passes_after_execute: "required",
            finalize_gives_up_what_was_kept: "required",
            finalize_twice_does_nothing: "required",
            a_wait_ends_at_the_deadline: "required",
            cancellation_ends_a_call: "required",
        }
    };
}

/// All clauses, in the order in which they are examined.
pub const CLAUSES: &[ClauseInfo] = for_each_rollback_clause!([list_clauses]);

/// Examines every clause, each on a new fixture, and answers with all results by name.
pub async fn all<F, M>(make: M) -> Vec<(&'static str, ClauseResult)>
where
    F: RollbackFixture,
    M: AsyncFn() -> F,
{
    for_each_rollback_clause!([run_clauses][make])
}

/// A system for which the rollback is prepared.
struct Ready {
    rollback: Arc<dyn Rollback>,
    cx: UpgradeContext,
    /// What it keeps.
    kept: Prepared,
    /// What a user saw then.
    state: String,
}

async fn prepared(clause: Clause, fixture: &dyn RollbackFixture) -> Result<Ready, ClauseFailed> {
    let (rollback, cx) = clause.fixture("system", fixture.system().await)?;
    let scope = RollbackScope::default();
    let kept = clause.ok("`prepare`", rollback.prepare(&cx, &scope).await)?;
    let state = clause.fixture("state", fixture.state(&cx).await)?;
    Ok(Ready {
        rollback,
        cx,
        kept,
        state,
    })
}

impl Ready {
    /// Upgrades, and makes sure that there is something to undo.
    async fn upgrade(
        &self,
        clause: Clause,
        fixture: &dyn RollbackFixture,
    ) -> Result<RollbackRequest, ClauseFailed> {
        let request = clause.fixture("upgrade", fixture.upgrade(&self.cx).await)?;
        let state = clause.fixture("state", fixture.state(&self.cx).await)?;
        clause.that(
            state != self.state,
            "the fixture's `upgrade` changes the system",
            "the state is what it was",
        )?;
        Ok(request)
    }

    /// Begins the rollback, and rolls back.
    async fn execute(&mut self, request: &RollbackRequest) -> Result<Outcome> {
        self.kept = self.rollback.begin(&self.cx, &self.kept, request).await?;
        self.rollback.execute(&self.cx, &self.kept, request).await
    }

    /// Asks whether the system is where it was.
    async fn arrived(
        &self,
        clause: Clause,
        fixture: &dyn RollbackFixture,
    ) -> Result<(), ClauseFailed> {
        let state = clause.fixture("state", fixture.state(&self.cx).await)?;
        clause.same_text("the state at `prepare`", &self.state, &state)
    }
}
