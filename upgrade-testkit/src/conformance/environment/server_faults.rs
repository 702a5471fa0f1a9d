//! Clauses on a server that is killed.

use upgrade_core::UpgradeContext;
use upgrade_core::environment::{DatabaseFaults, Fault};

use super::faults::{is_where_it_was, read_in_time, that_supports};
use super::{EnvironmentFixture, prepared};
use crate::conformance::check::{Clause, facet};
use crate::conformance::{ClauseFailed, ClauseResult};

const NONE: &str = "its server cannot be killed";

/// No session of a killed server holds anything any more.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_killed_server_releases_what_was_held(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("a_killed_server_releases_what_was_held");
    prepared(clause, fixture, async |environment, cx| {
        let faults = facet!(clause, that_supports(environment, Fault::KillServer), NONE);
        let hold = clause.fixture("hold", fixture.hold(cx).await)?;
        let killed = kill(clause, faults, cx).await;
        let read = match killed {
            Ok(()) => read_in_time(clause, environment, cx, "the server was killed").await,
            failed => failed,
        };
        drop(hold);
        read?;
        clause.holds()
    })
    .await
}

/// Once `inject` returns, a killed server answers at the same endpoints.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_killed_server_answers_where_it_did(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("a_killed_server_answers_where_it_did");
    prepared(clause, fixture, async |environment, cx| {
        let faults = facet!(clause, that_supports(environment, Fault::KillServer), NONE);
        is_where_it_was(
            clause,
            fixture,
            (environment, faults),
            cx,
            Fault::KillServer,
        )
        .await?;
        clause.holds()
    })
    .await
}

/// What a killed server had committed is there.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_killed_server_keeps_what_was_committed(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("a_killed_server_keeps_what_was_committed");
    prepared(clause, fixture, async |environment, cx| {
        let faults = facet!(clause, that_supports(environment, Fault::KillServer), NONE);
        clause.fixture("disturb", fixture.disturb(cx).await)?;
        let before = clause.fixture("state", fixture.state(cx).await)?;
        kill(clause, faults, cx).await?;
        let cx = cx.clone().with_endpoints(environment.endpoints());
        let after = clause.fixture("state", fixture.state(&cx).await)?;
        clause.same_text("the state before the server was killed", &before, &after)?;
        clause.holds()
    })
    .await
}

async fn kill(
    clause: Clause,
    faults: &dyn DatabaseFaults,
    cx: &UpgradeContext,
) -> Result<(), ClauseFailed> {
    let killed = faults.inject(cx, Fault::KillServer).await;
    clause.ok("`inject` of a killed server", killed)
}
