use std::time::Duration;

use super::TURN;
use super::service::{Behave, Reply, Service, beside, start};
use crate::error::ErrorKind;
use crate::http::Request;
use crate::latency::Load;
use crate::validator::{Validator as _, Verdict};

fn quick(_: &str, _: u32, _: u32) -> Reply {
    Reply::Work(10, 200)
}

fn at_rate(per_second: f64) -> Load {
    let request = Request::get("/orders?key=hunter2");
    Load::new("orders", "api", per_second, [request])
        // Other tests keep this machine busy.
        .with_most_late(Duration::from_secs(5))
}

fn load() -> Load {
    at_rate(150.0).during(Duration::from_millis(700))
}

/// A verdict about the candidate; up to five attempts, because a busy machine keeps the baseline from answering.
async fn judged(load: &Load, before: Behave, after: Behave) -> Verdict {
    let mut verdict = Verdict::Inconclusive("not judged".to_owned());
    for _ in 0..5 {
        verdict = load.validate(&start(before, after)).await.unwrap();
        if !matches!(verdict, Verdict::Inconclusive(_)) {
            break;
        }
    }
    verdict
}

#[tokio::test]
async fn a_candidate_that_bears_the_rate_passes() {
    let _turn = TURN.lock().await;
    assert_eq!(judged(&load(), quick, quick).await, Verdict::Pass);
}

#[tokio::test]
async fn a_candidate_that_refuses_or_cannot_keep_up_sheds_load() {
    let _turn = TURN.lock().await;
    // All 80 that may be in flight are, until the time is over.
    let patient = at_rate(60.0)
        .during(Duration::from_secs(2))
        .with_most_in_flight(80);
    let cases: [(Load, Behave, &str); 3] = [
        (
            load(),
            |_, number, _| Reply::Work(10, if number % 5 == 0 { 503 } else { 200 }),
            "latency/sheds-load",
        ),
        (
            load(),
            |_, number, _| Reply::Work(10, if number % 5 == 0 { 500 } else { 200 }),
            "latency/errors",
        ),
        (
            patient,
            |_, _, _| Reply::Wait(Duration::from_secs(3)),
            "latency/sheds-load",
        ),
    ];
    for (load, after, id) in cases {
        match judged(&load, quick, after).await {
            Verdict::Fail(findings) => {
                assert_eq!(findings[0].id, id, "{findings:?}");
                assert_eq!(findings[0].subject, "orders");
                assert!(!format!("{findings:?}").contains("hunter2"), "{findings:?}");
            }
            verdict => panic!("{verdict:?}"),
        }
    }
}

#[tokio::test]
async fn times_count_from_the_planned_moment() {
    let _turn = TURN.lock().await;
    // One request stalls for 500 ms, and with one in flight all others of that time wait behind it.
    let stalls: Behave = |_, number, _| match number {
        5 => Reply::Wait(Duration::from_millis(500)),
        _ => Reply::Work(10, 200),
    };
    let cx = start(quick, stalls);
    load().with_most_in_flight(1).validate(&cx).await.unwrap();
    let measured = cx.take_noticed().measurements;
    let p95 = measured.iter().find(|it| it.metric == "p95").unwrap();
    // Most requests were planned within the stall; without their waits p95 would be that of the others.
    assert!(p95.candidate > 250.0, "{p95}");
    for metric in ["p50", "throughput", "shed", "errors", "sent late, p95"] {
        assert!(measured.iter().any(|it| it.metric == metric), "{metric}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_an_error() {
    let cx = start(quick, quick);
    for load in [
        Load::new("x", "api", 0.0, [Request::get("/")]),
        Load::new("x", "api", f64::NAN, [Request::get("/")]),
        Load::new("x", "api", 10.0, []),
        load().with_most_in_flight(0),
    ] {
        assert_eq!(
            load.validate(&cx).await.unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }
    let (up, down) = (Service::start(quick), Service::down());
    let error = load().validate(&beside(&down, &up, &up)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}
