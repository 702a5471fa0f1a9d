//! Laws that hold for every description.

use proptest::prelude::*;
use serde_json::{Value, json};
use upgrade_core::finding::Severity;
use upgrade_core::openapi::compare;

use crate::corpus::{base, cases, described, options};

/// Schemas, nested at most three deep.
pub(crate) fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({})),
        Just(json!({"type": "boolean"})),
        (0u64..5, 5u64..9).prop_map(
            |(least, most)| json!({"type": "string", "minLength": least, "maxLength": most})
        ),
        (-3i64..3, 3i64..9).prop_map(
            |(least, most)| json!({"type": "integer", "minimum": least, "maximum": most})
        ),
        (1u32..6).prop_map(|of| json!({"type": ["number", "null"], "multipleOf": of})),
        proptest::sample::subsequence(vec!["a", "b", "c"], 1..=3)
            .prop_map(|all| json!({"enum": all})),
        Just(json!({"type": "string", "format": "uuid"})),
        Just(json!({"$ref": "#/components/schemas/Line"})),
        Just(json!({"const": "x"})),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), 0u64..3).prop_map(
                |(items, least)| json!({"type": "array", "items": items, "minItems": least})
            ),
            (inner.clone(), inner.clone(), any::<bool>(), any::<bool>()).prop_map(
                |(a, b, required, closed)| {
                    let mut object = json!({"type": "object", "properties": {"a": a, "b": b}});
                    if required {
                        object["required"] = json!(["a"]);
                    }
                    if closed {
                        object["additionalProperties"] = json!(false);
                    }
                    object
                }
            ),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"oneOf": [a, b]})),
            (inner.clone(), inner).prop_map(|(a, b)| json!({"allOf": [a, b]})),
        ]
    })
}

/// A schema and one that has more values, or as many.
fn widened() -> impl Strategy<Value = (Value, Value)> {
    (schema(), 0usize..8).prop_map(|(narrow, how)| {
        let mut wide = narrow.clone();
        widen(&mut wide, how);
        (narrow, wide)
    })
}

/// Makes the first place wider where this way applies.
fn widen(schema: &mut Value, how: usize) -> bool {
    let Some(map) = schema.as_object_mut() else {
        return false;
    };
    // What holds of all parts of a group or of `allOf` is not known from one.
    for key in ["items"] {
        if map.get_mut(key).is_some_and(|inner| widen(inner, how)) {
            return true;
        }
    }
    if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut)
        && properties.values_mut().any(|inner| widen(inner, how))
    {
        return true;
    }
    match how {
        0 => map.remove("maxLength").is_some(),
        1 => map.remove("minimum").is_some(),
        2 => map.remove("required").is_some(),
        3 => map.remove("multipleOf").is_some(),
        4 => map.remove("minItems").is_some(),
        5 => map
            .get_mut("enum")
            .and_then(Value::as_array_mut)
            .is_some_and(|all| {
                all.push(json!("d"));
                true
            }),
        6 => map
            .get_mut("oneOf")
            .and_then(Value::as_array_mut)
            .is_some_and(|all| {
                all.push(json!({"type": "object", "required": ["only here"]}));
                true
            }),
        _ => {
            map.get("type") == Some(&json!("integer")) && {
                map.insert("type".to_owned(), json!("number"));
                true
            }
        }
    }
}

fn with(value: &Value) -> Value {
    let mut all = base();
    all["components"]["schemas"]["Value"] = value.clone();
    all
}

/// What the rules say of a change, by what the change did to requests and to responses.
fn worst(old: &Value, new: &Value) -> (Vec<String>, Severity, Severity) {
    let (old, new) = (described("old", &with(old)), described("new", &with(new)));
    let findings = compare(&old, &new, &options());
    let of = |part: &str| {
        let found = findings
            .iter()
            .filter(|finding| finding.subject.as_str().contains(part));
        found
            .map(|finding| finding.severity)
            .max()
            .unwrap_or(Severity::Note)
    };
    let mut lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.sort();
    (lines, of("request"), of("response"))
}

/// The pairs of place and what happened to the values there, of requests.
fn relations(old: &Value, new: &Value) -> Vec<(String, String)> {
    let (old, new) = (described("old", &with(old)), described("new", &with(new)));
    let findings = compare(&old, &new, &options()).into_iter();
    let mut all: Vec<(String, String)> = findings
        .filter(|finding| finding.subject.as_str().contains("request"))
        .filter_map(|finding| {
            let (_, rule) = finding.message.rsplit_once("(rule ")?;
            let rule = rule.split([',', ')']).next()?.to_owned();
            let is_relation = rule.ends_with("-narrowed") || rule.ends_with("-widened");
            is_relation.then(|| (finding.subject.as_str().to_owned(), rule))
        })
        .collect();
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_description_is_compatible_with_itself(schema in schema()) {
        let (findings, ..) = worst(&schema, &schema);
        prop_assert!(findings.is_empty(), "{schema}: {findings:#?}");
    }

    #[test]
    fn a_wider_request_and_a_narrower_response_are_no_errors((narrow, wide) in widened()) {
        let (findings, request, _) = worst(&narrow, &wide);
        prop_assert!(request < Severity::Error, "{narrow} -> {wide}: {findings:#?}");
        let (findings, _, response) = worst(&wide, &narrow);
        prop_assert!(response < Severity::Error, "{wide} -> {narrow}: {findings:#?}");
    }

    #[test]
    fn what_gets_wider_gets_narrower_the_other_way((narrow, wide) in widened()) {
        let there = relations(&narrow, &wide);
        let mut again: Vec<(String, String)> = relations(&wide, &narrow)
            .into_iter()
            .map(|(place, rule)| {
                let swapped = match rule.strip_suffix("-narrowed") {
                    Some(rule) => format!("{rule}-widened"),
                    None => format!("{}-narrowed", rule.strip_suffix("-widened").unwrap()),
                };
                (place, swapped)
            })
            .collect();
        again.sort();
        prop_assert_eq!(there, again, "{} and {}", narrow, wide);
    }
}

#[test]
fn each_description_of_the_corpus_is_compatible_with_itself() {
    for case in cases() {
        for value in [&case.old, &case.new] {
            let description = described(&case.name, value);
            assert_eq!(
                compare(&description, &description, &options()),
                [],
                "{}",
                case.name
            );
        }
    }
}
