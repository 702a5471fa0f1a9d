//! The clauses of [`Environment`].

mod claims;
mod empty;
mod faults;
mod observe;
mod prepare;
mod replace;
mod row_diff;
mod server_faults;
mod service_faults;
mod sessions;
mod side_by_side;
mod snapshot;
mod statements;
mod teardown;
mod time;

use async_trait::async_trait;
use upgrade_core::environment::{At, Endpoint};
use upgrade_core::observation::Scope;
use upgrade_core::{Environment, Observation, Result, UpgradeContext, Version};

pub use claims::*;
pub use empty::*;
pub use faults::*;
pub use observe::*;
pub use prepare::*;
pub use replace::*;
pub use row_diff::*;
pub use server_faults::*;
pub use service_faults::*;
pub use sessions::*;
pub use side_by_side::*;
pub use snapshot::*;
pub use statements::*;
pub use teardown::*;
pub use time::*;

use super::check::Clause;
use super::macros::{list_clauses, run_clauses};
use super::outcome::{Case, ClauseFailed, ClauseInfo, ClauseResult, Hold};

/// What the suite needs from the author of an [`Environment`].
///
/// The contexts that it is handed carry the endpoints of the environment that is meant.
#[async_trait]
pub trait EnvironmentFixture: Send + Sync {
    /// A new environment that is not prepared yet.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn make(&self) -> Result<Box<dyn Environment>>;

    /// The context of the run: the releases that the environment knows. Endpoints and deadlines
    /// are added by the clauses.
    fn context(&self) -> UpgradeContext {
        UpgradeContext::new("1", "2")
    }

    /// Asks one endpoint something small, not through the environment.
    ///
    /// # Errors
    /// When it does not answer.
    async fn reach(&self, name: &str, endpoint: &Endpoint) -> Result<()>;

    /// Everything that a user of the system can see, as text that is equal when it is: read not
    /// through the environment.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn state(&self, cx: &UpgradeContext) -> Result<String>;

    /// The data alone, as text that is equal where two systems have the same: without what belongs to one
    /// system, such as the names of its containers. [`state`](Self::state), where nothing else is said.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn data(&self, cx: &UpgradeContext) -> Result<String> {
        self.state(cx).await
    }

    /// Changes a row, as a user of the system would. Each call makes another change.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn disturb(&self, cx: &UpgradeContext) -> Result<()>;

    /// Takes what every reader of the rows has to wait for.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold>;

    /// The leftovers of all environments that this fixture made, by name: servers, databases,
    /// containers, folders, processes. Empty when there are none.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn leftovers(&self) -> Result<Vec<String>>;

    /// A new environment whose `prepare` fails after it has made something.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn failing(&self) -> Result<Case<Box<dyn Environment>>>;

    /// Makes a part of the system crash, not through the environment.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn crash(&self, cx: &UpgradeContext) -> Result<Case<()>>;

    /// Asks every instance of the services which release it is; of services that are the same in
    /// both releases, none. Not applicable without
    /// [services](upgrade_core::Environment::services).
    ///
    /// One that a fault keeps from answering is left out, or an error.
    ///
    /// # Errors
    /// When one does not answer.
    async fn releases(&self, cx: &UpgradeContext) -> Result<Case<Vec<Version>>>;

    /// What the user provided to the environments (a server, a database by name), as text that
    /// stays equal until that changes. Not applicable where the environments make all they use.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn adopted(&self) -> Result<Case<String>>;
}

/// The one list of the clauses of `Environment`, handed to the macro that is named first.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_environment_clause {
    ([$($callback:tt)+] $($arguments:tt)*) => {
        $($callback)+! {
            $($arguments)*
            the_name_can_be_read: "required",
            capabilities_stay_as_they_are: "required",
            no_endpoints_before_prepare: "required",
            prepare_makes_a_populated_system: "required",
            prepared_endpoints_can_be_reached: "required",
            unfilled_tables_have_no_rows: "required",
            prepare_twice_changes_nothing: "required",
            a_failed_prepare_leaves_nothing_after_teardown: "fixture: failing",
            a_cancelled_prepare_leaves_nothing_after_teardown: "required",
            two_environments_share_no_state: "required",
            replace_brings_the_release: "services",
            replace_again_changes_nothing: "services",
            replace_by_an_unknown_release_is_not_found: "services",
            replace_first_brings_so_many: "instances",
            replace_first_goes_both_ways: "instances",
            observing_twice_is_equal: "required",
            observing_changes_nothing: "required",
            observing_sees_a_change: "required",
            observing_reads_its_scope_only: "required",
            observing_an_unknown_label_is_not_found: "required",
            a_snapshot_can_be_observed: "snapshots",
            a_label_that_is_taken_again_is_overwritten: "snapshots",
            restore_equals_the_observation_at_the_snapshot: "snapshots",
            a_label_can_be_restored_again: "snapshots",
            restoring_an_unknown_label_is_not_found: "snapshots",
            forgetting_a_label_keeps_the_others: "snapshots",
            the_empty_system_has_nothing_in_it: "empty",
            the_empty_system_can_be_restored_again: "empty",
            emptying_keeps_the_labels: "empty",
            a_side_has_the_state_of_its_label: "side by side",
            sides_share_no_state: "side by side",
            copying_again_replaces_a_side: "side by side",
            a_side_runs_the_release_that_is_started: "side by side",
            what_a_side_does_not_know_is_not_found: "side by side",
            removing_a_side_leaves_nothing: "side by side",
            teardown_removes_all_sides: "side by side",
            row_diff_numbers_are_exact: "row comparison",
            row_diff_of_an_unchanged_system_is_empty: "row comparison",
            row_diff_changes_nothing: "row comparison",
            row_diff_of_an_unknown_label_is_not_found: "row comparison",
            terminated_sessions_release_what_they_hold: "database faults",
            after_a_fault_the_system_is_where_it_was: "database faults",
            a_killed_process_is_waited_for: "database faults",
            a_fault_that_is_not_supported_is_unsupported: "database faults",
            a_held_snapshot_hinders_nobody: "held snapshots",
            a_killed_server_releases_what_was_held: "server faults",
            a_killed_server_answers_where_it_did: "server faults",
            a_killed_server_keeps_what_was_committed: "server faults",
            fault_sites_are_known_beforehand: "service faults",
            a_fault_lasts_until_it_is_recovered_from: "service faults",
            a_fault_that_cannot_be_injected_is_refused: "service faults",
            a_restore_recovers: "service faults",
            a_session_monitor_holds_nothing: "session monitor",
            monitoring_again_begins_anew: "session monitor",
            nothing_is_left_in_sessions_without_a_change: "session monitor",
            what_a_session_holds_is_found: "session monitor",
            the_end_of_monitoring_is_its_end: "session monitor",
            trying_statements_changes_no_row: "statement trial",
            the_same_statements_are_refused_again: "statement trial",
            a_claim_is_read_as_it_was_written: "claims",
            a_claim_is_not_observed: "claims",
            logs_are_no_longer_than_asked: "required",
            logs_are_available_after_a_crash: "fixture: crash",
            teardown_leaves_nothing: "required",
            teardown_without_prepare_is_ok: "required",
            teardown_twice_is_ok: "required",
            teardown_ignores_cancellation: "required",
            what_was_adopted_is_left_as_it_is: "fixture: adopted",
            a_wait_ends_at_the_deadline: "required",
            cancellation_ends_a_call: "required",
        }
    };
}

/// All clauses, in the order in which they are examined.
pub const CLAUSES: &[ClauseInfo] = for_each_environment_clause!([list_clauses]);

/// Examines every clause, each on a new fixture, and answers with all results by name.
pub async fn all<F, M>(make: M) -> Vec<(&'static str, ClauseResult)>
where
    F: EnvironmentFixture,
    M: AsyncFn() -> F,
{
    for_each_environment_clause!([run_clauses][make])
}

/// Prepares a new environment, hands it with its context to `examine`, and tears it down
/// whatever that came to.
async fn prepared(
    clause: Clause,
    fixture: &dyn EnvironmentFixture,
    examine: impl AsyncFnOnce(&dyn Environment, &UpgradeContext) -> ClauseResult,
) -> ClauseResult {
    let (environment, cx) = begin(clause, fixture).await?;
    let result = examine(&*environment, &cx).await;
    let torn_down = environment.teardown(&cx).await;
    let outcome = result?;
    clause.ok("`teardown`", torn_down)?;
    Ok(outcome)
}

/// A new environment, prepared, and the context of calls into it.
async fn begin(
    clause: Clause,
    fixture: &dyn EnvironmentFixture,
) -> Result<(Box<dyn Environment>, UpgradeContext), ClauseFailed> {
    let environment = clause.fixture("make", fixture.make().await)?;
    let cx = fixture.context();
    if let Err(error) = environment.prepare(&cx).await {
        // The first error is the one to tell.
        let _ = environment.teardown(&cx).await;
        return Err(clause.failed("`prepare` succeeds", super::check::said(&error)));
    }
    let cx = cx.with_endpoints(environment.endpoints());
    Ok((environment, cx))
}

/// An observation of everything in the running system.
async fn live(
    clause: Clause,
    environment: &dyn Environment,
    cx: &UpgradeContext,
) -> Result<Observation, ClauseFailed> {
    clause.ok(
        "`observe`",
        environment.observe(cx, &At::Live, &Scope::All).await,
    )
}
