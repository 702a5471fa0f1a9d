//! Clauses on what goes wrong: sessions that are terminated, parts that crash, their logs.

use tokio::time::timeout;
use upgrade_core::environment::{DatabaseFaults, Endpoints, Fault, LogTail};
use upgrade_core::{Environment, ErrorKind, UpgradeContext};

use super::{EnvironmentFixture, live, prepared};
use crate::conformance::check::{Clause, facet, given};
use crate::conformance::{ClauseFailed, ClauseResult, DEADLINE, MARGIN};

const NONE: &str = "it has no such fault of its database";

/// Sessions that were terminated hold nothing any more.
///
/// # Errors
/// When the clause does not hold.
pub async fn terminated_sessions_release_what_they_hold(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("terminated_sessions_release_what_they_hold");
    prepared(clause, fixture, async |environment, cx| {
        let faults = facet!(
            clause,
            that_supports(environment, Fault::TerminateSessions),
            NONE
        );
        let hold = clause.fixture("hold", fixture.hold(cx).await)?;
        let injected = faults.inject(cx, Fault::TerminateSessions).await;
        clause.ok("`inject`", injected)?;
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
        let faults = facet!(
            clause,
            that_supports(environment, Fault::TerminateSessions),
            NONE
        );
        is_where_it_was(
            clause,
            fixture,
            (environment, faults),
            cx,
            Fault::TerminateSessions,
        )
        .await?;
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
        let faults = facet!(clause, that_supports(environment, Fault::KillProcess), NONE);
        let hold = clause.fixture("hold", fixture.hold(cx).await)?;
        let mut injected = faults.inject(cx, Fault::KillProcess);
        // Long enough for one that does not wait to show it.
        if let Ok(early) = timeout(DEADLINE, &mut injected).await {
            drop(hold);
            clause.ok("`inject`", early)?;
            return Err(clause.failed(
                "`inject` waits while a session of the process holds something",
                "it returned",
            ));
        }
        drop(hold);
        let Ok(injected) = timeout(MARGIN, injected).await else {
            return Err(clause.failed(
                format!("`inject` returns within {MARGIN:?} of the end of the session"),
                "it still waits",
            ));
        };
        clause.ok("`inject`", injected)?;
        clause.holds()
    })
    .await
}

/// A fault that is not supported is `Unsupported`.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_fault_that_is_not_supported_is_unsupported(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("a_fault_that_is_not_supported_is_unsupported");
    prepared(clause, fixture, async |environment, cx| {
        let faults = facet!(clause, environment.database_faults(), NONE);
        let all = [
            Fault::TerminateSessions,
            Fault::KillProcess,
            Fault::KillServer,
            Fault::HoldSnapshot,
        ];
        let unsupported: Vec<Fault> = all.into_iter().filter(|it| !faults.supports(*it)).collect();
        if unsupported.is_empty() {
            return clause.not_applicable("it supports every fault");
        }
        for fault in unsupported {
            let injected = faults.inject(cx, fault).await;
            let call = format!("`inject` of {fault:?}");
            clause.kind(&call, injected, &[ErrorKind::Unsupported])?;
        }
        clause.holds()
    })
    .await
}

/// A session that holds a snapshot open hinders no reader and no writer, and the next fault ends it.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_held_snapshot_hinders_nobody(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("a_held_snapshot_hinders_nobody");
    prepared(clause, fixture, async |environment, cx| {
        let hold = Fault::HoldSnapshot;
        let faults = facet!(clause, that_supports(environment, hold), NONE);
        let held = faults.inject(cx, Fault::HoldSnapshot).await;
        clause.ok("`inject` of a held snapshot", held)?;
        let Ok(changed) = timeout(MARGIN, fixture.disturb(cx)).await else {
            return Err(clause.failed(
                format!("a row can be changed within {MARGIN:?} while a snapshot is held"),
                "the change still waits",
            ));
        };
        clause.fixture("disturb", changed)?;
        read_in_time(clause, environment, cx, "a snapshot is held").await?;
        if faults.supports(Fault::TerminateSessions) {
            let ended = faults.inject(cx, Fault::TerminateSessions).await;
            clause.ok("`inject`", ended)?;
        }
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

/// The faults of the database, if that one is among them.
pub(super) fn that_supports(
    environment: &dyn Environment,
    fault: Fault,
) -> Option<&dyn DatabaseFaults> {
    let faults = environment.database_faults();
    faults.filter(|faults| faults.supports(fault))
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
    (environment, faults): (&dyn Environment, &dyn DatabaseFaults),
    cx: &UpgradeContext,
    fault: Fault,
) -> Result<(), ClauseFailed> {
    let before = answering(fixture, cx.endpoints()).await;
    clause.ok("`inject`", faults.inject(cx, fault).await)?;
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
