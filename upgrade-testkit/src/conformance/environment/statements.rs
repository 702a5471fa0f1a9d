//! Clauses on trying the statements of a release.

use upgrade_core::environment::At;

use super::{EnvironmentFixture, live, prepared};
use crate::conformance::ClauseResult;
use crate::conformance::check::{Clause, facet};

const NONE: &str = "it does not try statements";

/// Statements that are tried add no row and remove none.
///
/// # Errors
/// When the clause does not hold.
pub async fn trying_statements_changes_no_row(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("trying_statements_changes_no_row");
    prepared(clause, fixture, async |environment, cx| {
        let trial = facet!(clause, environment.statement_trial(), NONE);
        let before = live(clause, environment, cx).await?;
        let tried = trial.try_statements(cx, &At::Live).await;
        clause.ok("`try_statements`", tried)?;
        let after = live(clause, environment, cx).await?;
        clause.equal("the tables", &before.tables, &after.tables)?;
        clause.equal("the schema", &before.objects, &after.objects)?;
        clause.holds()
    })
    .await
}

/// Tried twice, the same statements are refused, in the same order.
///
/// # Errors
/// When the clause does not hold.
pub async fn the_same_statements_are_refused_again(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("the_same_statements_are_refused_again");
    prepared(clause, fixture, async |environment, cx| {
        let trial = facet!(clause, environment.statement_trial(), NONE);
        let first = trial.try_statements(cx, &At::Live).await;
        let first = clause.ok("`try_statements`", first)?;
        let second = trial.try_statements(cx, &At::Live).await;
        let second = clause.ok("`try_statements` again", second)?;
        clause.equal("the statements that are refused", &first, &second)?;
        clause.holds()
    })
    .await
}
