//! The system as programs of this machine, and what its users do.

use std::time::Duration;

use serde_json::json;
use upgrade_core::CommandLine;
use upgrade_core::browser::{Browser, Page};
use upgrade_core::environment::{Placement, Program};
use upgrade_core::flow::{Flow, Step, equals};
use upgrade_core::http::Request;
use upgrade_core::latency::Latency;
use upgrade_core::postgres::Observer;
use upgrade_core::replay::{Recording, Replay};
use upgrade_testkit::Rehearsal;
use upgrade_testkit::proptest::strategy::{Just, Strategy as _};

pub(crate) const V1: &str = env!("CARGO_BIN_EXE_orders-v1");
pub(crate) const V2: &str = env!("CARGO_BIN_EXE_orders-v2");
pub(crate) const SUBTLE: &str = env!("CARGO_BIN_EXE_orders-subtle");

/// The system, to be upgraded to a program of release 2, which may have some of the defects of
/// `releases/subtle.rs`.
pub(crate) fn system(rehearsal: Rehearsal, new: &'static str, breaks: &'static str) -> Rehearsal {
    let program = move |at: &Placement, does: &str| {
        let path = if at.upgraded { new } else { V1 };
        CommandLine::new(path)
            .with_args([does, breaks])
            .with_env("PROXY", "no")
            .with_env("LISTEN", format!("127.0.0.1:{}", at.port))
    };
    let jobs = "the worker does jobs while rows are compared";
    rehearsal
        .program(
            Program::new("api", move |at| program(at, "serve"))
                .with_ready_at("/ready")
                .with_instances(2),
        )
        .program(Program::new("worker", move |at| program(at, "work")).without_port())
        .seed_with(|seeder| {
            let seeder = seeder.skip("outbox").skip("receipts");
            seeder
                .column("orders.labels", Just(r#"{"channel": "shop"}"#))
                .column(
                    "orders.total",
                    (1..100_000).prop_map(|cents| format!("{}.{:02}", cents / 100, cents % 100)),
                )
        })
        .observer(
            Observer::default()
                .without_table("public", "outbox", jobs)
                .without_table("public", "receipts", jobs),
        )
}

/// An order is placed, read, and printed by the worker.
pub(crate) fn checkout() -> Flow {
    Flow::new("an order is placed, read and printed")
        .step(
            Step::put("place", "api", "/v1/orders/{{unique}}")
                .json(json!({
                    "id": "{{unique}}", "customer": "Ada", "total": "12.50",
                    "labels": {"channel": "phone"},
                }))
                .status(201),
        )
        .step(
            Step::get("read", "api", "/v1/orders/{{unique}}")
                .check("$.total", equals("12.50"))
                .check("$.labels.channel", equals("phone")),
        )
        .step(
            Step::get("its receipt", "api", "/v1/orders/{{unique}}/receipt")
                .check("$.line", upgrade_core::flow::contains("Ada"))
                .within(Duration::from_secs(5)),
        )
        .step(
            Step::query(
                "its receipt in the database",
                "select times from receipts where order_id = $1",
            )
            .parameter("{{unique}}")
            .check("$[0].times", equals(1)),
        )
}

/// People look at their orders.
pub(crate) fn list() -> Flow {
    Flow::new("orders are listed").step(Step::get("list", "api", "/v1/orders"))
}

/// How fast orders are listed.
pub(crate) fn speed() -> Latency {
    Latency::new(
        "orders are listed as fast",
        "api",
        [Request::get("/v1/orders")],
    )
}

/// Enough orders that a worker which drops one job in a thousand drops one.
pub(crate) fn many_orders() -> Replay {
    let order = |number: u32| {
        let id = format!("zz-{number:05}");
        let order = json!({"id": id, "customer": "Grace", "total": "7.00", "labels": {}});
        Request::new("PUT", format!("/v1/orders/{id}")).with_json(&order)
    };
    let placed = Recording::new((0..1_200).map(order));
    Replay::new("every order is worked on", "api", placed)
        .with_template("/v1/orders/{id}")
        .settled_when_empty("select from outbox")
        // Release 2 prints cents and the channel.
        .ignoring("column public.receipts.line")
}

/// A person places an order.
pub(crate) fn order_page(browser: &Browser) -> Page {
    browser
        .page("orders", "api", "/")
        .mask("#clock")
        .fill("#customer", "Ada")
        .fill("#total", "12.50")
        .click("#place")
        .wait_for_text("#message", "Thank you, Ada")
}
