//! Clauses on deadlines and cancellation.

use upgrade_core::environment::At;
use upgrade_core::observation::Scope;

use super::{EnvironmentFixture, prepared};
use crate::conformance::ClauseResult;
use crate::conformance::check::Clause;

/// A wait ends at the deadline of the context, as `Timeout`.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_wait_ends_at_the_deadline(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("a_wait_ends_at_the_deadline");
    prepared(clause, fixture, async |environment, cx| {
        let hold = clause.fixture("hold", fixture.hold(cx).await)?;
        let ended = clause
            .ends_at_the_deadline("`observe` of a held system", cx, async |cx| {
                environment.observe(cx, &At::Live, &Scope::All).await
            })
            .await;
        drop(hold);
        ended?;
        clause.holds()
    })
    .await
}

/// A cancellation of the context ends a call that waits, as `Cancelled`.
///
/// # Errors
/// When the clause does not hold.
pub async fn cancellation_ends_a_call(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("cancellation_ends_a_call");
    prepared(clause, fixture, async |environment, cx| {
        let hold = clause.fixture("hold", fixture.hold(cx).await)?;
        let ended = clause
            .ends_on_cancellation("`observe` of a held system", cx, async |cx| {
                environment.observe(cx, &At::Live, &Scope::All).await
            })
            .await;
        drop(hold);
        ended?;
        clause.holds()
    })
    .await
}
