//! What sqlx's migrator does silently, and the finding that reports it, one test for each.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use upgrade_core::migration::{
    Checksum, MigrationFiles, MigrationId, Outcome, Reversibility, Status,
};
use upgrade_core::{Report, RunId};
use upgrade_testkit::pool::{Pool, PoolOptions, TestDatabase};
use upgrade_testkit::prelude::*;

const FIRST: (&str, &str) = (
    "0001_orders.up.sql",
    "create table orders (id bigint primary key, note text);",
);
const FIRST_DOWN: (&str, &str) = ("0001_orders.down.sql", "drop table orders;");

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in [FIRST, FIRST_DOWN].iter().chain(files) {
        std::fs::write(folder.path().join(name), sql).unwrap();
    }
    folder
}

fn rehearsal(folder: &Path) -> Rehearsal {
    let rehearsal = Rehearsal::new("orders").unwrap();
    rehearsal.migrations(folder).from("0001").rows(20)
}

/// Whether the rehearsal raises a finding about something.
async fn raises(rehearsal: Rehearsal, id: &str, about: &str) -> Report {
    let report = rehearsal.report().await.unwrap();
    let mut found = report.findings.iter().map(|found| &found.finding);
    assert!(
        found.any(|finding| finding.id == id && finding.to_string().contains(about)),
        "no `{id}` about `{about}`\n{report}"
    );
    report
}

/// A database for sqlx's own migrator, and its connection.
async fn scratch() -> (TestDatabase, PgConnection) {
    let pool = Pool::connect(PoolOptions::from_env().unwrap())
        .await
        .unwrap();
    let database = pool.empty_database(&RunId::generate()).await.unwrap();
    let connection = database.connect().await.unwrap();
    (database, connection)
}

async fn exists(connection: &mut PgConnection, table: &str) -> bool {
    sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(table)
        .fetch_one(connection)
        .await
        .unwrap()
}

async fn valid(connection: &mut PgConnection, index: &str) -> bool {
    sqlx::query_scalar("select indisvalid from pg_index where indexrelid = $1::regclass")
        .bind(index)
        .fetch_one(connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn t1_no_transaction_with_two_statements_is_one_transaction() {
    let folder = folder(&[(
        "0002_indexes.up.sql",
        "-- no-transaction\ncreate index concurrently a on orders (note);\ncreate index concurrently b on orders (note);",
    )]);
    let (_database, mut connection) = scratch().await;
    let migrator = Migrator::new(folder.path()).await.unwrap();
    let error = migrator.run(&mut connection).await.unwrap_err();
    assert!(format!("{error:?}").contains("cannot run inside a transaction block"));
    let id = "file/several-statements";
    raises(rehearsal(folder.path()), id, "0002_indexes.up.sql:2").await;
}

/// sqlx's migrator as a custom migration, over a pool that a service would keep.
#[derive(Debug)]
struct BySqlx {
    id: MigrationId,
    folder: TempDir,
    pool: OnceCell<PgPool>,
}

#[async_trait]
impl Migration for BySqlx {
    fn id(&self) -> &MigrationId {
        &self.id
    }

    fn checksum(&self) -> Checksum {
        Checksum::from_bytes(b"sqlx")
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Irreversible {
            reason: "it is not tried here".to_owned(),
        }
    }

    fn files(&self) -> MigrationFiles {
        MigrationFiles::default()
    }

    fn statements(&self) -> usize {
        1
    }

    async fn status(&self, _: &UpgradeContext) -> Result<Status> {
        Ok(Status::Pending)
    }

    async fn apply(&self, cx: &UpgradeContext) -> Result<Outcome> {
        let url = cx.endpoint("database")?.url().expose().to_owned();
        let options: PgConnectOptions = url.parse()?;
        let connect = || PgPoolOptions::new().connect_with(options);
        let pool = self.pool.get_or_try_init(connect).await?;
        let failed = |source: sqlx::migrate::MigrateError| {
            Error::new(ErrorKind::Migration, "sqlx failed").with_source(source)
        };
        let migrator = Migrator::new(self.folder.path()).await.map_err(failed)?;
        Ok(match migrator.run(pool).await {
            Ok(()) => Outcome::Done,
            Err(source) => Outcome::failed(failed(source)),
        })
    }

    async fn revert(&self, _: &UpgradeContext) -> Result<Outcome> {
        Err(Error::new(ErrorKind::Unsupported, "it is not tried here"))
    }
}

#[tokio::test]
async fn t2_a_failed_migration_leaves_the_lock_to_the_pool() {
    let folder = tempfile::tempdir().unwrap();
    let fails = "alter table nowhere add column a int;";
    std::fs::write(folder.path().join("0002_fails.sql"), fails).unwrap();
    let (database, mut other) = scratch().await;
    let options = database.connect_options().clone();
    let pool = PgPoolOptions::new().connect_with(options).await.unwrap();
    let migrator = Migrator::new(folder.path()).await.unwrap();
    migrator.run(&pool).await.unwrap_err();
    let held = "select count(*) from pg_locks where locktype = 'advisory' and granted \
                and database = (select oid from pg_database where datname = current_database())";
    let held: i64 = sqlx::query_scalar(held)
        .fetch_one(&mut other)
        .await
        .unwrap();
    assert_eq!(held, 1, "the run has failed, and the pool is idle");
    pool.close().await;

    let by_sqlx: Arc<dyn Migration> = Arc::new(BySqlx {
        id: MigrationId::new("2", "by sqlx"),
        folder,
        pool: OnceCell::new(),
    });
    let rehearsal = Rehearsal::new("orders").unwrap().built([], [by_sqlx]);
    let rehearsal = rehearsal.set_up_sql(FIRST.1).without_template();
    raises(rehearsal, "session/lock-leaked", "holds advisory lock").await;
}

#[tokio::test]
async fn t3_undo_passes_over_what_cannot_be_undone() {
    let folder = folder(&[
        ("0002_one_way.sql", "create table kept (id int);"),
        ("0003_notes.up.sql", "create table notes (id int);"),
        ("0003_notes.down.sql", "drop table notes;"),
    ]);
    let (_database, mut connection) = scratch().await;
    let migrator = Migrator::new(folder.path()).await.unwrap();
    migrator.run(&mut connection).await.unwrap();
    migrator.undo(&mut connection, 0).await.unwrap();
    assert!(exists(&mut connection, "kept").await, "undo was `Ok`");
    raises(
        rehearsal(folder.path()),
        "file/one-way-between",
        "0002_one_way",
    )
    .await;
}

#[tokio::test]
async fn t4_undo_without_a_down_is_ok_and_undoes_nothing() {
    let folder = folder(&[("0002_notes.up.sql", "create table notes (id int);")]);
    let (_database, mut connection) = scratch().await;
    let migrator = Migrator::new(folder.path()).await.unwrap();
    migrator.run(&mut connection).await.unwrap();
    migrator.undo(&mut connection, 1).await.unwrap();
    assert!(exists(&mut connection, "notes").await, "undo was `Ok`");
    let rehearsal = rehearsal(folder.path()).reversible();
    raises(rehearsal, "file/down-missing", "migration 0002_notes").await;
}

#[tokio::test]
async fn t5_undo_looks_at_no_checksum() {
    let before = folder(&[
        ("0002_notes.up.sql", "create table notes (id int);"),
        ("0002_notes.down.sql", "drop table notes;"),
    ]);
    let after = folder(&[
        ("0002_notes.up.sql", "create table notes (id bigint);"),
        ("0002_notes.down.sql", "-- nothing"),
        ("0003_more.up.sql", "create table more (id int);"),
        ("0003_more.down.sql", "drop table more;"),
    ]);
    let (_database, mut connection) = scratch().await;
    let old = Migrator::new(before.path()).await.unwrap();
    old.run(&mut connection).await.unwrap();
    let new = Migrator::new(after.path()).await.unwrap();
    new.undo(&mut connection, 1).await.unwrap();
    assert!(exists(&mut connection, "notes").await, "undo was `Ok`");
    let from = format!("folder:{}", before.path().display());
    let rehearsal = rehearsal(after.path()).from(from).reversible();
    raises(rehearsal, "history/edited-up", "0002_notes").await;
}

#[tokio::test]
async fn t6_a_late_version_is_applied_without_a_word() {
    let before = folder(&[("0003_b.sql", "create table b (id int);")]);
    let after = folder(&[
        ("0002_a.sql", "create table a (id int);"),
        ("0003_b.sql", "create table b (id int);"),
    ]);
    let (_database, mut connection) = scratch().await;
    for folder in [&before, &after] {
        let migrator = Migrator::new(folder.path()).await.unwrap();
        migrator.run(&mut connection).await.unwrap();
    }
    assert!(exists(&mut connection, "a").await, "run was `Ok`");
    let from = format!("folder:{}", before.path().display());
    raises(
        rehearsal(after.path()).from(from),
        "history/late-version",
        "0002_a.sql",
    )
    .await;
}

#[tokio::test]
async fn t7_an_invalid_index_counts_as_made() {
    let index = "-- no-transaction\n\
                 create unique index concurrently if not exists one_note on orders (note);";
    let retried = folder(&[("0002_index.up.sql", index)]);
    let (_database, mut connection) = scratch().await;
    let migrator = Migrator::new(retried.path()).await.unwrap();
    migrator.run_to(1, &mut connection).await.unwrap();
    let rows = "insert into orders values (1, 'x'), (2, 'x')";
    sqlx::raw_sql(rows).execute(&mut connection).await.unwrap();
    migrator.run(&mut connection).await.unwrap_err();
    let mended = "delete from orders where id = 2";
    sqlx::raw_sql(mended)
        .execute(&mut connection)
        .await
        .unwrap();
    migrator.run(&mut connection).await.unwrap();
    assert!(!valid(&mut connection, "one_note").await, "run was `Ok`");

    // The same state without a first try that failed: an index that waits for its partitions.
    let partitioned = folder(&[(
        "0002_events.up.sql",
        "create table events (at date, id int) partition by range (at);\n\
         create table events_2026 partition of events \
         for values from ('2026-01-01') to ('2027-01-01');\n\
         create index events_id on only events (id);",
    )]);
    let (_database, mut connection) = scratch().await;
    let migrator = Migrator::new(partitioned.path()).await.unwrap();
    migrator.run(&mut connection).await.unwrap();
    assert!(!valid(&mut connection, "events_id").await, "run was `Ok`");
    let rehearsal = rehearsal(partitioned.path());
    raises(rehearsal, "up/index-invalid", "public.events_id").await;
}

#[tokio::test]
async fn t8_a_search_path_stays_set() {
    let folder = folder(&[(
        "0002_reports.up.sql",
        "create schema reports;\nset search_path to reports;\ncreate table monthly (id int);",
    )]);
    let (_database, mut connection) = scratch().await;
    let migrator = Migrator::new(folder.path()).await.unwrap();
    let error = migrator.run(&mut connection).await.unwrap_err();
    assert!(
        format!("{error:?}").contains("_sqlx_migrations"),
        "its own record is out of reach: {error:?}"
    );
    let id = "session/setting-leaked";
    let report = rehearsal(folder.path()).report().await;
    let report = match &report {
        Ok(report) => report,
        Err(error) => error.report().unwrap(),
    };
    let mut found = report.findings.iter().map(|found| &found.finding);
    assert!(
        found.any(|finding| finding.id == id && finding.message.contains("0002_reports.up.sql:2")),
        "{report}"
    );
}

#[tokio::test]
async fn t9_a_prepared_statement_breaks() {
    let folder = folder(&[(
        "0002_mail.up.sql",
        "alter table orders add column mail text;",
    )]);
    let (_database, mut connection) = scratch().await;
    sqlx::raw_sql(FIRST.1)
        .execute(&mut connection)
        .await
        .unwrap();
    let all = "select * from orders";
    sqlx::query(all).fetch_all(&mut connection).await.unwrap();
    let add = "alter table orders add column mail text";
    sqlx::raw_sql(add).execute(&mut connection).await.unwrap();
    let error = sqlx::query(all)
        .fetch_all(&mut connection)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("cached plan must not change result type")
    );
    connection.close().await.unwrap();
    let id = "statement/prepared-fails";
    raises(rehearsal(folder.path()), id, "table public.orders").await;
}
