//! Services that answer as none should.

use std::time::{Duration, Instant};

use serde_json::json;
use upgrade_core::http::{ClientOptions, Request};
use upgrade_core::replay::{Recording, Replay};
use upgrade_core::{ErrorKind, UpgradeContext, Validator as _, Verdict};

use crate::service::{Call, Reply, Service, context, failed, json as answer, keys, validate};

fn replay(requests: impl IntoIterator<Item = Request>) -> Replay {
    let mut limits = ClientOptions::default();
    limits.within = Duration::from_millis(500);
    limits.at_most = 1_000_000;
    Replay::new("api", "web", Recording::new(requests)).with_client_options(limits)
}

fn well(_: &Call) -> Reply {
    answer(200, &json!({"ok": true}))
}

async fn with(candidate: impl FnMut(&Call) -> Reply + Send + 'static) -> [Service; 3] {
    [
        Service::start(well).await,
        Service::start(well).await,
        Service::start(candidate).await,
    ]
}

#[tokio::test]
async fn a_candidate_that_answers_badly_fails() {
    for (reply, message) in [
        (Reply::Hang(""), "no complete answer within 500ms"),
        (
            Reply::Hang("HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\n{"),
            "no complete answer within 500ms",
        ),
        (Reply::Endless, "an answer of more than 1000000 bytes"),
        (Reply::Close, "no complete answer: "),
        (
            Reply::Full(
                200,
                vec![("content-type", "application/json".to_owned())],
                "{".to_owned(),
            ),
            "200 with a body that is not the JSON it is declared as",
        ),
        (Reply::Full(500, vec![], "oh no".to_owned()), "500"),
    ] {
        let services = with(move |_| reply.clone()).await;
        let began = Instant::now();
        let findings = failed(validate(&replay([Request::get("/a")]), &services).await);
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(
            keys(&findings),
            ["error[api/endpoint-fails] GET /a: status"]
        );
        let text = &findings[0].message;
        let begin =
            format!("it answered 200, and the candidate fails in 2 of 2 answers: {message}");
        assert!(text.starts_with(&begin), "{text}");
    }
}

#[tokio::test]
async fn a_candidate_that_dies_is_at_fault() {
    let services = with(|call| match call.target.as_str() {
        "/deadly" => Reply::Die,
        _ => well(call),
    })
    .await;
    let requests = ["/a", "/deadly", "/b"].map(Request::get);
    let findings = failed(validate(&replay(requests), &services).await);
    let failed =
        ["/b", "/deadly"].map(|path| format!("error[api/endpoint-fails] GET {path}: status"));
    assert_eq!(keys(&findings), failed);
}

#[tokio::test]
async fn a_candidate_that_never_answered_is_no_verdict() {
    let services = with(well).await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let mut services = services;
    services[2].url = url;
    let error = replay([Request::get("/a")])
        .validate(&context(&services))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn redirects_are_answers() {
    let to = |to: &'static str| {
        move |_: &Call| Reply::Full(302, vec![("location", to.to_owned())], String::new())
    };
    let around = || to("/around");
    for (candidate, expected) in [("/around", None), ("/elsewhere", Some("header location"))] {
        let services = [
            Service::start(around()).await,
            Service::start(around()).await,
            Service::start(to(candidate)).await,
        ];
        let verdict = validate(&replay([Request::get("/around")]), &services).await;
        match expected {
            None => assert_eq!(verdict, Verdict::Pass),
            Some(place) => {
                let subject = format!("error[api/answer-differs] GET /around: {place} (request 1)");
                assert_eq!(keys(&failed(verdict)), [subject]);
            }
        }
    }
}

#[tokio::test]
async fn links_to_the_service_are_the_same_on_each_side() {
    let linked = |call: &Call| {
        let host = call.header("host").to_owned();
        answer(
            200,
            &json!({"self": format!("http://{host}/a"), "count": 1}),
        )
    };
    let services = [
        Service::start(linked).await,
        Service::start(linked).await,
        Service::start(linked).await,
    ];
    let replay = replay([Request::get("/a"), Request::get("/a?b")]);
    assert_eq!(validate(&replay, &services).await, Verdict::Pass);
}

#[tokio::test]
async fn without_answers_there_is_no_verdict() {
    let fail = |_: &Call| Reply::Full(503, vec![], String::new());
    let hang = |_: &Call| Reply::Close;
    let inconclusive = |verdict| match verdict {
        Verdict::Inconclusive(reason) => reason,
        other => panic!("{other:?}"),
    };
    let services = with(well).await;
    let none = inconclusive(validate(&replay([]), &services).await);
    assert_eq!(none, "the recording has no requests");
    let services = [
        Service::start(fail).await,
        Service::start(fail).await,
        Service::start(well).await,
    ];
    let failing = inconclusive(validate(&replay([Request::get("/a")]), &services).await);
    assert_eq!(
        failing,
        "the previous release answered none of 1 requests with success"
    );
    let services = [
        Service::start(hang).await,
        Service::start(hang).await,
        Service::start(hang).await,
    ];
    let many = (0..50).map(|of| Request::get(format!("/{of}")));
    let stopped = inconclusive(validate(&replay(many), &services).await);
    assert_eq!(
        stopped,
        "the replay ended at request 5: the last 10 answers of the baseline were not complete"
    );
    let error = replay([Request::get("/a")])
        .validate(&UpgradeContext::new("1", "2"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_is_left_out_is_not_found() {
    let services = with(|_| answer(200, &json!({"ok": false, "more": 1}))).await;
    let requests = || [Request::get("/a")];
    let findings = failed(validate(&replay(requests()), &services).await);
    assert_eq!(
        keys(&findings),
        [
            "note[api/answer-new] GET /a: $.more",
            "error[api/answer-differs] GET /a: $.ok (request 1)",
        ]
    );
    let cx = context(&services);
    let verdict = replay(requests())
        .ignoring("GET /a: $.ok")
        .validate(&cx)
        .await;
    assert_eq!(verdict.unwrap(), Verdict::Pass);
}
