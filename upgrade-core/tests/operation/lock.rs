//! One operation at a time on a database.

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::migrate::Migrate as _;
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::time::Instant;
use upgrade_core::environment::{DatabaseFaults as _, Snapshots as _};
use upgrade_core::environment::{Existing, Fault, PostgresEnvironment};
use upgrade_core::migration::folder::{Layout, MigrationFolder};
use upgrade_core::migration::{SqlMigration, Status};
use upgrade_core::postgres::Database;
use upgrade_core::rollback::{
    Prepared, RevertMigrations, RollbackRequest, RollbackScope, SnapshotSwap,
};
use upgrade_core::{Environment, Error, ErrorKind, Migration, Result, Rollback, UpgradeContext};

use super::support::{ask, beside, lives, reaching, run, server, shop};

/// A migration of sqlx, of golang-migrate where `tool` is that.
fn migration(tool: &str) -> std::sync::Arc<dyn Migration> {
    let folder = tempfile::tempdir().unwrap();
    let name = match tool {
        "sqlx" => "20240101000000_note",
        _ => "1_note",
    };
    let write = |end: &str, sql: &str| {
        std::fs::write(folder.path().join(format!("{name}.{end}.sql")), sql).unwrap();
    };
    write("up", "alter table orders add note text");
    write("down", "alter table orders drop note");
    let layout = match tool {
        "sqlx" => Layout::Sqlx,
        _ => Layout::GolangMigrate,
    };
    let folder = MigrationFolder::read_as(folder.path(), layout).unwrap();
    SqlMigration::all(&folder).unwrap().remove(0)
}

fn environment(database: &Database) -> PostgresEnvironment {
    PostgresEnvironment::new("shop", Existing::new(database.clone()))
}

fn is_taken(error: &Error, by: &UpgradeContext) {
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    let text = error.to_string();
    for part in [
        "another operation is under way",
        &format!("run {}, since 20", by.run_id()),
        "role owner, server process",
        "pg_terminate_backend",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn a_second_operation_is_refused_and_the_first_goes_on() {
    let database = shop().await;
    let name = database.name();
    let first = environment(&database);
    let cx = UpgradeContext::new("1", "2");
    first.prepare(&cx).await.unwrap();
    // A migration that is under way.
    let mut under_way = database.connect().await.unwrap();

    // By the environment, and by each strategy, also through another address of the server.
    let second = UpgradeContext::new("1", "2");
    let refused = environment(&database).prepare(&second).await.unwrap_err();
    is_taken(&refused, &cx);
    let second = reaching(&database);
    for strategy in [
        Box::new(SnapshotSwap::new().adopted(name)) as Box<dyn Rollback>,
        Box::new(RevertMigrations::new([migration("sqlx")]).adopted(name)),
    ] {
        let refused = strategy
            .prepare(&second, &RollbackScope::default())
            .await
            .unwrap_err();
        is_taken(&refused, &cx);
    }
    assert!(lives(&mut under_way).await, "its session was ended");
    assert_eq!(beside(&database).await, [format!("{name} open")]);

    // The strategies of the first work under its lock.
    under_way.close().await.unwrap();
    let cx = cx.with_endpoints(first.endpoints());
    let rollback = SnapshotSwap::new().adopted(name);
    let kept = rollback
        .prepare(&cx, &RollbackScope::default())
        .await
        .unwrap();
    migration("sqlx")
        .apply(&cx)
        .await
        .unwrap()
        .into_result()
        .unwrap();
    // By another process as well: not with the lock of the first.
    let another = SnapshotSwap::new().adopted(name);
    let refused = another
        .execute(&second, &kept, &RollbackRequest::default())
        .await;
    is_taken(&refused.unwrap_err(), &cx);
    rollback
        .execute(&cx, &kept, &RollbackRequest::default())
        .await
        .unwrap()
        .into_result()
        .unwrap();
    assert!(rollback.confirm(&cx, &kept).await.unwrap().is_pass());
    // The name belongs to another database now, and is locked as before.
    let refused = environment(&database).prepare(&second).await.unwrap_err();
    is_taken(&refused, &cx);
    first.teardown(&cx).await.unwrap();
    let next = environment(&database);
    next.prepare(&second).await.unwrap();
    next.teardown(&second).await.unwrap();
}

/// Ends the session that holds the lock of a run.
async fn lose_lock(cx: &UpgradeContext) {
    let ended = ask(&format!(
        "select pg_terminate_backend(pid, 5000)::text from pg_stat_activity \
         where application_name = 'upgrade operation {}'",
        cx.run_id()
    ))
    .await;
    assert_eq!(ended, ["true"]);
}

/// What a lost lock must leave as it is.
async fn state(database: &Database) -> (Vec<String>, Vec<String>) {
    let name = database.name();
    let oids = ask(&format!(
        "select oid::text || datname from pg_database where starts_with(datname, '{name}') order by 1"
    ))
    .await;
    let mut session = database.connect().await.unwrap();
    let columns = sqlx::query_scalar(
        "select attname::text from pg_attribute where attrelid = 'orders'::regclass order by 1",
    )
    .fetch_all(&mut session)
    .await
    .unwrap();
    session.close().await.unwrap();
    (oids, columns)
}

#[tokio::test]
async fn who_has_lost_the_lock_does_nothing_more() {
    let says = |result: Result<()>, what: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{what}: {error:?}");
        assert!(error.to_string().contains("was lost"), "{what}: {error}");
    };
    let database = shop().await;
    let adopted = database.clone().adopted(database.name()).unwrap();
    let environment = PostgresEnvironment::new("shop", Existing::disposable(adopted));
    let cx = UpgradeContext::new("1", "2");
    environment.prepare(&cx).await.unwrap();
    environment.take(&cx, "a").await.unwrap();
    let cx = cx.with_endpoints(environment.endpoints());
    let swap = SnapshotSwap::new().adopted(database.name());
    let revert = RevertMigrations::new([migration("sqlx")]).adopted(database.name());
    let scope = RollbackScope::default();
    let copy = swap.prepare(&cx, &scope).await.unwrap();
    let measured = revert.prepare(&cx, &scope).await.unwrap();
    migration("sqlx")
        .apply(&cx)
        .await
        .unwrap()
        .into_result()
        .unwrap();
    let request = RollbackRequest::new([migration("sqlx").id().clone()]);

    let before = state(&database).await;
    lose_lock(&cx).await;
    let mut service = database.connect().await.unwrap();
    says(swap.execute(&cx, &copy, &request).await.map(drop), "swap");
    says(swap.finalize(&cx, &copy).await, "finalize");
    let reverted = revert.execute(&cx, &measured, &request).await;
    says(reverted.map(drop), "revert");
    says(environment.restore(&cx, "a").await, "restore");
    says(environment.take(&cx, "b").await, "snapshot");
    says(
        environment.inject(&cx, Fault::TerminateSessions).await,
        "terminate",
    );
    says(migration("sqlx").revert(&cx).await.map(drop), "a down");
    assert!(lives(&mut service).await);
    assert_eq!(state(&database).await, before);

    // The same for a strategy that holds the lock itself.
    let database = shop().await;
    let cx = reaching(&database);
    let swap = SnapshotSwap::new().adopted(database.name());
    let copy = swap.prepare(&cx, &scope).await.unwrap();
    let before = state(&database).await;
    lose_lock(&cx).await;
    says(swap.execute(&cx, &copy, &request).await.map(drop), "swap");
    assert_eq!(state(&database).await, before);
}

#[tokio::test]
async fn a_database_that_was_replaced_meanwhile_is_left_alone() {
    let database = shop().await;
    let name = database.name();
    let cx = reaching(&database);
    let swap = SnapshotSwap::new().adopted(name);
    let kept = swap.prepare(&cx, &RollbackScope::default()).await.unwrap();
    let admin = Database::new(&server().connect_options(), "postgres");
    run(
        &admin,
        &format!("alter database {name} rename to {name}_old"),
    )
    .await;
    run(&admin, &format!("create database {name} owner owner")).await;
    let error = swap
        .execute(&cx, &kept, &RollbackRequest::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(
        error
            .to_string()
            .contains("is not the one that this operation began with"),
        "{error}"
    );
    assert_eq!(beside(&database).await.len(), 3);
}

#[tokio::test]
async fn migrations_wait_for_their_tool_and_the_tool_for_them() {
    for tool in ["sqlx", "golang-migrate"] {
        let database = shop().await;
        let cx = reaching(&database);
        // The service migrates: what it does holds its tool's lock.
        let mut service = database.connect().await.unwrap();
        match tool {
            "sqlx" => service.lock().await.unwrap(),
            _ => {
                // `crc32("public\0schema_migrations\0DATABASE") * 1486364155`, as its driver has it.
                let text = format!("public\0schema_migrations\0{}", database.name());
                let key = i64::from(crc32fast::hash(text.as_bytes()).wrapping_mul(1_486_364_155));
                let sql = format!("select pg_advisory_lock({key})");
                sqlx::raw_sql(AssertSqlSafe(sql))
                    .execute(&mut service)
                    .await
                    .unwrap();
            }
        }
        let soon = cx
            .clone()
            .with_deadline(Instant::now() + Duration::from_millis(400));
        let waited = migration(tool).apply(&soon).await.unwrap_err();
        assert_eq!(waited.kind(), ErrorKind::Timeout, "{waited:?}");
        assert_eq!(
            migration(tool).status(&cx).await.unwrap(),
            Status::Pending,
            "{tool}"
        );
        service.close().await.unwrap();
        migration(tool)
            .apply(&cx)
            .await
            .unwrap()
            .into_result()
            .unwrap();
        assert_eq!(migration(tool).status(&cx).await.unwrap(), Status::Applied);
    }
}

/// What an operator does next.
#[derive(Debug)]
struct Operator {
    cx: UpgradeContext,
    environment: Option<PostgresEnvironment>,
    rollback: Option<(SnapshotSwap, Prepared)>,
    step: usize,
    /// The state of the database after its own last act.
    seen: Option<(Vec<String>, Vec<String>)>,
    passed: usize,
    refused: usize,
}

impl Operator {
    fn new() -> Self {
        Self {
            cx: UpgradeContext::new("1", "2"),
            environment: None,
            rollback: None,
            step: 0,
            seen: None,
            passed: 0,
            refused: 0,
        }
    }

    /// Goes on by one step. The database must be as its last step has left it.
    async fn go(&mut self, database: &Database, back: bool) {
        if let Some(seen) = self.seen.take() {
            assert_eq!(state(database).await, seen, "somebody else was there");
        }
        let request = RollbackRequest::default();
        match self.step {
            0 => {
                let new = environment(database);
                if let Err(error) = new.prepare(&self.cx).await {
                    assert!(error.to_string().contains("another operation"), "{error:?}");
                    self.refused += 1;
                    return;
                }
                self.cx = self.cx.clone().with_endpoints(new.endpoints());
                self.environment = Some(new);
                let rollback = SnapshotSwap::new().adopted(database.name());
                let prepared = rollback.prepare(&self.cx, &RollbackScope::default()).await;
                self.rollback = Some((rollback, prepared.unwrap()));
            }
            1 => drop(
                migration("sqlx")
                    .apply(&self.cx)
                    .await
                    .unwrap()
                    .into_result()
                    .unwrap(),
            ),
            2 => {
                let (rollback, kept) = self.rollback.as_ref().unwrap();
                if back {
                    rollback
                        .execute(&self.cx, kept, &request)
                        .await
                        .unwrap()
                        .into_result()
                        .unwrap();
                    let verdict = rollback.confirm(&self.cx, kept).await.unwrap();
                    assert!(verdict.is_pass());
                } else {
                    // PASSED is true of the database that it is said of.
                    let status = migration("sqlx").status(&self.cx).await.unwrap();
                    assert_eq!(status, Status::Applied);
                    rollback.finalize(&self.cx, kept).await.unwrap();
                }
            }
            _ => {
                self.rollback = None;
                let environment = self.environment.take().unwrap();
                environment.teardown(&self.cx).await.unwrap();
                *self = Self {
                    passed: self.passed + 1,
                    refused: self.refused,
                    ..Self::new()
                };
                return;
            }
        }
        self.step += 1;
        self.seen = Some(state(database).await);
    }
}

#[test]
fn any_interleaving_of_two_operators_is_one_after_the_other() {
    const CASES: u32 = 24;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..Config::default()
    });
    let turns = prop::collection::vec((any::<bool>(), any::<bool>()), 6..12);
    let (passed, refused) = (Cell::new(0), Cell::new(0));
    runner
        .run(&turns, |turns| {
            let (one, two) = runtime.block_on(async {
                let database = shop().await;
                let mut operators = (Operator::new(), Operator::new());
                for (first, back) in turns {
                    let operator = if first {
                        &mut operators.0
                    } else {
                        &mut operators.1
                    };
                    operator.go(&database, back).await;
                }
                operators
            });
            passed.set(passed.get() + one.passed + two.passed);
            refused.set(refused.get() + one.refused + two.refused);
            Ok(())
        })
        .unwrap();
    let (passed, refused) = (passed.get(), refused.get());
    assert!(
        passed > 0 && refused > 0,
        "{passed} passed, {refused} refused"
    );
    println!("{CASES} interleavings: {passed} operations ended, {refused} beginnings refused");
}
