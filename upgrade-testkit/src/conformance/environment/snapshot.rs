//! Clauses on keeping states and putting them back.

use upgrade_core::environment::{At, EMPTY, Snapshots};
use upgrade_core::observation::Scope;
use upgrade_core::{Environment, ErrorKind, Observation, UpgradeContext};

use super::{EnvironmentFixture, live, prepared};
use crate::conformance::check::{Clause, facet};
use crate::conformance::{ClauseFailed, ClauseResult};

const NONE: &str = "it has no snapshots";

/// A kept state can be observed, and is what it was when it was kept.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_snapshot_can_be_observed(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("a_snapshot_can_be_observed");
    prepared(clause, fixture, async |environment, cx| {
        let snapshots = facet!(clause, environment.snapshots(), NONE);
        let kept = keep(clause, environment, snapshots, cx).await?;
        clause.fixture("disturb", fixture.disturb(cx).await)?;
        let at = At::Snapshot("kept".to_owned());
        let seen = environment.observe(cx, &at, &Scope::All).await;
        let seen = clause.ok("`observe` of the label", seen)?;
        clause.same_observation("the observation at the snapshot", &kept, &seen)?;
        clause.holds()
    })
    .await
}

/// A label that is taken again is overwritten.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_label_that_is_taken_again_is_overwritten(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("a_label_that_is_taken_again_is_overwritten");
    prepared(clause, fixture, async |environment, cx| {
        let snapshots = facet!(clause, environment.snapshots(), NONE);
        keep(clause, environment, snapshots, cx).await?;
        clause.fixture("disturb", fixture.disturb(cx).await)?;
        let second = keep(clause, environment, snapshots, cx).await?;
        let at = At::Snapshot("kept".to_owned());
        let seen = environment.observe(cx, &at, &Scope::All).await;
        let seen = clause.ok("`observe` of the label", seen)?;
        clause.same_observation("the observation at the second snapshot", &second, &seen)?;
        clause.holds()
    })
    .await
}

/// After `restore`, an observation equals the one made at the snapshot.
///
/// # Errors
/// When the clause does not hold.
pub async fn restore_equals_the_observation_at_the_snapshot(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("restore_equals_the_observation_at_the_snapshot");
    prepared(clause, fixture, async |environment, cx| {
        let snapshots = facet!(clause, environment.snapshots(), NONE);
        let kept = keep(clause, environment, snapshots, cx).await?;
        clause.fixture("disturb", fixture.disturb(cx).await)?;
        clause.ok("`restore`", snapshots.restore(cx, "kept").await)?;
        let cx = cx.clone().with_endpoints(environment.endpoints());
        let seen = live(clause, environment, &cx).await?;
        clause.same_observation("the observation at the snapshot", &kept, &seen)?;
        clause.holds()
    })
    .await
}

/// A label is kept by `restore`, and can be restored again.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_label_can_be_restored_again(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("a_label_can_be_restored_again");
    prepared(clause, fixture, async |environment, cx| {
        let snapshots = facet!(clause, environment.snapshots(), NONE);
        keep(clause, environment, snapshots, cx).await?;
        clause.ok("`restore`", snapshots.restore(cx, "kept").await)?;
        let cx = cx.clone().with_endpoints(environment.endpoints());
        // Against what the first one came to: whether that is right, another clause asks.
        let first = live(clause, environment, &cx).await?;
        clause.fixture("disturb", fixture.disturb(&cx).await)?;
        clause.ok("`restore` again", snapshots.restore(&cx, "kept").await)?;
        let cx = cx.with_endpoints(environment.endpoints());
        let second = live(clause, environment, &cx).await?;
        clause.same_observation("the observation after the first", &first, &second)?;
        clause.holds()
    })
    .await
}

/// Restoring a label that was never taken is `NotFound`; so is that of the empty system where it
/// cannot be emptied.
///
/// # Errors
/// When the clause does not hold.
pub async fn restoring_an_unknown_label_is_not_found(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("restoring_an_unknown_label_is_not_found");
    prepared(clause, fixture, async |environment, cx| {
        let snapshots = facet!(clause, environment.snapshots(), NONE);
        let restored = snapshots.restore(cx, "never taken").await;
        clause.kind("`restore`", restored, &[ErrorKind::NotFound])?;
        if !snapshots.has_empty() {
            let emptied = snapshots.restore(cx, EMPTY).await;
            let call = format!("`restore` of `{EMPTY}`");
            clause.kind(&call, emptied, &[ErrorKind::NotFound])?;
        }
        clause.holds()
    })
    .await
}

/// Keeps the present state under a label, and tells what it is.
/// A label that is given up takes no other with it, and the live state stays. One that was never taken
/// can be given up.
///
/// # Errors
/// When the clause does not hold.
pub async fn forgetting_a_label_keeps_the_others(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("forgetting_a_label_keeps_the_others");
    prepared(clause, fixture, async |environment, cx| {
        let snapshots = facet!(clause, environment.snapshots(), NONE);
        let kept = keep(clause, environment, snapshots, cx).await?;
        clause.fixture("disturb", fixture.disturb(cx).await)?;
        clause.ok("`take`", snapshots.take(cx, "other").await)?;
        let before = live(clause, environment, cx).await?;
        for label in ["other", "never taken"] {
            clause.ok("`forget`", snapshots.forget(cx, label).await)?;
        }
        let after = live(clause, environment, cx).await?;
        clause.same_observation("the observation after `forget`", &before, &after)?;
        clause.ok("`restore`", snapshots.restore(cx, "kept").await)?;
        let seen = live(clause, environment, cx).await?;
        clause.same_observation("the observation after `restore`", &kept, &seen)?;
        // A label can be taken again after it was given up.
        clause.ok("`take` again", snapshots.take(cx, "other").await)?;
        clause.ok("`restore` again", snapshots.restore(cx, "other").await)?;
        clause.holds()
    })
    .await
}

async fn keep(
    clause: Clause,
    environment: &dyn Environment,
    snapshots: &dyn Snapshots,
    cx: &UpgradeContext,
) -> Result<Observation, ClauseFailed> {
    let kept = live(clause, environment, cx).await?;
    clause.ok("`take`", snapshots.take(cx, "kept").await)?;
    Ok(kept)
}
