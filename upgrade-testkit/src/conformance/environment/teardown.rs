//! Clauses on removing what was made.

use upgrade_core::UpgradeContext;

use super::{EnvironmentFixture, begin};
use crate::conformance::check::{Clause, cancelled, given, new_in};
use crate::conformance::{ClauseFailed, ClauseResult};

/// Nothing is left after `teardown`: neither of the system nor of the labels that were kept.
///
/// # Errors
/// When the clause does not hold.
pub async fn teardown_leaves_nothing(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("teardown_leaves_nothing");
    let left = left_by(clause, fixture, UpgradeContext::clone).await?;
    clause.equal("the leftovers", &Vec::new(), &left)?;
    clause.holds()
}

/// `teardown` of an environment that was never prepared agrees, and leaves nothing.
///
/// # Errors
/// When the clause does not hold.
pub async fn teardown_without_prepare_is_ok(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("teardown_without_prepare_is_ok");
    let before = clause.fixture("leftovers", fixture.leftovers().await)?;
    let environment = clause.fixture("make", fixture.make().await)?;
    clause.ok("`teardown`", environment.teardown(&fixture.context()).await)?;
    let after = clause.fixture("leftovers", fixture.leftovers().await)?;
    clause.equal("the leftovers", &Vec::new(), &new_in(&after, &before))?;
    clause.holds()
}

/// `teardown` ignores the cancellation of the context: there are no more leftovers than without a
/// cancellation.
///
/// # Errors
/// When the clause does not hold.
pub async fn teardown_ignores_cancellation(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("teardown_ignores_cancellation");
    let usual = left_by(clause, fixture, UpgradeContext::clone).await?;
    let left = left_by(clause, fixture, cancelled).await?;
    clause.that(
        left.len() <= usual.len(),
        format!("nothing is left that is not left without a cancellation: {usual:?}"),
        format!("{left:?}"),
    )?;
    clause.holds()
}

/// What the user provided stays as it is.
///
/// # Errors
/// When the clause does not hold.
pub async fn what_was_adopted_is_left_as_it_is(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("what_was_adopted_is_left_as_it_is");
    let before = given!(clause.fixture("adopted", fixture.adopted().await)?);
    left_by(clause, fixture, UpgradeContext::clone).await?;
    let after = given!(clause.fixture("adopted", fixture.adopted().await)?);
    clause.same_text("what the user provided", &before, &after)?;
    clause.holds()
}

/// `teardown`, called again, does nothing.
///
/// # Errors
/// When the clause does not hold.
pub async fn teardown_twice_is_ok(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("teardown_twice_is_ok");
    let (environment, cx) = begin(clause, fixture).await?;
    let once = environment.teardown(&cx).await;
    let twice = environment.teardown(&cx).await;
    clause.ok("`teardown`", once)?;
    clause.ok("`teardown` again", twice)?;
    clause.holds()
}

/// Prepares an environment, uses it, tears it down in the context that `end` makes, and returns the
/// leftovers.
async fn left_by(
    clause: Clause,
    fixture: &dyn EnvironmentFixture,
    end: impl FnOnce(&UpgradeContext) -> UpgradeContext,
) -> Result<Vec<String>, ClauseFailed> {
    let before = clause.fixture("leftovers", fixture.leftovers().await)?;
    let (environment, cx) = begin(clause, fixture).await?;
    let kept = match environment.snapshots() {
        Some(snapshots) => snapshots.take(&cx, "kept").await,
        None => Ok(()),
    };
    let torn_down = environment.teardown(&end(&cx)).await;
    clause.ok("`take`", kept)?;
    clause.ok("`teardown`", torn_down)?;
    let after = clause.fixture("leftovers", fixture.leftovers().await)?;
    Ok(new_in(&after, &before))
}
