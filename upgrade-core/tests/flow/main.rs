//! Flows of users through services that are written by hand.
#![cfg(feature = "http")]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

#[path = "../replay/service.rs"]
#[expect(dead_code, reason = "the helpers are those of several tests")]
mod service;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use upgrade_core::environment::{Endpoint, Endpoints};
use upgrade_core::flow::{Check, Flow, RunsAt, Step, contains, equals};
use upgrade_core::http::ClientOptions;
use upgrade_core::{ErrorKind, Finding, UpgradeContext, Validator as _, Verdict};

use service::{Call, Reply, Service, context, failed, json as answer};

fn cx(service: &Service) -> UpgradeContext {
    let endpoints = Endpoints::default().with("api", Endpoint::new(service.url.as_str()));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    UpgradeContext::new("1", "2")
        .with_deadline(deadline)
        .with_endpoints(endpoints)
}

fn quick() -> ClientOptions {
    let mut limits = ClientOptions::default();
    limits.within = Duration::from_millis(300);
    limits.at_most = 1_000_000;
    limits
}

/// A shop with orders that are written and read, and a login.
fn shop() -> impl FnMut(&Call) -> Reply + Send + 'static {
    let mut orders: BTreeMap<String, String> = BTreeMap::new();
    let mut asked = 0;
    move |call| match (call.method.as_str(), call.target.as_str()) {
        ("POST", "/login") => {
            let cookie = ("set-cookie", "sid=canary-session; Path=/".to_owned());
            Reply::Full(204, vec![cookie], String::new())
        }
        ("POST", "/orders") => {
            let id = format!("o-{}", orders.len());
            orders.insert(id.clone(), call.body.clone());
            answer(201, &json!({"id": id}))
        }
        ("GET", "/mine") if call.header("cookie") == "sid=canary-session" => {
            answer(200, &json!({"user": "ada", "orders": orders.len()}))
        }
        ("GET", "/mine") => answer(401, &json!({"error": "canary-session expected"})),
        ("GET", "/slowly") => {
            asked += 1;
            answer(200, &json!({"ready": asked > 3}))
        }
        ("GET", target) => match orders.get(target.trim_start_matches("/orders/")) {
            Some(body) => Reply::Full(200, vec![], body.clone()),
            None => answer(404, &json!({})),
        },
        ("DELETE", target) => {
            let gone = orders.remove(target.trim_start_matches("/orders/"));
            answer(if gone.is_some() { 204 } else { 404 }, &json!({}))
        }
        _ => answer(405, &json!({})),
    }
}

async fn verdict(flow: &Flow, service: &Service) -> Verdict {
    flow.validate(&cx(service)).await.unwrap()
}

fn only(verdict: Verdict) -> Finding {
    let mut findings = failed(verdict);
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

#[tokio::test]
async fn values_and_cookies_go_from_step_to_step() {
    let service = Service::start(shop()).await;
    let flow = Flow::new("an order is placed")
        .with("customer", "Ada")
        .step(Step::post("login", "api", "/login").status(204))
        .step(
            Step::post("place", "api", "/orders")
                .json(json!({"customer": "{{customer}}", "note": "of {{unique}}"}))
                .status(201)
                .capture("id", "$.id"),
        )
        .step(
            Step::get("read", "api", "/orders/{{id}}")
                .check("$.customer", equals("{{customer}}"))
                .check("$.note", contains("of "))
                .check("$.paid", Check::Absent),
        )
        .step(Step::get("mine", "api", "/mine").check("$.orders", Check::AtLeast(1.0)))
        .always(Step::delete("remove", "api", "/orders/{{id}}").status(204));
    for _ in 0..2 {
        assert_eq!(verdict(&flow, &service).await, Verdict::Pass);
    }
    let left = Flow::new("nothing stays").step(Step::get("read", "api", "/orders/o-0").status(404));
    assert_eq!(verdict(&left, &service).await, Verdict::Pass);
}

#[tokio::test]
async fn the_first_step_that_fails_ends_the_flow_but_not_its_cleaning() {
    let service = Service::start(shop()).await;
    let flow = Flow::new("an order is placed")
        .step(
            Step::post("place", "api", "/orders")
                .json(json!({"total": 7}))
                .capture("id", "$.id"),
        )
        .step(Step::get("read", "api", "/orders/{{id}}").check("$.total", equals("7")))
        .step(Step::get("never", "api", "/nowhere"))
        .always(Step::delete("remove", "api", "/orders/{{id}}"))
        .always(Step::get("not captured", "api", "/orders/{{other}}"))
        .step(Step::get("later", "api", "/mine").capture("other", "$.user"));
    let finding = only(verdict(&flow, &service).await);
    assert_eq!(finding.id, "flow/step-failed");
    assert_eq!(finding.subject, "an order is placed: read");
    assert_eq!(finding.message, r#"`$.total` is 7, and must be "7""#);
    let evidence = finding.evidence.unwrap();
    assert!(
        evidence.starts_with("curl --include 'http://127.0.0.1:"),
        "{evidence}"
    );
    let gone =
        Flow::new("it was removed").step(Step::get("read", "api", "/orders/o-0").status(404));
    assert_eq!(verdict(&gone, &service).await, Verdict::Pass);
}

#[tokio::test]
async fn what_another_service_does_later_is_waited_for() {
    let service = Service::start(shop()).await;
    let ready = |within| {
        Flow::new("ready").step(
            Step::get("ready", "api", "/slowly")
                .check("$.ready", equals(true))
                .within(within),
        )
    };
    let finding = only(verdict(&ready(Duration::ZERO), &service).await);
    assert!(
        finding.message.contains("is false, and must be true"),
        "{finding}"
    );
    assert_eq!(
        verdict(&ready(Duration::from_secs(20)), &service).await,
        Verdict::Pass
    );
}

#[tokio::test]
async fn a_request_that_writes_is_sent_once_unless_it_may_be_repeated() {
    let service = Service::start(shop()).await;
    let place = Step::post("place", "api", "/orders")
        .json(json!({}))
        .check("$.id", equals("o-3"))
        .within(Duration::from_secs(20));
    only(verdict(&Flow::new("once").step(place.clone()), &service).await);
    let again = Flow::new("again").step(place.repeatable());
    assert_eq!(verdict(&again, &service).await, Verdict::Pass);
}

#[tokio::test]
async fn a_step_of_one_release_runs_at_that_one_alone() {
    let service = Service::start(shop()).await;
    let flow = Flow::new("both")
        .step(Step::get("old", "api", "/nowhere").only_at(RunsAt::Previous))
        .step(Step::get("new", "api", "/slowly").only_at(RunsAt::New));
    only(verdict(&flow, &service).await);
    let upgraded = cx(&service).with_upgraded(true);
    assert_eq!(flow.validate(&upgraded).await.unwrap(), Verdict::Pass);
    let none = Flow::new("none").step(Step::get("new", "api", "/").only_at(RunsAt::New));
    let verdict = verdict(&none, &service).await;
    assert!(matches!(verdict, Verdict::Inconclusive(_)), "{verdict:?}");
}

#[tokio::test]
async fn a_service_that_answers_badly_is_found_and_never_waited_for() {
    for (reply, message) in [
        (Reply::Hang(""), "no complete answer within 300ms"),
        (Reply::Endless, "an answer of more than 1000000 bytes"),
        (Reply::Close, "no complete answer: "),
    ] {
        let service = Service::start(move |_| reply.clone()).await;
        let flow = Flow::new("read")
            .with_options(quick())
            .step(Step::get("read", "api", "/a"));
        let began = Instant::now();
        let finding = only(verdict(&flow, &service).await);
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(finding.id, "flow/no-answer");
        assert!(finding.message.contains(message), "{finding}");
    }
    let service = Service::start(|_| Reply::Full(200, vec![], "{".to_owned())).await;
    let flow = Flow::new("read").step(Step::get("read", "api", "/a").check("$.a", Check::Exists));
    let finding = only(verdict(&flow, &service).await);
    assert_eq!(finding.message, "the body is not JSON");
    let loops = |_: &Call| Reply::Full(302, vec![("location", "/a".to_owned())], String::new());
    let service = Service::start(loops).await;
    let flow = Flow::new("read")
        .step(Step::get("read", "api", "/a").check_header("location", equals("/a")));
    assert_eq!(verdict(&flow, &service).await, Verdict::Pass);
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_an_error() {
    let service = Service::start(shop()).await;
    let cx = cx(&service);
    drop(service);
    let flow = Flow::new("read").step(Step::get("read", "api", "/a"));
    // The port is closed when the task of the service has ended.
    let error = loop {
        match flow.validate(&cx).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => break error,
            _ => tokio::task::yield_now().await,
        }
    };
    assert!(format!("{error:?}").contains("step: read"), "{error:?}");
}

#[tokio::test]
async fn a_flow_that_cannot_be_run_is_refused_before_its_first_request() {
    let service = Service::start(|_| panic!("nothing is sent")).await;
    for (flow, message) in [
        (
            Flow::new("f").step(Step::get("read", "api", "/{{id}}")),
            "step `read` of flow `f` needs `{{id}}`",
        ),
        (
            Flow::new("f")
                .step(Step::get("read", "api", "/").check("$.a", equals("{{later}}")))
                .step(Step::get("capture", "api", "/").capture("later", "$.b")),
            "needs `{{later}}`",
        ),
        (
            Flow::new("f").step(Step::get("read", "api", "/").check("total", Check::Exists)),
            "`total` is no JSONPath",
        ),
    ] {
        let error = flow.validate(&cx(&service)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(message), "{error}");
    }
    let elsewhere = Flow::new("f").step(Step::get("read", "web", "/"));
    let error = elsewhere.validate(&cx(&service)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn secrets_are_in_no_finding() {
    let service = Service::start(shop()).await;
    let flow = Flow::new("mine")
        .with_secret("key", "canary-key")
        .step(Step::post("login", "api", "/login").status(204))
        .step(
            Step::get("mine", "api", "/mine?key={{key}}")
                .header("authorization", "Bearer {{key}}")
                .check("$.user", equals("grace")),
        );
    let finding = only(verdict(&flow, &service).await);
    let evidence = finding.evidence.unwrap();
    assert!(evidence.contains("authorization: ***"), "{evidence}");
}

#[tokio::test]
async fn a_line_counts_that_was_written_since_the_flow_began() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("worker.log");
    std::fs::write(&log, "printed o-1\n").unwrap();
    let written = log.clone();
    let service = Service::start(move |_| {
        let mut text = std::fs::read_to_string(&written).unwrap();
        text.push_str("printed o-2\n");
        std::fs::write(&written, text).unwrap();
        answer(200, &json!({}))
    })
    .await;
    let endpoint = Endpoint::new(format!("file://{}", log.display()));
    let endpoints = cx(&service)
        .endpoints()
        .clone()
        .with("worker.log", endpoint);
    let cx = cx(&service).with_endpoints(endpoints);
    for (text, passes) in [("printed o-2", true), ("printed o-1", false)] {
        let flow = Flow::new("printed")
            .step(Step::get("work", "api", "/"))
            .step(Step::line("printed", "worker.log", text));
        assert_eq!(
            flow.validate(&cx).await.unwrap().is_pass(),
            passes,
            "{text}"
        );
    }
}

#[tokio::test]
async fn only_what_differs_more_than_noise_is_found_between_releases() {
    let mut number = 0;
    let service = |total: serde_json::Value| {
        move |_: &Call| {
            number += 1;
            answer(200, &json!({"total": total, "request": number}))
        }
    };
    let old = json!("12.50");
    for (new, ids) in [
        (old.clone(), vec![]),
        (json!(12.5), vec!["api/answer-type-changed"]),
        (json!("12.5"), vec!["api/answer-differs"]),
    ] {
        let services = [
            Service::start(service(old.clone())).await,
            Service::start(service(old.clone())).await,
            Service::start(service(new)).await,
        ];
        let flow = Flow::new("read").step(Step::get("read", "web", "/orders/{{unique}}"));
        let verdict = flow.compare().validate(&context(&services)).await.unwrap();
        let found = match verdict {
            Verdict::Pass => Vec::new(),
            verdict => failed(verdict),
        };
        let errors = found.iter().filter(|finding| finding.fails());
        assert_eq!(
            errors.map(|finding| &finding.id).collect::<Vec<_>>(),
            ids,
            "{found:?}"
        );
        assert!(found.iter().all(|finding| {
            finding
                .subject
                .as_str()
                .starts_with("GET /orders/{unique}: ")
        }));
    }
}

#[tokio::test]
async fn a_flow_that_fails_on_the_previous_release_says_nothing_about_the_new_one() {
    let well = |_: &Call| answer(200, &json!({}));
    let ill = |_: &Call| answer(500, &json!({}));
    let services = [
        Service::start(ill).await,
        Service::start(well).await,
        Service::start(well).await,
    ];
    let flow = Flow::new("read").step(Step::get("read", "web", "/"));
    let verdict = flow.compare().validate(&context(&services)).await.unwrap();
    assert!(matches!(verdict, Verdict::Inconclusive(_)), "{verdict:?}");
    let services = [
        Service::start(well).await,
        Service::start(well).await,
        Service::start(ill).await,
    ];
    let findings = failed(flow.compare().validate(&context(&services)).await.unwrap());
    assert_eq!(findings[0].subject, "read: read");
}
