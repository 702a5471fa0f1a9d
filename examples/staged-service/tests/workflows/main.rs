//! What users do, on release 1, on release 2, while one is replaced by the other, and after a rollback.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod system;

use upgrade_core::{Report, Scenario};
use upgrade_testkit::prelude::*;

use system::{SUBTLE, V2, checkout, list, speed, system};

#[upgrade_test(from = "0001", scenarios = [control, upgrade, rollback, rolling])]
async fn orders(cx: UpgradeContext) -> Result<()> {
    system(cx.upgrade(), V2, "")
        .flow(checkout())
        .flow(list())
        .latency(speed())
        .rehearse()
        .await
}

/// The upgrade to a release with a defect.
async fn upgraded(breaks: &'static str, add: impl FnOnce(Rehearsal) -> Rehearsal) -> Report {
    let rehearsal = Rehearsal::new("orders")
        .unwrap()
        .migrations(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
        .from("0001")
        .scenario(Scenario::Upgrade);
    add(system(rehearsal, SUBTLE, breaks))
        .report()
        .await
        .unwrap()
}

/// The errors that were found, as `phase id subject`.
fn errors(report: &Report) -> Vec<String> {
    let found = report.findings.iter().filter(|found| found.finding.fails());
    found
        .map(|found| {
            let finding = &found.finding;
            format!("{} {} {}", found.phase, finding.id, finding.subject)
        })
        .collect()
}

#[tokio::test]
async fn a_field_of_another_type_is_found() {
    let report = upgraded("type", |rehearsal| rehearsal.flow(list())).await;
    assert_eq!(
        errors(&report),
        ["soak api/answer-type-changed GET /v1/orders: $[].total"],
        "{report}"
    );
}

#[tokio::test]
async fn another_value_of_an_enumeration_is_found() {
    let report = upgraded("enum", |rehearsal| rehearsal.flow(checkout())).await;
    assert_eq!(
        errors(&report),
        ["soak api/answer-differs GET /v1/orders/{}/receipt: $.state"],
        "{report}"
    );
}

#[tokio::test]
async fn a_slower_release_is_found() {
    let report = upgraded("slow", |rehearsal| rehearsal.latency(speed())).await;
    assert_eq!(
        errors(&report),
        ["soak latency/slower GET /v1/orders"],
        "{report}"
    );
}
