//! Notifications by HTTP.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use tokio::time::timeout;

use super::signature::Key;
use super::{Channel, Format, Notification};
use crate::error::{Error, ErrorKind, Result};
use crate::http;
use crate::secret::Secret;

/// How long one request may take.
const WITHIN: Duration = Duration::from_secs(10);

/// A channel that sends each notification as an HTTP request (`POST`).
///
/// - A status of 200 to 299 means that the notification is delivered. 408, 425, 429, 500 to 599, and a
///   receiver that cannot be reached are tried again. Any other status is a refusal: the notification is
///   given up. Redirects are not followed.
/// - A request may take 10 s in total. It uses no proxy.
/// - The URL is a secret: only its host appears in errors and in `Debug`.
///
/// TLS certificates are checked against the roots of the machine.
///
/// ```no_run
/// use upgrade_core::notify::{Format, Webhook};
/// use upgrade_core::{Result, Secret};
///
/// # fn example(url: Secret, secret: Secret) -> Result<()> {
/// let chat = Webhook::new("chat", url, Format::Slack)?;
/// # let url = Secret::new("https://events.example.org/upgrades");
/// let events = Webhook::new("events", url, Format::CloudEvents)?.signed(secret)?;
/// # Ok(())
/// # }
/// ```
pub struct Webhook {
    name: String,
    url: Uri,
    host: String,
    format: Format,
    key: Option<Key>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Webhook {
    /// A webhook by its name in the journal, and its URL, which begins with `https://` or `http://`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for another URL, and for one with a user name or a password;
    /// [`ErrorKind::Io`] where the machine has no certificates.
    pub fn new(name: impl Into<String>, url: Secret, format: Format) -> Result<Self> {
        let name = name.into();
        let wrong = |why: &str| {
            let message = format!("the URL of webhook `{name}` {why}");
            Error::new(ErrorKind::InvalidInput, message)
        };
        let url: Uri = url.expose().parse().map_err(|_| wrong("is not a URL"))?;
        let encrypted = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("does not begin with `https://` or `http://`")),
        };
        let authority = url.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(wrong("has a user name")
                .with_hint("use a token in the path, or sign the requests: `Webhook::signed`"));
        }
        let host = url.host().unwrap_or_default().to_owned();
        // Hours can pass between two notifications: a connection that is kept would be dead by then.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(http::connector(encrypted)?);
        Ok(Self {
            name,
            url,
            host,
            format,
            key: None,
            client,
        })
    }

    /// Signs each request as Standard Webhooks does (headers `webhook-id`, `webhook-timestamp` and
    /// `webhook-signature`), with the secret that the receiver has as well: `whsec_` and 24 to 64 random
    /// bytes in base64.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for another secret.
    pub fn signed(mut self, secret: Secret) -> Result<Self> {
        let key = Key::new(&secret).map_err(|error| error.with_context("webhook", &self.name))?;
        self.key = Some(key);
        Ok(self)
    }

    fn request(&self, notification: &Notification) -> Result<Request<Full<Bytes>>> {
        let body = self.format.body(notification).to_string();
        let mut request = Request::post(self.url.clone())
            .header(CONTENT_TYPE, self.format.content_type())
            .header(
                USER_AGENT,
                concat!("upgrade-core/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(key) = &self.key {
            let now = Timestamp::now().as_second();
            request = request
                .header("webhook-id", &notification.id)
                .header("webhook-timestamp", now)
                .header("webhook-signature", key.sign(&notification.id, now, &body));
        }
        request.body(Full::from(body)).map_err(|source| {
            let message = format!("no request of webhook `{}` can be made", self.name);
            Error::new(ErrorKind::Internal, message).with_source(source)
        })
    }

    fn failed(&self, kind: ErrorKind, what: &str) -> Error {
        let Self { name, host, .. } = self;
        Error::new(kind, format!("webhook `{name}` at `{host}` {what}"))
    }

    /// What a status means.
    fn judge(&self, status: StatusCode) -> Result<()> {
        if status.is_success() {
            return Ok(());
        }
        let kind = match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                ErrorKind::Unavailable
            }
            status if status.is_server_error() => ErrorKind::Unavailable,
            _ => ErrorKind::Refused,
        };
        let error = self.failed(kind, &format!("has answered {}", status.as_u16()));
        Err(match status.is_redirection() {
            true => {
                error.with_hint("redirects are not followed: use the URL that the receiver names")
            }
            false => error,
        })
    }
}

#[async_trait]
impl Channel for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, notification: &Notification) -> Result<()> {
        let request = self.request(notification)?;
        match timeout(WITHIN, self.client.request(request)).await {
            Ok(Ok(response)) => self.judge(response.status()),
            Ok(Err(source)) => Err(self
                .failed(ErrorKind::Unavailable, "cannot be reached")
                .with_source(source)),
            Err(_) => {
                let what = format!("has not answered within {WITHIN:?}");
                Err(self.failed(ErrorKind::Timeout, &what))
            }
        }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .field("host", &self.host)
            .field("format", &self.format)
            .field("signed", &self.key.is_some())
            .finish_non_exhaustive()
    }
}
