//! Clauses on what is left behind in sessions.

use tokio::time::timeout;
use upgrade_core::{Environment, Finding, UpgradeContext};

use super::{EnvironmentFixture, prepared};
use crate::conformance::check::Clause;
use crate::conformance::{ClauseFailed, ClauseResult, Hold, MARGIN};

const NONE: &str = "it does not declare watches";

/// A watch holds nothing that a user or a migration could wait for.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_watch_holds_nothing(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("a_watch_holds_nothing");
    prepared(clause, fixture, async |environment, cx| {
        if !environment.capabilities().watches {
            return clause.not_applicable(NONE);
        }
        watch(clause, environment, cx).await?;
        let Ok(changed) = timeout(MARGIN, fixture.disturb(cx)).await else {
            return Err(clause.failed(
                format!("a row can be changed within {MARGIN:?} under a watch"),
                "the change still waits",
            ));
        };
        clause.fixture("disturb", changed)?;
        drop(hold(clause, fixture, cx).await?);
        clause.holds()
    })
    .await
}

/// Called again, `watch` begins anew: what sessions took under the first watch is not told.
///
/// # Errors
/// When the clause does not hold.
pub async fn watching_again_begins_anew(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("watching_again_begins_anew");
    prepared(clause, fixture, async |environment, cx| {
        if !environment.capabilities().watches {
            return clause.not_applicable(NONE);
        }
        watch(clause, environment, cx).await?;
        let held = hold(clause, fixture, cx).await?;
        let again = watch(clause, environment, cx).await;
        let left = left_behind(clause, environment, cx).await;
        drop(held);
        again?;
        nothing(clause, "since the second `watch`", &left?)?;
        clause.holds()
    })
    .await
}

/// Without a change in between, nothing is left behind.
///
/// # Errors
/// When the clause does not hold.
pub async fn nothing_is_left_behind_without_a_change(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("nothing_is_left_behind_without_a_change");
    prepared(clause, fixture, async |environment, cx| {
        if !environment.capabilities().watches {
            return clause.not_applicable(NONE);
        }
        watch(clause, environment, cx).await?;
        let left = left_behind(clause, environment, cx).await?;
        nothing(clause, "without a change in between", &left)?;
        clause.holds()
    })
    .await
}

/// What a session holds on to since the watch began is found.
///
/// # Errors
/// When the clause does not hold.
pub async fn what_a_session_holds_is_found(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("what_a_session_holds_is_found");
    prepared(clause, fixture, async |environment, cx| {
        if !environment.capabilities().watches {
            return clause.not_applicable(NONE);
        }
        watch(clause, environment, cx).await?;
        let held = hold(clause, fixture, cx).await?;
        let left = left_behind(clause, environment, cx).await;
        drop(held);
        clause.that(
            left?.iter().any(Finding::fails),
            "an error that tells what a session holds on to",
            "none",
        )?;
        clause.holds()
    })
    .await
}

/// `left_behind` ends the watch: what sessions take afterwards is not told.
///
/// # Errors
/// When the clause does not hold.
pub async fn left_behind_ends_the_watch(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("left_behind_ends_the_watch");
    prepared(clause, fixture, async |environment, cx| {
        if !environment.capabilities().watches {
            return clause.not_applicable(NONE);
        }
        watch(clause, environment, cx).await?;
        left_behind(clause, environment, cx).await?;
        let held = hold(clause, fixture, cx).await?;
        // Without a watch it may say nothing or refuse to.
        let left = environment.left_behind(cx).await.unwrap_or_default();
        drop(held);
        nothing(clause, "after the watch has ended", &left)?;
        clause.holds()
    })
    .await
}

async fn watch(
    clause: Clause,
    environment: &dyn Environment,
    cx: &UpgradeContext,
) -> Result<(), ClauseFailed> {
    clause.ok("`watch`", environment.watch(cx).await)
}

async fn left_behind(
    clause: Clause,
    environment: &dyn Environment,
    cx: &UpgradeContext,
) -> Result<Vec<Finding>, ClauseFailed> {
    clause.ok("`left_behind`", environment.left_behind(cx).await)
}

/// What the fixture holds, unless the watch is in its way.
async fn hold(
    clause: Clause,
    fixture: &dyn EnvironmentFixture,
    cx: &UpgradeContext,
) -> Result<Hold, ClauseFailed> {
    match timeout(MARGIN, fixture.hold(cx)).await {
        Ok(held) => clause.fixture("hold", held),
        Err(_) => Err(clause.failed(
            format!("the rows can be locked within {MARGIN:?} under a watch"),
            "the lock still waits",
        )),
    }
}

fn nothing(clause: Clause, when: &str, left: &[Finding]) -> Result<(), ClauseFailed> {
    let told: Vec<String> = left.iter().map(Finding::to_string).collect();
    clause.equal(&format!("what is left behind {when}"), &Vec::new(), &told)
}
