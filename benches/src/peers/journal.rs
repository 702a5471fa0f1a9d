//! An upgrade of a real system with a journal on disk, against the same upgrade without one.

use std::time::Duration;

use sqlx::Connection as _;
use upgrade_core::environment::{Existing, PostgresEnvironment};
use upgrade_core::journal::{Actor, FileStore, Journal};
use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::{Layout, MigrationFolder};
use upgrade_core::postgres::server::{LocalServer, Profile, ServerBinaries};
use upgrade_core::rollback::RevertMigrations;
use upgrade_core::{Plan, Runner, Upgrade};

use super::Effort;
use crate::Result;
use crate::folder::Folder;
use crate::line::{Goal, Line};
use crate::sample::{Sample, order, timed};
use crate::server;

pub(super) async fn measure(binaries: &ServerBinaries, effort: Effort) -> Result<Line> {
    // As a server is installed: its writes reach the disk, too.
    let server = server::start(binaries, Profile::Durable).await?;
    let count = effort.migrations / 3;
    let folder = Folder::write(count)?;
    let (mut with, mut without) = (Sample::default(), Sample::default());
    for round in 0..=effort.slow_rounds() {
        for arm in order(round, 2) {
            let time = upgrade(&folder, &server, arm == 0).await?;
            if round > 0 {
                [&mut with, &mut without][arm].push(time);
            }
        }
    }
    server.stop().await?;
    Ok(Line {
        what: format!("upgrade of {count} migrations with a journal"),
        against: "without a journal".to_owned(),
        ours: with,
        peer: without,
        goal: Goal::AtMost(1.1),
    })
}

/// The time of the runner alone: the plan is made before.
async fn upgrade(folder: &Folder, server: &LocalServer, with_journal: bool) -> Result<Duration> {
    let (database, session) = server::database(server, "upgraded").await?;
    session.close().await?;
    let read = MigrationFolder::read_as(folder.path(), Layout::Sqlx)?;
    let migrations = SqlMigration::all(&read)?;
    let upgrade = Upgrade::new("folder", "1", "2")
        .with_rollback(RevertMigrations::new(migrations.clone()))
        .with_migrations(migrations);
    let environment = PostgresEnvironment::new("real", Existing::new(database.clone()));
    let plan = Plan::until_soak(&upgrade.outline_in(&environment)?)?;
    let mut runner = Runner::new(upgrade, environment);
    let path = folder.path().with_extension("journal");
    if with_journal {
        let store = FileStore::open(&path)?;
        let journal = Journal::open(store, "upgraded", Actor::new("benches")).await?;
        runner = runner.with_journal(journal);
    }
    let (time, report) = Box::pin(timed(runner.run(&plan))).await?;
    if !report.passed {
        return Err(format!("the upgrade failed:\n{report}").into());
    }
    if with_journal {
        std::fs::remove_file(path)?;
    }
    let mut admin = database.connect_maintenance().await?;
    database.drop(&mut admin).await?;
    Ok(time)
}
