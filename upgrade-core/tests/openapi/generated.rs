//! Generated requests keep to their description.

use proptest::prelude::*;
use serde_json::{Value, json};
use upgrade_core::http::{Answer, Broken, Exchange, Request};
use upgrade_core::openapi::{Contract, Description, requests_of};

use crate::corpus::{base, cases, described, patch};
use crate::laws::schema;

fn valid(description: &Description, requests: &[Request]) {
    let contract = Contract::new(description);
    for request in requests {
        let exchange = Exchange {
            request: request.clone(),
            answer: Answer::Broken(Broken::Large(0)),
        };
        assert_eq!(contract.check(&exchange), [], "{request:?}");
    }
}

#[test]
fn requests_are_valid_and_the_same_for_a_seed() {
    let description = described("base", &base());
    let requests = requests_of(&description, 7, 60);
    assert_eq!(requests.len(), 60);
    valid(&description, &requests);
    assert_eq!(requests, requests_of(&description, 7, 60));
    assert_ne!(requests, requests_of(&description, 8, 60));
    // Reads first, and each of the six operations.
    let first_write = requests
        .iter()
        .position(|request| !request.is_safe())
        .unwrap();
    assert!(
        requests[first_write..]
            .iter()
            .all(|request| !request.is_safe())
    );
    for method in [
        "GET /orders?",
        "GET /orders/",
        "GET /values",
        "POST /orders",
        "DELETE /orders/",
        "PUT /values",
    ] {
        let has = |request: &&Request| request.to_string().starts_with(method);
        assert!(requests.iter().filter(has).count() > 1, "{method}");
    }
    let bodies = requests
        .iter()
        .filter(|request| request.method == "POST" && !request.body.is_empty());
    let mut bodies: Vec<Value> = bodies.map(|request| request.json().unwrap()).collect();
    let all = bodies.len();
    bodies.dedup();
    assert!(all > 4 && bodies.len() > all / 2, "{bodies:?}");
}

#[test]
fn every_description_of_the_corpus_has_requests() {
    for case in cases() {
        let description = described(&case.name, &case.new);
        let requests = requests_of(&description, 1, 12);
        // Patterns and `not` can leave an operation out, never all.
        assert_eq!(requests.len(), 12, "{}", case.name);
        valid(&description, &requests);
    }
}

#[test]
fn an_operation_without_a_valid_request_is_left_out() {
    let mut value = base();
    patch(
        &mut value,
        &json!({"components": {"schemas": {"Value": {"pattern": "^[0-9]{7}$"}}}}),
    );
    let requests = requests_of(&described("base", &value), 1, 40);
    assert_eq!(requests.len(), 40);
    assert!(requests.iter().all(|request| request.method != "PUT"));
    let alone = json!({
        "openapi": "3.1.0", "info": {"title": "a", "version": "1"},
        "paths": {"/values": value["paths"]["/values"]}, "components": value["components"],
    });
    let mut alone = alone;
    alone["paths"]["/values"]
        .as_object_mut()
        .unwrap()
        .remove("get");
    assert_eq!(requests_of(&described("alone", &alone), 1, 5), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_of_any_schema_are_valid(schema in schema(), seed in any::<u64>()) {
        let mut value = base();
        value["components"]["schemas"]["Value"] = schema;
        let description = described("generated", &value);
        valid(&description, &requests_of(&description, seed, 12));
    }
}
