//! What is replayed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::http::{Answer, Exchange, Request, Response};
use crate::saved;

/// The version of a saved recording.
const FORMAT: u32 = 1;

/// One request of a recording.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Recorded {
    /// Whose session it is of. Each user has cookies apart from those of others. Empty by default.
    #[serde(default)]
    pub user: String,
    /// What was sent.
    pub request: Request,
    /// What the recorded system answered; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Response>,
}

impl Recorded {
    /// A request whose answer is not known.
    pub fn new(request: Request) -> Self {
        Self {
            user: String::new(),
            request,
            answer: None,
        }
    }

    /// As a request of the session of this user.
    #[must_use]
    pub fn of_user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// With what the recorded system answered.
    #[must_use]
    pub fn with_answer(mut self, answer: Response) -> Self {
        self.answer = Some(answer);
        self
    }
}

/// The method and the path, without what may hold secrets.
impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.request.method, self.request.path())?;
        if let Some(answer) = &self.answer {
            write!(f, " -> {}", answer.status)?;
        }
        Ok(())
    }
}

/// Requests in the order in which users made them, with what the recorded system answered.
///
/// The answers tell which ids and tokens in later requests are generated: each side of a replay has other
/// ones, and its requests are rewritten. A recording without answers can be replayed if its requests
/// hold no such values, or only cookies.
///
/// [`to_json`](Self::to_json) saves it as it is, **with all secrets** that its requests and answers hold.
/// `Debug` shows methods and paths only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    format: u32,
    requests: Vec<Recorded>,
    #[serde(default)]
    skipped: BTreeMap<String, u64>,
}

impl Recording {
    /// Requests of one user, without answers.
    pub fn new(requests: impl IntoIterator<Item = Request>) -> Self {
        Self::from_recorded(requests.into_iter().map(Recorded::new))
    }

    /// Requests of any users, with or without answers.
    pub fn from_recorded(requests: impl IntoIterator<Item = Recorded>) -> Self {
        Self {
            format: FORMAT,
            requests: requests.into_iter().collect(),
            skipped: BTreeMap::new(),
        }
    }

    /// Requests of one user with their answers, such as those of a workflow that has run.
    pub fn from_exchanges(exchanges: impl IntoIterator<Item = Exchange>) -> Self {
        Self::from_recorded(exchanges.into_iter().map(|exchange| Recorded {
            user: String::new(),
            request: exchange.request,
            answer: match exchange.answer {
                Answer::Complete(response) => Some(response),
                Answer::Broken(_) => None,
            },
        }))
    }

    /// The requests of a HAR file (HTTP Archive 1.2), as browsers save them, that went to one origin, such as
    /// `https://shop.example.org`, or to one host. `name` names the file in errors. Requests to others are
    /// counted as [skipped](Self::skipped).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a text that is no HAR file, with the
    /// entry that is wrong, and if no request went to the origin.
    pub fn har(name: &str, text: &str, origin: &str) -> Result<Self> {
        super::har::read(name, text, origin)
    }

    /// The `GET` and `HEAD` requests of an access log, in the Common or the Combined Log Format. `name` names
    /// the file in errors. Each authenticated user, else each address, is a user. Other methods are
    /// counted as [skipped](Self::skipped): a log has no bodies. So are lines of requests that were
    /// not understood.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a line of another format, with its
    /// number.
    pub fn access_log(name: &str, text: &str) -> Result<Self> {
        super::access_log::read(name, text)
    }

    /// Counts something that cannot be replayed.
    pub(super) fn skip(&mut self, what: impl Into<String>) {
        *self.skipped.entry(what.into()).or_default() += 1;
    }

    /// With one request more.
    pub fn push(&mut self, request: Recorded) {
        self.requests.push(request);
    }

    /// The requests, in their order.
    pub fn requests(&self) -> &[Recorded] {
        &self.requests
    }

    /// What the source had and cannot be replayed, with how often: `POST`, `another origin`.
    pub fn skipped(&self) -> &BTreeMap<String, u64> {
        &self.skipped
    }

    /// Reads a saved recording.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a text that is none, or one of another
    /// format.
    pub fn from_json(json: &str) -> Result<Self> {
        saved::read(json, "recording", FORMAT, "record the requests again")
    }

    /// The recording as JSON, with its secrets.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and lists of them")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_recording_is_saved_and_read_again() {
        let request = Request::post("/login?token=canary-0")
            .with_header("cookie", "sid=canary-1")
            .with_body("password=canary-2");
        let recorded = Recorded::new(request)
            .with_answer(Response::new(204).with_header("set-cookie", "sid=canary-3"))
            .of_user("ann");
        let recording = Recording::from_recorded([recorded]);
        let json = recording.to_json();
        assert_eq!(Recording::from_json(&json).unwrap(), recording);
        let shown = format!("{recording:?}");
        assert!(
            !shown.contains("canary") && shown.contains("POST /login -> 204"),
            "{shown}"
        );
        let newer = json.replace("\"format\":1", "\"format\":2");
        let error = Recording::from_json(&newer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
