//! Clauses on naming the rows in which two states differ.

use std::collections::BTreeMap;

use upgrade_core::environment::At;
use upgrade_core::observation::{Columns, Reading, RowDiff, RowDiffRequest};
use upgrade_core::{Environment, ErrorKind, Observation, UpgradeContext};

use super::{EnvironmentFixture, live, prepared};
use crate::conformance::check::Clause;
use crate::conformance::{ClauseFailed, ClauseResult};

const NONE: &str = "it does not declare snapshots and row diffs";

/// The numbers of a row diff are exact: they lead from the number of rows of the one state to that
/// of the other, and a table whose rows differ has one that is named.
///
/// # Errors
/// When the clause does not hold.
pub async fn row_diff_numbers_are_exact(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("row_diff_numbers_are_exact");
    prepared(clause, fixture, async |environment, cx| {
        if !can(environment) {
            return clause.not_applicable(NONE);
        }
        let before = keep(clause, environment, cx).await?;
        clause.fixture("disturb", fixture.disturb(cx).await)?;
        let found = since(clause, environment, cx, &before).await?;
        clause.equal(
            "the tables that were compared",
            &before.tables.keys().collect::<Vec<_>>(),
            &found.keys().collect(),
        )?;
        for (name, diff) in &found {
            clause.equal(
                &format!("the rows of `{name}` after all that was lost and added"),
                &(diff.before + diff.added),
                &(diff.after + diff.lost),
            )?;
            clause.that(
                diff.is_empty() == diff.rows.is_empty(),
                format!("rows of `{name}` are named where some differ"),
                format!("{diff:?}"),
            )?;
        }
        clause.that(
            found.values().any(|diff| !diff.is_empty()),
            "a row that differs after one has changed",
            "none",
        )?;
        clause.holds()
    })
    .await
}

/// Where nothing was changed, no row differs.
///
/// # Errors
/// When the clause does not hold.
pub async fn row_diff_of_an_unchanged_system_is_empty(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("row_diff_of_an_unchanged_system_is_empty");
    prepared(clause, fixture, async |environment, cx| {
        if !can(environment) {
            return clause.not_applicable(NONE);
        }
        let before = keep(clause, environment, cx).await?;
        let found = since(clause, environment, cx, &before).await?;
        let differing: Vec<_> = found.iter().filter(|(_, diff)| !diff.is_empty()).collect();
        clause.equal("the tables that differ", &Vec::new(), &differing)?;
        clause.holds()
    })
    .await
}

/// Naming the rows that differ changes nothing that a user can see.
///
/// # Errors
/// When the clause does not hold.
pub async fn row_diff_changes_nothing(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("row_diff_changes_nothing");
    prepared(clause, fixture, async |environment, cx| {
        if !can(environment) {
            return clause.not_applicable(NONE);
        }
        let kept = keep(clause, environment, cx).await?;
        clause.fixture("disturb", fixture.disturb(cx).await)?;
        let before = clause.fixture("state", fixture.state(cx).await)?;
        since(clause, environment, cx, &kept).await?;
        let after = clause.fixture("state", fixture.state(cx).await)?;
        clause.same_text("the state before `row_diff`", &before, &after)?;
        clause.holds()
    })
    .await
}

/// A row diff from a label that was never taken is `NotFound`.
///
/// # Errors
/// When the clause does not hold.
pub async fn row_diff_of_an_unknown_label_is_not_found(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("row_diff_of_an_unknown_label_is_not_found");
    prepared(clause, fixture, async |environment, cx| {
        if !can(environment) {
            return clause.not_applicable(NONE);
        }
        let requests = requests(&live(clause, environment, cx).await?);
        let never = At::Snapshot("never taken".to_owned());
        let found = environment.row_diff(cx, &never, &At::Live, &requests).await;
        clause.kind(
            "`row_diff` of an unknown label",
            found,
            &[ErrorKind::NotFound],
        )?;
        clause.holds()
    })
    .await
}

fn can(environment: &dyn Environment) -> bool {
    let powers = environment.capabilities();
    powers.snapshots && powers.row_diffs
}

/// Keeps the present state, and tells what it is.
async fn keep(
    clause: Clause,
    environment: &dyn Environment,
    cx: &UpgradeContext,
) -> Result<Observation, ClauseFailed> {
    let seen = live(clause, environment, cx).await?;
    clause.ok("`snapshot`", environment.snapshot(cx, "kept").await)?;
    Ok(seen)
}

/// The rows in which the system differs from what was kept, in all columns of all tables.
async fn since(
    clause: Clause,
    environment: &dyn Environment,
    cx: &UpgradeContext,
    kept: &Observation,
) -> Result<BTreeMap<String, RowDiff>, ClauseFailed> {
    let at = At::Snapshot("kept".to_owned());
    let found = environment
        .row_diff(cx, &at, &At::Live, &requests(kept))
        .await;
    clause.ok("`row_diff`", found)
}

fn requests(seen: &Observation) -> Vec<RowDiffRequest> {
    seen.tables
        .iter()
        .map(|(name, table)| {
            let columns: Columns = table
                .columns
                .keys()
                .map(|column| (column.clone(), Reading::Value))
                .collect();
            RowDiffRequest::new(name, columns)
        })
        .collect()
}
