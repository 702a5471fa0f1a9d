//! Clauses on naming the rows in which two states differ.

use std::collections::BTreeMap;

use upgrade_core::environment::{At, RowComparison, Snapshots};
use upgrade_core::observation::{Columns, Reading, RowDiff, RowDiffRequest};
use upgrade_core::{Environment, ErrorKind, Observation, UpgradeContext};

use super::{EnvironmentFixture, live, prepared};
use crate::conformance::check::{Clause, facet};
use crate::conformance::{ClauseFailed, ClauseResult};

const NONE: &str = "it has no snapshots, or does not compare rows";

/// The numbers of a row diff are exact: they lead from the number of rows of the one state to that
/// of the other, and a table whose rows differ has one that is named.
///
/// # Errors
/// When the clause does not hold.
pub async fn row_diff_numbers_are_exact(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("row_diff_numbers_are_exact");
    prepared(clause, fixture, async |environment, cx| {
        let snapshots = facet!(clause, environment.snapshots(), NONE);
        let rows = facet!(clause, environment.row_comparison(), NONE);
        let before = keep(clause, environment, snapshots, cx).await?;
        clause.fixture("disturb", fixture.disturb(cx).await)?;
        let found = since(clause, rows, cx, &before).await?;
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
        let snapshots = facet!(clause, environment.snapshots(), NONE);
        let rows = facet!(clause, environment.row_comparison(), NONE);
        let before = keep(clause, environment, snapshots, cx).await?;
        let found = since(clause, rows, cx, &before).await?;
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
        let snapshots = facet!(clause, environment.snapshots(), NONE);
        let rows = facet!(clause, environment.row_comparison(), NONE);
        let kept = keep(clause, environment, snapshots, cx).await?;
        clause.fixture("disturb", fixture.disturb(cx).await)?;
        let before = clause.fixture("state", fixture.state(cx).await)?;
        since(clause, rows, cx, &kept).await?;
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
        let rows = facet!(clause, environment.row_comparison(), NONE);
        let requests = requests(&live(clause, environment, cx).await?);
        let never = At::Snapshot("never taken".to_owned());
        let found = rows.row_diff(cx, &never, &At::Live, &requests).await;
        clause.kind(
            "`row_diff` of an unknown label",
            found,
            &[ErrorKind::NotFound],
        )?;
        clause.holds()
    })
    .await
}

/// Keeps the present state, and tells what it is.
async fn keep(
    clause: Clause,
    environment: &dyn Environment,
    snapshots: &dyn Snapshots,
    cx: &UpgradeContext,
) -> Result<Observation, ClauseFailed> {
    let seen = live(clause, environment, cx).await?;
    clause.ok("`take`", snapshots.take(cx, "kept").await)?;
    Ok(seen)
}

/// The rows in which the system differs from what was kept, in all columns of all tables.
async fn since(
    clause: Clause,
    rows: &dyn RowComparison,
    cx: &UpgradeContext,
    kept: &Observation,
) -> Result<BTreeMap<String, RowDiff>, ClauseFailed> {
    let at = At::Snapshot("kept".to_owned());
    let found = rows.row_diff(cx, &at, &At::Live, &requests(kept)).await;
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
