//! Requests and responses as data.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::redact::GONE;

/// Headers whose values are secrets, in lower case.
const SECRET: &[&str] = &[
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
];

/// What of a body stands in a report, in bytes.
const SHOWN: usize = 2_000;

/// Headers in the order in which they are sent. Names have no case.
///
/// Values of headers that authenticate, such as `authorization` and `cookie`, do not appear in `Debug` or
/// [`Display`](fmt::Display).
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// With one header more. A name that is there already is kept beside the new one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0
            .push((name.into().to_ascii_lowercase(), value.into()));
        self
    }

    /// With this as the only value of a header.
    #[must_use]
    pub fn replaced(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.with(name, value)
    }

    /// The first value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All values of a header.
    pub fn all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h str> {
        let named = move |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.0.iter().filter(named).map(|(_, value)| value.as_str())
    }

    /// All headers, each with its name in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All headers as they may be printed: without secrets.
    fn masked(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().map(|(name, value)| match is_secret(name) {
            true => (name, GONE),
            false => (name, value),
        })
    }
}

/// Whether the value of a header must not be printed.
fn is_secret(name: &str) -> bool {
    SECRET.contains(&name) || name.ends_with("-token") || name.ends_with("-secret")
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.masked()).finish()
    }
}

/// One header a line.
impl fmt::Display for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self
            .masked()
            .map(|(name, value)| format!("{name}: {value}"));
        f.write_str(&lines.by_ref().collect::<Vec<_>>().join("\n"))
    }
}

/// A request, without the server that it is sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Request {
    /// The method, in upper case.
    pub method: String,
    /// The path with its query: `/orders?page=2`. It begins with `/`.
    pub target: String,
    /// The headers; `host` and `content-length` are added when it is sent.
    #[serde(default)]
    pub headers: Headers,
    /// The body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers and body. A target that does not begin with `/` gets one.
    pub fn new(method: impl AsRef<str>, target: impl Into<String>) -> Self {
        let target = target.into();
        Self {
            method: method.as_ref().to_ascii_uppercase(),
            target: match target.starts_with('/') {
                true => target,
                false => format!("/{target}"),
            },
            headers: Headers::default(),
            body: Vec::new(),
        }
    }

    /// A `GET` of a path.
    pub fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target)
    }

    /// A `POST` to a path.
    pub fn post(target: impl Into<String>) -> Self {
        Self::new("POST", target)
    }

    /// With one header more.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers = self.headers.with(name, value);
        self
    }

    /// With a JSON body and its `content-type`.
    #[must_use]
    pub fn with_json(mut self, body: &Value) -> Self {
        self.headers = self.headers.replaced("content-type", "application/json");
        self.body = body.to_string().into_bytes();
        self
    }

    /// With a body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The path without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or(&self.target)
    }

    /// The body, if it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether it only reads, by its method: `GET`, `HEAD`, `OPTIONS`.
    pub fn is_safe(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS")
    }

    /// The line for a shell that sends it to a server, without the values of secret headers.
    pub fn to_curl(&self, server: &str) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let mut line = "curl --include".to_owned();
        if self.method != "GET" {
            line.push_str(&format!(" --request {}", self.method));
        }
        for (name, value) in self.headers.masked() {
            line.push_str(&format!(
                " --header {}",
                quoted(&format!("{name}: {value}"))
            ));
        }
        if !self.body.is_empty() {
            line.push_str(&format!(" --data-binary {}", quoted(&shown(&self.body))));
        }
        format!("{line} {}", quoted(&format!("{server}{}", self.target)))
    }
}

/// The request as its first line: `GET /orders?page=2`.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)
    }
}

/// A complete response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// From the first byte sent to the last byte received.
    pub elapsed: Duration,
}

impl Response {
    /// A response without headers and body, which took no time; for tests of what judges responses.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Headers::default(),
            body: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }

    /// With one header more.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers = self.headers.with(name, value);
        self
    }

    /// With a body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With a JSON body and its `content-type`.
    #[must_use]
    pub fn with_json(mut self, body: &Value) -> Self {
        self.headers = self.headers.replaced("content-type", "application/json");
        self.body = body.to_string().into_bytes();
        self
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the body is declared as JSON.
    pub fn declares_json(&self) -> bool {
        let media = self.headers.get("content-type").unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        media == "application/json" || media.ends_with("+json")
    }

    /// The body, if it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The status, then as much of the body as a report shows.
impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, shown(&self.body))
    }
}

/// What a service answered to a request that reached it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A complete response, of whatever status.
    Complete(Response),
    /// None: the service is at fault.
    Broken(Broken),
}

impl Answer {
    /// The response, if it is complete.
    pub fn complete(&self) -> Option<&Response> {
        match self {
            Self::Complete(response) => Some(response),
            Self::Broken(_) => None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete(response) => response.fmt(f),
            Self::Broken(broken) => broken.fmt(f),
        }
    }
}

/// Why there is no complete response from a service that took the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Broken {
    /// Nothing, or not all of it, within this time.
    Slow(Duration),
    /// More than this number of bytes.
    Large(u64),
    /// The connection ended, or what came is not HTTP. The text says which.
    Cut(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow(within) => write!(f, "no complete answer within {within:?}"),
            Self::Large(bytes) => write!(f, "an answer of more than {bytes} bytes"),
            Self::Cut(how) => write!(f, "no complete answer: {how}"),
        }
    }
}

/// A request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// What was sent.
    pub request: Request,
    /// What came back.
    pub answer: Answer,
}

/// As much of a body as a report shows.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_headers_are_printed_nowhere() {
        let request = Request::post("/login")
            .with_header("Authorization", "Bearer hunter2")
            .with_header("X-Session-Token", "hunter2")
            .with_header("Accept", "*/*")
            .with_body("it's");
        let curl = request.to_curl("http://h");
        for text in [
            format!("{request:?}"),
            request.headers.to_string(),
            curl.clone(),
        ] {
            assert!(!text.contains("hunter2") && text.contains("*/*"), "{text}");
        }
        assert!(
            curl.ends_with(r"--data-binary 'it'\''s' 'http://h/login'"),
            "{curl}"
        );
    }

    #[test]
    fn header_names_have_no_case() {
        let headers = Headers::default().with("A", "1").with("a", "2");
        assert_eq!(headers.get("A"), Some("1"));
        assert_eq!(headers.all("a").count(), 2);
        assert_eq!(
            headers.replaced("A", "3").all("a").collect::<Vec<_>>(),
            ["3"]
        );
    }
}
