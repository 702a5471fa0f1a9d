//! Programs that do not run as they should: a port that is taken, a service that ends in the middle.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use upgrade_core::environment::Program;
use upgrade_core::http::Request;
use upgrade_core::replay::{Recording, Replay};
use upgrade_core::{CommandLine, Report, Scenario};
use upgrade_testkit::Rehearsal;

use crate::defects::{errors, upgraded};
use crate::system::{SUBTLE, V1, list, speed};

/// A rehearsal in which another one listens on the port of the service at its first starts.
async fn taken(starts: usize) -> upgrade_core::Result<Report> {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let api = Program::new("api", move |at| {
        let mut taken = taken.lock().unwrap();
        if taken.len() < starts {
            taken.push(TcpListener::bind(("127.0.0.1", at.port)).unwrap());
        }
        CommandLine::new(V1)
            .with_args(["serve", ""])
            .with_env("PROXY", "no")
            .with_env("LISTEN", format!("127.0.0.1:{}", at.port))
    });
    Rehearsal::new("orders")
        .unwrap()
        .migrations(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
        .from("0001")
        .scenario(Scenario::Control)
        .program(api)
        .report()
        .await
}

/// The first to listen takes connections: who is ready must not be told by that.
#[tokio::test]
async fn a_program_whose_port_is_taken_gets_another_one() {
    let report = taken(2).await.unwrap();
    assert!(report.passed, "{report}");
}

#[tokio::test]
async fn a_port_that_is_taken_each_time_is_an_error_that_names_who_has_it() {
    let error = format!("{:?}", taken(usize::MAX).await.unwrap_err());
    let of_me = format!(
        "another process ({}) listens on its port",
        std::process::id()
    );
    assert!(
        error.contains("program `api` did not become ready") && error.contains(&of_me),
        "{error}"
    );
}

#[tokio::test]
async fn a_release_that_ends_in_the_middle_fails_each_comparison() {
    let report = upgraded(SUBTLE, "dies", |rehearsal| rehearsal.flow(list())).await;
    assert_eq!(
        errors(&report),
        ["soak flow/no-answer orders are listed: list"],
        "{report}"
    );
    // These run on the sides alone.
    let listed = Recording::new([Request::get("/ready"), Request::get("/v1/orders")]);
    let lists = Replay::new("lists", "api", listed);
    let report = upgraded(SUBTLE, "dies", |rehearsal| rehearsal.api(lists)).await;
    assert_eq!(
        errors(&report),
        ["soak api/endpoint-fails GET /v1/orders: status"],
        "{report}"
    );
    let report = upgraded(SUBTLE, "dies", |rehearsal| rehearsal.latency(speed())).await;
    assert_eq!(
        errors(&report),
        ["soak latency/errors orders are listed as fast"],
        "{report}"
    );
}
