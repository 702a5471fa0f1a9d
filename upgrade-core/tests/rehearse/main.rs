//! Plans carried out on a real server: the shop of the quickstart, and folders that fail in the
//! ways that folders fail.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

mod blame;
mod collateral;
mod crash;
mod declared;
mod form;
mod layouts;
mod left_behind;
mod lock_queue;
mod looks;
mod pages;
mod releases;
mod rows;
mod statements;
mod support;
mod ten_losses;
mod traffic;
mod written;

use support::{Shop, findings};
use upgrade_core::report::{FoundIn, StepOutcome};
use upgrade_core::{Finding, Report, Scenario, Severity, UpgradeContext, Verdict, validator_fn};

#[tokio::test]
async fn every_scenario_of_a_good_folder_passes() {
    let shop = Shop::start().await;
    for scenario in Scenario::ALL.into_iter().filter(|it| !it.needs_services()) {
        let report = shop.run(shop.quickstart(), scenario).await;
        assert!(report.passed, "{report}");
        let errors: Vec<_> = report.findings_of(Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(
            shop.databases().await,
            ["postgres"],
            "{scenario} did not remove all its databases"
        );
        let touched = report.migrations.iter().filter(|m| m.applied > 0).count();
        assert_eq!(touched, if scenario == Scenario::Control { 0 } else { 10 });
        match scenario {
            Scenario::RoundTrip => assert!(report.migrations.iter().all(|m| m.reverted == 2)),
            // Ten boundaries, two rollbacks from each.
            Scenario::Rollback => assert_eq!(report.rollbacks_verified(), 20),
            Scenario::Crash => {
                // Each is in a transaction: every crash leaves the state before it, which is one
                // state, from which the migration is run again once and rolled back twice.
                for migration in &report.migrations {
                    let crash = &migration.crash;
                    assert!(migration.crashed >= 4, "{report}");
                    // On a busy machine a statement may seem long that then is over before the
                    // crash happens in its middle.
                    let subject = format!("migration {}", migration.id);
                    let not_felt = |found: &FoundIn| {
                        found.finding.id == "crash/not-felt" && found.finding.subject == subject
                    };
                    if report.findings.iter().any(not_felt) {
                        continue;
                    }
                    assert_eq!((crash.done, crash.between), (0, 0), "{report}");
                    assert_eq!(
                        (crash.states, crash.run_again, crash.rolled_back),
                        (1, 1, 2),
                        "{report}"
                    );
                }
                assert!(report.rollbacks_verified() >= 20, "{report}");
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_down_that_forgets_an_index_is_seen() {
    let shop = Shop::start().await;
    let folder = shop.folder(&[
        ("1_t.up.sql", "create table t (id int primary key, a text); create index t_a on t (a); insert into t values (1, 'x');"),
        ("1_t.down.sql", "drop table t;"),
        ("2_b.up.sql", "drop index t_a; alter table t add column b int;"),
        ("2_b.down.sql", "alter table t drop column b;"),
    ]);
    let report = shop.run(folder, Scenario::RoundTrip).await;
    assert!(!report.passed);
    let ids = findings(&report);
    assert!(
        ids.contains(&("down/schema-differs", "index public.t_a")),
        "{report}"
    );
    assert!(report.to_string().contains("2_b"), "{report}");
}

#[tokio::test]
async fn a_down_that_brings_a_column_back_without_its_values_is_seen() {
    let shop = Shop::start().await;
    let folder = shop.folder(&[
        (
            "1_t.up.sql",
            "create table t (id int primary key, a text); insert into t values (1, 'x');",
        ),
        ("1_t.down.sql", "drop table t;"),
        ("2_a.up.sql", "alter table t drop column a;"),
        ("2_a.down.sql", "alter table t add column a text;"),
    ]);
    let report = shop.run(folder, Scenario::RoundTrip).await;
    assert!(
        findings(&report).contains(&("down/rows-changed", "table public.t")),
        "{report}"
    );
}

#[tokio::test]
async fn a_table_that_is_renamed_keeps_its_rows_and_one_that_is_made_again_does_not() {
    let shop = Shop::start().await;
    let made = "create table t (id int primary key, a text); insert into t values (1, 'x');";
    let renamed = shop.folder(&[
        ("1_t.sql", made),
        (
            "2_u.sql",
            "alter table t rename to u; alter table u add column b int;",
        ),
    ]);
    let report = shop.run(renamed, Scenario::Upgrade).await;
    assert!(report.passed, "{report}");
    let notes: Vec<&str> = report
        .findings
        .iter()
        .map(|f| f.finding.id.as_str())
        .collect();
    assert!(notes.contains(&"up/table-renamed"), "{report}");

    let again = shop.folder(&[
        ("1_t.sql", made),
        (
            "2_u.sql",
            "drop table t; create table u (id int primary key, a text);",
        ),
    ]);
    let report = shop.run(again, Scenario::Upgrade).await;
    assert_eq!(
        findings(&report),
        [("up/rows-lost", "table public.t")],
        "{report}"
    );
}

#[tokio::test]
async fn rows_that_an_up_deletes_are_seen_and_brought_back() {
    let shop = Shop::start().await;
    let folder = shop.folder(&[
        (
            "1_t.up.sql",
            "create table t (id int primary key); insert into t values (1), (2);",
        ),
        ("1_t.down.sql", "drop table t;"),
        ("2_less.up.sql", "delete from t where id = 1;"),
        ("2_less.down.sql", "select 1;"),
    ]);
    let report = shop.run(folder, Scenario::Upgrade).await;
    assert!(
        findings(&report).contains(&("up/rows-lost", "table public.t")),
        "{report}"
    );
    let [rollback] = report.rollbacks.as_slice() else {
        panic!("{report}")
    };
    assert!(rollback.automatic && rollback.confirmed, "{report}");
}

#[tokio::test]
async fn sql_that_fails_names_file_and_line_and_goes_back() {
    let shop = Shop::start().await;
    let folder = shop.folder(&[
        ("1_t.up.sql", "create table t (id int primary key);"),
        ("1_t.down.sql", "drop table t;"),
        ("2_bad.up.sql", "create table u (id int);\n\n-- the next one is wrong\ninsert into u\nvalues (nonsense);\n"),
        ("2_bad.down.sql", "drop table u;"),
    ]);
    let report = shop.run(folder, Scenario::Upgrade).await;
    let failed = report
        .findings
        .iter()
        .find(|found| found.finding.id == "up/failed")
        .expect("a finding");
    assert!(
        failed.finding.message.contains("2_bad.up.sql:5"),
        "{}",
        failed.finding.message
    );
    assert!(
        failed
            .finding
            .evidence
            .as_deref()
            .unwrap_or_default()
            .contains("nonsense")
    );
    assert!(
        report.rollbacks.iter().all(|rollback| rollback.confirmed),
        "{report}"
    );
}

#[tokio::test]
async fn a_crash_outside_of_a_transaction_leaves_what_cannot_be_run_again() {
    let shop = Shop::start().await;
    let folder = shop.folder(&[
        ("1_t.up.sql", "create table t (id int primary key, a text);"),
        ("1_t.down.sql", "drop table t;"),
        (
            "2_i.up.sql",
            "-- no-transaction\ncreate index concurrently t_a on t (a);",
        ),
        (
            "2_i.down.sql",
            "-- no-transaction\ndrop index concurrently t_a;",
        ),
    ]);
    let report = shop.run(folder, Scenario::Crash).await;
    let ids = findings(&report);
    assert!(
        ids.contains(&("crash/not-rerunnable", "migration 2_i")),
        "{report}"
    );
    // The kept copy leads back; the down was never recorded as needed, so the index stays.
    assert!(
        report
            .rollbacks
            .iter()
            .any(|r| r.strategy == "snapshot swap" && r.confirmed)
    );
    assert!(
        ids.contains(&("rollback/schema-differs", "index public.t_a")),
        "{report}"
    );
}

#[tokio::test]
async fn one_way_migrations_go_back_by_snapshot_and_fail_only_where_asked() {
    let shop = Shop::start().await;
    let files = [
        (
            "1_t.sql",
            "create table t (id int primary key); insert into t values (1);",
        ),
        ("2_u.sql", "alter table t add column a int;"),
    ];
    for scenario in Scenario::ALL.into_iter().filter(|it| !it.needs_services()) {
        let report = shop.run(shop.folder(&files), scenario).await;
        assert!(report.passed, "{report}");
        assert!(
            report
                .rollbacks
                .iter()
                .all(|r| r.strategy == "snapshot swap")
        );
    }
    let report = shop
        .run_reversible(shop.folder(&files), Scenario::Upgrade)
        .await;
    assert_eq!(
        findings(&report),
        [("file/down-missing", "migration 2_u")],
        "{report}"
    );
}

#[tokio::test]
async fn a_rollback_over_its_budget_fails() {
    let shop = Shop::start().await;
    let folder = shop.folder(&[
        ("1_t.up.sql", "create table t (id int primary key);"),
        ("1_t.down.sql", "drop table t;"),
        ("2_u.up.sql", "create table u (id int);"),
        ("2_u.down.sql", "select pg_sleep(1); drop table u;"),
    ]);
    let report = shop
        .run_within(
            folder,
            Scenario::Rollback,
            std::time::Duration::from_millis(500),
        )
        .await;
    let ids: Vec<&str> = report
        .findings
        .iter()
        .map(|found| found.finding.id.as_str())
        .collect();
    assert!(
        ids.contains(&"rollback/failed") || ids.contains(&"rollback/over-budget"),
        "{report}"
    );
    assert!(!report.passed);
}

#[tokio::test]
async fn what_is_noticed_makes_no_verdict_of_one_that_could_not_be_reached() {
    let shop = Shop::start().await;
    let run = async |noticed: fn(&'static str, &'static str, &'static str) -> Finding| {
        let undecided = validator_fn("traffic", move |cx: UpgradeContext| async move {
            cx.notice(noticed("traffic-low", "traffic", "one request in a minute"));
            Ok(Verdict::Inconclusive("too little traffic".to_owned()))
        });
        let folder = shop.folder(&[
            ("1_t.sql", "create table t (id int primary key);"),
            ("2_u.sql", "create table u (id int);"),
        ]);
        shop.go(folder, Scenario::Control, |upgrade| {
            upgrade.with_validator(undecided)
        })
        .await
    };
    let outcome = |report: &Report| {
        let mut steps = report.steps.iter();
        let asked = steps.find(|step| step.title == "validate").unwrap();
        asked.outcome.clone()
    };
    let report = run(Finding::note).await;
    assert_eq!(
        outcome(&report),
        StepOutcome::Inconclusive("traffic: too little traffic".to_owned()),
        "{report}"
    );
    assert!(!report.passed && findings(&report).is_empty(), "{report}");
    assert_eq!(report.findings.len(), 1, "{report}");
    let report = run(Finding::error).await;
    assert_eq!(outcome(&report), StepOutcome::Failed, "{report}");
}
