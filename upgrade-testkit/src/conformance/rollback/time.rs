//! Clauses on deadlines and cancellation.

use super::{RollbackFixture, prepared};
use crate::conformance::ClauseResult;
use crate::conformance::check::Clause;

/// A wait ends at the deadline of the context, as `Timeout`.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_wait_ends_at_the_deadline(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("a_wait_ends_at_the_deadline");
    let prepared = prepared(clause, fixture).await?;
    let hold = clause.fixture("hold", fixture.hold(&prepared.cx).await)?;
    let ended = clause
        .ends_at_the_deadline("`confirm` of a held system", &prepared.cx, async |cx| {
            prepared.rollback.confirm(cx, &prepared.kept).await
        })
        .await;
    drop(hold);
    ended?;
    clause.holds()
}

/// A cancellation of the context ends a call that waits, as `Cancelled`.
///
/// # Errors
/// When the clause does not hold.
pub async fn cancellation_ends_a_call(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("cancellation_ends_a_call");
    let prepared = prepared(clause, fixture).await?;
    let hold = clause.fixture("hold", fixture.hold(&prepared.cx).await)?;
    let ended = clause
        .ends_on_cancellation("`confirm` of a held system", &prepared.cx, async |cx| {
            prepared.rollback.confirm(cx, &prepared.kept).await
        })
        .await;
    drop(hold);
    ended?;
    clause.holds()
}
