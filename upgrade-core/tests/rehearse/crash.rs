//! What crashes leave, and what is said of it.

use upgrade_core::report::StepOutcome;
use upgrade_core::{Report, Scenario};

use crate::support::{Shop, findings};

const TABLE: (&str, &str) = (
    "1_t.sql",
    "create table t (id int primary key, n int); insert into t select i, i from generate_series(1, 50) i;",
);

/// Every crash of this up, taken back by this down.
async fn crashed(up: &str, down: &str) -> Report {
    let shop = Shop::start().await;
    let files = [TABLE, ("2_u.up.sql", up), ("2_u.down.sql", down)];
    shop.run(shop.folder(&files), Scenario::Crash).await
}

#[tokio::test]
async fn in_a_transaction_every_crash_leaves_nothing() {
    let report = crashed(
        "alter table t add a int; update t set a = n; alter table t add b int;",
        "alter table t drop a, drop b;",
    )
    .await;
    assert!(report.passed, "{report}");
    let migration = &report.migrations[0];
    // Four boundaries, the session and the process.
    assert!(migration.crashed >= 8, "{report}");
    assert_eq!(migration.crash.undone, migration.crashed);
    assert_eq!((migration.crash.states, migration.crash.run_again), (1, 1));
}

#[tokio::test]
async fn an_index_outside_of_a_transaction_is_there_and_not_recorded() {
    let up = "-- no-transaction\ncreate index concurrently i on t (n);";
    let report = crashed(up, "drop index i;").await;
    assert_eq!(
        findings(&report),
        [
            ("crash/not-rerunnable", "migration 2_u"),
            ("rollback/schema-differs", "index public.i"),
        ],
        "{report}"
    );
    let warned = |found: &upgrade_core::report::FoundIn| {
        found.finding.id == "crash/record-wrong"
            && found.finding.message.contains("all of it is there")
    };
    assert!(report.findings.iter().any(warned), "{report}");
}

#[tokio::test]
async fn values_that_are_changed_twice_are_another_result() {
    let up = "-- no-transaction\nupdate t set n = n * 2;";
    let report = crashed(up, "update t set n = n / 2;").await;
    let found = findings(&report);
    assert!(
        found.contains(&("crash/result-differs", "table public.t")),
        "{report}"
    );
}

#[tokio::test]
async fn a_long_statement_crashes_in_its_middle() {
    let up = "update t set n = n + 1; select pg_sleep(0.3);";
    let report = crashed(up, "update t set n = n - 1;").await;
    assert!(report.passed, "{report}");
    let within = |step: &&upgrade_core::report::StepReport| {
        step.title.ends_with("within its longest statement") && step.outcome == StepOutcome::Done
    };
    assert_eq!(report.steps.iter().filter(within).count(), 2, "{report}");
    let not_felt = |found: &upgrade_core::report::FoundIn| found.finding.id == "crash/not-felt";
    assert!(!report.findings.iter().any(not_felt), "{report}");
}

#[tokio::test]
async fn an_up_that_fails_by_itself_is_not_blamed_for_a_crash() {
    let report = crashed("alter table nowhere add a int;", "select 1 from t;").await;
    assert_eq!(
        findings(&report),
        [("up/failed", "migration 2_u")],
        "{report}"
    );
}

/// The example of the page `crash/not-revertible`, and what mends it.
#[tokio::test]
async fn leftovers_stop_the_down_of_the_migration_before() {
    let shop = Shop::start().await;
    let tags = "create table tags (id bigint primary key, name text not null);
        insert into tags values (1, 'new');";
    for (down, stops) in [
        ("drop table tags;", true),
        ("drop view if exists tag_names; drop table tags;", false),
    ] {
        let files = [
            TABLE,
            ("8_tags.up.sql", tags),
            ("8_tags.down.sql", down),
            (
                "9_tag_names.up.sql",
                "-- no-transaction\ncreate view tag_names as select name from tags;",
            ),
            ("9_tag_names.down.sql", "drop view tag_names;"),
        ];
        let report = shop.run(shop.folder(&files), Scenario::Crash).await;
        let found = findings(&report);
        let not_revertible = ("crash/not-revertible", "migration 9_tag_names");
        assert_eq!(found.contains(&not_revertible), stops, "{report}");
    }
}
