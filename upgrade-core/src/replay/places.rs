//! An answer as places with values.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Options;
use super::template::is_id;
use crate::http::Response;

/// Where in an answer values stand: `$.items[].price`, `header location`.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) text: String,
    /// How much of the text names the place that this one is in; 0 where that is the answer.
    parent: usize,
}

impl Place {
    fn of_answer(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            parent: 0,
        }
    }

    fn inside(&self, step: &str) -> Self {
        Self {
            text: format!("{}{step}", self.text),
            parent: self.text.len(),
        }
    }

    /// The place that this one is in.
    pub(super) fn parent(&self) -> Option<&str> {
        (self.parent > 0).then(|| &self.text[..self.parent])
    }

    /// Whether it is the place of the elements of an array.
    pub(super) fn is_element(&self) -> bool {
        self.text.ends_with("[]")
    }

    /// Whether it is the place of a whole array; see [`whole`].
    pub(super) fn is_whole(&self) -> bool {
        self.text.ends_with(WHOLE)
    }

    /// Whether this place is in another one, or is it.
    pub(super) fn is_within(&self, outer: &str) -> bool {
        let rest = self.text.strip_prefix(outer);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', ' ']))
    }

    /// The name of the value at the place that reads so: the last key.
    pub(super) fn key_of(text: &str) -> &str {
        let text = text.trim_end_matches(WHOLE).trim_end_matches("[]");
        text.rsplit(['.', ' ']).next().unwrap_or(text)
    }
}

/// A place is its text.
impl Borrow<str> for Place {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

/// What stands behind the place of an array as a whole.
const WHOLE: &str = " as a whole";

/// The values at each place, in the order in which the answer has them. Objects and arrays are values, too,
/// without what is in them.
pub(super) type Places = BTreeMap<Place, Vec<Value>>;

/// Headers that are compared where nothing else is said.
const HEADERS: &[&str] = &["cache-control", "content-type", "link", "location"];

/// The places of a response; `None` if its body is declared as JSON and is none.
pub(super) fn places(response: &Response, options: &Options) -> Option<Places> {
    let mut places = Places::new();
    let added = options.headers.iter().map(String::as_str);
    for name in HEADERS.iter().copied().chain(added) {
        let place = Place::of_answer(format!("header {name}"));
        for value in response.headers.all(name) {
            let values = places.entry(place.clone()).or_default();
            values.push(Value::from(value));
        }
    }
    // What it is changes with each release; whether there is one tells clients to ask again.
    if response.headers.get("etag").is_some() {
        places.insert(Place::of_answer("header etag"), vec![Value::from("there")]);
    }
    if response.body.is_empty() {
        return Some(places);
    }
    match response.json() {
        Some(json) => flatten(&json, Place::of_answer("$"), &mut places),
        None if response.declares_json() => return None,
        None => {
            places.insert(Place::of_answer("body"), vec![text(response)]);
        }
    }
    Some(places)
}

/// A body that is no JSON: its text, or a hash where that cannot be read.
fn text(response: &Response) -> Value {
    match std::str::from_utf8(&response.body) {
        Ok(text) => Value::from(text),
        Err(_) => {
            let hash = blake3::hash(&response.body).to_hex();
            Value::from(format!(
                "{} bytes, hash {}",
                response.body.len(),
                &hash[..16]
            ))
        }
    }
}

fn flatten(value: &Value, place: Place, places: &mut Places) {
    let kept = match value {
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Object(_) => Value::Object(Map::new()),
        other => other.clone(),
    };
    places.entry(place.clone()).or_default().push(kept);
    match value {
        Value::Array(elements) => {
            let whole_place = place.inside(WHOLE);
            places.entry(whole_place).or_default().push(whole(elements));
            let element = place.inside("[]");
            for value in elements {
                flatten(value, element.clone(), places);
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                flatten(value, place.inside(&step(key)), places);
            }
        }
        _ => {}
    }
}

/// What says which values of an array stand together, in whatever order: its elements' places do not.
fn whole(elements: &[Value]) -> Value {
    let mut hashes: Vec<_> = elements
        .iter()
        .map(|element| {
            let mut text = String::new();
            canonical(element, &mut text);
            *blake3::hash(text.as_bytes()).as_bytes()
        })
        .collect();
    hashes.sort_unstable();
    let hash = blake3::hash(hashes.as_flattened()).to_hex();
    Value::from(&hash[..16])
}

/// A value as a text that is the same for equal numbers, however they are written.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) if number.fract() == 0.0 => text.push_str(&format!("{number:.0}")),
            Some(number) => text.push_str(&format!("{number:.10e}")),
            None => text.push_str(&number.to_string()),
        },
        Value::Array(elements) => {
            text.push('[');
            for element in elements {
                canonical(element, text);
                text.push(',');
            }
        }
        Value::Object(fields) => {
            text.push('{');
            for (key, value) in fields {
                text.push_str(&Value::from(key.as_str()).to_string());
                canonical(value, text);
                text.push(',');
            }
        }
        other => text.push_str(&other.to_string()),
    }
}

fn step(key: &str) -> String {
    let plain = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '$' | '@');
    match key {
        // An object whose keys are ids is a list.
        key if is_id(key) => ".{}".to_owned(),
        key if !key.is_empty() && key.chars().all(plain) => format!(".{key}"),
        key => format!(".{}", Value::from(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(response: &Response) -> Vec<String> {
        places(response, &Options::default())
            .unwrap()
            .iter()
            .map(|(place, values)| {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                format!("{} = {}", place.text, values.join(" "))
            })
            .filter(|line| !line.contains(WHOLE))
            .collect()
    }

    #[test]
    fn an_answer_is_flattened() {
        let response = Response::new(200)
            .with_header("ETag", "\"7\"")
            .with_header("Date", "today")
            .with_json(&json!({"a": [{"b": 1}, {"b": 2, "c d": null}], "by": {"17": true}}));
        assert_eq!(
            of(&response),
            [
                "$ = {}",
                "$.a = []",
                "$.a[] = {} {}",
                "$.a[].\"c d\" = null",
                "$.a[].b = 1 2",
                "$.by = {}",
                "$.by.{} = true",
                "header content-type = \"application/json\"",
                "header etag = \"there\"",
            ]
        );
    }

    #[test]
    fn what_is_no_json_is_a_text_or_a_broken_answer() {
        let html = Response::new(200).with_body("<p>");
        assert_eq!(of(&html), ["body = \"<p>\""]);
        let image = Response::new(200).with_body([0xff, 0xfe]);
        assert!(of(&image)[0].starts_with("body = \"2 bytes, hash "));
        let broken = Response::new(200).with_json(&json!(1)).with_body("{");
        assert_eq!(places(&broken, &Options::default()), None);
    }

    #[test]
    fn a_whole_array_knows_which_values_stand_together() {
        let of = |json| {
            let mut all = Places::new();
            flatten(&json, Place::of_answer("$"), &mut all);
            all.into_iter()
                .find(|(place, _)| place.is_whole())
                .unwrap()
                .1
        };
        let one = of(json!([{"a": 1, "b": 2}, {"a": 3, "b": 4}]));
        assert_eq!(one, of(json!([{"a": 3, "b": 4}, {"a": 1, "b": 2}])));
        assert_ne!(one, of(json!([{"a": 1, "b": 4}, {"a": 3, "b": 2}])));
    }
}
