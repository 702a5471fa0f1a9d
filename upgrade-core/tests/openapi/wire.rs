//! Exchanges checked by a description, and the traffic of two releases by both.

use serde_json::{Value, json};
use upgrade_core::Finding;
use upgrade_core::finding::Severity;
use upgrade_core::http::{Answer, Broken, Exchange, Request, Response};
use upgrade_core::openapi::{About, Contract};

use crate::corpus::{base, described, patch};

fn contract(change: &Value) -> Contract {
    let mut value = base();
    patch(&mut value, change);
    Contract::new(&described("api.json", &value))
}

fn exchange(request: Request, response: Response) -> Exchange {
    Exchange {
        request,
        answer: Answer::Complete(response),
    }
}

fn order() -> Value {
    json!({"id": "7", "state": "open", "price": 1.5, "lines": [{"sku": "a", "quantity": 1}]})
}

/// What is violated, without the operation.
fn check(contract: &Contract, request: Request, response: Response) -> Vec<String> {
    let violations = contract.check(&exchange(request, response));
    let lines = violations
        .iter()
        .map(|one| format!("{}: {} ({})", one.place, one.message, one.rule));
    lines.collect()
}

#[test]
fn each_part_of_an_exchange_is_checked() {
    let contract = contract(&json!({}));
    let get = || Request::get("/orders/7");
    let ok = |body: &Value| Response::new(200).with_json(body);
    let none: [&str; 0] = [];
    assert_eq!(check(&contract, get(), ok(&order())), none);
    // The path of a server that the description names.
    assert_eq!(
        check(&contract, Request::get("/v1/orders/7"), ok(&order())),
        none
    );

    let mut wrong = order();
    wrong["price"] = json!("1.5");
    wrong["lines"] = json!([{"sku": "a", "quantity": 0}, {"sku": 5, "quantity": 0}]);
    wrong["state"] = json!("lost");
    wrong.as_object_mut().unwrap().remove("id");
    assert_eq!(
        check(&contract, get(), ok(&wrong)),
        [
            "response 200 application/json $: \"id\" is a required property (required)",
            "response 200 application/json $.lines[].quantity: the value is less than the minimum of 1 (minimum)",
            "response 200 application/json $.lines[].sku: the value is not of type \"string\" (type)",
            "response 200 application/json $.price: the value is not of type \"number\" (type)",
            "response 200 application/json $.state: the value is not one of \"open\" or \"paid\" (enum)",
        ]
    );
    for (response, should) in [
        (
            Response::new(410),
            "response 410: the status 410 is not described (status)",
        ),
        (
            Response::new(200),
            "response 200: a body is described, and there is none (body)",
        ),
        (
            Response::new(200)
                .with_header("content-type", "text/html")
                .with_body("<p>"),
            "response 200: the media type `text/html` is not described (media-type)",
        ),
        (
            Response::new(200)
                .with_header("content-type", "application/json; charset=utf-8")
                .with_body("{"),
            "response 200 application/json $: the body is not JSON (body)",
        ),
    ] {
        assert_eq!(check(&contract, get(), response), [should]);
    }
}

#[test]
fn requests_and_headers_are_checked() {
    let contract = contract(&json!({
        "paths": {"/orders": {"get": {"parameters": [
            {"name": "page", "in": "query", "required": true, "schema": {"type": "integer", "minimum": 1}},
            {"name": "state", "in": "query", "schema": {"type": "array", "items": {"enum": ["open", "paid"]}}},
            {"name": "ids", "in": "query", "explode": false, "schema": {"type": "array", "items": {"type": "integer"}}},
            {"name": "filter", "in": "query", "style": "deepObject", "required": true, "schema": {"type": "object"}},
            {"name": "X-Trace", "in": "header", "schema": {"type": "string", "format": "uuid"}},
            {"name": "theme", "in": "cookie", "schema": {"enum": ["dark"]}},
        ]}}}
    }));
    let answer = || {
        Response::new(200)
            .with_header("x-total", "1")
            .with_json(&json!({"items": [order()]}))
    };
    let none: [&str; 0] = [];
    let fine = Request::get("/orders?page=2&state=open&state=paid&ids=1,2&other=x")
        .with_header("X-Trace", "7f3f4f86-7c6f-4a0c-9e8f-1c1f0a0b0c0d")
        .with_header("cookie", "a=b; theme=dark");
    assert_eq!(check(&contract, fine, answer()), none);
    let wrong = Request::get("/orders?page=0&state=open&state=lost&ids=1,x")
        .with_header("X-Trace", "7")
        .with_header("cookie", "theme=light");
    assert_eq!(
        check(&contract, wrong, answer()),
        [
            "cookie parameter theme: the value is not one of \"dark\" (enum)",
            "header parameter X-Trace: the value is not a \"uuid\" (format)",
            "query parameter ids $[]: the value is not of type \"integer\" (type)",
            "query parameter page: the value is less than the minimum of 1 (minimum)",
            "query parameter state $[]: the value is not one of \"open\" or \"paid\" (enum)",
        ]
    );
    let text = Request::get("/orders?page=two");
    assert_eq!(
        check(
            &contract,
            text,
            Response::new(200).with_json(&json!({"items": []}))
        ),
        [
            "query parameter page: the value is not of type \"integer\" (type)",
            "response 200 header x-total: a required header is missing (header)",
        ]
    );
    assert_eq!(
        check(&contract, Request::get("/orders"), Response::new(400)),
        ["query parameter page: a required parameter is missing (parameter)"]
    );
    let post = |body: &Value| Request::post("/orders").with_json(body);
    let created = || Response::new(201).with_json(&order());
    assert_eq!(
        check(
            &contract,
            post(&json!({"lines": [{"sku": "a", "quantity": 1}]})),
            created()
        ),
        none
    );
    assert_eq!(
        check(&contract, post(&json!({"lines": []})), created()),
        ["request application/json $.lines: the value has less than 1 item (minItems)"]
    );
    assert_eq!(
        check(&contract, Request::post("/values"), created()),
        ["request: the description has no such operation (operation)"]
    );
    assert_eq!(
        check(
            &contract,
            Request::new("PUT", "/values"),
            Response::new(204)
        ),
        ["request: a required body is missing (body)"]
    );
}

#[test]
fn read_only_and_write_only_properties_may_be_missing_where_nobody_sends_them() {
    let schema = json!({
        "type": "object", "required": ["id", "secret"],
        "properties": {"id": {"type": "string", "readOnly": true}, "secret": {"type": "string", "writeOnly": true}},
    });
    let contract = contract(&json!({"components": {"schemas": {"Value": schema}}}));
    let none: [&str; 0] = [];
    let put = Request::new("PUT", "/values").with_json(&json!({"secret": "x"}));
    assert_eq!(check(&contract, put, Response::new(204)), none);
    let answer = Response::new(200).with_json(&json!({"id": "x"}));
    assert_eq!(check(&contract, Request::get("/values"), answer), none);
    let answer = Response::new(200).with_json(&json!({"secret": "x"}));
    assert_eq!(check(&contract, Request::get("/values"), answer).len(), 1);
}

#[test]
fn what_cannot_be_checked_is_said() {
    let contract = contract(
        &json!({"components": {"schemas": {"Value": {"type": "string", "pattern": "("}}}}),
    );
    let answer = Response::new(200).with_json(&json!("x"));
    let found = contract.check(&exchange(Request::get("/values"), answer));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].about, About::NotChecked);
}

#[test]
fn a_long_chain_of_schemas_does_not_overflow() {
    for (length, is_checked) in [(1_900, true), (10_000, false)] {
        let mut schemas = serde_json::Map::new();
        for n in 0..length {
            let next = format!("#/components/schemas/s{}", n + 1);
            schemas.insert(
                format!("s{n}"),
                json!({"properties": {"a": {"$ref": next}}}),
            );
        }
        schemas.insert(format!("s{length}"), json!({"type": "string"}));
        let mut value = base();
        patch(&mut value, &json!({"components": {"schemas": schemas}}));
        value["components"]["schemas"]["Value"] = json!({"$ref": "#/components/schemas/s0"});
        let contract = Contract::new(&described("api.json", &value));
        let answer = Response::new(200).with_json(&json!({"a": {"a": "x"}}));
        let found = contract.check(&exchange(Request::get("/values"), answer));
        assert_eq!(found.is_empty(), is_checked, "{found:?}");
    }
}

fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// Nine reads of an order, of which the last ones have another price.
fn reads(price: &Value, others: usize) -> Vec<Exchange> {
    let read = |n: usize| {
        let mut body = order();
        if n >= 9 - others {
            body["price"] = price.clone();
        }
        let request =
            Request::get(format!("/orders/{n}")).with_header("authorization", "Bearer hunter2");
        exchange(request, Response::new(200).with_json(&body))
    };
    (0..9).map(read).collect()
}

#[test]
fn an_answer_is_judged_by_both_descriptions() {
    use upgrade_core::openapi::judge_wire;

    let old = contract(&json!({}));
    let new = contract(
        &json!({"components": {"schemas": {"Order": {"properties": {"price": {"type": ["number", "null"]}}}}}}),
    );
    let fine = reads(&json!(2), 9);
    assert_eq!(judge_wire(&old, &new, &fine, &fine), []);

    // The new description allows it; clients of the old one cannot read it.
    let found = judge_wire(&old, &new, &fine, &reads(&Value::Null, 7));
    assert_eq!(
        lines(&found),
        [
            "error[api/answer-breaks-old-clients] GET /orders/{id} response 200 application/json $.price: \
          the value is not of type \"number\", in 7 of 9 answers (rule type)"
        ]
    );
    let evidence = found[0].evidence.as_deref().unwrap();
    assert!(
        evidence.contains("https://orders.example.org/v1/orders/2'")
            && !evidence.contains("hunter2"),
        "{evidence}"
    );

    // Nobody allows it.
    let found = judge_wire(&old, &new, &fine, &reads(&json!("2"), 1));
    let ids: Vec<&str> = found.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "api/answer-breaks-description",
            "api/answer-breaks-old-clients"
        ]
    );
    assert!(
        found[0].message.contains("in 1 of 9 answers"),
        "{}",
        found[0].message
    );

    // The old release did it, too.
    let found = judge_wire(&old, &new, &reads(&json!("2"), 2), &reads(&json!("2"), 5));
    assert_eq!(
        lines(&found),
        [
            "note[api/baseline-breaks-description] GET /orders/{id} response 200 application/json $.price: \
          the value is not of type \"number\", in 2 of 9 answers (rule type)"
        ]
    );
}

#[test]
fn a_request_of_an_old_client_is_judged_by_the_new_description() {
    use upgrade_core::openapi::judge_wire;

    let old = contract(&json!({}));
    let new = contract(&json!({
        "paths": {"/orders/{id}": {"delete": null}},
        "components": {"schemas": {"Line": {"properties": {"sku": {"maxLength": 2}}}}},
    }));
    let post = |sku: &str| {
        let body = json!({"lines": [{"sku": sku, "quantity": 1}], "note": 5});
        exchange(
            Request::post("/orders").with_json(&body),
            Response::new(201).with_json(&order()),
        )
    };
    let delete = exchange(Request::new("DELETE", "/orders/7"), Response::new(204));
    let health = |n: usize| exchange(Request::get(format!("/health/{n}")), Response::new(200));
    let broken = Exchange {
        request: Request::get("/orders/7"),
        answer: Answer::Broken(Broken::Large(1)),
    };
    let sent = [post("a"), post("abc"), delete, health(1), health(2), broken];
    let found = judge_wire(&old, &new, &sent, &[]);
    assert_eq!(
        lines(&found),
        [
            "error[api/request-refused-by-description] DELETE /orders/{} request: \
             the description has no such operation, in 1 of 1 requests (rule operation)",
            "error[api/request-refused-by-description] POST /orders request application/json $.lines[].sku: \
             the value is longer than 2 characters, in 1 of 2 requests (rule maxLength)",
            "note[api/not-described] GET /health/{} request: \
             the description has no such operation, in 2 of 2 requests (rule operation)",
        ]
    );
    assert!(
        found
            .iter()
            .all(|finding| finding.severity != Severity::Warning)
    );
}
