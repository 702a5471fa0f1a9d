//! The rollback by a kept copy: its swap must not grow with the data, and the whole of it, proof
//! included, stands against a backup that is restored.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use upgrade_core::environment::{DATABASE, Endpoints};
use upgrade_core::postgres::Database;
use upgrade_core::postgres::server::{LocalServer, Profile, ServerBinaries};
use upgrade_core::rollback::{Rollback as _, RollbackRequest, RollbackScope, Safety, SnapshotSwap};
use upgrade_core::{UpgradeContext, Verdict};

use super::Effort;
use crate::line::{Goal, Line};
use crate::sample::{Sample, order, timed};
use crate::server::{self, run};
use crate::{Result, data};

pub(super) async fn measure(binaries: &ServerBinaries, effort: Effort) -> Result<Vec<Line>> {
    let server = server::start(binaries, Profile::ThrowAway).await?;
    let sizes = [effort.megabytes, effort.megabytes * 10];
    let mut sides = [
        Side::fill(&server, sizes[0]).await?,
        Side::fill(&server, sizes[1]).await?,
    ];
    for round in 0..=effort.slow_rounds() {
        for arm in order(round, 2) {
            let times = sides[arm].round().await?;
            if round > 0 {
                sides[arm].swap.push(times.swap);
                sides[arm].whole.push(times.whole);
            }
        }
    }
    // In separate rounds, in which our time is measured once more: a backup takes a hundred times
    // as long.
    for side in &mut sides {
        for round in 0..effort.slowest_rounds() {
            for arm in order(round, 2) {
                match arm {
                    0 => {
                        let times = side.round().await?;
                        side.beside.push(times.whole);
                    }
                    _ => {
                        let time = side.restore_a_backup(&server).await?;
                        side.backup.push(time);
                    }
                }
            }
        }
    }
    server.stop().await?;
    let mut lines = Vec::new();
    for (side, size) in sides.iter().zip(sizes) {
        lines.push(Line {
            what: format!("rollback with its proof, {size} MB"),
            against: "pg_dump -Fc into pg_restore".to_owned(),
            ours: side.beside.clone(),
            peer: side.backup.clone(),
            goal: Goal::AtMost(1.0),
        });
    }
    let [small, large] = sides;
    lines.push(Line {
        what: format!(
            "rollback with its proof, from {} to {} MB",
            sizes[0], sizes[1]
        ),
        against: "our time for the smaller".to_owned(),
        ours: large.whole,
        peer: small.whole,
        goal: Goal::Growth(1.1),
    });
    lines.push(Line {
        what: format!("swap of a rollback, {} MB", sizes[1]),
        against: format!("the same, {} MB", sizes[0]),
        ours: large.swap,
        peer: small.swap,
        goal: Goal::AtMost(1.5),
    });
    Ok(lines)
}

/// A database of some size, and the rollback from its upgrade.
struct Side {
    database: Database,
    context: UpgradeContext,
    rollback: SnapshotSwap,
    rows: i64,
    /// Times of the swap alone.
    swap: Sample,
    /// Times of the whole rollback, each in a round with the other size.
    whole: Sample,
    /// Times of the whole rollback, each in a round with a backup.
    beside: Sample,
    backup: Sample,
}

/// The times of one rollback.
struct Times {
    swap: Duration,
    whole: Duration,
}

impl Side {
    async fn fill(server: &LocalServer, megabytes: u32) -> Result<Self> {
        let (database, mut connection) =
            server::database(server, &format!("swap_{megabytes}")).await?;
        run(&mut connection, &data::megabytes_sql(megabytes)).await?;
        let size = number(
            &mut connection,
            "select pg_database_size(current_database())",
        )
        .await?;
        let wanted = i64::from(megabytes) << 20;
        if size < wanted {
            return Err(format!("a database of {wanted} bytes came out as {size}").into());
        }
        let rows = number(&mut connection, COUNT).await?;
        let endpoints = Endpoints::default().with(DATABASE, database.endpoint());
        Ok(Self {
            database,
            context: UpgradeContext::new("1", "2").with_endpoints(endpoints),
            rollback: SnapshotSwap::new(),
            rows,
            swap: Sample::default(),
            whole: Sample::default(),
            beside: Sample::default(),
            backup: Sample::default(),
        })
    }

    /// Keeps a copy, upgrades, and rolls back while a session is open; the rollback is timed.
    async fn round(&self) -> Result<Times> {
        let (cx, rollback) = (&self.context, &self.rollback);
        let kept = rollback.prepare(cx, &RollbackScope::default()).await?;
        let mut session = self.database.connect().await?;
        run(&mut session, "alter table bulk add column added int").await?;
        let request = RollbackRequest::default();
        let (decide, safety) = timed(rollback.check(cx, &kept, &request)).await?;
        if safety != Safety::Safe {
            return Err(format!("the rollback is {safety}").into());
        }
        let (swap, swapped) = timed(rollback.execute(cx, &kept, &request)).await?;
        swapped.into_result()?;
        if is_upgraded(&mut self.database.connect().await?).await? {
            return Err("the swap left the upgraded database in its place".into());
        }
        let (verify, verdict) = timed(rollback.confirm(cx, &kept)).await?;
        if verdict != Verdict::Pass {
            return Err(format!("the rollback was not confirmed: {verdict:?}").into());
        }
        rollback.finalize(cx, &kept).await?;
        Ok(Times {
            swap,
            whole: decide + swap + verify,
        })
    }

    /// Dumps the database and restores it into a new one.
    async fn restore_a_backup(&self, server: &LocalServer) -> Result<Duration> {
        let mut admin = self.database.connect_maintenance().await?;
        let target = self.database.sibling("restored");
        let work = async {
            run(&mut admin, "create database restored template template0").await?;
            let mut dump = server::client(server, "pg_dump", self.database.name());
            dump.arg("--format=custom");
            let mut restore = server::client(server, "pg_restore", target.name());
            restore.arg("--exit-on-error");
            server::pipe(dump, restore).await
        };
        let (time, ()) = timed(work).await?;
        let rows = number(&mut target.connect().await?, COUNT).await?;
        if rows != self.rows {
            return Err(format!("{rows} of {} rows were restored", self.rows).into());
        }
        run(&mut admin, "drop database restored with (force)").await?;
        Ok(time)
    }
}

const COUNT: &str = "select count(*) from bulk";

async fn number(connection: &mut PgConnection, sql: &'static str) -> Result<i64> {
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}

async fn is_upgraded(connection: &mut PgConnection) -> Result<bool> {
    let sql = "select exists (select from pg_attribute
        where attrelid = 'bulk'::regclass and attname = 'added')";
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}
