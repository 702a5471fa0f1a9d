//! Clauses on proving the arrival and on giving up the rollback.

use upgrade_core::Verdict;

use super::{RollbackFixture, prepared};
use crate::conformance::ClauseResult;
use crate::conformance::check::Clause;

/// Before `execute`, on a system that has changed, `confirm` is `Fail`.
///
/// # Errors
/// When the clause does not hold.
pub async fn confirm_fails_before_execute_on_a_changed_system(
    fixture: &dyn RollbackFixture,
) -> ClauseResult {
    let clause = Clause("confirm_fails_before_execute_on_a_changed_system");
    let prepared = prepared(clause, fixture).await?;
    prepared.upgrade(clause, fixture).await?;
    let verdict = prepared
        .rollback
        .confirm(&prepared.cx, &prepared.kept)
        .await;
    let verdict = clause.ok("`confirm`", verdict)?;
    clause.that(
        matches!(verdict, Verdict::Fail(_)),
        "`Fail` on a system that has changed",
        format!("{verdict:?}"),
    )?;
    clause.holds()
}

/// After `execute`, `confirm` is `Pass` on a system that is where it was, and `Fail` on one in
/// which a row has changed since.
///
/// # Errors
/// When the clause does not hold.
pub async fn confirm_passes_after_execute(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("confirm_passes_after_execute");
    for written in [false, true] {
        let mut prepared = prepared(clause, fixture).await?;
        let request = prepared.upgrade(clause, fixture).await?;
        clause.done("`execute`", prepared.execute(&request).await)?;
        let (rollback, cx) = (&prepared.rollback, &prepared.cx);
        if written {
            clause.fixture("write", fixture.write(cx).await)?;
        }
        let state = clause.fixture("state", fixture.state(cx).await)?;
        let verdict = rollback.confirm(cx, &prepared.kept).await;
        let verdict = clause.ok("`confirm`", verdict)?;
        // Against the system as it is: whether `execute` arrives, another clause asks.
        let is_back = state == prepared.state;
        clause.that(
            match &verdict {
                Verdict::Pass => is_back,
                Verdict::Fail(_) => !is_back,
                Verdict::Inconclusive(_) => false,
            },
            if is_back {
                "`Pass` on a system that is where it was"
            } else {
                "`Fail` on a system that is not where it was"
            },
            format!("{verdict:?}"),
        )?;
    }
    clause.holds()
}

/// `finalize` gives up what was kept: nothing is left aside, and users see no change.
///
/// # Errors
/// When the clause does not hold.
pub async fn finalize_gives_up_what_was_kept(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("finalize_gives_up_what_was_kept");
    let prepared = prepared(clause, fixture).await?;
    prepared.upgrade(clause, fixture).await?;
    let (rollback, cx) = (&prepared.rollback, &prepared.cx);
    let before = clause.fixture("state", fixture.state(cx).await)?;
    clause.ok("`finalize`", rollback.finalize(cx, &prepared.kept).await)?;
    let kept = clause.fixture("kept", fixture.kept(cx).await)?;
    clause.equal("what is kept after `finalize`", &Vec::new(), &kept)?;
    let after = clause.fixture("state", fixture.state(cx).await)?;
    clause.same_text("the state before `finalize`", &before, &after)?;
    clause.holds()
}

/// `finalize`, called twice, does nothing the second time.
///
/// # Errors
/// When the clause does not hold.
pub async fn finalize_twice_does_nothing(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("finalize_twice_does_nothing");
    let prepared = prepared(clause, fixture).await?;
    let (rollback, cx) = (&prepared.rollback, &prepared.cx);
    let before = clause.fixture("state", fixture.state(cx).await)?;
    clause.ok("`finalize`", rollback.finalize(cx, &prepared.kept).await)?;
    let again = rollback.finalize(cx, &prepared.kept).await;
    clause.ok("`finalize` again", again)?;
    let after = clause.fixture("state", fixture.state(cx).await)?;
    clause.same_text("the state before `finalize`", &before, &after)?;
    clause.holds()
}
