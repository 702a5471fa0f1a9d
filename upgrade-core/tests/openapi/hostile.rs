//! No text makes the library panic: each place of a description replaced by what must not stand there.

use serde_json::{Value, json};
use upgrade_core::http::{Answer, Exchange, Request, Response};
use upgrade_core::openapi::{Contract, Description, compare, requests_of};

use crate::corpus::{base, described, options};

fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, inner)| {
            let key = key.replace('~', "~0").replace('/', "~1");
            pointers(inner, &format!("{at}/{key}"), found);
        }),
        Value::Array(list) => list.iter().enumerate().for_each(|(key, inner)| {
            pointers(inner, &format!("{at}/{key}"), found);
        }),
        _ => {}
    }
}

#[test]
fn each_place_can_hold_anything() {
    let mut all = Vec::new();
    pointers(&base(), "", &mut all);
    let good = described("good", &base());
    let others = [
        json!(null),
        json!(-1.5),
        json!([{}, "x"]),
        json!({"": {"$ref": "#/components/schemas/Order"}, "é": 1}),
        json!({"$ref": "#/components"}),
    ];
    let exchange = Exchange {
        request: Request::get("/orders?page=1"),
        answer: Answer::Complete(Response::new(200).with_json(&json!({"items": [{}]}))),
    };
    let (mut read, mut refused) = (0, 0);
    for (at, pointer) in all.iter().enumerate() {
        // Each kind stands at every fifth place: all at all places take too long.
        let other = &others[at % others.len()];
        let mut value = base();
        *value.pointer_mut(pointer).unwrap() = other.clone();
        match Description::read("bad.json", &value.to_string()) {
            Ok(bad) => {
                read += 1;
                compare(&good, &bad, &options());
                compare(&bad, &good, &options());
                assert_eq!(compare(&bad, &bad, &options()), [], "{pointer} {other}");
                Contract::new(&bad).check(&exchange);
                requests_of(&bad, 1, 8);
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("bad.json"), "{pointer}: {error}");
            }
        }
    }
    assert!(read > 50 && refused > 20, "{read} {refused}");
}
