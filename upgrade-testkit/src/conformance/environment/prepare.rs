//! Clauses on what an environment declares and on making the system.

use upgrade_core::ErrorKind;
use upgrade_core::environment::Capabilities;

use super::{EnvironmentFixture, begin, live, prepared};
use crate::conformance::ClauseResult;
use crate::conformance::check::{Clause, cancelled, given, new_in};

/// The name that a person reads is not empty.
///
/// # Errors
/// When the clause does not hold.
pub async fn the_name_can_be_read(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("the_name_can_be_read");
    let environment = clause.fixture("make", fixture.make().await)?;
    let name = environment.name().to_owned();
    // Whether that succeeds, another clause asks.
    let _ = environment.teardown(&fixture.context()).await;
    clause.that(!name.trim().is_empty(), "a name to read", "an empty one")?;
    clause.holds()
}

/// What the environment can do is known before `prepare`, and stays so.
///
/// # Errors
/// When the clause does not hold.
pub async fn capabilities_stay_as_they_are(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("capabilities_stay_as_they_are");
    let new = clause.fixture("make", fixture.make().await)?;
    let before = Capabilities::of(&new);
    // Whether that succeeds, another clause asks.
    let _ = new.teardown(&fixture.context()).await;
    prepared(clause, fixture, async |environment, _| {
        let after = Capabilities::of(environment);
        clause.equal("the capabilities before `prepare`", &before, &after)?;
        clause.holds()
    })
    .await
}

/// A table that is said to have no rows has none.
///
/// # Errors
/// When the clause does not hold.
pub async fn unfilled_tables_have_no_rows(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("unfilled_tables_have_no_rows");
    prepared(clause, fixture, async |environment, cx| {
        let seen = live(clause, environment, cx).await?;
        for unfilled in environment.unfilled() {
            let table = unfilled.table;
            let rows = seen.tables.get(&table).map_or(0, |table| table.rows);
            clause.equal(&format!("the rows of `{table}`"), &0, &rows)?;
        }
        clause.holds()
    })
    .await
}

/// There are no endpoints before `prepare`.
///
/// # Errors
/// When the clause does not hold.
pub async fn no_endpoints_before_prepare(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("no_endpoints_before_prepare");
    let environment = clause.fixture("make", fixture.make().await)?;
    let names: Vec<String> = environment
        .endpoints()
        .iter()
        .map(|(name, _)| name.to_owned())
        .collect();
    // Whether that succeeds, another clause asks.
    let _ = environment.teardown(&fixture.context()).await;
    clause.equal("endpoints before `prepare`", &Vec::new(), &names)?;
    clause.holds()
}

/// `prepare` makes a system with a schema and rows: over an empty one nothing can be proven.
///
/// # Errors
/// When the clause does not hold.
pub async fn prepare_makes_a_populated_system(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("prepare_makes_a_populated_system");
    prepared(clause, fixture, async |environment, cx| {
        let seen = live(clause, environment, cx).await?;
        clause.that(
            !seen.objects.is_empty() && seen.rows() > 0,
            "an observation with objects and rows",
            format!("{} objects, {} rows", seen.objects.len(), seen.rows()),
        )?;
        clause.holds()
    })
    .await
}

/// When `prepare` returns, there are endpoints, and all of them can be reached.
///
/// # Errors
/// When the clause does not hold.
pub async fn prepared_endpoints_can_be_reached(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("prepared_endpoints_can_be_reached");
    prepared(clause, fixture, async |_, cx| {
        clause.that(
            cx.endpoints().iter().next().is_some(),
            "at least one endpoint after `prepare`",
            "none",
        )?;
        for (name, endpoint) in cx.endpoints().iter() {
            clause.ok(
                &format!("reaching endpoint `{name}`"),
                fixture.reach(name, endpoint).await,
            )?;
        }
        clause.holds()
    })
    .await
}

/// `prepare`, called a second time, changes nothing.
///
/// # Errors
/// When the clause does not hold.
pub async fn prepare_twice_changes_nothing(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("prepare_twice_changes_nothing");
    prepared(clause, fixture, async |environment, cx| {
        // A change of a user is what a second preparation would undo.
        clause.fixture("disturb", fixture.disturb(cx).await)?;
        let before = clause.fixture("state", fixture.state(cx).await)?;
        clause.ok("`prepare` again", environment.prepare(cx).await)?;
        clause.that(
            environment.endpoints() == *cx.endpoints(),
            "the endpoints stay",
            "they changed",
        )?;
        let after = clause.fixture("state", fixture.state(cx).await)?;
        clause.same_text("the state before the second `prepare`", &before, &after)?;
        clause.holds()
    })
    .await
}

/// When `prepare` fails, nothing of it is left that `teardown` does not remove.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_failed_prepare_leaves_nothing_after_teardown(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("a_failed_prepare_leaves_nothing_after_teardown");
    let environment = given!(clause.fixture("failing", fixture.failing().await)?);
    let cx = fixture.context();
    let before = clause.fixture("leftovers", fixture.leftovers().await)?;
    let failed = environment.prepare(&cx).await;
    let torn_down = environment.teardown(&cx).await;
    clause.error("`prepare` of the failing one", failed)?;
    clause.ok("`teardown`", torn_down)?;
    let after = clause.fixture("leftovers", fixture.leftovers().await)?;
    clause.equal("the leftovers", &Vec::new(), &new_in(&after, &before))?;
    clause.holds()
}

/// A `prepare` that is cancelled before it begins, and one that is cancelled in its middle, leave
/// nothing that `teardown` does not remove.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_cancelled_prepare_leaves_nothing_after_teardown(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("a_cancelled_prepare_leaves_nothing_after_teardown");
    let before = clause.fixture("leftovers", fixture.leftovers().await)?;

    let environment = clause.fixture("make", fixture.make().await)?;
    let result = environment.prepare(&cancelled(&fixture.context())).await;
    let torn_down = environment.teardown(&fixture.context()).await;
    if result.is_err() {
        clause.kind("`prepare`, cancelled", result, &[ErrorKind::Cancelled])?;
    }
    clause.ok("`teardown`", torn_down)?;

    // As if the task were aborted: dropped at its first wait.
    let environment = clause.fixture("make", fixture.make().await)?;
    let cx = fixture.context();
    tokio::select! {
        biased;
        _ = environment.prepare(&cx) => {}
        () = std::future::ready(()) => {}
    }
    clause.ok("`teardown`", environment.teardown(&cx).await)?;

    let after = clause.fixture("leftovers", fixture.leftovers().await)?;
    clause.equal("the leftovers", &Vec::new(), &new_in(&after, &before))?;
    clause.holds()
}

/// Two environments share no state: a change in one is not seen in the other.
///
/// # Errors
/// When the clause does not hold.
pub async fn two_environments_share_no_state(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("two_environments_share_no_state");
    prepared(clause, fixture, async |_, cx| {
        let (other, other_cx) = begin(clause, fixture).await?;
        let result = async {
            let before = clause.fixture("state", fixture.state(cx).await)?;
            clause.fixture("disturb", fixture.disturb(&other_cx).await)?;
            let after = clause.fixture("state", fixture.state(cx).await)?;
            clause.same_text("the state that nobody changed", &before, &after)
        }
        .await;
        let torn_down = other.teardown(&other_cx).await;
        result?;
        clause.ok("`teardown` of the other one", torn_down)?;
        // Removing the one must not remove what the other stands on.
        clause.ok("`state` after the other's end", fixture.state(cx).await)?;
        clause.holds()
    })
    .await
}
