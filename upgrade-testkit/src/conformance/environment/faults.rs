//! Clauses on what goes wrong: sessions that are terminated, parts that crash, their logs.

use upgrade_core::environment::{Fault, LogTail};

use super::{EnvironmentFixture, live, prepared};
use crate::conformance::check::{Clause, given};
use crate::conformance::{ClauseFailed, ClauseResult, MARGIN};

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
            return clause.not_applicable("it does not declare faults");
        }
        let hold = clause.fixture("hold", fixture.hold(cx).await)?;
        let struck = environment.inject(cx, Fault::TerminateSessions).await;
        clause.ok("`inject`", struck)?;
        let seen = tokio::time::timeout(MARGIN, live(clause, environment, cx)).await;
        drop(hold);
        match seen {
            Ok(seen) => seen.map(drop)?,
            Err(_) => {
                return Err(clause.failed(
                    "the rows can be read once every session is terminated",
                    "a session holds them still",
                ));
            }
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

fn logs(
    clause: Clause,
    result: upgrade_core::Result<Vec<LogTail>>,
) -> Result<Vec<LogTail>, ClauseFailed> {
    clause.ok("`logs`", result)
}
