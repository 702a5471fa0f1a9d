//! Clauses on rolling back.

use upgrade_core::rollback::{Prepared, Safety};
use upgrade_core::{ErrorKind, Verdict};

use super::{Ready, RollbackFixture, prepared};
use crate::conformance::ClauseResult;
use crate::conformance::check::Clause;
use crate::polls::for_polls;

/// After how many polls an `execute` is dropped, each on a separate system.
const INTERRUPTIONS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// `execute` brings the system to where it was at `prepare`.
///
/// # Errors
/// When the clause does not hold.
pub async fn execute_arrives_where_prepare_was(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("execute_arrives_where_prepare_was");
    let mut prepared = prepared(clause, fixture).await?;
    let request = prepared.upgrade(clause, fixture).await?;
    clause.done("`execute`", prepared.execute(&request).await)?;
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
    let mut prepared = prepared(clause, fixture).await?;
    let request = clause.fixture("interrupt", fixture.interrupt(&prepared.cx).await)?;
    clause.done("`execute`", prepared.execute(&request).await)?;
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
        let kept = clause.ok(
            "`begin`",
            rollback.begin(cx, &prepared.kept, &request).await,
        )?;
        if let Some(result) = for_polls(polls, rollback.execute(cx, &kept, &request)).await {
            // It has fewer waits than that.
            clause.done("`execute`", result)?;
            break;
        }
        let again = rollback.execute(cx, &kept, &request).await;
        clause.done(&format!("`execute`, interrupted at wait {polls},"), again)?;
        prepared.arrived(clause, fixture).await?;
    }
    clause.holds()
}

/// Each call may come from another process: an instance that knows only the value of `prepare`, as JSON,
/// says whether the rollback is possible, rolls back, proves it, and gives up what was kept.
///
/// # Errors
/// When the clause does not hold.
pub async fn another_process_goes_on(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("another_process_goes_on");
    let Ready {
        rollback,
        cx,
        kept,
        state,
    } = prepared(clause, fixture).await?;
    drop(rollback);
    let text = serde_json::to_string(&kept);
    let text = text.map_err(|error| clause.failed("what is kept as JSON", error.to_string()))?;
    let kept: Prepared = serde_json::from_str(&text)
        .map_err(|error| clause.failed("what is kept, from JSON", error.to_string()))?;
    let another = async || clause.fixture("again", fixture.again(&cx).await);
    let before = clause.fixture("kept", fixture.kept(&cx).await)?;
    let request = clause.fixture("upgrade", fixture.upgrade(&cx).await)?;
    let safety = another().await?.check(&cx, &kept, &request).await;
    let safety = clause.ok("`check` by another process", safety)?;
    clause.that(
        !matches!(safety, Safety::Unsafe { .. }),
        "a possible rollback for another process",
        safety.to_string(),
    )?;
    let begun = another().await?.begin(&cx, &kept, &request).await;
    let begun = clause.ok("`begin` by another process", begun)?;
    let executed = another().await?.execute(&cx, &begun, &request).await;
    clause.done("`execute` by another process", executed)?;
    let now = clause.fixture("state", fixture.state(&cx).await)?;
    clause.same_text("the state at `prepare`", &state, &now)?;
    let verdict = another().await?.confirm(&cx, &begun).await;
    let verdict = clause.ok("`confirm` by another process", verdict)?;
    clause.that(
        verdict == Verdict::Pass,
        "`Pass` for another process",
        format!("{verdict:?}"),
    )?;
    let finalized = another().await?.finalize(&cx, &begun).await;
    clause.ok("`finalize` by another process", finalized)?;
    let left = clause.fixture("kept", fixture.kept(&cx).await)?;
    clause.that(
        left.iter().all(|name| !before.contains(name)),
        "nothing of what was kept",
        format!("{left:?}"),
    )?;
    clause.holds()
}

/// `execute` with what another strategy kept is `Refused`, and nothing is changed.
///
/// # Errors
/// When the clause does not hold.
pub async fn what_another_strategy_kept_is_refused(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("what_another_strategy_kept_is_refused");
    let (rollback, cx) = clause.fixture("system", fixture.system().await)?;
    let request = clause.fixture("upgrade", fixture.upgrade(&cx).await)?;
    let before = clause.fixture("state", fixture.state(&cx).await)?;
    let other = clause.ok("a value", Prepared::new(&["of another strategy"]))?;
    let executed = rollback.execute(&cx, &other, &request).await;
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
    let mut other = prepared(clause, fixture).await?;
    let request_of_other = other.upgrade(clause, fixture).await?;
    let before = clause.fixture("state", fixture.state(&other.cx).await)?;

    let mut this = prepared(clause, fixture).await?;
    let request = this.upgrade(clause, fixture).await?;
    clause.done("`execute`", this.execute(&request).await)?;
    let finalized = this.rollback.finalize(&this.cx, &this.kept).await;
    clause.ok("`finalize`", finalized)?;

    let after = clause.fixture("state", fixture.state(&other.cx).await)?;
    clause.same_text("the state of the other system", &before, &after)?;
    let executed = other.execute(&request_of_other).await;
    clause.done("`execute` in the other system", executed)?;
    other.arrived(clause, fixture).await?;
    clause.holds()
}
