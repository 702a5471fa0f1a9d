//! Clauses on reverting.

use upgrade_core::migration::{Outcome, Reversibility, Status};
use upgrade_core::{ErrorKind, Migration};

use super::{MigrationFixture, apply, seen, status};
use crate::conformance::ClauseResult;
use crate::conformance::check::{Clause, given};

/// `revert` of a pending migration does nothing and says `NothingToDo`.
///
/// # Errors
/// When the clause does not hold.
pub async fn revert_of_a_pending_one_does_nothing(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("revert_of_a_pending_one_does_nothing");
    let migration = fixture.migration();
    if let Reversibility::Irreversible { reason } = migration.reversibility() {
        return clause.not_applicable(reason);
    }
    let cx = clause.fixture("context", fixture.context().await)?;
    let before = clause.fixture("state", fixture.state(&cx).await)?;
    let outcome = clause.ok("`revert`", migration.revert(&cx).await)?;
    clause.equal("the outcome of `revert`", &Outcome::NothingToDo, &outcome)?;
    let after = clause.fixture("state", fixture.state(&cx).await)?;
    clause.same_text("the state before `revert`", &before, &after)?;
    let found = status(clause, &migration, &cx).await?;
    clause.equal("the status", &Status::Pending, &found)?;
    clause.holds()
}

/// `revert` undoes `apply`: the system is what it was.
///
/// # Errors
/// When the clause does not hold.
pub async fn revert_undoes_apply(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("revert_undoes_apply");
    let migration = fixture.migration();
    if let Reversibility::Irreversible { reason } = migration.reversibility() {
        return clause.not_applicable(reason);
    }
    let cx = clause.fixture("context", fixture.context().await)?;
    let before = clause.fixture("state", fixture.state(&cx).await)?;
    apply(clause, &migration, &cx).await?;
    clause.done("`revert`", migration.revert(&cx).await)?;
    let after = clause.fixture("state", fixture.state(&cx).await)?;
    clause.same_text("the state before `apply`", &before, &after)?;
    clause.holds()
}

/// When `revert` fails, the status is applied or dirty, never pending.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_failed_revert_is_never_pending(fixture: &dyn MigrationFixture) -> ClauseResult {
    let clause = Clause("a_failed_revert_is_never_pending");
    let migration = given!(fixture.failing_revert());
    let cx = clause.fixture("context", fixture.context().await)?;
    apply(clause, &migration, &cx).await?;
    let applied = clause.fixture("state", fixture.state(&cx).await)?;
    let failed = migration.revert(&cx).await;
    clause.bad("`revert` of the failing one", failed)?;
    match status(clause, &migration, &cx).await? {
        Status::Dirty => {}
        Status::Applied => {
            let after = clause.fixture("state", fixture.state(&cx).await)?;
            clause.same_text("the state of an applied migration", &applied, &after)?;
        }
        found => {
            return Err(clause.failed(
                "the status is applied or dirty after a failed `revert`",
                format!("{found:?}"),
            ));
        }
    }
    clause.holds()
}

/// `revert` of an irreversible migration is `Unsupported`, and nothing is done.
///
/// # Errors
/// When the clause does not hold.
pub async fn revert_of_an_irreversible_one_is_unsupported(
    fixture: &dyn MigrationFixture,
) -> ClauseResult {
    let clause = Clause("revert_of_an_irreversible_one_is_unsupported");
    let migration = given!(fixture.irreversible());
    clause.that(
        !migration.reversibility().is_reversible(),
        "`reversibility` says that the irreversible one cannot be reverted",
        "it says that it can",
    )?;
    let cx = clause.fixture("context", fixture.context().await)?;
    apply(clause, &migration, &cx).await?;
    let before = seen(clause, fixture, &cx).await?;
    let refused = migration.revert(&cx).await;
    clause.kind("`revert`", refused, &[ErrorKind::Unsupported])?;
    let after = seen(clause, fixture, &cx).await?;
    clause.same_text("the system before `revert`", &before, &after)?;
    clause.holds()
}
