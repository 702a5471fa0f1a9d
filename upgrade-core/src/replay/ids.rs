//! What one system calls by another name than the recording: generated ids, tokens of a session.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use super::template::is_id;
use crate::http::{Request, Response};

/// The shortest text that is taken for a generated one.
const SHORTEST: usize = 8;

/// From names in one system to names in another one.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// Texts that occur only once in a system, such as UUIDs and tokens.
    texts: BTreeMap<String, String>,
    /// Numbers and short texts, each of one kind: `order`, `42`.
    ids: BTreeMap<(String, String), String>,
}

/// Whether a text looks generated: long enough, without spaces, and no plain word.
pub(super) fn is_generated(text: &str) -> bool {
    let upper = text.bytes().skip(1).any(|byte| byte.is_ascii_uppercase());
    let lower = text.bytes().any(|byte| byte.is_ascii_lowercase());
    text.len() >= SHORTEST
        && !text.contains(char::is_whitespace)
        && (text.bytes().any(|byte| byte.is_ascii_digit()) || upper && lower)
}

/// What an id is of: `order` in `/orders/42`, `order_id`, `orderId`, `{"order": {"id": 42}}`.
fn kind_of(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let name = name.trim_end_matches("id").trim_end_matches(['_', '-']);
    match name.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => name.trim_end_matches('s').to_owned(),
    }
}

/// Whether a key names an id: `id`, `order_id`, `orderId`.
fn is_id_key(key: &str) -> bool {
    matches!(key, "id" | "ID" | "Id") || ["_id", "-id", "Id"].iter().any(|end| key.ends_with(end))
}

/// The kind of the id at a key, inside of a thing of a kind.
fn kind_at(key: &str, inside: &str) -> String {
    match kind_of(key) {
        kind if kind.is_empty() => inside.to_owned(),
        kind => kind,
    }
}

/// The kind of what a path leads to: that of its last segment that is no id.
pub(super) fn kind_of_path(path: &str) -> String {
    let segment = path
        .split('/')
        .rfind(|segment| !segment.is_empty() && !is_id(segment));
    kind_of(segment.unwrap_or_default())
}

fn as_id(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

impl Names {
    /// Learns from two answers to one request what the `other` system calls by another name.
    pub(super) fn learn(&mut self, request: &Request, reference: &Response, other: &Response) {
        if reference.status != other.status {
            return;
        }
        for (name, text) in reference.headers.iter() {
            if let Some(own) = other.headers.get(name).filter(|_| name != "set-cookie") {
                self.learn_text(text, own);
            }
        }
        let locations = ["location", "content-location"];
        for name in locations {
            if let (Some(text), Some(own)) = (reference.headers.get(name), other.headers.get(name))
            {
                self.learn_path(text, own);
            }
        }
        match (reference.json(), other.json()) {
            (Some(reference), Some(other)) => {
                // A name that the other system has, too, needs no other one: a list may be in another
                // order.
                let mut known = BTreeSet::new();
                texts(&other, &mut known);
                let kind = kind_of_path(request.path());
                let learned = Learned {
                    known: &known,
                    unsafe_request: !request.is_safe(),
                };
                self.learn_json(&reference, &other, &kind, &learned);
            }
            (None, None) => self.learn_text(&reference.text(), &other.text()),
            _ => {}
        }
    }

    /// Learns the value of a cookie.
    pub(super) fn learn_cookie(&mut self, reference: &str, own: &str) {
        if reference != own && is_generated(reference) {
            self.texts.insert(reference.to_owned(), own.to_owned());
        }
    }

    /// Learns only what a request created: the id of it, in an answer to a `POST` to a path without it.
    ///
    /// The names lead from `other` to `reference`.
    pub(super) fn learn_created(
        &mut self,
        request: &Request,
        reference: &Response,
        other: &Response,
    ) {
        if request.method != "POST" || !reference.is_success() || !other.is_success() {
            return;
        }
        let kind = kind_of_path(request.path());
        let (Some(reference), Some(other)) = (reference.json(), other.json()) else {
            return;
        };
        let inside = |json: &Value| {
            let fields = json.as_object()?;
            match fields.get("id") {
                Some(id) => Some((kind.clone(), as_id(id)?)),
                // `{"order": {"id": 42}}`
                None => {
                    let (key, inner) =
                        fields.iter().find(|(_, value)| value.get("id").is_some())?;
                    Some((kind_of(key), as_id(inner.get("id")?)?))
                }
            }
        };
        let (Some((kind, id)), Some((other_kind, own))) = (inside(&reference), inside(&other))
        else {
            return;
        };
        let in_path = request.path().split('/').any(|segment| segment == id);
        if kind == other_kind && id != own && !in_path {
            self.ids.insert((kind, own), id);
        }
    }

    /// Two texts of one form: their generated parts, one by one.
    fn learn_text(&mut self, reference: &str, own: &str) {
        if reference == own {
            return;
        }
        let (reference, own): (Vec<&str>, Vec<&str>) = (parts(reference), parts(own));
        if reference.len() == own.len() {
            for (reference, own) in reference.into_iter().zip(own) {
                if reference != own && is_generated(reference) && is_generated(own) {
                    self.texts.insert(reference.to_owned(), own.to_owned());
                }
            }
        }
    }

    fn learn_path(&mut self, reference: &str, own: &str) {
        let (reference, own): (Vec<&str>, Vec<&str>) =
            (reference.split('/').collect(), own.split('/').collect());
        if reference.len() != own.len() {
            return;
        }
        for at in 1..own.len() {
            let (id, other) = (reference[at], own[at]);
            if id != other && is_id(id) && is_id(other) && reference[at - 1] == own[at - 1] {
                let kind = kind_of(reference[at - 1]);
                self.ids.insert((kind, id.to_owned()), other.to_owned());
            }
        }
    }

    fn learn_json(&mut self, reference: &Value, own: &Value, kind: &str, learned: &Learned<'_>) {
        match (reference, own) {
            (Value::Object(fields), Value::Object(own)) => {
                for (key, value) in fields {
                    let Some(own) = own.get(key) else { continue };
                    if is_id_key(key) && value != own && learned.unsafe_request {
                        self.learn_id(kind_at(key, kind), value, own);
                    }
                    let inner = if value.is_object() {
                        kind_of(key)
                    } else {
                        kind.to_owned()
                    };
                    self.learn_json(value, own, &inner, learned);
                }
            }
            // Elements of a list that was only read may be in another order, or others.
            (Value::Array(elements), Value::Array(own))
                if elements.len() == own.len() && (learned.unsafe_request || own.len() == 1) =>
            {
                for (value, own) in elements.iter().zip(own) {
                    self.learn_json(value, own, kind, learned);
                }
            }
            (Value::String(text), Value::String(own))
                if text != own && !learned.known.contains(text.as_str()) =>
            {
                if is_generated(text) {
                    self.texts.insert(text.clone(), own.clone());
                }
                // A link holds a path.
                self.learn_path(text, own);
            }
            _ => {}
        }
    }

    fn learn_id(&mut self, kind: String, value: &Value, own: &Value) {
        if let (Some(id), Some(own)) = (as_id(value), as_id(own)) {
            self.ids.insert((kind, id), own);
        }
    }

    /// The request in the names of the other system, without its cookies.
    pub(super) fn rewrite(&self, request: &Request) -> Request {
        if self.texts.is_empty() && self.ids.is_empty() {
            return request.clone();
        }
        let mut rewritten = request.clone();
        let (path, query) = match request.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.target.as_str(), None),
        };
        rewritten.target = self.path(path);
        if let Some(query) = query {
            rewritten.target = format!("{}?{}", rewritten.target, self.pairs(query));
        }
        let headers = request.headers.iter();
        rewritten.headers = headers
            .fold(Default::default(), |all: crate::http::Headers, header| {
                all.with(header.0, self.text(header.1))
            });
        let form = request.headers.get("content-type").unwrap_or_default();
        rewritten.body = match (request.json(), std::str::from_utf8(&request.body)) {
            (Some(mut json), _) => {
                let before = json.clone();
                self.json(&mut json, &kind_of_path(path));
                match json == before {
                    true => request.body.clone(),
                    false => json.to_string().into_bytes(),
                }
            }
            (None, Ok(body)) if form.starts_with("application/x-www-form-urlencoded") => {
                self.pairs(body).into_bytes()
            }
            (None, Ok(body)) => self.text(body).into_bytes(),
            (None, Err(_)) => request.body.clone(),
        };
        rewritten
    }

    /// A response with the names of ids in its JSON and its location replaced.
    pub(super) fn rewrite_response(&self, request: &Request, response: &Response) -> Response {
        let mut rewritten = response.clone();
        if self.ids.is_empty() {
            return rewritten;
        }
        for name in ["location", "content-location"] {
            if let Some(path) = response.headers.get(name) {
                rewritten.headers = rewritten.headers.replaced(name, self.path(path));
            }
        }
        if let Some(mut json) = response.json() {
            let before = json.clone();
            self.json(&mut json, &kind_of_path(request.path()));
            if json != before {
                rewritten.body = json.to_string().into_bytes();
            }
        }
        rewritten
    }

    fn path(&self, path: &str) -> String {
        let mut rewritten: Vec<String> = Vec::new();
        let mut before = "";
        for segment in path.split('/') {
            let decoded = percent_decode_str(segment).decode_utf8_lossy();
            let own = self.id(kind_of(before), &decoded);
            let own = own.map_or_else(|| self.text(&decoded), ToOwned::to_owned);
            rewritten.push(match own == decoded {
                true => segment.to_owned(),
                false => encoded(&own),
            });
            before = segment;
        }
        rewritten.join("/")
    }

    /// A query, or the body of a form.
    fn pairs(&self, query: &str) -> String {
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=')?;
            let decoded = value.replace('+', " ");
            let decoded = percent_decode_str(&decoded).decode_utf8_lossy();
            let own = is_id_key(key)
                .then(|| self.id(kind_of(key), &decoded))
                .flatten();
            let own = own.map_or_else(|| self.text(&decoded), ToOwned::to_owned);
            (own != decoded).then(|| format!("{key}={}", encoded(&own)))
        };
        let pairs = query.split('&');
        let pairs: Vec<String> = pairs
            .map(|text| pair(text).unwrap_or_else(|| text.to_owned()))
            .collect();
        pairs.join("&")
    }

    fn json(&self, value: &mut Value, kind: &str) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    let own = match as_id(value).filter(|_| is_id_key(key)) {
                        Some(id) => self.id(kind_at(key, kind), &id),
                        None => None,
                    };
                    if let Some(own) = own {
                        *value = match own.parse::<i64>() {
                            Ok(number) if value.is_number() => Value::from(number),
                            _ => Value::from(own),
                        };
                        continue;
                    }
                    match value {
                        Value::Object(_) => self.json(value, &kind_of(key)),
                        // `{"orders": [{"id": 1}]}`, but `{"items": [..]}` of orders.
                        Value::Array(_) => {
                            let of_key = kind_of(key);
                            let known = self.ids.keys().any(|(known, _)| *known == of_key);
                            self.json(value, if known { &of_key } else { kind });
                        }
                        _ => self.json(value, kind),
                    }
                }
            }
            Value::Array(elements) => {
                elements.iter_mut().for_each(|value| self.json(value, kind));
            }
            Value::String(text) => *text = self.text(text),
            _ => {}
        }
    }

    fn id(&self, kind: String, id: &str) -> Option<&str> {
        self.ids.get(&(kind, id.to_owned())).map(String::as_str)
    }

    /// A text with all generated names in it replaced.
    fn text(&self, text: &str) -> String {
        if let Some(own) = self.texts.get(text) {
            return own.clone();
        }
        let mut rewritten = String::with_capacity(text.len());
        let mut done = 0;
        for part in parts(text) {
            // A part is a slice of the text.
            let from = part.as_ptr() as usize - text.as_ptr() as usize;
            rewritten.push_str(&text[done..from]);
            match self.texts.get(part) {
                Some(own) => rewritten.push_str(own),
                None => rewritten.push_str(part),
            }
            done = from + part.len();
        }
        rewritten.push_str(&text[done..]);
        rewritten
    }
}

/// What decides which names of an answer are learned.
struct Learned<'l> {
    known: &'l BTreeSet<String>,
    unsafe_request: bool,
}

fn encoded(text: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    utf8_percent_encode(text, KEPT).to_string()
}

/// The runs of characters of which generated names are made.
fn parts(text: &str) -> Vec<&str> {
    let of_name =
        |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.' | '~');
    let parts = text.split(|char| !of_name(char));
    parts.filter(|part| !part.is_empty()).collect()
}

/// All texts of a value.
fn texts(value: &Value, all: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            all.insert(text.clone());
        }
        Value::Array(elements) => elements.iter().for_each(|value| texts(value, all)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, all)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const OLD: &str = "0b5e6b0a-6d0e-4c3e-9d43-1f2f3c4d5e6f";
    const OWN: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

    fn names(request: &Request, reference: &Value, own: &Value) -> Names {
        let mut names = Names::default();
        let of = |body: &Value| Response::new(201).with_json(body);
        names.learn(request, &of(reference), &of(own));
        names
    }

    #[test]
    fn generated_texts_are_replaced_wherever_they_stand() {
        let login = Request::post("/login");
        let names = names(
            &login,
            &json!({"key": OLD, "csrf": "aB3/+x9==", "state": "pending-one"}),
            &json!({"key": OWN, "csrf": "zZ8/+y7==", "state": "cancelled-one"}),
        );
        let request = Request::new("PUT", format!("/things/{OLD}?of={OLD}&x=aB3%2F%2Bx9%3D%3D"))
            .with_header("authorization", format!("Bearer {OLD}"))
            .with_header("x-csrf-token", "aB3/+x9==")
            .with_json(
                &json!({"of": [OLD], "url": format!("/things/{OLD}"), "state": "pending-one"}),
            );
        let rewritten = names.rewrite(&request);
        assert_eq!(
            rewritten.target,
            format!("/things/{OWN}?of={OWN}&x=zZ8%2F%2By7%3D%3D")
        );
        assert_eq!(
            rewritten.headers.get("authorization"),
            Some(&*format!("Bearer {OWN}"))
        );
        assert_eq!(rewritten.headers.get("x-csrf-token"), Some("zZ8/+y7=="));
        let body = json!({"of": [OWN], "url": format!("/things/{OWN}"), "state": "pending-one"});
        assert_eq!(rewritten.json(), Some(body));
    }

    #[test]
    fn numbers_are_replaced_only_where_they_name_the_same_kind() {
        let created = names(
            &Request::post("/orders"),
            &json!({"id": 42, "customer": {"id": 7}, "total": 42}),
            &json!({"id": 43, "customer": {"id": 7}, "total": 44}),
        );
        let request = Request::new("PATCH", "/orders/42/lines/42?order_id=42&page=42")
            .with_json(&json!({"orderId": 42, "customer_id": 42, "total": 42}));
        let rewritten = created.rewrite(&request);
        assert_eq!(rewritten.target, "/orders/43/lines/42?order_id=43&page=42");
        let body = json!({"orderId": 43, "customer_id": 42, "total": 42});
        assert_eq!(rewritten.json(), Some(body));
        let read = names(
            &Request::get("/orders"),
            &json!([{"id": 1}]),
            &json!([{"id": 2}]),
        );
        assert_eq!(read.rewrite(&request), request);
    }

    #[test]
    fn a_list_in_another_order_renames_nothing() {
        let names = names(
            &Request::get("/things"),
            &json!([{"key": OLD}, {"key": OWN}]),
            &json!([{"key": OWN}, {"key": OLD}]),
        );
        let request = Request::get(format!("/things/{OLD}"));
        assert_eq!(names.rewrite(&request), request);
    }

    #[test]
    fn tokens_in_pages_and_forms_are_replaced() {
        let mut names = Names::default();
        let page = |token: &str| Response::new(200).with_body(format!("<input value=\"{token}\">"));
        names.learn(
            &Request::get("/"),
            &page("tok-12345678"),
            &page("tok-87654321"),
        );
        let form = Request::post("/")
            .with_header("content-type", "application/x-www-form-urlencoded")
            .with_body("a=b+c&token=tok-12345678");
        assert_eq!(names.rewrite(&form).body, b"a=b+c&token=tok-87654321");
    }

    #[test]
    fn only_what_was_created_is_renamed_in_what_is_judged() {
        let of = |id: u64| Response::new(201).with_json(&json!({"id": id, "customer_id": id}));
        let mut names = Names::default();
        names.learn_created(&Request::post("/orders"), &of(42), &of(43));
        let rewritten = names.rewrite_response(&Request::get("/orders/43"), &of(43));
        assert_eq!(rewritten.json(), Some(json!({"id": 42, "customer_id": 43})));
        let mut names = Names::default();
        names.learn_created(&Request::post("/orders/42/cancel"), &of(42), &of(43));
        assert!(names.ids.is_empty());
    }
}
