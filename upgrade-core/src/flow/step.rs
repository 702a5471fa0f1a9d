//! One step of a flow: a request, a query, a line in a log.

use std::time::Duration;

use serde_json::Value;

use super::check::Check;
use super::template::{names, names_in};
#[cfg(feature = "postgres")]
use crate::endpoint::DATABASE;
use crate::http::Headers;

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    Request {
        method: String,
        target: String,
        headers: Headers,
        body: Option<Body>,
    },
    /// One query; what it returns is an array of objects.
    #[cfg(feature = "postgres")]
    Query { sql: String, parameters: Vec<Value> },
    /// A line with this text, written since the flow began.
    Line { text: String },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    Json(Value),
    Text(String),
    Form(Vec<(String, String)>),
}

/// Where a value is found in what a step observed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    Status,
    Header(String),
    /// The body, or the rows of a query, by a JSONPath (RFC 9535).
    Json(String),
    Text,
}

/// At which release a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RunsAt {
    /// At any.
    #[default]
    Any,
    /// Where the system is not upgraded yet, or no longer.
    Previous,
    /// Where the system is upgraded.
    New,
}

/// One step of a [`Flow`](super::Flow).
///
/// Texts may have places for values, such as `{{id}}`: those of [`Flow::with`](super::Flow::with), those that
/// earlier steps have captured, and
///
/// - `{{unique}}`: a text of 12 characters that is another one in each run of the flow;
/// - `{{from}}`, `{{to}}`: the releases of the upgrade; `{{release}}`: the one that the system is at.
///
/// ```
/// use std::time::Duration;
/// use serde_json::json;
/// use upgrade_core::flow::{Step, equals};
///
/// let place = Step::put("place an order", "api", "/v1/orders/{{unique}}")
///     .json(json!({"customer": "Ada", "total": "12.50"}))
///     .status(201);
/// let read = Step::get("read it", "api", "/v1/orders/{{unique}}")
///     .check("$.total", equals("12.50"))
///     .capture("customer", "$.customer");
/// let receipt = Step::query("its receipt is there", "select times from receipts where order_id = $1")
///     .parameter("{{unique}}")
///     .check("$[0].times", equals(1))
///     .within(Duration::from_secs(5));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub(super) name: String,
    pub(super) endpoint: String,
    pub(super) act: Act,
    pub(super) checks: Vec<(Source, Check)>,
    pub(super) captures: Vec<(String, Source)>,
    pub(super) within: Option<Duration>,
    pub(super) repeatable: bool,
    pub(super) runs_at: RunsAt,
}

impl Step {
    /// A request with any method to the service of an endpoint. Without a check of the status, it must be 200 to
    /// 399.
    pub fn request(
        name: impl Into<String>,
        method: impl AsRef<str>,
        endpoint: impl Into<String>,
        target: impl Into<String>,
    ) -> Self {
        let act = Act::Request {
            method: method.as_ref().to_ascii_uppercase(),
            target: target.into(),
            headers: Headers::default(),
            body: None,
        };
        Self::new(name.into(), endpoint.into(), act)
    }

    /// A `GET`.
    pub fn get(
        name: impl Into<String>,
        endpoint: impl Into<String>,
        target: impl Into<String>,
    ) -> Self {
        Self::request(name, "GET", endpoint, target)
    }

    /// A `POST`.
    pub fn post(
        name: impl Into<String>,
        endpoint: impl Into<String>,
        target: impl Into<String>,
    ) -> Self {
        Self::request(name, "POST", endpoint, target)
    }

    /// A `PUT`.
    pub fn put(
        name: impl Into<String>,
        endpoint: impl Into<String>,
        target: impl Into<String>,
    ) -> Self {
        Self::request(name, "PUT", endpoint, target)
    }

    /// A `DELETE`.
    pub fn delete(
        name: impl Into<String>,
        endpoint: impl Into<String>,
        target: impl Into<String>,
    ) -> Self {
        Self::request(name, "DELETE", endpoint, target)
    }

    /// One query to the database, in a read-only transaction: what the services hold, or a queue. Its rows are an
    /// array of objects for [`check`](Self::check) and [`capture`](Self::capture). Without a check it must return
    /// at least one row.
    #[cfg(feature = "postgres")]
    pub fn query(name: impl Into<String>, sql: impl Into<String>) -> Self {
        let act = Act::Query {
            sql: sql.into(),
            parameters: Vec::new(),
        };
        Self::new(name.into(), DATABASE.to_owned(), act)
    }

    /// A line with this text in a log, written since the flow began. The endpoint has a `file` URL, such as the
    /// `NAME.log` of a [`ProcessEnvironment`](crate::environment::ProcessEnvironment).
    pub fn line(
        name: impl Into<String>,
        endpoint: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self::new(
            name.into(),
            endpoint.into(),
            Act::Line { text: text.into() },
        )
    }

    fn new(name: String, endpoint: String, act: Act) -> Self {
        Self {
            name,
            endpoint,
            act,
            checks: Vec::new(),
            captures: Vec::new(),
            within: None,
            repeatable: false,
            runs_at: RunsAt::default(),
        }
    }

    /// Sends the step to another endpoint.
    #[must_use]
    pub fn at(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = endpoint.into();
        self
    }

    /// Adds a header to a request.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Act::Request { headers, .. } = &mut self.act {
            *headers = std::mem::take(headers).with(name, value);
        }
        self
    }

    /// Sends JSON. A text that is one place for a value and nothing else becomes that value, with its type.
    #[must_use]
    pub fn json(self, body: Value) -> Self {
        self.body(Body::Json(body))
    }

    /// Sends text.
    #[must_use]
    pub fn text(self, body: impl Into<String>) -> Self {
        self.body(Body::Text(body.into()))
    }

    /// Sends the fields of a form, as a browser does.
    #[must_use]
    pub fn form<N: Into<String>, V: Into<String>>(
        self,
        fields: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let fields = fields.into_iter();
        let fields = fields.map(|(name, value)| (name.into(), value.into()));
        self.body(Body::Form(fields.collect()))
    }

    fn body(mut self, sent: Body) -> Self {
        if let Act::Request { body, .. } = &mut self.act {
            *body = Some(sent);
        }
        self
    }

    /// Adds the next parameter (`$1`, `$2`, ...) of a query. A string, number, boolean or `null` is passed as
    /// text and cast by the query: `$1::int`.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn parameter(mut self, value: impl Into<Value>) -> Self {
        if let Act::Query { parameters, .. } = &mut self.act {
            parameters.push(value.into());
        }
        self
    }

    /// The status must be this.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        self.checked(Source::Status, Check::Equals(status.into()))
    }

    /// Checks the status otherwise.
    #[must_use]
    pub fn status_is(self, check: Check) -> Self {
        self.checked(Source::Status, check)
    }

    /// Checks what a JSONPath (RFC 9535) finds in the body, or in the rows of a query.
    #[must_use]
    pub fn check(self, path: impl Into<String>, check: Check) -> Self {
        self.checked(Source::Json(path.into()), check)
    }

    /// Checks a header of the response.
    #[must_use]
    pub fn check_header(self, name: impl Into<String>, check: Check) -> Self {
        self.checked(Source::Header(name.into()), check)
    }

    /// Checks the body as text.
    #[must_use]
    pub fn check_text(self, check: Check) -> Self {
        self.checked(Source::Text, check)
    }

    fn checked(mut self, source: Source, check: Check) -> Self {
        self.checks.push((source, check));
        self
    }

    /// Keeps what a JSONPath finds for later steps, under a name.
    #[must_use]
    pub fn capture(self, name: impl Into<String>, path: impl Into<String>) -> Self {
        self.captured(name.into(), Source::Json(path.into()))
    }

    /// Keeps a header of the response for later steps.
    #[must_use]
    pub fn capture_header(self, name: impl Into<String>, header: impl Into<String>) -> Self {
        self.captured(name.into(), Source::Header(header.into()))
    }

    fn captured(mut self, name: String, source: Source) -> Self {
        self.captures.push((name, source));
        self
    }

    /// Tries again until all checks hold, but no longer than this: for what another service does in the background.
    /// A request that writes is sent once unless it is [repeatable](Self::repeatable).
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = Some(within);
        self
    }

    /// Says that a request which writes may be sent again.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Runs it at one release only: where a flow differs between the two.
    #[must_use]
    pub fn only_at(mut self, runs_at: RunsAt) -> Self {
        self.runs_at = runs_at;
        self
    }

    /// The path of its request with `{id}` for `{{id}}`; `None` where no value stands in it.
    pub(super) fn template(&self) -> Option<String> {
        let Act::Request { target, .. } = &self.act else {
            return None;
        };
        let path = target.split('?').next().unwrap_or(target);
        names(path).next()?;
        Some(path.replace("{{", "{").replace("}}", "}"))
    }

    /// Whether it may be tried more than once.
    pub(super) fn may_repeat(&self) -> bool {
        self.repeatable || self.only_reads()
    }

    /// Whether it changes nothing, by its method.
    pub(super) fn only_reads(&self) -> bool {
        match &self.act {
            Act::Request { method, .. } => matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS"),
            _ => true,
        }
    }

    /// The names of the values that it needs.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        match &self.act {
            Act::Request {
                target,
                headers,
                body,
                ..
            } => {
                all.extend(names(target));
                all.extend(headers.iter().flat_map(|(_, value)| names(value)));
                match body {
                    Some(Body::Json(body)) => all.extend(names_in(body)),
                    Some(Body::Text(body)) => all.extend(names(body)),
                    Some(Body::Form(fields)) => {
                        all.extend(fields.iter().flat_map(|(_, value)| names(value)));
                    }
                    None => {}
                }
            }
            #[cfg(feature = "postgres")]
            Act::Query { parameters, .. } => all.extend(parameters.iter().flat_map(names_in)),
            Act::Line { text } => all.extend(names(text)),
        }
        all.extend(self.checks.iter().flat_map(|(_, check)| check.names()));
        all
    }
}
