//! Clauses on the empty system: what there is before the first migration.

use upgrade_core::environment::{EMPTY, Snapshots};
use upgrade_core::{Environment, Observation, UpgradeContext};

use super::{EnvironmentFixture, live, prepared};
use crate::conformance::check::{Clause, facet};
use crate::conformance::{ClauseFailed, ClauseResult};

const NONE: &str = "it cannot be emptied";

/// The empty system can be restored although it was never taken, and nothing of the populated one
/// is in it.
///
/// # Errors
/// When the clause does not hold.
pub async fn the_empty_system_has_nothing_in_it(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("the_empty_system_has_nothing_in_it");
    prepared(clause, fixture, async |environment, cx| {
        let snapshots = facet!(clause, with_empty(environment), NONE);
        let before = live(clause, environment, cx).await?;
        let populated = before.tables.iter().filter(|(_, table)| table.rows > 0);
        let populated: Vec<&String> = populated.map(|(name, _)| name).collect();
        let empty = emptied(clause, environment, snapshots, cx).await?;
        let left: Vec<&String> = populated
            .into_iter()
            .filter(|name| empty.tables.contains_key(*name))
            .collect();
        clause.equal(
            "the tables with rows that are left of the populated system",
            &Vec::new(),
            &left,
        )?;
        clause.equal("the rows of the empty system", &0, &empty.rows())?;
        clause.holds()
    })
    .await
}

/// The empty system can be restored again, and is the same.
///
/// # Errors
/// When the clause does not hold.
pub async fn the_empty_system_can_be_restored_again(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("the_empty_system_can_be_restored_again");
    prepared(clause, fixture, async |environment, cx| {
        let snapshots = facet!(clause, with_empty(environment), NONE);
        let first = emptied(clause, environment, snapshots, cx).await?;
        let second = emptied(clause, environment, snapshots, cx).await?;
        clause.same_observation("the observation after the first", &first, &second)?;
        clause.holds()
    })
    .await
}

/// A state that was kept before the system was emptied can be restored afterwards.
///
/// # Errors
/// When the clause does not hold.
pub async fn emptying_keeps_the_labels(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("emptying_keeps_the_labels");
    prepared(clause, fixture, async |environment, cx| {
        let snapshots = facet!(clause, with_empty(environment), NONE);
        let kept = live(clause, environment, cx).await?;
        clause.ok("`take`", snapshots.take(cx, "kept").await)?;
        emptied(clause, environment, snapshots, cx).await?;
        let restored = snapshots.restore(cx, "kept").await;
        clause.ok("`restore` of a label after the empty one", restored)?;
        let cx = cx.clone().with_endpoints(environment.endpoints());
        let seen = live(clause, environment, &cx).await?;
        // Whether their rows are there, another clause asks.
        let names = |seen: &Observation| seen.tables.keys().cloned().collect::<Vec<_>>();
        clause.equal("the tables that were kept", &names(&kept), &names(&seen))?;
        clause.holds()
    })
    .await
}

fn with_empty(environment: &dyn Environment) -> Option<&dyn Snapshots> {
    environment
        .snapshots()
        .filter(|snapshots| snapshots.has_empty())
}

/// Empties the system, and tells what is there then.
async fn emptied(
    clause: Clause,
    environment: &dyn Environment,
    snapshots: &dyn Snapshots,
    cx: &UpgradeContext,
) -> Result<Observation, ClauseFailed> {
    let restored = snapshots.restore(cx, EMPTY).await;
    clause.ok(&format!("`restore` of `{EMPTY}`"), restored)?;
    let cx = cx.clone().with_endpoints(environment.endpoints());
    live(clause, environment, &cx).await
}
