//! Two large descriptions are compared fast, also where all share their schemas.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use upgrade_core::openapi::{CompareOptions, Description, compare};

/// About 2 MB: 400 paths, each with its own schema, which uses others.
fn large(limit: u32) -> String {
    let mut paths = serde_json::Map::new();
    let mut schemas = serde_json::Map::new();
    for n in 0..400 {
        let mut properties = serde_json::Map::new();
        for p in 0..24 {
            let text = "what this is, and what a reader has to know about it before it is used; what it was before, and who decides about it, and when";
            properties.insert(
                format!("property{p}"),
                json!({"type": "string", "description": text, "maxLength": limit + p}),
            );
        }
        properties.insert(
            "next".to_owned(),
            json!({"$ref": format!("#/components/schemas/S{}", (n * 7 + 1) % 400)}),
        );
        properties.insert(
            "other".to_owned(),
            json!({"$ref": format!("#/components/schemas/S{}", (n * 3 + 2) % 400)}),
        );
        schemas.insert(
            format!("S{n}"),
            json!({"type": "object", "properties": properties}),
        );
        let body: Value =
            json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/S{n}")}}});
        paths.insert(
            format!("/p{n}"),
            json!({
                "get": {"responses": {"200": {"description": "", "content": body}}},
                "put": {"requestBody": {"content": body}, "responses": {"204": {"description": ""}}},
            }),
        );
    }
    let all = json!({
        "openapi": "3.1.0", "info": {"title": "large", "version": "1"},
        "paths": paths, "components": {"schemas": schemas},
    });
    all.to_string()
}

#[test]
fn large_descriptions_are_compared_in_time() {
    let (old, new) = (large(10), large(11));
    assert!(old.len() > 1_900_000, "{}", old.len());
    let began = Instant::now();
    let (old, new) = (
        Description::read("old", &old).unwrap(),
        Description::read("new", &new).unwrap(),
    );
    let read = began.elapsed();
    let began = Instant::now();
    let same = compare(&old, &old, &CompareOptions::new());
    let compared = began.elapsed();
    let began = Instant::now();
    let findings = compare(&old, &new, &CompareOptions::new());
    println!(
        "read two: {read:?}; same: {compared:?}; 9600 findings: {:?}",
        began.elapsed()
    );
    assert!(same.is_empty());
    assert_eq!(findings.len(), 400 * 24);
    // A guard against quadratic time, with room for a loaded machine.
    assert!(compared < Duration::from_secs(20), "{compared:?}");
}
