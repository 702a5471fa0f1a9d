//! Takes secrets out of requests and values before they stand in a finding.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::http::{Exchange, Headers, Request};
use crate::redact::{GONE, credentials, is_name_of_secret};

/// What else in the name of a value says that it is a secret.
const NAMES: &[&str] = &[
    "auth", "cookie", "csrf", "cvv", "jwt", "otp", "session", "xsrf",
];
/// The shortest value that is searched for in texts: shorter ones stand in other words.
const SHORTEST: usize = 6;

/// Whether the value at a key is a secret.
pub(super) fn is_secret(key: &str) -> bool {
    // `accessToken` as `access_token`, `api-key` as `api_key`.
    let key = key.replace('-', "_");
    let lower = key.to_ascii_lowercase();
    is_name_of_secret(&key)
        || lower.ends_with("key") && lower.contains("api")
        || NAMES.iter().any(|name| lower.contains(name)) && !lower.contains("author")
        || lower == "authorization"
}

/// The secrets of exchanges: what stands in headers, bodies and queries where secrets stand.
#[derive(Debug, Clone, Default)]
pub(super) struct Mask(BTreeSet<String>);

impl Mask {
    pub(super) fn of<'e>(exchanges: impl IntoIterator<Item = &'e Exchange>) -> Self {
        let mut mask = Self::default();
        for Exchange { request, answer } in exchanges {
            mask.headers(&request.headers);
            mask.pairs(
                request
                    .target
                    .split_once('?')
                    .map_or("", |(_, query)| query),
            );
            mask.body(&request.body);
            if let Some(response) = answer.complete() {
                mask.headers(&response.headers);
                mask.body(&response.body);
            }
        }
        mask
    }

    fn add(&mut self, value: &str) {
        if value.len() >= SHORTEST {
            self.0.insert(value.to_owned());
        }
    }

    fn headers(&mut self, headers: &Headers) {
        for (name, value) in headers.iter() {
            match name {
                "cookie" => {
                    let pairs = value.split(';').filter_map(|pair| pair.split_once('='));
                    pairs.for_each(|(_, value)| self.add(value.trim()));
                }
                "set-cookie" => {
                    let pair = value
                        .split(';')
                        .next()
                        .and_then(|pair| pair.split_once('='));
                    self.add(pair.map_or("", |(_, value)| value.trim()));
                }
                name if is_secret(name) => {
                    self.add(value);
                    value.split(' ').skip(1).for_each(|part| self.add(part));
                }
                _ => {}
            }
        }
    }

    fn body(&mut self, body: &[u8]) {
        match (serde_json::from_slice(body), std::str::from_utf8(body)) {
            (Ok(json), _) => self.json(&json),
            (Err(_), Ok(text)) if !text.contains('<') => self.pairs(text),
            _ => {}
        }
    }

    fn pairs(&mut self, text: &str) {
        for (key, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            if is_secret(key) {
                self.add(value);
            }
        }
    }

    fn json(&mut self, json: &Value) {
        match json {
            Value::Object(fields) => {
                for (key, value) in fields {
                    match value {
                        Value::String(text) if is_secret(key) => self.add(text),
                        value => self.json(value),
                    }
                }
            }
            Value::Array(elements) => elements.iter().for_each(|value| self.json(value)),
            _ => {}
        }
    }

    /// A text without the secrets.
    pub(super) fn text(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        // From the end of the alphabet on, so that a secret comes before what it begins with.
        for secret in self.0.iter().rev() {
            if masked.contains(secret.as_str()) {
                masked = masked.replace(secret.as_str(), GONE);
            }
        }
        credentials(&masked).into_owned()
    }

    /// A request whose body and query have no secrets.
    pub(super) fn request(&self, request: &Request) -> Request {
        let mut masked = request.clone();
        if let Some((path, query)) = request.target.split_once('?') {
            masked.target = format!("{path}?{}", masked_pairs(query));
        }
        masked.body = match (request.json(), std::str::from_utf8(&request.body)) {
            (Some(mut json), _) => {
                mask_json(&mut json);
                json.to_string().into_bytes()
            }
            (None, Ok(text)) if text.contains('=') && !text.contains(['<', '\n']) => {
                masked_pairs(text).into_bytes()
            }
            (None, Ok(text)) => text.as_bytes().to_vec(),
            (None, Err(_)) => format!("{} bytes", request.body.len()).into_bytes(),
        };
        masked
    }
}

fn masked_pairs(text: &str) -> String {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((key, _)) if is_secret(key) => format!("{key}={GONE}"),
        _ => pair.to_owned(),
    };
    text.split('&').map(pair).collect::<Vec<_>>().join("&")
}

fn mask_json(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(_) | Value::Number(_) if is_secret(key) => {
                        *value = Value::from(GONE);
                    }
                    value => mask_json(value),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(mask_json),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Answer, Response};
    use serde_json::json;

    #[test]
    fn secrets_of_requests_and_answers_are_masked_wherever_they_stand() {
        let request = Request::post("/login?api_key=canary-1&x=1")
            .with_header("cookie", "sid=canary-2; a=b")
            .with_header("authorization", "Bearer canary-3")
            .with_json(
                &json!({"user": "ann", "password": "canary-4", "deep": [{"pin_token": 1234567}]}),
            );
        let answer = Response::new(200)
            .with_header("set-cookie", "sid=canary-5; Path=/")
            .with_json(&json!({"accessToken": "canary-6", "author": "Poe the poet"}));
        let exchange = Exchange {
            request: request.clone(),
            answer: Answer::Complete(answer),
        };
        let mask = Mask::of([&exchange]);
        let all = "canary-1 canary-2 canary-3 canary-4 canary-5 canary-6";
        assert_eq!(mask.text(all), "*** *** *** *** *** ***");
        assert_eq!(mask.text("Poe the poet"), "Poe the poet");
        let curl = mask.request(&request).to_curl("http://h");
        assert!(
            !curl.contains("canary") && !curl.contains("1234567"),
            "{curl}"
        );
        assert!(
            curl.contains(r#""user":"ann""#) && curl.contains("x=1"),
            "{curl}"
        );
    }

    #[test]
    fn names_of_secrets_are_known_in_each_spelling() {
        for name in [
            "password",
            "newPassword",
            "x-api-key",
            "apiKey",
            "csrf_token",
            "sessionId",
            "jwt",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["author", "authors", "key", "name", "keyword", "id"] {
            assert_eq!(is_secret(name), name == "key", "{name}");
        }
    }
}
