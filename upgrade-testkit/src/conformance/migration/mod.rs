//! The clauses of [`Migration`].

mod apply;
mod revert;
mod status;
mod time;

use std::sync::Arc;

use async_trait::async_trait;
use upgrade_core::migration::{Outcome, Status};
use upgrade_core::{Migration, Result, UpgradeContext};

pub use apply::*;
pub use revert::*;
pub use status::*;
pub use time::*;

use super::check::Clause;
use super::macros::{list_clauses, run_clauses};
use super::outcome::{Case, ClauseFailed, ClauseInfo, ClauseResult};

/// What the suite needs from the author of a [`Migration`].
///
/// All of the migrations belong to the same small system. Each method makes a new instance, as
/// another process would: an instance must not be needed to remember anything.
#[async_trait]
pub trait MigrationFixture: Send + Sync {
    /// The context of a new system to which nothing was applied: not even the record of
    /// migrations is there. It carries the endpoints; the system lives as long as the fixture.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn context(&self) -> Result<UpgradeContext>;

    /// A migration that applies to such a system and changes it; reversible, if the back end can
    /// revert at all.
    fn migration(&self) -> Arc<dyn Migration>;

    /// One with the id of [`migration`](Self::migration) and another content.
    fn edited(&self) -> Arc<dyn Migration>;

    /// Whether the tool records enough of what it applied to tell that the content was edited.
    fn remembers_content(&self) -> Case<()>;

    /// One that fails when it is applied, after it has done something.
    fn failing(&self) -> Arc<dyn Migration>;

    /// One that can be applied, and fails when it is reverted, after it has done something.
    fn failing_revert(&self) -> Case<Arc<dyn Migration>>;

    /// One that says that it cannot be reverted.
    fn irreversible(&self) -> Case<Arc<dyn Migration>>;

    /// One whose apply takes at least half a minute on the server, unless it is stopped, before
    /// it changes anything: a statement that sleeps.
    fn slow(&self) -> Arc<dyn Migration>;

    /// Everything that a user of the system can see, schema and rows, as text that is equal when
    /// it is; without the tool's own record of migrations.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn state(&self, cx: &UpgradeContext) -> Result<String>;

    /// The tool's own record of migrations as text: whether it is there, and what it holds.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn record(&self, cx: &UpgradeContext) -> Result<String>;

    /// What runs in the system, or for it, at this moment on behalf of a migration: statements on
    /// the server, processes.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn running(&self, cx: &UpgradeContext) -> Result<Vec<String>>;
}

/// The one list of the clauses of `Migration`, handed to the macro that is named first.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_migration_clause {
    ([$($callback:tt)+] $($arguments:tt)*) => {
        $($callback)+! {
            $($arguments)*
            equal_checksums_mean_equal_content: "required",
            status_changes_nothing: "required",
            status_follows_what_was_done: "required",
            another_instance_sees_the_same_status: "required",
            edited_content_is_divergent: "fixture: remembers_content",
            apply_changes_the_system: "required",
            apply_twice_does_nothing: "required",
            a_failed_apply_is_never_applied: "required",
            divergent_content_is_not_applied: "fixture: remembers_content",
            revert_of_a_pending_one_does_nothing: "a reversible migration",
            revert_undoes_apply: "a reversible migration",
            a_failed_revert_is_never_pending: "fixture: failing_revert",
            revert_of_an_irreversible_one_is_unsupported: "fixture: irreversible",
            the_system_is_reached_only_through_the_endpoints: "required",
            a_cancelled_apply_is_not_applied: "required",
            a_wait_ends_at_the_deadline: "required",
            cancellation_ends_a_call: "required",
            what_was_begun_is_stopped: "required",
        }
    };
}

/// All clauses, in the order in which they are examined.
pub const CLAUSES: &[ClauseInfo] = for_each_migration_clause!([list_clauses]);

/// Examines every clause, each on a new fixture, and answers with all results by name.
pub async fn all<F, M>(make: M) -> Vec<(&'static str, ClauseResult)>
where
    F: MigrationFixture,
    M: AsyncFn() -> F,
{
    for_each_migration_clause!([run_clauses][make])
}

/// Everything that can be seen: the state, and the tool's record.
async fn seen(
    clause: Clause,
    fixture: &dyn MigrationFixture,
    cx: &UpgradeContext,
) -> Result<String, ClauseFailed> {
    let state = clause.fixture("state", fixture.state(cx).await)?;
    let record = clause.fixture("record", fixture.record(cx).await)?;
    Ok(format!("{state}\nrecord of migrations: {record}"))
}

/// Applies what must be pending.
async fn apply(
    clause: Clause,
    migration: &dyn Migration,
    cx: &UpgradeContext,
) -> Result<(), ClauseFailed> {
    let outcome = clause.ok("`apply`", migration.apply(cx).await)?;
    clause.equal("the outcome of `apply`", &Outcome::Done, &outcome)
}

async fn status(
    clause: Clause,
    migration: &dyn Migration,
    cx: &UpgradeContext,
) -> Result<Status, ClauseFailed> {
    clause.ok("`status`", migration.status(cx).await)
}
