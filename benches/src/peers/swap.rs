//! The swap of a rollback by kept copy: it must not grow with the data.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use upgrade_core::UpgradeContext;
use upgrade_core::environment::{DATABASE, Endpoints};
use upgrade_core::postgres::Database;
use upgrade_core::postgres::server::{LocalServer, Profile, ServerBinaries};
use upgrade_core::rollback::{Rollback as _, RollbackRequest, SnapshotSwap};

use super::Effort;
use crate::line::{Goal, Line};
use crate::sample::{Sample, order, timed};
use crate::server::{self, run};
use crate::{Result, data};

pub(super) async fn measure(binaries: &ServerBinaries, effort: Effort) -> Result<Line> {
    let server = server::start(binaries, Profile::ThrowAway).await?;
    let sizes = [effort.megabytes, effort.megabytes * 10];
    let sides = [
        Side::fill(&server, sizes[0]).await?,
        Side::fill(&server, sizes[1]).await?,
    ];
    let mut samples = [Sample::default(), Sample::default()];
    for round in 0..=effort.slow_rounds() {
        for arm in order(round, 2) {
            let time = sides[arm].round().await?;
            if round > 0 {
                samples[arm].push(time);
            }
        }
    }
    server.stop().await?;
    let [small, large] = samples;
    Ok(Line {
        what: format!("swap of a rollback, {} MB", sizes[1]),
        against: format!("the same, {} MB", sizes[0]),
        ours: large,
        peer: small,
        goal: Goal::AtMost(1.5),
    })
}

/// A database of some size, and the way back from its upgrade.
struct Side {
    database: Database,
    context: UpgradeContext,
    swap: SnapshotSwap,
}

impl Side {
    async fn fill(server: &LocalServer, megabytes: u32) -> Result<Self> {
        let (database, mut connection) =
            server::database(server, &format!("swap_{megabytes}")).await?;
        run(&mut connection, &data::megabytes_sql(megabytes)).await?;
        let size: i64 = sqlx::query_scalar("select pg_database_size(current_database())")
            .fetch_one(&mut connection)
            .await?;
        let wanted = i64::from(megabytes) << 20;
        if size < wanted {
            return Err(format!("a database of {wanted} bytes came out as {size}").into());
        }
        let endpoints = Endpoints::default().with(DATABASE, database.endpoint());
        Ok(Self {
            database,
            context: UpgradeContext::new("1", "2").with_endpoints(endpoints),
            swap: SnapshotSwap::new(),
        })
    }

    /// Keeps a copy, upgrades, and goes back while a session is open; the last is timed.
    async fn round(&self) -> Result<Duration> {
        let cx = &self.context;
        self.swap.prepare(cx).await?;
        let mut session = self.database.connect().await?;
        run(&mut session, "alter table bulk add column added int").await?;
        let request = RollbackRequest::default();
        let (time, ()) = timed(self.swap.execute(cx, &request)).await?;
        if is_upgraded(&mut self.database.connect().await?).await? {
            return Err("the swap left the upgraded database in its place".into());
        }
        self.swap.finalize(cx).await?;
        Ok(time)
    }
}

async fn is_upgraded(connection: &mut PgConnection) -> Result<bool> {
    let sql = "select exists (select from pg_attribute
        where attrelid = 'bulk'::regclass and attname = 'added')";
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}
