//! Queries over HTTP: one at a time, bounded in size, without redirects.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;

use super::answer::reported;
use crate::context::UpgradeContext;
use crate::error::{BoxError, ErrorKind};
use crate::http;
use crate::secret::Secret;

/// The largest answer that is read, in bytes.
const LARGEST: usize = 1 << 20;

/// Why a query has no answer.
#[derive(Debug, Error)]
pub(super) enum Problem {
    #[error("the query cannot be sent")]
    Unsendable(#[source] hyper::http::Error),
    #[error("the server cannot be reached")]
    Unreachable(#[source] legacy::Error),
    #[error("the answer broke off")]
    BrokeOff(#[source] BoxError),
    #[error("the answer is larger than 1 MiB")]
    TooLarge,
    #[error("there was no answer within {0:?}")]
    Slow(Duration),
    #[error("the server answered with status {0}, a redirect, which is not followed")]
    Redirect(u16),
    #[error("the server answered with status {0}")]
    Status(u16),
    #[error("the server reports {kind}: {message}")]
    Reported { kind: String, message: String },
    #[error("the answer is not that of a Prometheus server, see its line {line}, column {column}")]
    Broken { line: usize, column: usize },
    #[error("the value `{0}` is no number")]
    Value(String),
    #[error("the query returns {0}, which no bound can be compared with")]
    Type(&'static str),
}

impl Problem {
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Slow(_) => ErrorKind::Timeout,
            Self::Type(_) | Self::Unsendable(_) => ErrorKind::InvalidInput,
            Self::Reported { kind, .. } if kind == "bad_data" => ErrorKind::InvalidInput,
            _ => ErrorKind::Unavailable,
        }
    }

    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge => Some("aggregate the query, for instance with `sum`"),
            Self::Redirect(_) => Some("name the address that it leads to, or add a token"),
            Self::Status(401 | 403) => Some("`.with_bearer(..)` sends a token"),
            Self::Status(404) | Self::Broken { .. } => {
                Some("`/api/v1/query` has to follow the address; does it need a path?")
            }
            Self::Type(_) => Some("it must return a number or an instant vector"),
            _ => None,
        }
    }

    /// The same without secrets in what the server wrote.
    pub(super) fn redacted(self, cx: &UpgradeContext) -> Self {
        match self {
            Self::Reported { kind, message } => Self::Reported {
                kind: cx.redact(&kind),
                message: cx.redact(&message),
            },
            Self::Value(value) => Self::Value(cx.redact(&value)),
            other => other,
        }
    }
}

/// A Prometheus server, for one evaluation: it keeps no connection for the next.
pub(super) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    /// The address up to the query.
    address: String,
    host: String,
    bearer: Option<HeaderValue>,
}

impl Client {
    /// The error says what is wrong, and reads after the name of the metric.
    pub(super) fn new(base_url: &Secret, bearer: Option<&Secret>) -> Result<Self, &'static str> {
        let uri: Uri = base_url
            .expose()
            .parse()
            .map_err(|_| "has an address that is no URL")?;
        let is_https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("has an address that is neither `http://..` nor `https://..`"),
        };
        let authority = uri
            .authority()
            .filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or("has an address without a host")?.as_str();
        if authority.contains('@') {
            return Err("has an address with a user: only `.with_bearer(..)` sends credentials");
        }
        if uri.query().is_some() || base_url.expose().contains('#') {
            return Err("has an address with a query");
        }
        let scheme = if is_https { "https" } else { "http" };
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            http: legacy::Client::builder(TokioExecutor::new()).build(
                http::connector(is_https).map_err(
                    |_| "has an `https` address, and this machine has no certificates to trust",
                )?,
            ),
            address: format!("{scheme}://{authority}{path}/api/v1/query"),
            host: authority.to_owned(),
            bearer: bearer.map(authorization).transpose()?,
        })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The body of a good answer.
    pub(super) async fn query(&self, promql: &str) -> Result<Bytes, Problem> {
        let query = utf8_percent_encode(promql, NON_ALPHANUMERIC);
        let mut request = Request::get(format!("{}?query={query}", self.address))
            .header(ACCEPT, "application/json");
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        let request = request.body(Empty::new());
        let request = request.map_err(Problem::Unsendable)?;
        let answer = self
            .http
            .request(request)
            .await
            .map_err(Problem::Unreachable)?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(Problem::Redirect(status.as_u16()));
        }
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        let body = body.map(|body| body.to_bytes()).map_err(|error| {
            if error.is::<LengthLimitError>() {
                return Problem::TooLarge;
            }
            Problem::BrokeOff(error)
        });
        match status {
            StatusCode::OK => body,
            // Whatever is wrong with the body: the status says more.
            _ => Err(body
                .ok()
                .and_then(|body| reported(&body))
                .unwrap_or(Problem::Status(status.as_u16()))),
        }
    }
}

fn authorization(token: &Secret) -> Result<HeaderValue, &'static str> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .map_err(|_| "has a token that no header can have: does it end with a line break?")?;
    value.set_sensitive(true);
    Ok(value)
}
