//! Clauses on systems that run side by side with the live one.

use upgrade_core::environment::{Endpoints, SideBySide, Snapshots};
use upgrade_core::side::Side;
use upgrade_core::{Environment, ErrorKind, UpgradeContext, Version};

use super::{EnvironmentFixture, begin, prepared};
use crate::conformance::check::{Clause, cancelled, facet, given, new_in};
use crate::conformance::{Case, ClauseFailed, ClauseResult};

const NONE: &str = "it runs nothing side by side";
const NO_LABELS: &str = "it has no snapshots";
const LABEL: &str = "for the sides";

/// Each side has the data that its label keeps, whatever the live system has become, and answers under the
/// names of the live system, which stays as it is.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_side_has_the_state_of_its_label(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("a_side_has_the_state_of_its_label");
    prepared(clause, fixture, async |environment, cx| {
        let sides = facet!(clause, environment.side_by_side(), NONE);
        let snapshots = facet!(clause, environment.snapshots(), NO_LABELS);
        let kept = keep(clause, fixture, snapshots, cx).await?;
        clause.fixture("disturb", fixture.disturb(cx).await)?;
        let live = clause.fixture("state", fixture.state(cx).await)?;
        for side in Side::ALL {
            let at = beside(clause, sides, cx, side, cx.from()).await?;
            let endpoints = environment.endpoints();
            clause.equal(
                &format!("the names of the endpoints, for the {side}"),
                &names(&endpoints),
                &names(at.endpoints()),
            )?;
            for (name, endpoint) in at.endpoints().iter() {
                let reached = fixture.reach(name, endpoint).await;
                clause.ok(&format!("a request to `{name}` of the {side}"), reached)?;
            }
            let data = clause.fixture("data", fixture.data(&at).await)?;
            clause.same_text("the data at the snapshot", &kept, &data)?;
        }
        let after = clause.fixture("state", fixture.state(cx).await)?;
        clause.same_text("the live state before the sides", &live, &after)?;
        clause.holds()
    })
    .await
}

/// What is changed on one side is seen on no other, nor in the live system, nor on a further copy.
///
/// # Errors
/// When the clause does not hold.
pub async fn sides_share_no_state(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("sides_share_no_state");
    prepared(clause, fixture, async |environment, cx| {
        let sides = facet!(clause, environment.side_by_side(), NONE);
        let snapshots = facet!(clause, environment.snapshots(), NO_LABELS);
        let kept = keep(clause, fixture, snapshots, cx).await?;
        let baseline = beside(clause, sides, cx, Side::Baseline, cx.from()).await?;
        let candidate = beside(clause, sides, cx, Side::Candidate, cx.from()).await?;
        clause.fixture("disturb", fixture.disturb(&candidate).await)?;
        let changed = clause.fixture("data", fixture.data(&candidate).await)?;
        clause.that(
            changed != kept,
            "the fixture's `disturb` changes a side",
            "its data is as it was",
        )?;
        let secondary = beside(clause, sides, cx, Side::Secondary, cx.from()).await?;
        for other in [&baseline, &secondary, cx] {
            let data = clause.fixture("data", fixture.data(other).await)?;
            clause.same_text("the data at the snapshot", &kept, &data)?;
        }
        clause.holds()
    })
    .await
}

/// A side that is copied again has the data of the label again.
///
/// # Errors
/// When the clause does not hold.
pub async fn copying_again_replaces_a_side(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("copying_again_replaces_a_side");
    prepared(clause, fixture, async |environment, cx| {
        let sides = facet!(clause, environment.side_by_side(), NONE);
        let snapshots = facet!(clause, environment.snapshots(), NO_LABELS);
        let kept = keep(clause, fixture, snapshots, cx).await?;
        let first = beside(clause, sides, cx, Side::Candidate, cx.from()).await?;
        clause.fixture("disturb", fixture.disturb(&first).await)?;
        let second = beside(clause, sides, cx, Side::Candidate, cx.from()).await?;
        let data = clause.fixture("data", fixture.data(&second).await)?;
        clause.same_text("the data at the snapshot", &kept, &data)?;
        clause.holds()
    })
    .await
}

/// Every instance of a side is of the release that was started there; those of the live system stay.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_side_runs_the_release_that_is_started(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("a_side_runs_the_release_that_is_started");
    prepared(clause, fixture, async |environment, cx| {
        let sides = facet!(clause, environment.side_by_side(), NONE);
        let snapshots = facet!(clause, environment.snapshots(), NO_LABELS);
        let live = given!(clause.fixture("releases", fixture.releases(cx).await)?);
        keep(clause, fixture, snapshots, cx).await?;
        for release in [cx.from(), cx.to()] {
            let at = beside(clause, sides, cx, Side::Candidate, release).await?;
            // What the live system has, a side has, too.
            let found = match clause.fixture("releases", fixture.releases(&at).await)? {
                Case::Given(found) => found,
                Case::NotApplicable(_) => Vec::new(),
            };
            clause.that(
                !found.is_empty() && found.iter().all(|one| one == release),
                format!("every instance of the side is of release `{release}`"),
                format!("{found:?}"),
            )?;
        }
        let after = given!(clause.fixture("releases", fixture.releases(cx).await)?);
        clause.equal("the live releases before the sides", &live, &after)?;
        clause.holds()
    })
    .await
}

/// A label that was never taken, a release that nobody knows, and a side without a copy are not found.
///
/// # Errors
/// When the clause does not hold.
pub async fn what_a_side_does_not_know_is_not_found(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("what_a_side_does_not_know_is_not_found");
    prepared(clause, fixture, async |environment, cx| {
        let sides = facet!(clause, environment.side_by_side(), NONE);
        let snapshots = facet!(clause, environment.snapshots(), NO_LABELS);
        let side = Side::Candidate;
        let missing = &[ErrorKind::NotFound];
        let copied = sides.copy(cx, side, "never taken").await;
        clause.kind("`copy` of an unknown label", copied, missing)?;
        let started = sides.start(cx, side, cx.from()).await;
        clause.kind("`start` without a copy", started, missing)?;
        clause.equal(
            "the endpoints of a side without a copy",
            &Endpoints::default(),
            &sides.endpoints(side),
        )?;
        keep(clause, fixture, snapshots, cx).await?;
        clause.ok("`copy`", sides.copy(cx, side, LABEL).await)?;
        let started = sides
            .start(cx, side, &Version::new("no such release"))
            .await;
        clause.kind("`start` of an unknown release", started, missing)?;
        clause.holds()
    })
    .await
}

/// A side that is removed, also after a cancellation, leaves nothing; one that was never made can be removed.
///
/// # Errors
/// When the clause does not hold.
pub async fn removing_a_side_leaves_nothing(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("removing_a_side_leaves_nothing");
    prepared(clause, fixture, async |environment, cx| {
        let sides = facet!(clause, environment.side_by_side(), NONE);
        let snapshots = facet!(clause, environment.snapshots(), NO_LABELS);
        keep(clause, fixture, snapshots, cx).await?;
        let before = clause.fixture("leftovers", fixture.leftovers().await)?;
        beside(clause, sides, cx, Side::Baseline, cx.from()).await?;
        clause.ok("`copy`", sides.copy(cx, Side::Candidate, LABEL).await)?;
        let cx = cancelled(cx);
        for side in Side::ALL {
            let removed = sides.remove(&cx, side).await;
            clause.ok(&format!("`remove` of the {side}"), removed)?;
            clause.equal(
                &format!("the endpoints of the {side}, which was removed"),
                &Endpoints::default(),
                &sides.endpoints(side),
            )?;
        }
        let after = clause.fixture("leftovers", fixture.leftovers().await)?;
        let left = new_in(&after, &before);
        clause.that(
            left.is_empty(),
            "nothing stays of a side",
            format!("{left:?}"),
        )?;
        clause.holds()
    })
    .await
}

/// Sides that run end with the environment.
///
/// # Errors
/// When the clause does not hold.
pub async fn teardown_removes_all_sides(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("teardown_removes_all_sides");
    let before = clause.fixture("leftovers", fixture.leftovers().await)?;
    let (environment, cx) = begin(clause, fixture).await?;
    let run = run_two(clause, fixture, &*environment, &cx).await;
    let torn_down = environment.teardown(&cx).await;
    let Some(()) = run? else {
        return clause.not_applicable(NONE);
    };
    clause.ok("`teardown`", torn_down)?;
    let after = clause.fixture("leftovers", fixture.leftovers().await)?;
    let left = new_in(&after, &before);
    clause.that(
        left.is_empty(),
        "nothing is left after `teardown`",
        format!("{left:?}"),
    )?;
    clause.holds()
}

/// Runs one side, and copies the data of another; nothing where it cannot.
async fn run_two(
    clause: Clause,
    fixture: &dyn EnvironmentFixture,
    environment: &dyn Environment,
    cx: &UpgradeContext,
) -> Result<Option<()>, ClauseFailed> {
    let (Some(sides), Some(snapshots)) = (environment.side_by_side(), environment.snapshots())
    else {
        return Ok(None);
    };
    keep(clause, fixture, snapshots, cx).await?;
    beside(clause, sides, cx, Side::Baseline, cx.from()).await?;
    clause.ok("`copy`", sides.copy(cx, Side::Candidate, LABEL).await)?;
    Ok(Some(()))
}

/// Keeps the present state, and tells what data it has.
async fn keep(
    clause: Clause,
    fixture: &dyn EnvironmentFixture,
    snapshots: &dyn Snapshots,
    cx: &UpgradeContext,
) -> Result<String, ClauseFailed> {
    clause.ok("`take`", snapshots.take(cx, LABEL).await)?;
    clause.fixture("data", fixture.data(cx).await)
}

/// Runs a side, and answers with a context at its endpoints.
async fn beside(
    clause: Clause,
    sides: &dyn SideBySide,
    cx: &UpgradeContext,
    side: Side,
    release: &Version,
) -> Result<UpgradeContext, ClauseFailed> {
    clause.ok(
        &format!("`copy` for the {side}"),
        sides.copy(cx, side, LABEL).await,
    )?;
    clause.that(
        !names(&sides.endpoints(side)).is_empty(),
        format!("the {side} has the database of the copy"),
        "it has no endpoint",
    )?;
    clause.done(
        &format!("`start` of `{release}` for the {side}"),
        sides.start(cx, side, release).await,
    )?;
    Ok(cx.clone().with_endpoints(sides.endpoints(side)))
}

fn names(endpoints: &Endpoints) -> Vec<String> {
    let names = endpoints.iter().map(|(name, _)| name.to_owned());
    names.collect()
}
