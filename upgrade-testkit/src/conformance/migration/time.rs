//! Clauses on deadlines and cancellation.

use tokio::time::{Instant, sleep};
use upgrade_core::migration::{Outcome, Status};
use upgrade_core::{ErrorKind, Migration};

use super::{MigrationFixture, status};
use crate::conformance::check::{Clause, cancelled};
use crate::conformance::{ClauseResult, DEADLINE, MARGIN};

/// An `apply` in a context that is cancelled already is `Cancelled`, and nothing is applied.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_cancelled_apply_is_not_applied(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("a_cancelled_apply_is_not_applied");
    let cx = clause.fixture("context", fixture.context().await)?;
    let migration = fixture.migration();
    let before = clause.fixture("state", fixture.state(&cx).await)?;
    let result = migration.apply(&cancelled(&cx)).await;
    clause.kind("`apply`, cancelled", result, &[ErrorKind::Cancelled])?;
    let found = status(clause, &migration, &cx).await?;
    clause.that(
        matches!(found, Status::Pending | Status::Dirty),
        "the status is pending or dirty after a cancelled `apply`",
        format!("{found:?}"),
    )?;
    if found == Status::Pending {
        let after = clause.fixture("state", fixture.state(&cx).await)?;
        clause.same_text("the state of a pending migration", &before, &after)?;
    }
    clause.holds()
}

/// A wait ends at the deadline of the context, as `Timeout`.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_wait_ends_at_the_deadline(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("a_wait_ends_at_the_deadline");
    let cx = clause.fixture("context", fixture.context().await)?;
    let migration = fixture.slow();
    clause
        .ends_at_the_deadline("`apply` of the slow one", &cx, async |cx| {
            migration.apply(cx).await
        })
        .await?;
    clause.holds()
}

/// A cancellation of the context ends a call that waits, as `Cancelled`.
///
/// # Errors
/// When the clause does not hold.
pub async fn cancellation_ends_a_call(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("cancellation_ends_a_call");
    let cx = clause.fixture("context", fixture.context().await)?;
    let migration = fixture.slow();
    clause
        .ends_on_cancellation("`apply` of the slow one", &cx, async |cx| {
            migration.apply(cx).await
        })
        .await?;
    clause.holds()
}

/// What was begun is stopped at the deadline, not left running on the server; it is not applied
/// later.
///
/// # Errors
/// When the clause does not hold.
pub async fn what_was_begun_is_stopped(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("what_was_begun_is_stopped");
    let cx = clause.fixture("context", fixture.context().await)?;
    let migration = fixture.slow();
    let before = clause.fixture("state", fixture.state(&cx).await)?;
    let brief = cx.clone().with_deadline(Instant::now() + DEADLINE);
    // An apply that does not end in time is the matter of another clause; here it is dropped.
    let ended = tokio::time::timeout(DEADLINE + MARGIN, migration.apply(&brief)).await;
    if let Ok(Ok(outcome @ (Outcome::Done | Outcome::NothingToDo))) = ended {
        return Err(clause.failed("the slow one does not end in time", format!("{outcome:?}")));
    }
    let until = Instant::now() + MARGIN;
    loop {
        let running = clause.fixture("running", fixture.running(&cx).await)?;
        if running.is_empty() {
            break;
        }
        clause.that(
            Instant::now() < until,
            format!("nothing runs {MARGIN:?} after the deadline"),
            running.join("; "),
        )?;
        sleep(DEADLINE / 10).await; // poll
    }
    match status(clause, &migration, &cx).await? {
        Status::Dirty => {}
        Status::Pending => {
            let after = clause.fixture("state", fixture.state(&cx).await)?;
            clause.same_text("the state of a pending migration", &before, &after)?;
        }
        found => {
            return Err(clause.failed("the status is pending or dirty", format!("{found:?}")));
        }
    }
    clause.holds()
}
