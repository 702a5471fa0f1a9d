//! What must work for users, on both releases.

use serde_json::json;
use upgrade_core::flow::{Check, Flow, Step, equals};
use upgrade_core::http::Request;
use upgrade_core::latency::Latency;

use crate::client::{PROXY, authorization};
use crate::users::ORDERS;

/// A bucket and a record are made, read, listed and removed.
pub(crate) fn life() -> Flow {
    let bucket = "/v1/buckets/{{unique}}";
    let records = format!("{bucket}/collections/tasks/records");
    let steps = [
        Step::put("make a bucket", PROXY, bucket).status(201),
        Step::put(
            "make a collection",
            PROXY,
            format!("{bucket}/collections/tasks"),
        )
        .status(201),
        Step::post("make a record", PROXY, &records)
            .json(json!({"data": {"title": "first", "done": false}}))
            .status(201)
            .capture("id", "$.data.id"),
        Step::get("read it", PROXY, format!("{records}/{{{{id}}}}"))
            .check("$.data.title", equals("first")),
        Step::request("change it", "PATCH", PROXY, format!("{records}/{{{{id}}}}"))
            .json(json!({"data": {"done": true}}))
            .check("$.data.done", equals(true)),
        Step::get(
            "list what is done",
            PROXY,
            format!("{records}?done=true&_sort=title"),
        )
        .check("$.data", Check::Counts(1)),
    ];
    let steps = steps.into_iter().map(of_alice);
    let flow = steps.fold(Flow::new("a record is made and found"), Flow::step);
    flow.always(of_alice(Step::delete("remove the bucket", PROXY, bucket)))
}

/// What was there from the beginning is found.
pub(crate) fn orders() -> Flow {
    let one = Step::get("one", PROXY, format!("{ORDERS}/order-00002"));
    let sent = Step::get(
        "those that were sent",
        PROXY,
        format!("{ORDERS}?state=sent"),
    );
    Flow::new("orders are found")
        .step(of_alice(one).check("$.data.state", equals("sent")))
        .step(of_alice(sent).check("$.data[0].state", equals("sent")))
}

/// What users do all the time: a record is added and read.
pub(crate) fn visit() -> Flow {
    let target = "/v1/buckets/shop/collections/visits/records/{{unique}}";
    let added = Step::put("add", PROXY, target).json(json!({"data": {"page": "{{unique}}"}}));
    let read = Step::get("read", PROXY, target);
    Flow::new("visits are added")
        .step(of_alice(added).status(201))
        .step(of_alice(read).check("$.data.page", equals("{{unique}}")))
}

/// How fast records are listed.
pub(crate) fn speed() -> Latency {
    let request = |query: &str| {
        Request::get(format!("{ORDERS}{query}"))
            .with_header("authorization", authorization("alice"))
    };
    Latency::new("orders are listed as fast", PROXY, [])
        .request("a list", request(""))
        .request("a filtered list", request("?state=paid&_sort=-total"))
}

fn of_alice(step: Step) -> Step {
    step.header("authorization", authorization("alice"))
}
