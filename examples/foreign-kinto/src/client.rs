//! Requests of users to one system, each kept with its answer.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use upgrade_core::http::{Answer, Client, Request, Response};
use upgrade_core::replay::Recorded;
use upgrade_core::{Error, ErrorKind, Result, UpgradeContext};

/// The password of every user.
pub(crate) const PASSWORD: &str = "correct horse";

/// By which name the environment has what users reach.
pub(crate) const PROXY: &str = "proxy";

/// What a user sends to be known.
pub(crate) fn authorization(user: &str) -> String {
    let text = format!("{user}:{PASSWORD}");
    format!("Basic {}", BASE64_STANDARD.encode(text))
}

/// Users of one system.
pub(crate) struct Users<'c> {
    cx: &'c UpgradeContext,
    client: Client,
    recorded: Vec<Recorded>,
}

impl<'c> Users<'c> {
    pub(crate) fn of(cx: &'c UpgradeContext) -> Result<Self> {
        Ok(Self {
            cx,
            client: Client::new(cx.endpoint(PROXY)?)?,
            recorded: Vec::new(),
        })
    }

    /// Sends a request of a user, or of nobody where the name is empty.
    ///
    /// # Errors
    /// Those of [`Client::send`], and [`ErrorKind::Unavailable`] for an answer that is not complete or
    /// tells of a fault of the server.
    pub(crate) async fn send(&mut self, user: &str, mut request: Request) -> Result<Response> {
        if !user.is_empty() {
            request = request.with_header("authorization", authorization(user));
        }
        let answer = self.client.send(self.cx, &request).await?;
        let answer = match answer {
            Answer::Complete(answer) if answer.status < 500 => answer,
            other => return Err(refused(&request, &other.to_string())),
        };
        let recorded = Recorded::new(request).of_user(user);
        self.recorded.push(recorded.with_answer(answer.clone()));
        Ok(answer)
    }

    /// As [`send`](Self::send), of what has to succeed.
    pub(crate) async fn succeed(&mut self, user: &str, request: Request) -> Result<Response> {
        let told = request.clone();
        let answer = self.send(user, request).await?;
        match answer.is_success() {
            true => Ok(answer),
            false => Err(refused(&told, &answer.to_string())),
        }
    }

    /// All requests since the last time, in their order.
    pub(crate) fn take_recorded(&mut self) -> Vec<Recorded> {
        std::mem::take(&mut self.recorded)
    }
}

fn refused(request: &Request, answer: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("{request} answers {answer}"),
    )
}
