//! What each option changes.

use serde_json::{Value, json};
use upgrade_core::ErrorKind;
use upgrade_core::finding::Severity;
use upgrade_core::openapi::{CompareOptions, compare};

use crate::corpus::{base, described, patch};

/// The findings of a schema that changes, in a request and a response.
fn lines(old: &Value, new: &Value, options: &CompareOptions) -> Vec<String> {
    let with = |schema: &Value, version: &str| {
        let mut value = base();
        value["components"]["schemas"]["Value"] = schema.clone();
        value["info"]["version"] = json!(version);
        described(version, &value)
    };
    let findings = compare(&with(old, "1.9.0"), &with(new, "2.0.0"), options);
    findings
        .iter()
        .map(|finding| format!("{} {}", finding.severity, finding.subject))
        .collect()
}

fn object(more: &Value) -> Value {
    let mut object =
        json!({"type": "object", "properties": {"a": {"type": "string", "default": "x"}}});
    patch(&mut object, more);
    object
}

#[test]
fn each_dispute_weighs_what_the_option_says() {
    let string = json!({"type": "string"});
    let line = json!({"$ref": "#/components/schemas/Line"});
    let closed = object(&json!({"additionalProperties": false}));
    let new = CompareOptions::new;
    type With = fn(CompareOptions, Severity) -> CompareOptions;
    let response = "GET /values response 200 application/json $";
    let cases: [(Value, Value, With, String); 7] = [
        (
            json!({"enum": ["a"]}),
            json!({"enum": ["a", "b"]}),
            CompareOptions::with_response_enum_value_added,
            response.to_owned(),
        ),
        (
            object(&json!({})),
            object(&json!({"required": ["a"]})),
            CompareOptions::with_required_with_default,
            "PUT /values request application/json $.a".to_owned(),
        ),
        (
            string.clone(),
            json!({"type": ["string", "null"]}),
            CompareOptions::with_response_now_nullable,
            response.to_owned(),
        ),
        (
            string.clone(),
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            CompareOptions::with_response_now_nullable,
            response.to_owned(),
        ),
        (
            line.clone(),
            json!({"oneOf": [line, {"type": "string"}]}),
            CompareOptions::with_response_now_one_of,
            response.to_owned(),
        ),
        (
            object(&json!({"properties": {"b": {"writeOnly": true}, "c": {"readOnly": true}}})),
            object(&json!({"properties": {"b": {"writeOnly": true}}})),
            CompareOptions::with_optional_response_property_removed,
            format!("{response}.c"),
        ),
        (
            closed.clone(),
            object(&json!({"additionalProperties": false, "properties": {"b": {}}})),
            CompareOptions::with_closed_response_opened,
            format!("{response}.b"),
        ),
    ];
    for (was, is, with, place) in &cases {
        for severity in [Severity::Note, Severity::Warning, Severity::Error] {
            let found = lines(was, is, &with(new(), severity));
            assert_eq!(found, [format!("{severity} {place}")], "{was} -> {is}");
        }
    }
    assert_eq!(
        lines(&closed, &object(&json!({})), &new()),
        [format!("warning {response}")]
    );
}

#[test]
fn a_major_version_may_break_if_that_is_allowed() {
    let (was, is) = (json!({"type": "string"}), json!({"type": "integer"}));
    let severities = |options: &CompareOptions| {
        let found = lines(&was, &is, options);
        found
            .iter()
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(severities(&CompareOptions::new()), ["error", "error"]);
    assert_eq!(
        severities(&CompareOptions::new().with_breaking_in_major()),
        ["warning", "warning"]
    );
    let minor = |version: &str| {
        let mut value = base();
        value["info"]["version"] = json!(version);
        value["components"]["schemas"]["Value"] = if version == "1.9.0" {
            was.clone()
        } else {
            is.clone()
        };
        described(version, &value)
    };
    let options = CompareOptions::new().with_breaking_in_major();
    for newer in ["1.10.0", "beta"] {
        let found = compare(&minor("1.9.0"), &minor(newer), &options);
        assert!(
            found
                .iter()
                .all(|finding| finding.severity == Severity::Error),
            "{newer}"
        );
        let versions = format!("version 1.9.0 -> {newer})");
        assert!(
            found[0].message.ends_with(&versions),
            "{}",
            found[0].message
        );
    }
}

#[test]
fn extensions_and_compatible_changes_are_reported_on_request() {
    let (was, is) = (json!({"x-rate": 1}), json!({"x-rate": 2}));
    assert_eq!(lines(&was, &is, &CompareOptions::new()).len(), 0);
    let watched = CompareOptions::new().with_extension("x-rate");
    assert_eq!(lines(&was, &is, &watched).len(), 2);
    let (was, is) = (json!({"type": "integer"}), json!({"type": "number"}));
    assert_eq!(lines(&was, &is, &CompareOptions::new()).len(), 1);
    assert_eq!(
        lines(&was, &is, &CompareOptions::new().with_compatible_changes()).len(),
        2
    );
}

#[test]
fn a_sunset_has_passed_only_by_the_day_that_is_given() {
    let mut old = base();
    patch(
        &mut old,
        &json!({"paths": {"/orders/{id}": {"delete": {"deprecated": true, "x-sunset": "2026-11-30"}}}}),
    );
    let mut new = base();
    patch(
        &mut new,
        &json!({"paths": {"/orders/{id}": {"delete": null}}}),
    );
    let severity = |options: &CompareOptions| {
        let found = compare(&described("old", &old), &described("new", &new), options);
        assert_eq!(found.len(), 1);
        found[0].severity
    };
    let on = |day| CompareOptions::new().with_today(day).unwrap();
    assert_eq!(severity(&CompareOptions::new()), Severity::Error);
    assert_eq!(severity(&on("2026-11-29")), Severity::Error);
    assert_eq!(severity(&on("2026-11-30")), Severity::Note);
    let error = CompareOptions::new().with_today("tomorrow").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_list_that_changes_is_shown_as_a_diff() {
    let value = |values: Value| {
        let mut value = base();
        value["components"]["schemas"]["Value"] = json!({"enum": values});
        described("a", &value)
    };
    let found = compare(
        &value(json!(["a", "b"])),
        &value(json!(["a"])),
        &CompareOptions::new(),
    );
    let evidence = found[0].evidence.as_deref().unwrap();
    assert!(
        evidence.contains("--- old\n+++ new\n") && evidence.contains("-  \"b\"\n"),
        "{evidence}"
    );
}
