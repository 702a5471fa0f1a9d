//! Clauses on preparing the rollback and on saying whether it is possible.

use upgrade_core::environment::Endpoints;
use upgrade_core::migration::Outcome;
use upgrade_core::rollback::{RollbackScope, Safety};

use super::{RollbackFixture, prepared};
use crate::conformance::ClauseResult;
use crate::conformance::check::{Clause, cancelled, given, new_in};

/// The name that a person reads is not empty.
///
/// # Errors
/// When the clause does not hold.
pub async fn the_name_can_be_read(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("the_name_can_be_read");
    let (rollback, _) = clause.fixture("system", fixture.system().await)?;
    clause.that(
        !rollback.name().trim().is_empty(),
        "a name to read",
        "an empty one",
    )?;
    clause.holds()
}

/// Users see no change by `prepare`.
///
/// # Errors
/// When the clause does not hold.
pub async fn prepare_changes_nothing_for_users(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("prepare_changes_nothing_for_users");
    let (rollback, cx) = clause.fixture("system", fixture.system().await)?;
    let before = clause.fixture("state", fixture.state(&cx).await)?;
    let kept = rollback.prepare(&cx, &RollbackScope::default()).await;
    clause.ok("`prepare`", kept)?;
    let after = clause.fixture("state", fixture.state(&cx).await)?;
    clause.same_text("the state before `prepare`", &before, &after)?;
    clause.holds()
}

/// `prepare`, called again after `finalize`, leads to the later state, and no more is kept than before.
///
/// # Errors
/// When the clause does not hold.
pub async fn prepare_again_leads_to_the_later_state(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("prepare_again_leads_to_the_later_state");
    let mut prepared = prepared(clause, fixture).await?;
    let once = clause.fixture("kept", fixture.kept(&prepared.cx).await)?;
    clause.fixture("write", fixture.write(&prepared.cx).await)?;
    let (rollback, cx) = (&prepared.rollback, &prepared.cx);
    clause.ok("`finalize`", rollback.finalize(cx, &prepared.kept).await)?;
    let again = rollback.prepare(cx, &RollbackScope::default()).await;
    prepared.kept = clause.ok("`prepare` again", again)?;
    let twice = clause.fixture("kept", fixture.kept(&prepared.cx).await)?;
    clause.that(
        twice.len() <= once.len(),
        format!("no more is kept than after the first `prepare`: {once:?}"),
        format!("{twice:?}"),
    )?;
    prepared.state = clause.fixture("state", fixture.state(&prepared.cx).await)?;
    let request = prepared.upgrade(clause, fixture).await?;
    clause.done("`execute`", prepared.execute(&request).await)?;
    prepared.arrived(clause, fixture).await?;
    clause.holds()
}

/// A `prepare` that fails, because it is cancelled, keeps nothing.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_failed_prepare_keeps_nothing(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("a_failed_prepare_keeps_nothing");
    let (rollback, cx) = clause.fixture("system", fixture.system().await)?;
    let before = clause.fixture("kept", fixture.kept(&cx).await)?;
    let scope = RollbackScope::default();
    if rollback.prepare(&cancelled(&cx), &scope).await.is_ok() {
        return clause.not_applicable("its `prepare` has no wait that a cancellation could end");
    }
    let after = clause.fixture("kept", fixture.kept(&cx).await)?;
    clause.equal(
        "what is kept after a failed `prepare`",
        &Vec::new(),
        &new_in(&after, &before),
    )?;
    clause.holds()
}

/// `check` changes nothing, neither before the upgrade nor after it.
///
/// # Errors
/// When the clause does not hold.
pub async fn check_changes_nothing(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("check_changes_nothing");
    let prepared = prepared(clause, fixture).await?;
    let (rollback, cx) = (&prepared.rollback, &prepared.cx);
    let kept = clause.fixture("kept", fixture.kept(cx).await)?;
    let checked = rollback
        .check(cx, &prepared.kept, &Default::default())
        .await;
    clause.ok("`check`", checked)?;
    prepared.arrived(clause, fixture).await?;

    let request = prepared.upgrade(clause, fixture).await?;
    let before = clause.fixture("state", fixture.state(cx).await)?;
    let checked = rollback.check(cx, &prepared.kept, &request).await;
    clause.ok("`check`", checked)?;
    let after = clause.fixture("state", fixture.state(cx).await)?;
    clause.same_text("the state before `check`", &before, &after)?;
    let still = clause.fixture("kept", fixture.kept(cx).await)?;
    clause.equal("what is kept", &kept, &still)?;
    clause.holds()
}

/// What `check` calls unsafe, `execute` refuses, and nothing is changed.
///
/// # Errors
/// When the clause does not hold.
pub async fn what_is_called_unsafe_is_refused(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("what_is_called_unsafe_is_refused");
    let prepared = prepared(clause, fixture).await?;
    let (rollback, cx) = (&prepared.rollback, &prepared.cx);
    let request = given!(clause.fixture("cross", fixture.cross(cx).await)?);
    let safety = rollback.check(cx, &prepared.kept, &request).await;
    let safety = clause.ok("`check`", safety)?;
    clause.that(
        matches!(safety, Safety::Unsafe { .. }),
        "`check` calls it unsafe",
        safety.to_string(),
    )?;
    let before = clause.fixture("state", fixture.state(cx).await)?;
    let executed = rollback.execute(cx, &prepared.kept, &request).await;
    clause.error("`execute`", executed.and_then(Outcome::into_result))?;
    let after = clause.fixture("state", fixture.state(cx).await)?;
    clause.same_text("the state before `execute`", &before, &after)?;
    clause.holds()
}

/// A strategy reaches the system only through the endpoints of the context: without them it can
/// keep nothing.
///
/// # Errors
/// When the clause does not hold.
pub async fn the_system_is_reached_only_through_the_endpoints(
    fixture: &dyn RollbackFixture,
) -> ClauseResult {
    let clause = Clause("the_system_is_reached_only_through_the_endpoints");
    let (rollback, cx) = clause.fixture("system", fixture.system().await)?;
    let before = clause.fixture("kept", fixture.kept(&cx).await)?;
    let nowhere = cx.clone().with_endpoints(Endpoints::default());
    clause.error(
        "`prepare` without endpoints",
        rollback.prepare(&nowhere, &RollbackScope::default()).await,
    )?;
    let after = clause.fixture("kept", fixture.kept(&cx).await)?;
    clause.equal("what is kept", &before, &after)?;
    clause.holds()
}
