//! Clauses on rolling back.

use std::future::poll_fn;
use std::task::Poll;

use upgrade_core::ErrorKind;

use super::{RollbackFixture, prepared};
use crate::conformance::ClauseResult;
use crate::conformance::check::Clause;

/// After how many polls an `execute` is dropped, each on a separate system.
const INTERRUPTIONS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// `execute` brings the system to where it was at `prepare`.
///
/// # Errors
/// When the clause does not hold.
pub async fn execute_arrives_where_prepare_was(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("execute_arrives_where_prepare_was");
    let prepared = prepared(clause, fixture).await?;
    let request = prepared.upgrade(clause, fixture).await?;
    let executed = prepared.rollback.execute(&prepared.cx, &request).await;
    clause.done("`execute`", executed)?;
    prepared.arrived(clause, fixture).await?;
    clause.holds()
}

/// `execute` arrives also from a migration that was interrupted in the middle.
///
/// # Errors
/// When the clause does not hold.
pub async fn execute_arrives_from_an_interrupted_migration(
    fixture: &dyn RollbackFixture,
) -> ClauseResult {
    let clause = Clause("execute_arrives_from_an_interrupted_migration");
    let prepared = prepared(clause, fixture).await?;
    let request = clause.fixture("interrupt", fixture.interrupt(&prepared.cx).await)?;
    let executed = prepared.rollback.execute(&prepared.cx, &request).await;
    clause.done("`execute`", executed)?;
    prepared.arrived(clause, fixture).await?;
    clause.holds()
}

/// An `execute` that was interrupted itself can be called again, and arrives. It is interrupted at
/// several of its waits, as if its task were aborted there.
///
/// # Errors
/// When the clause does not hold.
pub async fn an_interrupted_execute_can_be_called_again(
    fixture: &dyn RollbackFixture,
) -> ClauseResult {
    let clause = Clause("an_interrupted_execute_can_be_called_again");
    for polls in INTERRUPTIONS {
        let prepared = prepared(clause, fixture).await?;
        let request = prepared.upgrade(clause, fixture).await?;
        let (rollback, cx) = (&prepared.rollback, &prepared.cx);
        if let Some(result) = for_polls(polls, rollback.execute(cx, &request)).await {
            // It has fewer waits than that.
            clause.done("`execute`", result)?;
            break;
        }
        let again = rollback.execute(cx, &request).await;
        clause.done(&format!("`execute`, interrupted at wait {polls},"), again)?;
        prepared.arrived(clause, fixture).await?;
    }
    clause.holds()
}

/// `execute` without `prepare` is `Refused`, and nothing is changed.
///
/// # Errors
/// When the clause does not hold.
pub async fn execute_without_prepare_is_refused(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("execute_without_prepare_is_refused");
    let (rollback, cx) = clause.fixture("system", fixture.system().await)?;
    let request = clause.fixture("upgrade", fixture.upgrade(&cx).await)?;
    let before = clause.fixture("state", fixture.state(&cx).await)?;
    let executed = rollback.execute(&cx, &request).await;
    clause.kind("`execute`", executed, &[ErrorKind::Refused])?;
    let after = clause.fixture("state", fixture.state(&cx).await)?;
    clause.same_text("the state before `execute`", &before, &after)?;
    clause.holds()
}

/// Only what the library made, or what the user adopted, is destroyed: another system beside this
/// one does not change at any time, and its own rollback is still possible.
///
/// # Errors
/// When the clause does not hold.
pub async fn another_system_is_left_alone(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("another_system_is_left_alone");
    let other = prepared(clause, fixture).await?;
    let request_of_other = other.upgrade(clause, fixture).await?;
    let before = clause.fixture("state", fixture.state(&other.cx).await)?;

    let this = prepared(clause, fixture).await?;
    let request = this.upgrade(clause, fixture).await?;
    let (rollback, cx) = (&this.rollback, &this.cx);
    clause.done("`execute`", rollback.execute(cx, &request).await)?;
    clause.ok("`finalize`", rollback.finalize(cx).await)?;

    let after = clause.fixture("state", fixture.state(&other.cx).await)?;
    clause.same_text("the state of the other system", &before, &after)?;
    let executed = other.rollback.execute(&other.cx, &request_of_other).await;
    clause.done("`execute` in the other system", executed)?;
    other.arrived(clause, fixture).await?;
    clause.holds()
}

/// Polls a future at most `polls` times, and drops it if it is not ready then.
async fn for_polls<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    poll_fn(|task| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(task) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
