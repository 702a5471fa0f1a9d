use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::TURN;
use super::service::{Behave, Reply, Service, beside, services, start};
use crate::context::UpgradeContext;
use crate::error::ErrorKind;
use crate::finding::Finding;
use crate::http::{ClientOptions, Request};
use crate::latency::{Latency, LatencyOptions};
use crate::measurement::Measurement;
use crate::validator::{Validator as _, Verdict};

const WORK: u32 = 20_000;

fn usual(_: &str, _: u32, _: u32) -> Reply {
    Reply::Work(WORK, 200)
}

/// Twice the work.
fn slow(_: &str, _: u32, _: u32) -> Reply {
    Reply::Work(2 * WORK, 200)
}

/// A verdict within seconds, from fewer and smaller blocks than in use.
fn options() -> LatencyOptions {
    LatencyOptions {
        block: Some(8),
        min_time: Duration::from_millis(300),
        cap: Duration::from_secs(5),
        warm_up: Duration::from_millis(100),
        ..LatencyOptions::default()
    }
}

fn orders() -> Latency {
    let secret = Request::get("/orders?token=hunter2")
        .with_header("authorization", "Bearer hunter2")
        .with_header("x-api-key", "hunter2");
    Latency::new("orders", "api", [secret]).with_options(options())
}

fn findings(verdict: Verdict) -> Vec<Finding> {
    match verdict {
        Verdict::Fail(findings) => findings,
        verdict => panic!("{verdict:?}"),
    }
}

fn reason(verdict: Verdict) -> String {
    match verdict {
        Verdict::Inconclusive(reason) => reason,
        verdict => panic!("{verdict:?}"),
    }
}

async fn judged(latency: &Latency, before: Behave, after: Behave) -> Verdict {
    latency.validate(&start(before, after)).await.unwrap()
}

fn measured<'m>(all: &'m [Measurement], subject: &str, metric: &str) -> &'m Measurement {
    let mut all = all.iter();
    all.find(|one| one.subject == subject && one.metric == metric)
        .unwrap_or_else(|| panic!("no {metric} of {subject}"))
}

#[tokio::test]
async fn equal_services_do_not_fail_twice() {
    let _turn = TURN.lock().await;
    let (first, second) = (start(usual, usual), start(usual, usual));
    let latency = orders().with_options(LatencyOptions {
        block: Some(4),
        cap: Duration::from_secs(30),
        ..options()
    });
    let mut verdict = latency.validate(&first).await.unwrap();
    if let Verdict::Fail(_) = verdict {
        verdict = latency.validate(&second).await.unwrap();
    }
    assert!(!matches!(verdict, Verdict::Fail(_)), "{verdict:?}");
    let all = first.take_noticed().measurements;
    for metric in ["p50", "p95", "p99", "throughput", "slowdown"] {
        let one = measured(&all, "GET /orders", metric);
        assert!(one.secondary.is_some(), "{one}");
        assert_eq!(one.baseline.is_some(), metric != "slowdown", "{one}");
    }
    assert!(measured(&all, "GET /orders", "p50").candidate > 0.0);
    let visible = measured(&all, "GET /orders", "least slowdown visible");
    assert!(visible.candidate > 3.0, "{visible}");
    let errors = measured(&all, "orders", "errors");
    assert_eq!((errors.candidate, errors.baseline), (0.0, Some(0.0)));
}

#[tokio::test]
async fn twice_the_work_is_found_and_shows_no_secret() {
    let _turn = TURN.lock().await;
    let latency = orders().with_cap(Duration::from_secs(60));
    let findings = findings(judged(&latency, usual, slow).await);
    let [finding] = &findings[..] else {
        panic!("{findings:?}");
    };
    assert_eq!(
        (finding.id.as_str(), finding.subject.as_str()),
        ("latency/slower", "GET /orders")
    );
    for part in [
        "times (",
        " as long as the baseline, over ",
        "the least slowdown that would have been seen is ",
    ] {
        assert!(finding.message.contains(part), "{finding}");
    }
    assert!(
        finding
            .evidence
            .as_ref()
            .unwrap()
            .contains("candidate: p50 "),
        "{finding:?}"
    );
    assert!(
        !format!("{finding:?}{latency:?}").contains("hunter2"),
        "{finding:?}"
    );
}

#[tokio::test]
async fn a_tail_of_heavy_requests_is_a_class_of_its_kind() {
    let _turn = TURN.lock().await;
    // Waits, not work: a busy machine makes all of them longer, and the ratio stays large.
    fn reply(target: &str, heavy: u64) -> Reply {
        match target {
            "/a?0" => Reply::Wait(Duration::from_millis(heavy)),
            _ => Reply::Work(10, 200),
        }
    }
    let targets = (0..6).map(|page| Request::get(format!("/a?{page}")));
    let latency = Latency::new("pages", "api", targets)
        .with_options(LatencyOptions {
            block: Some(1),
            min_blocks: 13,
            ..options()
        })
        .with_cap(Duration::from_secs(60));
    let verdict = judged(
        &latency,
        |target, _, _| reply(target, 60),
        |target, _, _| reply(target, 240),
    );
    let findings = findings(verdict.await);
    let heaviest = findings
        .iter()
        .find(|it| it.subject == "the heaviest requests");
    assert_eq!(heaviest.unwrap().id, "latency/slower", "{findings:?}");
}

#[tokio::test]
async fn answers_that_became_errors_fail() {
    fn often(_: &str, number: u32, _: u32) -> Reply {
        Reply::Work(10, if number % 10 == 3 { 500 } else { 200 })
    }
    let cases: [(Behave, u64, &str); 4] = [
        (often, 5000, "status 500, and status 200 of the baseline"),
        (|_, _, _| Reply::Work(10, 404), 5000, "status 404"),
        (
            |_, _, _| Reply::Silence,
            1000,
            "no complete answer within 1s",
        ),
        (|_, _, _| Reply::Close, 5000, "no complete answer: "),
    ];
    for (after, within, example) in cases {
        let client = ClientOptions {
            within: Duration::from_millis(within),
            ..ClientOptions::default()
        };
        let began = Instant::now();
        let findings = findings(
            judged(
                &orders().with_client(client),
                |_, _, _| Reply::Work(10, 200),
                after,
            )
            .await,
        );
        let finding = findings
            .iter()
            .find(|it| it.id == "latency/errors")
            .unwrap();
        assert_eq!(finding.subject, "orders");
        assert!(finding.message.contains("`GET /orders`"), "{finding}");
        assert!(finding.message.contains(example), "{finding}");
        assert!(!format!("{finding:?}").contains("hunter2"), "{finding:?}");
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn a_side_that_is_down_is_an_error_but_for_the_candidate() {
    let (up, down) = (Service::start(usual), Service::down());
    let finding = findings(orders().validate(&beside(&up, &up, &down)).await.unwrap()).remove(0);
    assert_eq!(finding.id, "latency/errors");
    assert!(finding.message.contains("no connection"), "{finding}");
    for cx in [
        beside(&down, &up, &up),
        beside(&up, &down, &up),
        beside(&down, &down, &down),
    ] {
        let error = orders().validate(&cx).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
}

#[tokio::test]
async fn too_few_samples_are_inconclusive() {
    let few = LatencyOptions {
        min_blocks: 100_000,
        cap: Duration::from_millis(400),
        ..options()
    };
    let reason = reason(judged(&orders().with_options(few), usual, slow).await);
    assert!(
        reason.starts_with("GET /orders: too few answers to judge"),
        "{reason}"
    );
}

#[tokio::test]
async fn no_answers_at_all_are_no_pass() {
    let all = |_: &str, _: u32, _: u32| Reply::Work(10, 500);
    let options = LatencyOptions {
        cap: Duration::from_millis(400),
        ..options()
    };
    let reason = reason(judged(&orders().with_options(options), all, all).await);
    let begin = "GET /orders: too few answers to judge; the baseline itself answered ";
    assert!(reason.starts_with(begin), "{reason}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_an_error() {
    let alone = UpgradeContext::new("1", "2");
    assert_eq!(
        orders().validate(&alone).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let cx = start(usual, usual);
    for (latency, kind, text) in [
        (
            Latency::new("x", "web", [Request::get("/")]),
            ErrorKind::NotFound,
            "it offers: api",
        ),
        (
            Latency::new("x", "api", []),
            ErrorKind::InvalidInput,
            "`x` has no requests",
        ),
        (
            orders().with_margin(0.2, 0.1),
            ErrorKind::InvalidInput,
            "`pass_below`",
        ),
    ] {
        let error = latency.validate(&cx).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[tokio::test]
async fn it_ends_before_the_deadline_and_on_cancellation() {
    let forever = LatencyOptions {
        min_time: Duration::from_secs(60),
        cap: Duration::from_secs(60),
        ..options()
    };
    let latency = orders().with_options(forever);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(6);
    let cx = start(usual, usual).with_deadline(deadline);
    let reason = reason(latency.validate(&cx).await.unwrap());
    assert!(reason.contains("too few answers"), "{reason}");
    let token = CancellationToken::new();
    token.cancel();
    let cx = start(usual, usual).with_cancellation(token);
    assert_eq!(
        latency.validate(&cx).await.unwrap_err().kind(),
        ErrorKind::Cancelled
    );
}

#[tokio::test]
async fn every_side_sees_the_same_writes_in_the_same_order() {
    let light: Behave = |_, _, _| Reply::Work(10, 201);
    let [baseline, secondary, candidate] = services(light, light);
    let latency = Latency::new("writes", "api", [])
        .generated("POST /orders", |round| {
            Request::post("/orders").with_body(format!("order {round}"))
        })
        .request("GET /orders/{id}", Request::get("/orders/1"))
        .with_options(options());
    latency
        .validate(&beside(&baseline, &secondary, &candidate))
        .await
        .unwrap();
    let seen = baseline.seen();
    assert_eq!(seen[0], "POST /orders HTTP/1.1 order 0");
    assert_eq!(seen[1], "GET /orders/1 HTTP/1.1 ");
    assert_eq!(seen[2], "POST /orders HTTP/1.1 order 1");
    assert_eq!(seen, secondary.seen());
    assert_eq!(seen, candidate.seen());
}
