//! Sends requests to one endpoint.

use std::fmt;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::Uri;
use hyper::body::Bytes;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::connector;
use super::message::{Answer, Broken, Headers, Request, Response};
use crate::context::UpgradeContext;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};

/// How long one request may take, and how large its answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientOptions {
    /// How long a request may take, with its connection. Default: 10 s.
    pub within: Duration,
    /// How many bytes a body may have. Default: 16 MiB.
    pub at_most: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            within: Duration::from_secs(10),
            at_most: 16 * 1024 * 1024,
        }
    }
}

/// Sends requests to one endpoint, over connections that it keeps. Cheap to clone.
///
/// It follows no redirect and knows no cookies: whoever sends a request decides about both. Proxy settings
/// of the machine do not count.
#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Scheme and authority, then the path behind which targets follow.
    server: String,
    options: ClientOptions,
}

impl Client {
    /// A client of an endpoint, whose URL is `http` or `https`, without user and query. A path of it stands
    /// before the target of each request.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for another URL; [`ErrorKind::Io`] where certificates are needed and the
    /// machine has none.
    pub fn new(endpoint: &Endpoint) -> Result<Self> {
        let url = endpoint.url().expose().trim_end_matches('/');
        let invalid = |what: &str| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("the URL of an endpoint {what}"),
            )
            .with_hint("requests need `http://HOST:PORT` or `https://HOST`")
        };
        let uri: Uri = url.parse().map_err(|_| invalid("cannot be read"))?;
        let encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(invalid("is not one of HTTP")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("has a user"));
        }
        if uri.query().is_some() {
            return Err(invalid("has a query"));
        }
        Ok(Self {
            pool: Pool::builder(TokioExecutor::new()).build(connector(encrypted)?),
            server: url.to_owned(),
            options: ClientOptions::default(),
        })
    }

    /// With other limits.
    #[must_use]
    pub fn with_options(mut self, options: ClientOptions) -> Self {
        self.options = options;
        self
    }

    /// Scheme, host, port and path, as in the URL of the endpoint.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Sends a request, once.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] where no connection could be made; [`ErrorKind::InvalidInput`] for a
    /// request that HTTP does not allow; [`ErrorKind::Timeout`] and [`ErrorKind::Cancelled`] from the
    /// context. A service that takes the connection and does not answer well is an [`Answer::Broken`].
    pub async fn send(&self, cx: &UpgradeContext, request: &Request) -> Result<Answer> {
        let within = self.options.within;
        let sent = async {
            match tokio::time::timeout(within, self.exchange(request)).await {
                Ok(answer) => answer,
                Err(_) => Ok(Answer::Broken(Broken::Slow(within))),
            }
        };
        cx.bounded(&request.to_string(), sent).await?
    }

    async fn exchange(&self, request: &Request) -> Result<Answer> {
        let mut builder = hyper::Request::builder()
            .method(request.method.as_str())
            .uri(format!("{}{}", self.server, request.target));
        for (name, value) in request.headers.iter() {
            if !matches!(
                name,
                "host" | "content-length" | "connection" | "transfer-encoding"
            ) {
                builder = builder.header(name, value);
            }
        }
        let body = Full::new(Bytes::copy_from_slice(&request.body));
        let sent = builder.body(body).map_err(|source| {
            let message = format!("HTTP does not allow the request `{request}`");
            Error::new(ErrorKind::InvalidInput, message).with_source(source)
        })?;
        let began = Instant::now();
        let response = match self.pool.request(sent).await {
            Ok(response) => response,
            Err(source) if source.is_connect() => {
                let message = format!("no connection to `{}`", self.server);
                return Err(Error::new(ErrorKind::Unavailable, message)
                    .with_source(source)
                    .with_context("request", request.to_string()));
            }
            Err(source) => return Ok(Answer::Broken(Broken::Cut(chain(&source)))),
        };
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, self.options.at_most).collect().await {
            Ok(body) => body.to_bytes().to_vec(),
            Err(source) if source.is::<LengthLimitError>() => {
                return Ok(Answer::Broken(Broken::Large(self.options.at_most as u64)));
            }
            Err(source) => return Ok(Answer::Broken(Broken::Cut(chain(source.as_ref())))),
        };
        let headers = head
            .headers
            .iter()
            .fold(Headers::default(), |all, (name, value)| {
                all.with(name.as_str(), String::from_utf8_lossy(value.as_bytes()))
            });
        Ok(Answer::Complete(Response {
            status: head.status.as_u16(),
            headers,
            body,
            elapsed: began.elapsed(),
        }))
    }
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.server)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
