//! Whole folders of migrations, rehearsed `round_trip` as a test does it, against what a team writes in
//! an afternoon: up, down and up again, with a dump after each, compared as text.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::Connection as _;
use upgrade_core::postgres::server::{LocalServer, Profile, ServerBinaries};
use upgrade_core::{BoxError, Report, Scenario};
use upgrade_testkit::Rehearsal;

use super::Effort;
use crate::Result;
use crate::folder::Folder;
use crate::line::{Goal, Line};
use crate::sample::{Sample, order, timed};
use crate::server::{self, run};

/// Seconds that a migration may take.
const GOAL: Duration = Duration::from_millis(200);

pub(super) async fn measure(binaries: &ServerBinaries, effort: Effort) -> Result<Vec<Line>> {
    let server = server::start(binaries, Profile::ThrowAway).await?;
    let mut lines = Vec::new();
    let mut totals = Vec::new();
    for count in [
        effort.migrations / 10,
        effort.migrations / 3,
        effort.migrations,
    ] {
        let folder = Folder::write(count)?;
        let (mut ours, mut peer) = (Sample::default(), Sample::default());
        let mut total = Sample::default();
        for round in 0..effort.slowest_rounds() {
            for arm in order(round, 2) {
                if arm == 0 {
                    let time = rehearse(&folder, binaries).await?;
                    total.push(time);
                    ours.push(time / u32::try_from(count)?);
                } else {
                    peer.push(naive(&folder, &server).await? / u32::try_from(count)?);
                }
            }
        }
        let what = format!("rehearsal `round_trip` of {count} migrations, for each");
        let line = |against: &str, peer, goal| Line {
            what: what.clone(),
            against: against.to_owned(),
            ours: ours.clone(),
            peer,
            goal,
        };
        lines.push(line("", Sample::default(), Goal::Within(GOAL)));
        let against = "up, down, up, and pg_dump after each";
        lines.push(line(against, peer, Goal::AtMost(1.0)));
        totals.push((count, total));
    }
    server.stop().await?;
    if let [(few, small), .., (many, large)] = &*totals {
        lines.push(Line {
            what: format!("rehearsal `round_trip`, from {few} to {many} migrations"),
            against: "our time for the fewer".to_owned(),
            ours: large.clone(),
            peer: small.clone(),
            goal: Goal::Growth(1.1),
        });
    }
    Ok(lines)
}

/// What a test does, from the plan to the teardown, and what its steps took.
async fn rehearse(folder: &Folder, binaries: &ServerBinaries) -> Result<Duration> {
    let rehearsal = Rehearsal::new("folder")?
        .migrations(folder.path())
        .from("0001")
        .scenario(Scenario::RoundTrip)
        .postgres(binaries.version().major());
    let (time, report) = Box::pin(timed(rehearsal.report())).await?;
    if !report.passed {
        return Err(format!("the rehearsal failed:\n{report}").into());
    }
    split(&report);
    Ok(time)
}

/// Prints what kinds of steps the time went to.
#[expect(clippy::print_stderr, reason = "a program prints")]
fn split(report: &Report) {
    let mut kinds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for step in &report.steps {
        let kind = step.title.split(' ').next().unwrap_or_default();
        let (count, time) = kinds.entry(kind).or_default();
        *count += 1;
        *time += step.elapsed_ms;
    }
    for (kind, (count, time)) in kinds {
        eprintln!("  {kind}: {count} steps, {time} ms");
    }
}

/// The peer, on its own database.
async fn naive(folder: &Folder, server: &LocalServer) -> Result<Duration> {
    let name = "naive";
    let (database, mut session) = server::database(server, name).await?;
    let work = async {
        for (at, migration) in folder.migrations().iter().enumerate() {
            run(&mut session, &migration.up).await?;
            if at == 0 {
                continue;
            }
            let up = server::output(server::client(server, "pg_dump", name)).await?;
            run(&mut session, &migration.down).await?;
            server::output(server::client(server, "pg_dump", name)).await?;
            run(&mut session, &migration.up).await?;
            let again = server::output(server::client(server, "pg_dump", name)).await?;
            if up.len() != again.len() {
                return Err(format!("{} differs", migration.version).into());
            }
        }
        Ok::<_, BoxError>(())
    };
    let (time, ()) = timed(work).await?;
    session.close().await?;
    let mut admin = database.connect_maintenance().await?;
    database.drop(&mut admin).await?;
    Ok(time)
}
