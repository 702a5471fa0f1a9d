//! Texts with places for values: `/orders/{{id}}`.

use std::collections::BTreeMap;

use serde_json::Value;

/// The values of one run of a flow, by name.
pub(super) type Values = BTreeMap<String, Value>;

/// A part of a text: itself, or the name of a value.
enum Part<'t> {
    Text(&'t str),
    Name(&'t str),
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find("{{") {
        let Some(length) = rest[begin..].find("}}") else {
            break;
        };
        parts.push(Part::Text(&rest[..begin]));
        parts.push(Part::Name(rest[begin + 2..begin + length].trim()));
        rest = &rest[begin + length + 2..];
    }
    parts.push(Part::Text(rest));
    parts
}

/// The names of the values that a text needs.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    parts(text).into_iter().filter_map(|part| match part {
        Part::Name(name) => Some(name),
        Part::Text(_) => None,
    })
}

/// The names of the values that the texts of a document need.
pub(super) fn names_in(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => names(text).collect(),
        Value::Array(items) => items.iter().flat_map(names_in).collect(),
        Value::Object(fields) => {
            let all = fields.iter();
            all.flat_map(|(key, value)| names(key).chain(names_in(value)))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// A value as it stands in a text.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The text with its values; one that is not known stays as it is.
pub(super) fn fill(text: &str, values: &Values) -> String {
    let filled = parts(text).into_iter().map(|part| match part {
        Part::Text(text) => text.to_owned(),
        Part::Name(name) => match values.get(name) {
            Some(value) => text_of(value),
            None => format!("{{{{{name}}}}}"),
        },
    });
    filled.collect()
}

/// The document with its values. A text that is one value and nothing else becomes that value, with its type.
pub(super) fn fill_in(value: &Value, values: &Values) -> Value {
    match value {
        Value::String(text) => match parts(text).as_slice() {
            [Part::Text(""), Part::Name(name), Part::Text("")] => match values.get(*name) {
                Some(value) => value.clone(),
                None => value.clone(),
            },
            _ => Value::String(fill(text, values)),
        },
        Value::Array(items) => items.iter().map(|item| fill_in(item, values)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(key, value)| (fill(key, values), fill_in(value, values)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_keeps_its_type_where_it_stands_alone() {
        let values = Values::from([("n".to_owned(), json!(7)), ("s".to_owned(), json!("x"))]);
        let filled = fill_in(
            &json!({"a": "{{n}}", "b": "{{ n }}-{{s}}", "{{s}}": ["{{m}}"]}),
            &values,
        );
        assert_eq!(filled, json!({"a": 7, "b": "7-x", "x": ["{{m}}"]}));
    }

    #[test]
    fn what_is_not_closed_is_text() {
        assert_eq!(fill("a {{b", &Values::new()), "a {{b");
        assert_eq!(names("{{a}}{{ b }}}}{{").collect::<Vec<_>>(), ["a", "b"]);
    }
}
