//! The runner carries out every scenario over a store, as it does over Postgres.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

mod support;

use kv_upgrade::{KvEnvironment, References, RestoreCopy};
use support::{CUSTOMERS, ORDERS, add, currency, remove, reversible, total_to_amount};
use tempfile::TempDir;
use upgrade_core::environment::Capabilities;
use upgrade_core::{Plan, Report, Runner, Scenario, Severity, Upgrade};

fn upgrade() -> Upgrade {
    Upgrade::new("shop", "1", "2")
        .with_validator(References::new("orders", "customer", "customers"))
        .with_rollback(RestoreCopy)
}

/// Plans, runs, and returns the report and the leftovers under the root.
async fn run(upgrade: Upgrade, scenario: Scenario) -> (Report, Vec<String>) {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    support::store(&directory.path().join("given"), ORDERS, CUSTOMERS);
    let environment = KvEnvironment::new(&root, directory.path().join("given"));
    let outline = upgrade.outline(Capabilities::of(&environment));
    let plan = Plan::new(&outline, scenario, 7).unwrap();
    let report = Runner::new(upgrade, environment).run(&plan).await.unwrap();
    let left = std::fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let left = left
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    (report, left)
}

fn errors(report: &Report) -> Vec<(&str, &str)> {
    report
        .findings
        .iter()
        .filter(|found| found.finding.severity == Severity::Error)
        .map(|found| (found.finding.id.as_str(), found.finding.subject.as_str()))
        .collect()
}

async fn a_good_upgrade_passes(scenario: Scenario) -> Report {
    let upgrade = upgrade()
        .with_migration(reversible())
        .with_migration(total_to_amount());
    let (report, left) = run(upgrade, scenario).await;
    assert!(report.passed, "{report}");
    assert_eq!(left, [".registry"], "{scenario} has leftovers");
    assert_eq!((report.tables, report.rows), (2, 4));
    report
}

#[tokio::test]
async fn control_changes_nothing() {
    let report = a_good_upgrade_passes(Scenario::Control).await;
    assert!(
        report
            .migrations
            .iter()
            .all(|migration| migration.applied == 0)
    );
}

#[tokio::test]
async fn upgrade_applies_every_migration() {
    let report = a_good_upgrade_passes(Scenario::Upgrade).await;
    assert!(
        report
            .migrations
            .iter()
            .all(|migration| migration.applied == 1)
    );
}

#[tokio::test]
async fn round_trip_reverts_each_and_all() {
    let report = a_good_upgrade_passes(Scenario::RoundTrip).await;
    assert!(
        report
            .migrations
            .iter()
            .all(|migration| migration.reverted == 2)
    );
}

#[tokio::test]
async fn rollback_returns_from_every_boundary() {
    let report = a_good_upgrade_passes(Scenario::Rollback).await;
    assert_eq!(report.rollbacks_verified(), 2);
}

#[tokio::test]
async fn a_crash_is_felt_and_mended() {
    let report = a_good_upgrade_passes(Scenario::Crash).await;
    assert!(
        report
            .migrations
            .iter()
            .all(|migration| migration.crashed > 0),
        "{report}"
    );
    assert!(report.rollbacks_verified() > 0, "{report}");
}

/// A way down that brings a field back without its values is found, as it is on Postgres.
#[tokio::test]
async fn a_down_that_loses_values_is_found() {
    let lossy = currency([remove("customers", "name")]).with_down([add("customers", "name")]);
    let (report, _) = run(upgrade().with_migration(lossy), Scenario::RoundTrip).await;
    assert!(!report.passed);
    let found = errors(&report);
    assert!(
        found.contains(&("down/rows-changed", "table customers")),
        "{report}"
    );
}

/// A migration that fails is undone, and the runner rolls back automatically.
#[tokio::test]
async fn a_failing_migration_is_found_and_gone_back_from() {
    let failing = currency([add("orders", "currency"), add("no such collection", "x")]);
    let upgrade = upgrade()
        .with_migration(total_to_amount())
        .with_migration(failing);
    let (report, left) = run(upgrade, Scenario::Upgrade).await;
    assert_eq!(
        errors(&report),
        [("up/failed", "migration 0002_currency")],
        "{report}"
    );
    assert_eq!(report.rollbacks_verified(), 1, "{report}");
    assert_eq!(left, [".registry"]);
}
