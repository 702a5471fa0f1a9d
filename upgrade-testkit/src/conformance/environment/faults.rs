//! Clauses on what goes wrong: sessions that are terminated, parts that crash, their logs.

use tokio::time::timeout;
use upgrade_core::environment::{Endpoints, Fault, LogTail};
use upgrade_core::{Environment, UpgradeContext};

use super::{EnvironmentFixture, live, prepared};
use crate::conformance::check::{Clause, given};
use crate::conformance::{ClauseFailed, ClauseResult, DEADLINE, MARGIN};

const NONE: &str = "it does not declare faults";

/// Sessions that were terminated hold nothing any more.
///
/// # Errors
/// When the clause does not hold.
pub async fn terminated_sessions_release_what_they_hold(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("terminated_sessions_release_what_they_hold");
    prepared(clause, fixture, async |environment, cx| {
        if !environment.capabilities().faults {
            return clause.not_applicable(NONE);
        }
        let hold = clause.fixture("hold", fixture.hold(cx).await)?;
        let struck = environment.inject(cx, Fault::TerminateSessions).await;
        clause.ok("`inject`", struck)?;
        let read = read_in_time(clause, environment, cx, "every session is terminated").await;
        drop(hold);
        read?;
        clause.holds()
    })
    .await
}

/// Once sessions were terminated, the system can be reached at the same endpoints.
///
/// # Errors
/// When the clause does not hold.
pub async fn after_a_fault_the_system_is_where_it_was(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("after_a_fault_the_system_is_where_it_was");
    prepared(clause, fixture, async |environment, cx| {
        if !environment.capabilities().faults {
            return clause.not_applicable(NONE);
        }
        is_where_it_was(clause, fixture, environment, cx, Fault::TerminateSessions).await?;
        clause.holds()
    })
    .await
}

/// `inject` of a killed process returns when its sessions have ended, and not before.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_killed_process_is_waited_for(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("a_killed_process_is_waited_for");
    prepared(clause, fixture, async |environment, cx| {
        if !environment.capabilities().faults {
            return clause.not_applicable(NONE);
        }
        let hold = clause.fixture("hold", fixture.hold(cx).await)?;
        let mut struck = environment.inject(cx, Fault::KillProcess);
        // Long enough for one that does not wait to show it.
        if let Ok(early) = timeout(DEADLINE, &mut struck).await {
            drop(hold);
            clause.ok("`inject`", early)?;
            return Err(clause.failed(
                "`inject` waits while a session of the process holds something",
                "it returned",
            ));
        }
        drop(hold);
        let Ok(struck) = timeout(MARGIN, struck).await else {
            return Err(clause.failed(
                format!("`inject` returns within {MARGIN:?} of the end of the session"),
                "it still waits",
            ));
        };
        clause.ok("`inject`", struck)?;
        clause.holds()
    })
    .await
}

/// A log is no longer than the lines that were asked for.
///
/// # Errors
/// When the clause does not hold.
pub async fn logs_are_no_longer_than_asked(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("logs_are_no_longer_than_asked");
    prepared(clause, fixture, async |environment, cx| {
        for lines in [0, 1, 5] {
            for log in logs(clause, environment.logs(cx, lines).await)? {
                clause.that(
                    log.lines.len() <= lines,
                    format!("at most {lines} lines of `{}`", log.source),
                    format!("{} lines", log.lines.len()),
                )?;
            }
        }
        clause.holds()
    })
    .await
}

/// The logs are available also after a part has crashed.
///
/// # Errors
/// When the clause does not hold.
pub async fn logs_are_available_after_a_crash(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("logs_are_available_after_a_crash");
    prepared(clause, fixture, async |environment, cx| {
        given!(clause.fixture("crash", fixture.crash(cx).await)?);
        let logs = logs(clause, environment.logs(cx, 50).await)?;
        clause.that(
            logs.iter().any(|log| !log.lines.is_empty()),
            "a log with lines, after a crash",
            format!("{} logs, all empty", logs.len()),
        )?;
        clause.holds()
    })
    .await
}

fn logs(
    clause: Clause,
    result: upgrade_core::Result<Vec<LogTail>>,
) -> Result<Vec<LogTail>, ClauseFailed> {
    clause.ok("`logs`", result)
}

/// Reads all rows, for which nobody may have to be waited for once something has gone wrong.
pub(super) async fn read_in_time(
    clause: Clause,
    environment: &dyn Environment,
    cx: &UpgradeContext,
    once: &str,
) -> Result<(), ClauseFailed> {
    match timeout(MARGIN, live(clause, environment, cx)).await {
        Ok(seen) => seen.map(drop),
        Err(_) => Err(clause.failed(
            format!("the rows can be read once {once}"),
            "a session holds them still",
        )),
    }
}

/// Makes something go wrong, and looks whether the endpoints are those of before, and those that
/// answered then do so again.
pub(super) async fn is_where_it_was(
    clause: Clause,
    fixture: &dyn EnvironmentFixture,
    environment: &dyn Environment,
    cx: &UpgradeContext,
    fault: Fault,
) -> Result<(), ClauseFailed> {
    let before = answering(fixture, cx.endpoints()).await;
    clause.ok("`inject`", environment.inject(cx, fault).await)?;
    let endpoints = environment.endpoints();
    // Their URLs may hold a password.
    clause.that(
        endpoints == *cx.endpoints(),
        "the endpoints that there were before",
        "others",
    )?;
    let after = answering(fixture, &endpoints).await;
    clause.equal("the endpoints that answer", &before, &after)
}

async fn answering(fixture: &dyn EnvironmentFixture, endpoints: &Endpoints) -> Vec<String> {
    let mut names = Vec::new();
    for (name, endpoint) in endpoints.iter() {
        if fixture.reach(name, endpoint).await.is_ok() {
            names.push(name.to_owned());
        }
    }
    names
}
