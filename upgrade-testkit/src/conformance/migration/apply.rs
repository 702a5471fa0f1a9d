//! Clauses on applying.

use upgrade_core::migration::{Outcome, Status};
use upgrade_core::{ErrorKind, Migration};

use super::{MigrationFixture, apply, seen, status};
use crate::conformance::ClauseResult;
use crate::conformance::check::{Clause, given};

/// An `apply` that says that it was done has changed the system.
///
/// # Errors
/// When the clause does not hold.
pub async fn apply_changes_the_system(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("apply_changes_the_system");
    let cx = clause.fixture("context", fixture.context().await)?;
    let before = clause.fixture("state", fixture.state(&cx).await)?;
    apply(clause, &fixture.migration(), &cx).await?;
    let after = clause.fixture("state", fixture.state(&cx).await)?;
    clause.that(
        before != after,
        "a state that differs after `apply`",
        format!("the same: {after:?}"),
    )?;
    clause.holds()
}

/// A second `apply` does nothing and says `NothingToDo`.
///
/// # Errors
/// When the clause does not hold.
pub async fn apply_twice_does_nothing(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("apply_twice_does_nothing");
    let cx = clause.fixture("context", fixture.context().await)?;
    apply(clause, &fixture.migration(), &cx).await?;
    let before = seen(clause, fixture, &cx).await?;
    let outcome = clause.ok("`apply` again", fixture.migration().apply(&cx).await)?;
    clause.equal("the second outcome", &Outcome::NothingToDo, &outcome)?;
    let after = seen(clause, fixture, &cx).await?;
    clause.same_text("the system after the first `apply`", &before, &after)?;
    clause.holds()
}

/// When `apply` fails, the status is pending or dirty, never applied; pending means that nothing
/// of it is left in the system.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_failed_apply_is_never_applied(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("a_failed_apply_is_never_applied");
    let cx = clause.fixture("context", fixture.context().await)?;
    let migration = fixture.failing();
    let before = clause.fixture("state", fixture.state(&cx).await)?;
    let failed = migration.apply(&cx).await;
    clause.bad("`apply` of the failing one", failed)?;
    match status(clause, &migration, &cx).await? {
        Status::Dirty => {}
        Status::Pending => {
            let after = clause.fixture("state", fixture.state(&cx).await)?;
            clause.same_text("the state of a pending migration", &before, &after)?;
        }
        found => {
            return Err(clause.failed(
                "the status is pending or dirty after a failed `apply`",
                format!("{found:?}"),
            ));
        }
    }
    clause.holds()
}

/// `apply` of content that differs from what was applied is `Divergent`, and nothing is done.
///
/// # Errors
/// When the clause does not hold.
pub async fn divergent_content_is_not_applied(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("divergent_content_is_not_applied");
    given!(fixture.remembers_content());
    let cx = clause.fixture("context", fixture.context().await)?;
    apply(clause, &fixture.migration(), &cx).await?;
    let before = seen(clause, fixture, &cx).await?;
    let refused = fixture.edited().apply(&cx).await;
    let failure = clause.bad("`apply` of edited content", refused)?;
    let kind = "the kind of the failure";
    clause.equal(kind, &ErrorKind::Divergent, &failure.kind)?;
    let after = seen(clause, fixture, &cx).await?;
    clause.same_text("the system before the edited one", &before, &after)?;
    clause.holds()
}
