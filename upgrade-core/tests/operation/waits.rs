//! A migration that waits for a lock on a live system.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::time::Instant;
use upgrade_core::event::{EventRecord, EventSink};
use upgrade_core::journal::{MemoryStore, State};
use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::{Layout, MigrationFolder};
use upgrade_core::rollback::RevertMigrations;
use upgrade_core::{Event, LockHolder, Upgrade};

use super::journal::{REVERT, observe, upgrade};
use super::life::tool;
use super::support::{run, shop};

/// Who was reported to hold a lock.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Vec<LockHolder>>>);

impl EventSink for Heard {
    fn record(&self, record: &EventRecord) {
        if let Event::LockAwaited { holders } = &record.event {
            self.0.lock().unwrap().extend(holders.iter().cloned());
        }
    }
}

/// A session that has read `orders` and has not ended its transaction: `alter table` waits for it.
async fn reader(database: &upgrade_core::postgres::Database) -> (PgConnection, i32) {
    let mut session = database.connect().await.unwrap();
    let pid = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut session)
        .await;
    session
        .execute("begin; select count(*) from orders")
        .await
        .unwrap();
    (session, pid.unwrap())
}

#[tokio::test]
async fn others_pass_while_a_migration_waits_and_who_is_in_its_way_is_reported() {
    let database = shop().await;
    let (mut holder, pid) = reader(&database).await;
    let heard = Heard::default();
    let upgrade = upgrade(&database, REVERT, false).with_lock_timeout(Duration::from_millis(400));
    let operation = tool("ann", &database, upgrade, MemoryStore::new())
        .await
        .unwrap();
    let operation = operation.with_sink(heard.clone());
    let proposal = operation.plan().await.unwrap().unwrap();
    let users = async {
        let mut user = database.connect().await.unwrap();
        let (begun, mut slowest, mut reads) = (Instant::now(), Duration::ZERO, 0);
        while begun.elapsed() < Duration::from_secs(4) {
            let asked = Instant::now();
            user.execute("select count(*) from orders").await.unwrap();
            (slowest, reads) = (slowest.max(asked.elapsed()), reads + 1);
            tokio::time::sleep(Duration::from_millis(10)).await; // the pace of a user
        }
        holder.execute("commit").await.unwrap();
        (slowest, reads)
    };
    let (report, (slowest, reads)) = tokio::join!(operation.apply(&proposal), users);
    let report = report.unwrap();
    assert!(report.passed, "{report}");
    // Without a limit they would have waited until the reader's end.
    println!("{reads} reads, the slowest {slowest:?}");
    assert!(
        reads > 20 && slowest < Duration::from_secs(3),
        "{reads} reads, {slowest:?}"
    );
    let heard = heard.0.lock().unwrap().clone();
    let found = heard.iter().find(|one| one.pid == pid).unwrap();
    assert_eq!(found.state.as_deref(), Some("idle in transaction"));
    assert!(found.to_string().contains("role owner"), "{found}");
    holder.close().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_never_comes_ends_the_step_in_time_and_names_its_holder() {
    let database = shop().await;
    let before = observe(&database).await;
    let (holder, pid) = reader(&database).await;
    let upgrade = upgrade(&database, REVERT, false)
        .with_lock_timeout(Duration::from_millis(300))
        .with_step_within(Duration::from_secs(5));
    let operation = tool("ann", &database, upgrade, MemoryStore::new())
        .await
        .unwrap();
    let proposal = operation.plan().await.unwrap().unwrap();
    let report = operation.apply(&proposal).await.unwrap();
    assert!(!report.passed, "{report}");
    let said = format!("{report}");
    assert!(said.contains(&format!("server process {pid}")), "{said}");
    holder.close().await.unwrap();
    assert_eq!(observe(&database).await, before);
    let state = operation.status().await.standing.state;
    assert!(
        matches!(state, State::RolledBack | State::Nothing),
        "{state:?}"
    );
    let proposal = operation.plan().await.unwrap().unwrap();
    assert!(operation.apply(&proposal).await.unwrap().passed);
}

#[tokio::test]
async fn a_script_that_commits_on_its_way_is_not_run_again() {
    let database = shop().await;
    run(&database, "create table counter (id int)").await;
    let (holder, _) = reader(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let up = "begin; insert into counter values (1); commit; \n\
         begin; set local lock_timeout = '200ms'; alter table orders add x int; commit;";
    std::fs::write(folder.path().join("1_own.up.sql"), up).unwrap();
    std::fs::write(
        folder.path().join("1_own.down.sql"),
        "alter table orders drop x;",
    )
    .unwrap();
    let read = MigrationFolder::read_as(folder.path(), Layout::Sqlx).unwrap();
    let migrations = SqlMigration::all(&read).unwrap();
    let upgrade = Upgrade::new("shop", "1", "2")
        .with_rollback(RevertMigrations::new(migrations.clone()).adopted(database.name()))
        .with_migrations(migrations);
    let operation = tool("ann", &database, upgrade, MemoryStore::new())
        .await
        .unwrap();
    let proposal = operation.plan().await.unwrap().unwrap();
    let report = operation.apply(&proposal).await;
    assert!(report.is_err() || !report.unwrap().passed);
    holder.close().await.unwrap();
    let mut session = database.connect().await.unwrap();
    let count: i64 = sqlx::query_scalar("select count(*) from counter")
        .fetch_one(&mut session)
        .await
        .unwrap();
    session.close().await.unwrap();
    assert_eq!(count, 1, "it ran more than once");
}
