//! A release with subtle defects: each is found, by name, and a good release has none of them.

use upgrade_core::browser::Browser;
use upgrade_core::report::StepOutcome;
use upgrade_core::{Report, Scenario};
use upgrade_testkit::Rehearsal;

use crate::system::{SUBTLE, V2, checkout, list, many_orders, order_page, speed, system};

/// How often a machine may be too noisy to judge before the test gives up.
const TRIES: usize = 4;

/// The upgrade to a release 2 with some of the defects.
pub(crate) async fn upgraded(
    new: &'static str,
    defects: &'static str,
    add: impl FnOnce(Rehearsal) -> Rehearsal,
) -> Report {
    let rehearsal = Rehearsal::new("orders")
        .unwrap()
        .migrations(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
        .from("0001")
        .scenario(Scenario::Upgrade);
    add(system(rehearsal, new, defects)).report().await.unwrap()
}

/// The errors that were found, as `phase id subject`.
pub(crate) fn errors(report: &Report) -> Vec<String> {
    let found = report.findings.iter().filter(|found| found.finding.fails());
    found
        .map(|found| {
            let finding = &found.finding;
            format!("{} {} {}", found.phase, finding.id, finding.subject)
        })
        .collect()
}

fn is_inconclusive(report: &Report) -> bool {
    let mut steps = report.steps.iter();
    steps.any(|step| matches!(step.outcome, StepOutcome::Inconclusive(_)))
}

#[tokio::test]
async fn a_field_of_another_type_is_found() {
    let report = upgraded(SUBTLE, "type", |rehearsal| rehearsal.flow(list())).await;
    assert_eq!(
        errors(&report),
        ["soak api/answer-type-changed GET /v1/orders: $[].total (request 1)"],
        "{report}"
    );
}

#[tokio::test]
async fn another_value_of_an_enumeration_is_found() {
    let report = upgraded(SUBTLE, "enum", |rehearsal| rehearsal.flow(checkout())).await;
    let errors = errors(&report);
    let state = "soak api/answer-differs GET /v1/orders/{unique}/receipt: $.state";
    assert!(
        errors.iter().any(|error| error == state),
        "{errors:?} {report}"
    );
}

#[tokio::test]
async fn a_worker_that_drops_a_job_is_found() {
    let report = upgraded(SUBTLE, "worker", |rehearsal| rehearsal.api(many_orders())).await;
    assert_eq!(
        errors(&report),
        ["soak api/rows-differ table public.receipts"],
        "{report}"
    );
}

/// On a machine on which that can be seen at all.
#[tokio::test]
async fn a_slower_release_is_found() {
    for _ in 0..TRIES {
        let report = upgraded(SUBTLE, "slow", |rehearsal| rehearsal.latency(speed())).await;
        let errors = errors(&report);
        if errors.is_empty() && is_inconclusive(&report) {
            continue;
        }
        assert_eq!(errors, ["soak latency/slower GET /v1/orders"], "{report}");
        return;
    }
    panic!("too noisy to judge, {TRIES} times");
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn in_browser_a_button_that_does_nothing_is_found() {
    let browser = Browser::new();
    let page = order_page(&browser);
    let report = upgraded(SUBTLE, "button", |rehearsal| rehearsal.page(page)).await;
    browser.close().await;
    let errors = errors(&report);
    let live = "soak page/step-failed orders";
    assert!(
        errors.iter().any(|error| error.starts_with(live)),
        "{errors:?} {report}"
    );
}

/// How often is in `UPGRADE_RUNS`.
#[tokio::test]
#[ignore = "needs a browser"]
async fn in_browser_a_good_release_is_never_blamed() {
    let runs = std::env::var("UPGRADE_RUNS").map_or(1, |runs| runs.parse().unwrap());
    for run in 0..runs {
        let browser = Browser::new();
        let page = order_page(&browser);
        let report = upgraded(V2, "", |rehearsal| {
            rehearsal
                .seed(run)
                .flow(list())
                .page(page)
                .api(many_orders())
                .latency(speed())
        })
        .await;
        browser.close().await;
        assert_eq!(errors(&report), Vec::<String>::new(), "run {run}: {report}");
    }
}
