//! The HTTP API of the server, as its users know it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use upgrade_core::http::{Request, Response};
use upgrade_core::replay::Recorded;
use upgrade_core::{Error, ErrorKind, Result, UpgradeContext};

/// How long a user waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// To one that tells no version, the server gives smaller pages.
const AGENT: &str = "atuin/18.4.0";

/// One of the calls, as reports name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// What the server says to a call.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the server says that there is no such call.
    pub(crate) fn is_gone(&self) -> bool {
        [404, 405, 410, 501].contains(&self.status)
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body: String = self.body.to_string().chars().take(200).collect();
        write!(f, "{} {body}", self.status)
    }
}

/// Calls to one system.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    /// What was sent and answered, where that is kept.
    recorded: Option<Arc<Mutex<Vec<Recorded>>>>,
}

impl Client {
    /// By the proxy of the environment.
    pub(crate) fn of(cx: &UpgradeContext) -> Result<Self> {
        let base = cx.endpoint("proxy")?.url().expose();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .user_agent(AGENT)
            // Each request may meet another replica.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(unanswered)?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            recorded: None,
        })
    }

    /// Keeps each request with its answer from now on.
    pub(crate) fn recording(mut self) -> Self {
        self.recorded = Some(Arc::default());
        self
    }

    /// What was kept, in its order.
    pub(crate) fn take_recorded(&self) -> Vec<Recorded> {
        let kept = self.recorded.as_ref().map(|kept| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *kept)
        });
        kept.unwrap_or_default()
    }

    /// Makes a call; `{}` in its path stands for `argument`, which follows the path otherwise.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] without an answer.
    pub(crate) async fn call(
        &self,
        call: Call,
        argument: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Result<Answer> {
        let path = match call.path.contains("{}") {
            true => call.path.replace("{}", argument),
            false => format!("{}{argument}", call.path),
        };
        let url = format!("{}{path}", self.base);
        let method = Method::from_bytes(call.method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, url);
        if let Some(token) = token {
            request = request.header("Authorization", format!("Token {token}"));
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(unanswered)?;
        let status = answer.status().as_u16();
        let media = answer.headers().get("content-type").cloned();
        let text = answer.text().await.map_err(unanswered)?;
        if let Some(kept) = &self.recorded {
            let mut sent = Request::new(call.method, path).with_header("user-agent", AGENT);
            if let Some(token) = token {
                sent = sent.with_header("authorization", format!("Token {token}"));
            }
            if let Some(body) = &body {
                sent = sent.with_json(body);
            }
            let mut got = Response::new(status).with_body(text.clone());
            if let Some(media) = media.as_ref().and_then(|media| media.to_str().ok()) {
                got = got.with_header("content-type", media);
            }
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(Recorded::new(sent).with_answer(got));
        }
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body })
    }
}

fn unanswered(source: reqwest::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "no answer").with_source(source)
}
