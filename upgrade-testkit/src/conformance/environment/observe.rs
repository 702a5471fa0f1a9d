//! Clauses on measuring the system.

use std::collections::{BTreeMap, BTreeSet};

use upgrade_core::ErrorKind;
use upgrade_core::environment::At;
use upgrade_core::observation::{Columns, Reading, Scope};

use super::{EnvironmentFixture, live, prepared};
use crate::conformance::ClauseResult;
use crate::conformance::check::Clause;

/// Observed twice with no change in between, the two are equal.
///
/// # Errors
/// When the clause does not hold.
pub async fn observing_twice_is_equal(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("observing_twice_is_equal");
    prepared(clause, fixture, async |environment, cx| {
        let first = live(clause, environment, cx).await?;
        let second = live(clause, environment, cx).await?;
        clause.same_observation("the first observation", &first, &second)?;
        clause.holds()
    })
    .await
}

/// Observing changes nothing that a user can see.
///
/// # Errors
/// When the clause does not hold.
pub async fn observing_changes_nothing(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("observing_changes_nothing");
    prepared(clause, fixture, async |environment, cx| {
        let before = clause.fixture("state", fixture.state(cx).await)?;
        live(clause, environment, cx).await?;
        let after = clause.fixture("state", fixture.state(cx).await)?;
        clause.same_text("the state before `observe`", &before, &after)?;
        clause.holds()
    })
    .await
}

/// A row that a user changes makes an observation that differs.
///
/// # Errors
/// When the clause does not hold.
pub async fn observing_sees_a_change(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("observing_sees_a_change");
    prepared(clause, fixture, async |environment, cx| {
        let before = live(clause, environment, cx).await?;
        clause.fixture("disturb", fixture.disturb(cx).await)?;
        let after = live(clause, environment, cx).await?;
        clause.that(
            before.tables != after.tables,
            "an observation that differs after a row has changed",
            "an equal one",
        )?;
        clause.holds()
    })
    .await
}

/// An observation reads what its scope says: no rows for the schema alone, and only the named
/// columns of the named tables for columns.
///
/// # Errors
/// When the clause does not hold.
pub async fn observing_reads_its_scope_only(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("observing_reads_its_scope_only");
    prepared(clause, fixture, async |environment, cx| {
        let all = live(clause, environment, cx).await?;
        let schema = environment.observe(cx, &At::Live, &Scope::Schema).await;
        let schema = clause.ok("`observe` of the schema", schema)?;
        clause.equal("rows in the scope `Schema`", &0, &schema.rows())?;
        clause.equal(
            "the objects of the whole observation",
            &all.objects,
            &schema.objects,
        )?;
        let rows = environment.observe(cx, &At::Live, &Scope::Rows).await;
        let rows = clause.ok("`observe` of the rows", rows)?;
        let mut without_schema = all.clone();
        without_schema.objects.clear();
        without_schema.column_order.clear();
        clause.equal("the rows without the schema", &without_schema, &rows)?;

        let named = all.tables.iter().find_map(|(name, table)| {
            let column = table.columns.keys().next()?;
            Some((name.clone(), BTreeSet::from([column.clone()])))
        });
        let Some((table, columns)) = named else {
            return Err(clause.failed("a table with a column", "none"));
        };
        let wanted: Columns = columns
            .iter()
            .map(|column| (column.clone(), Reading::Value))
            .collect();
        let scope = Scope::Columns(BTreeMap::from([(table.clone(), wanted)]));
        let few = environment.observe(cx, &At::Live, &scope).await;
        let few = clause.ok("`observe` of one column", few)?;
        let read: Vec<(&String, BTreeSet<String>)> = few
            .tables
            .iter()
            .map(|(name, table)| (name, table.columns.keys().cloned().collect()))
            .collect();
        clause.equal(
            "the columns that were read",
            &vec![(&table, columns)],
            &read,
        )?;
        clause.equal(
            "the rows of the table",
            &all.tables[&table].rows,
            &few.tables[&table].rows,
        )?;
        clause.holds()
    })
    .await
}

/// Observing a label that was never taken is `NotFound`; without snapshots it may be
/// `Unsupported`.
///
/// # Errors
/// When the clause does not hold.
pub async fn observing_an_unknown_label_is_not_found(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("observing_an_unknown_label_is_not_found");
    prepared(clause, fixture, async |environment, cx| {
        let at = At::Snapshot("never taken".to_owned());
        let seen = environment.observe(cx, &at, &Scope::All).await;
        let kinds: &[ErrorKind] = if environment.snapshots().is_some() {
            &[ErrorKind::NotFound]
        } else {
            &[ErrorKind::NotFound, ErrorKind::Unsupported]
        };
        clause.kind("`observe` of an unknown label", seen, kinds)?;
        clause.holds()
    })
    .await
}
