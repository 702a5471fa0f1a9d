//! Clauses on monitoring sessions.

use tokio::time::timeout;
use upgrade_core::environment::SessionMonitor;
use upgrade_core::{Finding, UpgradeContext};

use super::{EnvironmentFixture, prepared};
use crate::conformance::check::{Clause, facet};
use crate::conformance::{ClauseFailed, ClauseResult, Hold, MARGIN};

const NONE: &str = "it does not monitor sessions";

/// A session monitor holds nothing that a user or a migration could wait for.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_session_monitor_holds_nothing(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("a_session_monitor_holds_nothing");
    prepared(clause, fixture, async |environment, cx| {
        let monitor = facet!(clause, environment.session_monitor(), NONE);
        begin(clause, monitor, cx).await?;
        let Ok(changed) = timeout(MARGIN, fixture.disturb(cx)).await else {
            return Err(clause.failed(
                format!("a row can be changed within {MARGIN:?} while sessions are monitored"),
                "the change still waits",
            ));
        };
        clause.fixture("disturb", changed)?;
        drop(hold(clause, fixture, cx).await?);
        clause.holds()
    })
    .await
}

/// Called again, `begin` begins anew: what sessions took since the first one is not reported.
///
/// # Errors
/// When the clause does not hold.
pub async fn monitoring_again_begins_anew(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("monitoring_again_begins_anew");
    prepared(clause, fixture, async |environment, cx| {
        let monitor = facet!(clause, environment.session_monitor(), NONE);
        begin(clause, monitor, cx).await?;
        let held = hold(clause, fixture, cx).await?;
        let again = begin(clause, monitor, cx).await;
        let left = end(clause, monitor, cx).await;
        drop(held);
        again?;
        nothing(clause, "since the second `begin`", &left?)?;
        clause.holds()
    })
    .await
}

/// Without a change in between, there are no leftovers in sessions.
///
/// # Errors
/// When the clause does not hold.
pub async fn nothing_is_left_in_sessions_without_a_change(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("nothing_is_left_in_sessions_without_a_change");
    prepared(clause, fixture, async |environment, cx| {
        let monitor = facet!(clause, environment.session_monitor(), NONE);
        begin(clause, monitor, cx).await?;
        let left = end(clause, monitor, cx).await?;
        nothing(clause, "without a change in between", &left)?;
        clause.holds()
    })
    .await
}

/// What a session holds since `begin` is found.
///
/// # Errors
/// When the clause does not hold.
pub async fn what_a_session_holds_is_found(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("what_a_session_holds_is_found");
    prepared(clause, fixture, async |environment, cx| {
        let monitor = facet!(clause, environment.session_monitor(), NONE);
        begin(clause, monitor, cx).await?;
        let held = hold(clause, fixture, cx).await?;
        let left = end(clause, monitor, cx).await;
        drop(held);
        clause.that(
            left?.iter().any(Finding::fails),
            "an error that names what a session holds",
            "none",
        )?;
        clause.holds()
    })
    .await
}

/// `end` ends the monitoring: what sessions take afterwards is not reported.
///
/// # Errors
/// When the clause does not hold.
pub async fn the_end_of_monitoring_is_its_end(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("the_end_of_monitoring_is_its_end");
    prepared(clause, fixture, async |environment, cx| {
        let monitor = facet!(clause, environment.session_monitor(), NONE);
        begin(clause, monitor, cx).await?;
        end(clause, monitor, cx).await?;
        let held = hold(clause, fixture, cx).await?;
        // Without a beginning it may say nothing or refuse to.
        let left = monitor.end(cx).await.unwrap_or_default();
        drop(held);
        nothing(clause, "after `end`", &left)?;
        clause.holds()
    })
    .await
}

async fn begin(
    clause: Clause,
    monitor: &dyn SessionMonitor,
    cx: &UpgradeContext,
) -> Result<(), ClauseFailed> {
    clause.ok("`begin`", monitor.begin(cx).await)
}

async fn end(
    clause: Clause,
    monitor: &dyn SessionMonitor,
    cx: &UpgradeContext,
) -> Result<Vec<Finding>, ClauseFailed> {
    clause.ok("`end`", monitor.end(cx).await)
}

/// What the fixture holds, unless the monitor is in its way.
async fn hold(
    clause: Clause,
    fixture: &dyn EnvironmentFixture,
    cx: &UpgradeContext,
) -> Result<Hold, ClauseFailed> {
    match timeout(MARGIN, fixture.hold(cx)).await {
        Ok(held) => clause.fixture("hold", held),
        Err(_) => Err(clause.failed(
            format!("the rows can be locked within {MARGIN:?} while sessions are monitored"),
            "the lock still waits",
        )),
    }
}

fn nothing(clause: Clause, when: &str, left: &[Finding]) -> Result<(), ClauseFailed> {
    let told: Vec<String> = left.iter().map(Finding::to_string).collect();
    clause.equal(
        &format!("the leftovers in sessions {when}"),
        &Vec::new(),
        &told,
    )
}
