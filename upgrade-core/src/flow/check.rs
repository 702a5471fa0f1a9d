//! What must hold of one value.

use std::fmt;

use serde_json::Value;

use super::template::{Values, fill_in, names_in, text_of};

/// How much of a value stands in a message, in characters.
const SHOWN: usize = 200;

/// What must hold of a value. Texts in it may have places for values: `{{id}}`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Check {
    /// It is this. Numbers are equal by value: 1 and 1.0.
    Equals(Value),
    /// It is there and is not this.
    Differs(Value),
    /// It is there, also as `null`.
    Exists,
    /// It is not there.
    Absent,
    /// It is a text with this in it, or an array with this item.
    Contains(Value),
    /// It is a number of at least this.
    AtLeast(f64),
    /// It is a number of at most this.
    AtMost(f64),
    /// It is an array, an object or a text with this number of items, fields or characters.
    Counts(usize),
    /// It is of this type of JSON.
    Is(JsonType),
}

/// A type of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonType {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A number without a fraction.
    Integer,
    /// Any number.
    Number,
    /// A text.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// The value is this.
pub fn equals(value: impl Into<Value>) -> Check {
    Check::Equals(value.into())
}

/// The value is a text with this in it, or an array with this item.
pub fn contains(value: impl Into<Value>) -> Check {
    Check::Contains(value.into())
}

impl Check {
    /// The names of the values that it needs.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Equals(value) | Self::Differs(value) | Self::Contains(value) => names_in(value),
            _ => Vec::new(),
        }
    }

    /// Why it does not hold of what was found, if it does not.
    pub(super) fn refuses(&self, found: Option<&Value>, values: &Values) -> Option<String> {
        let what = match found {
            Some(value) => format!("is {}", shown(value)),
            None => "is missing".to_owned(),
        };
        let holds = match (self, found) {
            (Self::Absent, found) => found.is_none(),
            (Self::Exists, found) => found.is_some(),
            (_, None) => false,
            (Self::Equals(expected), Some(found)) => same(&fill_in(expected, values), found),
            (Self::Differs(other), Some(found)) => !same(&fill_in(other, values), found),
            (Self::Contains(part), Some(found)) => {
                let part = fill_in(part, values);
                match found {
                    Value::Array(items) => items.iter().any(|item| same(&part, item)),
                    Value::String(text) => text.contains(&text_of(&part)),
                    _ => false,
                }
            }
            (Self::AtLeast(bound), Some(found)) => found.as_f64().is_some_and(|n| n >= *bound),
            (Self::AtMost(bound), Some(found)) => found.as_f64().is_some_and(|n| n <= *bound),
            (Self::Counts(count), Some(found)) => match found {
                Value::Array(items) => items.len() == *count,
                Value::Object(fields) => fields.len() == *count,
                Value::String(text) => text.chars().count() == *count,
                _ => false,
            },
            (Self::Is(kind), Some(found)) => kind.has(found),
        };
        (!holds).then(|| format!("{what}, and must be {}", self.filled(values)))
    }

    fn filled(&self, values: &Values) -> Self {
        match self {
            Self::Equals(value) => Self::Equals(fill_in(value, values)),
            Self::Differs(value) => Self::Differs(fill_in(value, values)),
            Self::Contains(value) => Self::Contains(fill_in(value, values)),
            other => other.clone(),
        }
    }
}

impl JsonType {
    fn has(self, value: &Value) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::Boolean => value.is_boolean(),
            Self::Integer => {
                value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
            }
            Self::Number => value.is_number(),
            Self::String => value.is_string(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

/// Whether two values are equal, numbers by value.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64().is_some_and(|n| Some(n) == other.as_f64())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        (one, other) => one == other,
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Reads after "must be".
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(value) => f.write_str(&shown(value)),
            Self::Differs(value) => write!(f, "other than {}", shown(value)),
            Self::Exists => f.write_str("there"),
            Self::Absent => f.write_str("absent"),
            Self::Contains(value) => write!(f, "something that contains {}", shown(value)),
            Self::AtLeast(bound) => write!(f, "at least {bound}"),
            Self::AtMost(bound) => write!(f, "at most {bound}"),
            Self::Counts(count) => write!(f, "something with {count} items"),
            Self::Is(kind) => f.write_str(match kind {
                JsonType::Null => "null",
                JsonType::Boolean => "a boolean",
                JsonType::Integer => "an integer",
                JsonType::Number => "a number",
                JsonType::String => "a string",
                JsonType::Array => "an array",
                JsonType::Object => "an object",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_check_holds_of_what_it_names_and_of_nothing_else() {
        let values = Values::from([("n".to_owned(), json!(7))]);
        for (check, holds, fails) in [
            (
                equals("{{n}}"),
                vec![json!(7), json!(7.0)],
                vec![json!("7"), json!(8)],
            ),
            (Check::Differs(json!(1)), vec![json!(2)], vec![json!(1.0)]),
            (Check::Exists, vec![json!(null)], vec![]),
            (
                contains("b"),
                vec![json!("abc"), json!(["b"])],
                vec![json!(["abc"]), json!(1)],
            ),
            (
                Check::AtLeast(2.0),
                vec![json!(2)],
                vec![json!(1.9), json!("3")],
            ),
            (Check::AtMost(2.0), vec![json!(2)], vec![json!(2.1)]),
            (
                Check::Counts(2),
                vec![json!([1, 2]), json!({"a": 1, "b": 2}), json!("é!")],
                vec![json!([]), json!(2)],
            ),
            (
                Check::Is(JsonType::Integer),
                vec![json!(2), json!(2.0)],
                vec![json!(2.5), json!("2")],
            ),
        ] {
            for value in &holds {
                assert_eq!(check.refuses(Some(value), &values), None, "{check} {value}");
            }
            for value in &fails {
                assert!(
                    check.refuses(Some(value), &values).is_some(),
                    "{check} {value}"
                );
            }
            assert!(check.refuses(None, &values).is_some(), "{check}");
        }
        assert_eq!(Check::Absent.refuses(None, &values), None);
        let refused = equals("{{n}}").refuses(Some(&json!("7")), &values);
        assert_eq!(refused.as_deref(), Some(r#"is "7", and must be 7"#));
    }
}
