//! The tables of the migration tools, against a real server.
#![cfg(feature = "postgres")]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: what fails here fails the test"
)]

mod support_history;

use std::path::PathBuf;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnection;
use support_history::Server;
use upgrade_core::migration::folder::{Layout, MigrationFolder};
use upgrade_core::migration::history::{AppliedRow, History, HistoryOptions, TableName};

fn folder(layout: Layout) -> MigrationFolder {
    let names: &[&str] = match layout {
        Layout::Sqlx | Layout::GolangMigrate | Layout::Plain => &[
            "0001_a.up.sql",
            "0001_a.down.sql",
            "0002_b.up.sql",
            "0002_b.down.sql",
        ],
        Layout::Diesel => &["2024-01-01_a/up.sql", "2024-01-02_b/up.sql"],
        Layout::Refinery => &["V1__a.sql", "V2__b_c.sql"],
        Layout::Flyway => &["V1__a.sql", "V1_1__b.sql", "U1_1__b.sql", "R__my_view.sql"],
        Layout::Dbmate => &["20240101_a.sql", "20240102_b.sql"],
        Layout::Popx => &[
            "20240101000000000000_a.up.sql",
            "20240102000000000000_b.up.sql",
        ],
        _ => unreachable!(),
    };
    let files = names
        .iter()
        .map(|name| {
            let sql = format!("-- migrate:up\nselect f('{name}');\n-- migrate:down\nselect g();");
            (PathBuf::from(name), sql.into_bytes())
        })
        .collect();
    MigrationFolder::from_files_as("test", files, layout).unwrap()
}

/// The tools' own statements, to compare what they make with what we make.
fn ddl_of_the_tool(layout: Layout) -> Option<&'static str> {
    match layout {
        Layout::Diesel => Some(
            "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
        ),
        Layout::GolangMigrate => Some(
            "CREATE TABLE \"public\".\"schema_migrations\" (version bigint not null primary key, dirty boolean not null)",
        ),
        Layout::Refinery => Some(
            "CREATE TABLE refinery_schema_history(version int4 PRIMARY KEY, name VARCHAR(255), applied_on VARCHAR(255), checksum VARCHAR(255))",
        ),
        Layout::Flyway => Some(
            "CREATE TABLE \"public\".\"flyway_schema_history\" (\"installed_rank\" INT NOT NULL, \"version\" VARCHAR(50), \"description\" VARCHAR(200) NOT NULL, \"type\" VARCHAR(20) NOT NULL, \"script\" VARCHAR(1000) NOT NULL, \"checksum\" INTEGER, \"installed_by\" VARCHAR(100) NOT NULL, \"installed_on\" TIMESTAMP NOT NULL DEFAULT now(), \"execution_time\" INTEGER NOT NULL, \"success\" BOOLEAN NOT NULL);
             ALTER TABLE \"public\".\"flyway_schema_history\" ADD CONSTRAINT \"flyway_schema_history_pk\" PRIMARY KEY (\"installed_rank\");
             CREATE INDEX \"flyway_schema_history_s_idx\" ON \"public\".\"flyway_schema_history\" (\"success\")",
        ),
        Layout::Dbmate => Some("create table public.schema_migrations (version varchar(255) primary key)"),
        Layout::Popx => Some(
            "CREATE TABLE schema_migration (version VARCHAR (48) NOT NULL, version_self INT NOT NULL DEFAULT 0);
             CREATE UNIQUE INDEX schema_migration_version_idx ON schema_migration (version);
             CREATE INDEX schema_migration_version_self_idx ON schema_migration (version_self)",
        ),
        _ => None,
    }
}

/// Columns, constraints and indexes of the only table in a schema.
async fn shape(conn: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "select format('%s %s %s %s %s', a.attrelid::regclass, a.attnum, a.attname,
                       format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then ' not null' else '' end,
                       pg_get_expr(d.adbin, d.adrelid))
         from pg_attribute a join pg_class c on c.oid = a.attrelid
         left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
         where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0
         union all select indexdef from pg_indexes where schemaname = 'public'
         union all select conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
             where connamespace = 'public'::regnamespace
         order by 1",
    )
    .fetch_all(conn)
    .await
    .unwrap()
}

fn versions(rows: &[AppliedRow]) -> Vec<&str> {
    rows.iter().map(|row| row.version_text.as_str()).collect()
}

#[tokio::test]
async fn every_tool_records_applies_and_reverts() {
    let server = Server::start().await;
    for layout in Layout::ALL {
        let mut conn = server.database(layout.as_str()).await;
        let conn = &mut conn;
        let folder = folder(layout);
        let mut history = History::for_layout(layout, HistoryOptions::new());
        assert_eq!(
            history.applied(conn).await.unwrap(),
            [],
            "{layout}: no table is no rows"
        );

        history.resolve(conn).await.unwrap();
        history.ensure(conn).await.unwrap();
        let made = shape(conn).await;
        history.ensure(conn).await.unwrap();
        assert_eq!(
            shape(conn).await,
            made,
            "{layout}: ensure twice changes nothing"
        );
        if let Some(ddl) = ddl_of_the_tool(layout) {
            let mut other = server.database(&format!("{layout}_tool")).await;
            sqlx::raw_sql(ddl).execute(&mut other).await.unwrap();
            assert_eq!(
                made,
                shape(&mut other).await,
                "{layout}: the table is the tool's"
            );
        }

        for file in folder.migrations() {
            history.record_started(conn, Some(file)).await.unwrap();
            let started = history.applied(conn).await.unwrap();
            assert_eq!(
                started.iter().any(|row| !row.success),
                history.keeps_only_latest()
            );
            history
                .record_applied(conn, file, Duration::from_millis(7))
                .await
                .unwrap();
        }
        let rows = history.applied(conn).await.unwrap();
        assert_eq!(
            history.applied_of(&rows, &folder).len(),
            folder.migrations().len(),
            "{layout}"
        );
        let has_checksums = matches!(
            layout,
            Layout::Sqlx | Layout::Refinery | Layout::Flyway | Layout::Plain
        );
        for row in &rows {
            let file = folder.get(&row.version_text).unwrap();
            let expected = has_checksums.then(|| file.checksum.bytes.clone());
            assert_eq!(row.checksum, expected, "{layout} {}", row.version_text);
        }
        if layout != Layout::GolangMigrate {
            let twice = history
                .record_applied(conn, &folder.migrations()[0], Duration::ZERO)
                .await;
            assert_eq!(
                twice.is_err(),
                layout != Layout::Flyway,
                "{layout}: twice is refused"
            );
        }

        let (last, rest) = folder.migrations().split_last().unwrap();
        history.record_started(conn, rest.last()).await.unwrap();
        history
            .record_reverted(conn, last, rest.last())
            .await
            .unwrap();
        let rows = history.applied(conn).await.unwrap();
        assert_eq!(
            history.applied_of(&rows, &folder).len(),
            rest.len(),
            "{layout}: {rows:?}"
        );
        for (at, file) in rest.iter().enumerate().rev() {
            let previous = at.checked_sub(1).map(|at| &rest[at]);
            history.record_reverted(conn, file, previous).await.unwrap();
        }
        assert_eq!(
            history.applied(conn).await.unwrap(),
            [],
            "{layout}: all is reverted"
        );
    }
}

#[tokio::test]
async fn golang_migrate_survives_a_search_path_in_a_migration() {
    let server = Server::start().await;
    let mut conn = server.database("app").await;
    let folder = folder(Layout::GolangMigrate);
    let mut history = History::for_layout(Layout::GolangMigrate, HistoryOptions::new());
    history.resolve(&mut conn).await.unwrap();
    history.ensure(&mut conn).await.unwrap();
    sqlx::raw_sql("create schema s; set search_path to s")
        .execute(&mut conn)
        .await
        .unwrap();
    history
        .record_applied(&mut conn, &folder.migrations()[1], Duration::ZERO)
        .await
        .unwrap();
    let rows = history.applied(&mut conn).await.unwrap();
    assert_eq!(versions(&rows), ["2"]);
    assert_eq!(history.applied_of(&rows, &folder).len(), 2);
    assert_eq!(history.table().to_string(), "public.schema_migrations");
}

fn sqlx_folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, sql) in [
        (
            "20240101000000_first_table.up.sql",
            "create table t (a int);",
        ),
        ("20240101000000_first_table.down.sql", "drop table t;"),
        (
            "20240102000000_index.sql",
            "-- no-transaction\ncreate index concurrently i on t (a);",
        ),
    ] {
        std::fs::write(dir.path().join(name), sql).unwrap();
    }
    dir
}

#[tokio::test]
async fn sqlx_accepts_what_we_recorded_and_we_read_what_it_recorded() {
    let server = Server::start().await;
    let dir = sqlx_folder();
    let folder = MigrationFolder::read(dir.path()).unwrap();

    // Ours, then sqlx: nothing runs again, or `create table` would make `t`.
    let mut ours = server.database("ours").await;
    let history = History::for_layout(Layout::Sqlx, HistoryOptions::new());
    history.ensure(&mut ours).await.unwrap();
    for file in folder.migrations() {
        history
            .record_applied(&mut ours, file, Duration::from_secs(1))
            .await
            .unwrap();
    }
    let made = shape(&mut ours).await;
    let migrator = Migrator::new(dir.path()).await.unwrap();
    migrator.run(&mut ours).await.unwrap();
    assert_eq!(shape(&mut ours).await, made);

    // sqlx, then ours: the same table, versions and checksums.
    let mut theirs = server.database("theirs").await;
    migrator.run(&mut theirs).await.unwrap();
    let rows = history.applied(&mut theirs).await.unwrap();
    assert_eq!(versions(&rows), ["20240101000000", "20240102000000"]);
    for (row, file) in rows.iter().zip(folder.migrations()) {
        assert_eq!(
            row.checksum.as_deref(),
            Some(file.checksum.bytes.as_slice())
        );
    }
    let described = "select array_agg(description order by version) from _sqlx_migrations";
    let descriptions: [Vec<String>; 2] = [
        sqlx::query_scalar(described)
            .fetch_one(&mut ours)
            .await
            .unwrap(),
        sqlx::query_scalar(described)
            .fetch_one(&mut theirs)
            .await
            .unwrap(),
    ];
    assert_eq!(descriptions[0], descriptions[1]);
    sqlx::raw_sql("drop table t")
        .execute(&mut theirs)
        .await
        .unwrap();
    assert_eq!(shape(&mut theirs).await, made, "the table is sqlx's own");

    // What we revert, sqlx applies again.
    sqlx::raw_sql("create table t (a int)")
        .execute(&mut ours)
        .await
        .unwrap();
    history
        .record_reverted(&mut ours, &folder.migrations()[1], None)
        .await
        .unwrap();
    migrator.run(&mut ours).await.unwrap();
    let indexes: i64 = sqlx::query_scalar("select count(*) from pg_indexes where indexname = 'i'")
        .fetch_one(&mut ours)
        .await
        .unwrap();
    assert_eq!(indexes, 1);
}

#[tokio::test]
async fn a_table_in_a_schema_of_its_own_is_sqlx_s_too() {
    let server = Server::start().await;
    let mut conn = server.database("app").await;
    let dir = sqlx_folder();
    let mut migrator = Migrator::new(dir.path()).await.unwrap();
    migrator.create_schema("apalis");
    migrator.dangerous_set_table_name("apalis._sqlx_migrations");
    let history = History::for_layout(Layout::Sqlx, HistoryOptions::from_sqlx(&migrator).unwrap());
    assert_eq!(
        history.table(),
        &TableName::new("_sqlx_migrations").with_schema("apalis")
    );
    history.ensure(&mut conn).await.unwrap();
    for file in MigrationFolder::from_sqlx(&migrator).migrations() {
        history
            .record_applied(&mut conn, file, Duration::ZERO)
            .await
            .unwrap();
    }
    migrator.run(&mut conn).await.unwrap();
    let table: Option<String> = sqlx::query_scalar("select to_regclass('t')::text")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(table, None, "nothing ran again");
}

#[tokio::test]
async fn refinery_rows_are_read_in_its_own_form() {
    let server = Server::start().await;
    let mut conn = server.database("app").await;
    let history = History::for_layout(Layout::Refinery, HistoryOptions::new());
    history.ensure(&mut conn).await.unwrap();
    // As refinery writes it for `V1__initial` with `create table t ();`, and one beyond 63 bits.
    for (version, checksum) in [(1, "4740148990630494866"), (2, "18446744073709551615")] {
        let sql = format!(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES ({version}, 'initial', '2024-01-01T00:00:00Z', '{checksum}')"
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut conn)
            .await
            .unwrap();
    }
    let rows = history.applied(&mut conn).await.unwrap();
    let files = vec![(
        PathBuf::from("V1__initial.sql"),
        b"create table t ();".to_vec(),
    )];
    let folder = MigrationFolder::from_files("m", files).unwrap();
    assert_eq!(
        rows[0].checksum.as_deref(),
        Some(folder.migrations()[0].checksum.bytes.as_slice())
    );
    assert_eq!(rows[1].checksum.as_deref(), Some([0xff; 8].as_slice()));
}
