//! Known findings: accepted from a file, missed when they are no longer there, and written.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use upgrade_core::Report;
use upgrade_testkit::prelude::*;
use upgrade_testkit::spec::Origin;
use upgrade_testkit::{Settings, TestCase, TestSpec};

/// A package whose third migration has a down that fails, and whose second one forgets an index.
fn package() -> TempDir {
    let package = tempfile::tempdir().unwrap();
    let files = [
        ("Cargo.toml", "[package]\nname = 'orders'\n"),
        (
            "migrations/1_orders.up.sql",
            "create table orders (id bigint primary key, note text);\ncreate index orders_note on orders (note);",
        ),
        ("migrations/1_orders.down.sql", "drop table orders;"),
        ("migrations/2_forgets.up.sql", "drop index orders_note;"),
        ("migrations/2_forgets.down.sql", "select 1;"),
        (
            "migrations/3_fails.up.sql",
            "alter table orders add column more int;",
        ),
        (
            "migrations/3_fails.down.sql",
            "alter table orders drop column mor;",
        ),
    ];
    fs::create_dir(package.path().join("migrations")).unwrap();
    for (name, text) in files {
        fs::write(package.path().join(name), text).unwrap();
    }
    package
}

fn case(package: &Path, scenario: Scenario, accept: bool, ci: bool) -> Rehearsal {
    let origin = Origin {
        module: "orders::orders",
        file: "tests/orders.rs",
        line: 1,
        // Origins are made by the compiler, and live as long as the program.
        manifest_dir: Box::leak(package.to_str().unwrap().to_owned().into_boxed_str()),
        package: "orders",
        binary: None,
    };
    let mut settings = Settings::default();
    (settings.accept, settings.ci) = (accept, ci);
    settings.report_dir = Some(package.join("reports"));
    let spec = TestSpec::new(origin).with_scenario(scenario).with_rows(5);
    let case = Arc::new(TestCase::new(spec, settings));
    case.context().upgrade().without_template()
}

async fn run(package: &Path, scenario: Scenario) -> Report {
    let rehearsal = case(package, scenario, false, false);
    rehearsal.report().await.unwrap()
}

/// How many reports are there.
fn reports(package: &Path) -> usize {
    let folder = package.join("reports/orders");
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names
        .filter(|name| name.ends_with(".json") && !name.ends_with(".plan.json"))
        .count()
}

fn failing(report: &Report) -> Vec<(&str, &str)> {
    let all = report.findings.iter().map(|found| &found.finding);
    let mut failing: Vec<_> = all
        .filter(|finding| finding.fails())
        .map(|finding| (finding.id.as_str(), finding.subject.as_str()))
        .collect();
    failing.sort_unstable();
    failing.dedup();
    failing
}

#[tokio::test]
async fn what_is_accepted_fails_no_more_and_what_is_new_does() {
    let package = package();
    let package = package.path();
    let before = run(package, Scenario::RoundTrip).await;
    assert!(!before.passed && failing(&before).len() >= 2, "{before}");

    for scenario in [Scenario::RoundTrip, Scenario::Rollback, Scenario::Upgrade] {
        let accepting = case(package, scenario, true, false);
        accepting.rehearse().await.unwrap();
        let report = run(package, scenario).await;
        assert!(report.passed, "{report}");
        let shown = report.to_string();
        let expected = scenario != Scenario::Upgrade;
        assert_eq!(shown.contains("accepted: "), expected, "{shown}");
    }
    let file = fs::read_to_string(package.join("upgrade-known.toml")).unwrap();
    assert!(file.contains("3_fails.down.sql"), "{file}");
    assert!(
        file.contains("round_trip") && !file.contains("upgrade"),
        "{file}"
    );

    // The same defect in a new migration.
    let new = |name: &str, sql: &str| fs::write(package.join("migrations").join(name), sql);
    new("4_new.up.sql", "alter table orders add column new int;").unwrap();
    new("4_new.down.sql", "select 1;").unwrap();
    let report = run(package, Scenario::RoundTrip).await;
    assert!(!report.passed, "{report}");
    let all = report.findings.iter().map(|found| &found.finding);
    for finding in all.filter(|finding| finding.fails()) {
        let blame = finding.blames.as_ref().unwrap();
        assert_eq!(blame.migration.version(), "4", "{finding}");
    }
}

#[tokio::test]
async fn an_entry_that_is_found_no_more_fails() {
    let package = package();
    let package = package.path();
    let accepting = case(package, Scenario::RoundTrip, true, false);
    accepting.rehearse().await.unwrap();
    assert_eq!(reports(package), 1, "only the run that passed is recorded");
    let mend = |name: &str, sql: &str| fs::write(package.join("migrations").join(name), sql);
    mend("3_fails.down.sql", "alter table orders drop column more;").unwrap();
    mend(
        "2_forgets.down.sql",
        "create index orders_note on orders (note);",
    )
    .unwrap();
    let report = run(package, Scenario::RoundTrip).await;
    assert!(!report.passed, "{report}");
    let stale = failing(&report);
    assert!(stale.len() >= 2, "{report}");
    assert!(
        stale
            .iter()
            .all(|(id, _)| *id == "declared/known-not-found"),
        "{report}"
    );
    // An entry is removed by people, and never accepted as missing.
    let file = package.join("upgrade-known.toml");
    let before = fs::read_to_string(&file).unwrap();
    let accepting = case(package, Scenario::RoundTrip, true, false);
    accepting.rehearse().await.unwrap_err();
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}

#[tokio::test]
async fn nothing_is_accepted_in_ci() {
    let package = package();
    let rehearsal = case(package.path(), Scenario::RoundTrip, true, true);
    let error = rehearsal.rehearse().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("UPGRADE_ACCEPT"), "{error}");
    assert!(!package.path().join("upgrade-known.toml").exists());
}

#[tokio::test]
async fn one_call_allows_and_one_denies() {
    let package = package();
    let package = package.path();
    for (name, sql) in [
        (
            "3_fails.up.sql",
            "alter table orders add constraint positive check (id > 0) not valid;",
        ),
        (
            "3_fails.down.sql",
            "alter table orders drop constraint positive;",
        ),
    ] {
        fs::write(package.join("migrations").join(name), sql).unwrap();
    }
    let found = run(package, Scenario::RoundTrip).await;
    let ids: Vec<_> = failing(&found);
    let mut rehearsal = case(package, Scenario::RoundTrip, false, false);
    for (id, subject) in ids {
        rehearsal = rehearsal.allow(id, subject, "the index comes back with 5");
    }
    rehearsal.rehearse().await.unwrap();

    let rehearsal = case(package, Scenario::Upgrade, false, false);
    let report = rehearsal.clone().report().await.unwrap();
    let warning = report.findings_of(Severity::Warning).next();
    let warning = &warning
        .unwrap_or_else(|| panic!("no warning: {report}"))
        .finding;
    assert!(report.passed, "{report}");
    let denied = rehearsal.deny(&warning.id).report().await.unwrap();
    assert!(!denied.passed, "{denied}");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_its_line() {
    let package = package();
    let text = "[[known]]\nid = 'down-faild'\nreason = 'x'\n";
    fs::write(package.path().join("upgrade-known.toml"), text).unwrap();
    let rehearsal = case(package.path(), Scenario::RoundTrip, false, false);
    let error = rehearsal.rehearse().await.unwrap_err().to_string();
    assert!(
        error.contains("upgrade-known.toml:2") && error.contains("is it `down/failed`?"),
        "{error}"
    );
}
