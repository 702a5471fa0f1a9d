//! What stays the same of a value that is another one each time.

use serde_json::Value;

use super::template::is_id;

/// The JSON type of a value.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The shape of a value: its type, and of a text the pattern of its characters.
pub(super) fn shape_of(value: &Value) -> String {
    match value {
        Value::String(text) => of_text(text),
        Value::Number(number) if number.is_f64() => "fraction".to_owned(),
        Value::Number(_) => "integer".to_owned(),
        other => type_of(other).to_owned(),
    }
}

/// Where in a text `T` and digits stand decides whether it is a time; which digits does not.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let dash = |at: usize| bytes.get(at) == Some(&b'-');
    let date = (0..4).all(digit) && dash(4) && digit(5) && digit(6) && dash(7) && digit(8);
    date && matches!(bytes.get(10), Some(b'T' | b' '))
}

fn of_text(text: &str) -> String {
    if text.is_empty() {
        return "empty".to_owned();
    }
    if is_time(text) {
        // An offset is a part of the shape: readers without time zones stumble over it.
        let zoned = text.ends_with('Z') || text[11..].contains(['+', '-']);
        return if zoned { "time with zone" } else { "time" }.to_owned();
    }
    if text.bytes().filter(|byte| *byte == b' ').count() > 1 || text.len() > 200 {
        return "text".to_owned();
    }
    if text.parse::<f64>().is_ok() {
        return "digits".to_owned();
    }
    if is_id(text) {
        let dashed = text.len() == 36 && text.bytes().filter(|byte| *byte == b'-').count() == 4;
        return if dashed { "uuid" } else { "id" }.to_owned();
    }
    // Runs of letters and digits are one character: what they are is noise.
    let mut shape = String::from("'");
    for char in text.chars() {
        match char.is_alphanumeric() {
            true if shape.ends_with('w') => {}
            true => shape.push('w'),
            false => shape.push(char),
        }
    }
    shape + "'"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_one_source_have_one_shape() {
        for (one, other) in [
            (
                json!("0b5e6b0a-6d0e-4c3e-9d43-1f2f3c4d5e6f"),
                json!("7c9e6679-7425-40de-944b-e07fc1f90ae7"),
            ),
            (
                json!("2026-01-02T03:04:05Z"),
                json!("2026-11-12T13:14:15.123Z"),
            ),
            (
                json!("2026-01-02T03:04:05+01:00"),
                json!("2026-11-12T13:14:15-05:00"),
            ),
            (json!("ord_8fk2"), json!("ord_x91kzz")),
            (json!("you are welcome, dear"), json!("a good day to you")),
            (json!(3), json!(41)),
        ] {
            assert_eq!(shape_of(&one), shape_of(&other), "{one} {other}");
        }
        for (one, other) in [
            (json!("2026-01-02T03:04:05Z"), json!("2026-01-02T03:04:05")),
            (json!("2026-01-02T03:04:05Z"), json!("1767323045")),
            (json!("0b5e6b0a-6d0e-4c3e-9d43-1f2f3c4d5e6f"), json!("17")),
            (json!("a@b.c"), json!("abc")),
            (json!(3), json!(2.5)),
            (json!("3"), json!("")),
            (Value::Null, json!(false)),
        ] {
            assert_ne!(shape_of(&one), shape_of(&other), "{one} {other}");
        }
    }
}
