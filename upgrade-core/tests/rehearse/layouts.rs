//! Folders of tools that hold both directions in one file; and an upgrade that leaves nothing.

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::Connection;
use upgrade_core::environment::{DATABASE, Endpoints};
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::migration::record::ToolRecord;
use upgrade_core::migration::{Outcome, SqlMigration, Status};
use upgrade_core::postgres::Database;
use upgrade_core::{Report, Scenario, Severity, UpgradeContext};

use crate::support::{Shop, findings};

const ROWS: &str = "insert into account select n, 'name ' || n from generate_series(1, 20) n";

fn file(marks: [&str; 2], up: &str, down: &str) -> String {
    format!("{}\n{up}\n\n{}\n{down}\n", marks[0], marks[1])
}

/// Two migrations behind the marks of a tool.
async fn run(shop: &Shop, marks: [&str; 2], down: &str, scenario: Scenario) -> Report {
    let base = file(
        marks,
        "create table account (id bigint primary key, name text not null);",
        "drop table account;",
    );
    let more = file(marks, "create table more (id int);", down);
    let mut case = shop.folder(&[("00001_base.sql", &base), ("00002_more.sql", &more)]);
    case.rows = ROWS;
    shop.run(case, scenario).await
}

const TOOLS: [[&str; 2]; 3] = [
    ["-- +goose Up", "-- +goose Down"],
    ["-- +migrate Up", "-- +migrate Down"],
    ["-- Up Migration", "-- Down Migration"],
];

#[tokio::test]
async fn l1b_goose_simple() {
    let shop = Shop::start().await;
    for marks in TOOLS {
        for scenario in [Scenario::RoundTrip, Scenario::Upgrade, Scenario::Rerun] {
            let report = run(&shop, marks, "drop table more;", scenario).await;
            assert!(report.passed, "{report}");
            assert_eq!((report.tables, report.rows), (1, 20), "{report}");
            assert_eq!(report.findings_of(Severity::Warning).count(), 0, "{report}");
        }
        // The down is the file's own: one that does nothing is seen.
        let report = run(&shop, marks, "select pg_sleep(0);", Scenario::RoundTrip).await;
        assert!(!report.passed, "{report}");
    }
}

#[tokio::test]
async fn an_upgrade_that_leaves_no_table_does_not_pass() {
    let shop = Shop::start().await;
    let whole = |name: &str| format!("create table {name} (id int);\ndrop table {name};\n");
    for scenario in [
        Scenario::Upgrade,
        Scenario::RoundTrip,
        Scenario::FreshInstall,
    ] {
        let case = shop.folder(&[("1_a.sql", &whole("a")), ("2_b.sql", &whole("b"))]);
        let report = shop.run(case, scenario).await;
        assert!(!report.passed, "{report}");
        assert_eq!(
            findings(&report),
            [("up/no-tables", "the upgraded database")]
        );
    }
}

#[tokio::test]
async fn a_search_path_that_is_left_changed_is_named() {
    let shop = Shop::start().await;
    let up = "select pg_catalog.set_config('search_path', '', false);\ncreate table public.b (id int);\n";
    let case = |up: &str| shop.folder(&[("1_a.sql", "create table a (id int);"), ("2_b.sql", up)]);
    let report = shop.run(case(up), Scenario::Upgrade).await;
    let leaked = report
        .findings
        .iter()
        .find(|found| found.finding.id == "session/setting-leaked")
        .unwrap_or_else(|| panic!("{report}"));
    let message = &leaked.finding.message;
    assert!(
        message.contains("`search_path`") && message.contains("2_b.sql:1"),
        "{message}"
    );

    let later = format!("{up}create index on b (id);\n");
    let report = shop.run(case(&later), Scenario::Upgrade).await;
    let text = report.to_string();
    assert!(text.contains("2_b.sql:3"), "{text}");
    assert!(
        text.contains("`search_path` is changed at 2_b.sql:1"),
        "{text}"
    );
}

#[tokio::test]
async fn a_record_that_a_trigger_guards_is_written_by_a_session_that_may() {
    let shop = Shop::start().await;
    let database = Database::new(&shop.connect_options(), "postgres");
    let endpoints = Endpoints::default().with(DATABASE, database.endpoint());
    let cx = UpgradeContext::new("1", "2").with_endpoints(endpoints);
    let file = |name: &str, sql: &str| (PathBuf::from(name), sql.as_bytes().to_vec());
    let files = vec![
        file("1_a.up.sql", "create table a (id int);"),
        file("2_b.up.sql", "create table b (id int);"),
        file("2_b.down.sql", "drop table b;"),
    ];
    let folder = MigrationFolder::from_files("guarded", files).unwrap();
    let plain = SqlMigration::all(&folder).unwrap();
    assert_eq!(plain[0].apply(&cx).await.unwrap(), Outcome::Done);
    let mut session = database.connect().await.unwrap();
    sqlx::raw_sql(
        "create function guard() returns trigger language plpgsql as $$
         begin
             if current_setting('app.deploys', true) is distinct from 'yes' then
                 raise 'only a deploy may write here';
             end if;
             return coalesce(new, old);
         end $$;
         create trigger guard before insert or delete on _sqlx_migrations
             for each row execute function guard()",
    )
    .execute(&mut session)
    .await
    .unwrap();
    session.close().await.unwrap();

    let refused = plain[1].apply(&cx).await.unwrap();
    assert!(matches!(refused, Outcome::Failed(_)), "{refused:?}");
    let record = ToolRecord::of_folder(&folder).unwrap();
    let record = Arc::new(record.with_session_sql("set app.deploys = 'yes'"));
    let may = SqlMigration::chain(folder.migrations(), None, &record);
    assert_eq!(may[1].apply(&cx).await.unwrap(), Outcome::Done);
    assert_eq!(may[1].status(&cx).await.unwrap(), Status::Applied);
    assert_eq!(may[1].revert(&cx).await.unwrap(), Outcome::Done);
}
