//! Texts of parameters and headers as values of JSON.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::description::{Description, Parameter};
use super::schema::{Schema, SchemaId, Types};

/// What a text can mean by a schema, the likeliest first.
fn meanings(text: &str, schema: &Schema) -> Vec<Value> {
    let typed = match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::Null)) => Some(value),
        _ => None,
    };
    let is_of_type = |value: &Value| match value {
        Value::Number(_) => !schema.types.and(Types::NUMBER).names().is_empty(),
        Value::Bool(_) => schema.types.has(Types::BOOLEAN),
        _ => schema.types.has(Types::NULL),
    };
    let mut meanings: Vec<Value> = typed.into_iter().filter(is_of_type).collect();
    if schema.types.has(Types::STRING) || meanings.is_empty() {
        meanings.push(Value::String(text.to_owned()));
    }
    meanings
}

/// What texts can mean by a schema; none where that cannot be told, as for objects.
pub(super) fn values(
    description: &Description,
    texts: &[String],
    id: SchemaId,
    separator: Option<char>,
) -> Vec<Value> {
    let schema = description.schema(id);
    let is_list = schema.types.has(Types::ARRAY) && !schema.types.has(Types::STRING);
    if is_list {
        let parts = texts.iter().flat_map(|text| match separator {
            Some(separator) => text.split(separator).map(str::to_owned).collect(),
            None => vec![text.clone()],
        });
        let item = |text: String| match schema.items {
            Some(items) => meanings(&text, description.schema(items)).swap_remove(0),
            None => Value::String(text),
        };
        return vec![Value::Array(parts.map(item).collect())];
    }
    let is_object = schema.types.has(Types::OBJECT) && !schema.types.has(Types::STRING);
    match texts.first() {
        Some(text) if !is_object => meanings(text, schema),
        _ => Vec::new(),
    }
}

/// What separates the items of a list in a parameter; `None` where each has the name before it.
pub(super) fn separator(parameter: &Parameter) -> Option<char> {
    match (parameter.style.as_str(), parameter.explode) {
        ("form", true) => None,
        ("spaceDelimited", false) => Some(' '),
        ("pipeDelimited", false) => Some('|'),
        _ => Some(','),
    }
}

/// The pairs of a query, decoded.
pub(super) fn query(target: &str) -> Vec<(String, String)> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let pairs = query("/a?b=1&c=x+y%26&d&b=2#e");
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(pairs, ["b=1", "c=x y&", "d=", "b=2"]);
    }
}
