//! Clauses on preparing the rollback and on saying whether it is possible.

use upgrade_core::ErrorKind;
use upgrade_core::environment::Endpoints;
use upgrade_core::migration::Outcome;
use upgrade_core::rollback::Safety;

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
    clause.ok("`prepare`", rollback.prepare(&cx).await)?;
    let after = clause.fixture("state", fixture.state(&cx).await)?;
    clause.same_text("the state before `prepare`", &before, &after)?;
    clause.holds()
}

/// `prepare`, called again, replaces what it kept: the rollback leads to the later state, and no
/// more is kept than before.
///
/// # Errors
/// When the clause does not hold.
pub async fn prepare_again_replaces_what_was_kept(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("prepare_again_replaces_what_was_kept");
    let mut prepared = prepared(clause, fixture).await?;
    let once = clause.fixture("kept", fixture.kept(&prepared.cx).await)?;
    clause.fixture("write", fixture.write(&prepared.cx).await)?;
    clause.ok(
        "`prepare` again",
        prepared.rollback.prepare(&prepared.cx).await,
    )?;
    let twice = clause.fixture("kept", fixture.kept(&prepared.cx).await)?;
    clause.that(
        twice.len() <= once.len(),
        format!("no more is kept than after the first `prepare`: {once:?}"),
        format!("{twice:?}"),
    )?;
    prepared.state = clause.fixture("state", fixture.state(&prepared.cx).await)?;
    let request = prepared.upgrade(clause, fixture).await?;
    clause.done(
        "`execute`",
        prepared.rollback.execute(&prepared.cx, &request).await,
    )?;
    prepared.arrived(clause, fixture).await?;
    clause.holds()
}

/// A `prepare` that fails, because it is cancelled, keeps nothing: no rollback is possible.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_failed_prepare_keeps_nothing(fixture: &dyn RollbackFixture) -> ClauseResult {
    let clause = Clause("a_failed_prepare_keeps_nothing");
    let (rollback, cx) = clause.fixture("system", fixture.system().await)?;
    let before = clause.fixture("kept", fixture.kept(&cx).await)?;
    if rollback.prepare(&cancelled(&cx)).await.is_ok() {
        return clause.not_applicable("its `prepare` has no wait that a cancellation could end");
    }
    let after = clause.fixture("kept", fixture.kept(&cx).await)?;
    clause.equal(
        "what is kept after a failed `prepare`",
        &Vec::new(),
        &new_in(&after, &before),
    )?;
    let request = clause.fixture("upgrade", fixture.upgrade(&cx).await)?;
    let executed = rollback.execute(&cx, &request).await;
    clause.kind("`execute`", executed, &[ErrorKind::Refused])?;
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
    clause.ok("`check`", rollback.check(cx, &Default::default()).await)?;
    prepared.arrived(clause, fixture).await?;

    let request = prepared.upgrade(clause, fixture).await?;
    let before = clause.fixture("state", fixture.state(cx).await)?;
    clause.ok("`check`", rollback.check(cx, &request).await)?;
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
    let safety = clause.ok("`check`", rollback.check(cx, &request).await)?;
    clause.that(
        matches!(safety, Safety::Unsafe { .. }),
        "`check` calls it unsafe",
        safety.to_string(),
    )?;
    let before = clause.fixture("state", fixture.state(cx).await)?;
    let executed = rollback.execute(cx, &request).await;
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
        rollback.prepare(&nowhere).await,
    )?;
    let after = clause.fixture("kept", fixture.kept(&cx).await)?;
    clause.equal("what is kept", &before, &after)?;
    clause.holds()
}
