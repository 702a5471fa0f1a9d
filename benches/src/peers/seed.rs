//! The filling of a table by the seeder, drawing its rows included, against a bare COPY of the same
//! bytes.

use futures_util::TryStreamExt as _;
use sqlx::postgres::PgConnection;
use upgrade_core::postgres::server::{Profile, ServerBinaries};
use upgrade_testkit::seed::Seeder;

use super::Effort;
use crate::Result;
use crate::line::{Goal, Line};
use crate::sample::{Sample, order, timed};
use crate::server::{self, run};

/// Ten columns of the types that tables have.
const TABLE: &str = "create table seeded (
    id bigint generated always as identity primary key, customer int not null, reference uuid not null,
    email varchar(80) not null, note text, amount numeric(12, 2) not null, created timestamptz not null,
    due date, paid boolean not null, detail jsonb not null)";

/// Bytes that the bare COPY sends at once.
const PART: usize = 1 << 20;

pub(super) async fn measure(binaries: &ServerBinaries, effort: Effort) -> Result<Line> {
    let server = server::start(binaries, Profile::ThrowAway).await?;
    let (_, mut connection) = server::database(&server, "seed").await?;
    run(&mut connection, TABLE).await?;
    let seeder = Seeder::new(1).rows(effort.rows);
    // Once to learn the bytes; it also brings the files into being.
    seeder.fill(&mut connection).await?;
    let bytes = copied_out(&mut connection).await?;
    let (mut ours, mut peer) = (Sample::default(), Sample::default());
    for round in 0..effort.slow_rounds() {
        for arm in order(round, 2) {
            run(&mut connection, "truncate seeded; checkpoint").await?;
            let (sample, time, rows) = match arm {
                0 => {
                    let (time, report) = timed(seeder.fill(&mut connection)).await?;
                    (&mut ours, time, report.inserted())
                }
                _ => {
                    let (time, rows) = timed(copied_in(&mut connection, &bytes)).await?;
                    (&mut peer, time, rows)
                }
            };
            if rows != effort.rows {
                return Err(format!("{rows} of {} rows were inserted", effort.rows).into());
            }
            sample.push(time);
        }
    }
    server.stop().await?;
    Ok(Line {
        what: format!("seeding {} rows of 10 columns", effort.rows),
        against: "COPY of the same bytes".to_owned(),
        ours,
        peer,
        goal: Goal::AtMost(2.0),
    })
}

/// The rows as COPY writes them.
async fn copied_out(connection: &mut PgConnection) -> Result<Vec<u8>> {
    let mut parts = connection.copy_out_raw("copy seeded to stdout").await?;
    let mut bytes = Vec::new();
    while let Some(part) = parts.try_next().await? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

async fn copied_in(connection: &mut PgConnection, bytes: &[u8]) -> Result<u64> {
    let mut copy = connection.copy_in_raw("copy seeded from stdin").await?;
    for part in bytes.chunks(PART) {
        copy.send(part).await?;
    }
    Ok(copy.finish().await?)
}
