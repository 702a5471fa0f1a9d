//! Clauses on what a migration says of itself and of the system.

use upgrade_core::Migration;
use upgrade_core::environment::Endpoints;
use upgrade_core::migration::{Outcome, Status};

use super::{MigrationFixture, apply, seen, status};
use crate::conformance::ClauseResult;
use crate::conformance::check::{Clause, given};

/// Two instances of the same migration have the same id and the same checksum; one of the same id
/// with another content has another checksum.
///
/// # Errors
/// When the clause does not hold.
pub async fn equal_checksums_mean_equal_content(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("equal_checksums_mean_equal_content");
    let (one, two, edited) = (fixture.migration(), fixture.migration(), fixture.edited());
    clause.equal("the id of another instance", one.id(), two.id())?;
    clause.equal(
        "the checksum of another instance",
        &one.checksum(),
        &two.checksum(),
    )?;
    clause.equal("the id of the edited one", one.id(), edited.id())?;
    clause.that(
        one.checksum() != edited.checksum(),
        "another checksum for another content",
        format!("the same: {}", edited.checksum()),
    )?;
    clause.holds()
}

/// `status` changes nothing, also when the system has no record of migrations at all.
///
/// # Errors
/// When the clause does not hold.
pub async fn status_changes_nothing(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("status_changes_nothing");
    let cx = clause.fixture("context", fixture.context().await)?;
    let migration = fixture.migration();
    let before = seen(clause, fixture, &cx).await?;
    status(clause, &migration, &cx).await?;
    let after = seen(clause, fixture, &cx).await?;
    clause.same_text("a system without a record", &before, &after)?;

    apply(clause, &migration, &cx).await?;
    let before = seen(clause, fixture, &cx).await?;
    status(clause, &migration, &cx).await?;
    let after = seen(clause, fixture, &cx).await?;
    clause.same_text("a system with a record", &before, &after)?;
    clause.holds()
}

/// `status` is pending at first, applied after `apply`, and pending again after `revert`.
///
/// # Errors
/// When the clause does not hold.
pub async fn status_follows_what_was_done(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("status_follows_what_was_done");
    let cx = clause.fixture("context", fixture.context().await)?;
    let migration = fixture.migration();
    let found = status(clause, &migration, &cx).await?;
    clause.equal("the status at first", &Status::Pending, &found)?;
    apply(clause, &migration, &cx).await?;
    let found = status(clause, &migration, &cx).await?;
    clause.equal("the status after `apply`", &Status::Applied, &found)?;
    if migration.reversibility().is_reversible() {
        let outcome = clause.ok("`revert`", migration.revert(&cx).await)?;
        clause.equal("the outcome of `revert`", &Outcome::Done, &outcome)?;
        let found = status(clause, &migration, &cx).await?;
        clause.equal("the status after `revert`", &Status::Pending, &found)?;
    }
    clause.holds()
}

/// The system itself remembers what is applied: another instance sees it as well.
///
/// # Errors
/// When the clause does not hold.
pub async fn another_instance_sees_the_same_status(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("another_instance_sees_the_same_status");
    let cx = clause.fixture("context", fixture.context().await)?;
    apply(clause, &fixture.migration(), &cx).await?;
    let found = status(clause, &fixture.migration(), &cx).await?;
    clause.equal("the status in another instance", &Status::Applied, &found)?;
    // Of the system, not of the process: a second system has none of it.
    let other = clause.fixture("context", fixture.context().await)?;
    let found = status(clause, &fixture.migration(), &other).await?;
    clause.equal("the status in another system", &Status::Pending, &found)?;
    clause.holds()
}

/// Content that differs from what was applied is `Divergent`.
///
/// # Errors
/// When the clause does not hold.
pub async fn edited_content_is_divergent(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("edited_content_is_divergent");
    given!(fixture.remembers_content());
    let cx = clause.fixture("context", fixture.context().await)?;
    apply(clause, &fixture.migration(), &cx).await?;
    let found = status(clause, &fixture.edited(), &cx).await?;
    clause.that(
        matches!(found, Status::Divergent { .. }),
        "the status `Divergent` of edited content",
        format!("{found:?}"),
    )?;
    clause.holds()
}

/// A migration reaches the system only through the endpoints of the context: without them it can
/// neither ask nor act.
///
/// # Errors
/// When the clause does not hold.
pub async fn the_system_is_reached_only_through_the_endpoints(
    fixture: &dyn MigrationFixture,
) -> ClauseResult {
    let clause = Clause("the_system_is_reached_only_through_the_endpoints");
    let cx = clause.fixture("context", fixture.context().await)?;
    let nowhere = cx.clone().with_endpoints(Endpoints::default());
    let migration = fixture.migration();
    let before = seen(clause, fixture, &cx).await?;
    clause.error(
        "`status` without endpoints",
        migration.status(&nowhere).await,
    )?;
    clause.error("`apply` without endpoints", migration.apply(&nowhere).await)?;
    let after = seen(clause, fixture, &cx).await?;
    clause.same_text("the system that the endpoints do not name", &before, &after)?;
    clause.holds()
}
