//! The validator that replays a recording.

use std::collections::BTreeMap;

#[cfg(feature = "postgres")]
use std::time::Duration;

use async_trait::async_trait;
#[cfg(feature = "postgres")]
use serde_json::Value;
#[cfg(feature = "postgres")]
use tokio::time::{Instant, sleep};

use super::options::Options;
use super::recording::{Recorded, Recording};
use super::report::judge;
use super::session::Session;
use crate::context::UpgradeContext;
use crate::error::Result;
use crate::finding::Finding;
use crate::http::{Client, ClientOptions, Request, Response};
use crate::side::Side;
use crate::validator::{Validator, Verdict};

/// How often a request that only reads is sent where nothing else is said.
const REPEATS: usize = 2;
/// After how many incomplete answers in a row a replay ends: the side no longer works.
const BROKEN: usize = 10;

/// How long it is waited for what workers do.
#[cfg(feature = "postgres")]
const SETTLES: Duration = Duration::from_secs(30);
/// How long it is waited between two looks at that.
#[cfg(feature = "postgres")]
const PAUSE: Duration = Duration::from_millis(50);

/// A validator that sends recorded requests to systems that run [side by side](crate::side), and judges the
/// candidate's answers by those of the previous release. See the [module](super) for how.
///
/// It is for [`Upgrade::with_comparison`](crate::Upgrade): it needs three sides, each with its copy of the same
/// data, and **the requests change that data**. The requests are sent one after another in their order, each
/// to all sides; redirects are not followed. Each user has cookies on each side. Generated ids and tokens in
/// later requests are replaced by those of the side: texts of at least 8 characters that look generated, and
/// numbers of `id` and `.._id` in answers to requests that write.
///
/// - **Pass:** no answer, and no row that the requests wrote, differs more than between the two systems of the
///   previous release.
/// - **Fail:** findings `api/..`.
/// - **Inconclusive:** nothing was sent; nothing was answered with success by the previous release; the
///   previous release stopped answering; or the session of the recording was refused by all sides.
///
/// ```
/// use upgrade_core::http::Request;
/// use upgrade_core::replay::{Recording, Replay};
///
/// let replay = Replay::new("shop api", "web", Recording::new([Request::get("/products")]))
///     .ignoring("$.meta.*");
/// ```
#[derive(Debug, Clone)]
pub struct Replay {
    name: String,
    endpoint: String,
    recording: Recording,
    repeats: usize,
    options: Options,
    client: ClientOptions,
    #[cfg(feature = "postgres")]
    rows: bool,
    /// What returns no row when workers have nothing left to do.
    #[cfg(feature = "postgres")]
    settled: Option<String>,
}

impl Replay {
    /// A replay of a recording against an endpoint of each side.
    pub fn new(name: impl Into<String>, endpoint: impl Into<String>, recording: Recording) -> Self {
        Self {
            name: name.into(),
            endpoint: endpoint.into(),
            recording,
            repeats: REPEATS,
            options: Options::default(),
            client: ClientOptions::default(),
            #[cfg(feature = "postgres")]
            rows: true,
            #[cfg(feature = "postgres")]
            settled: None,
        }
    }

    /// Sends these requests after those of the recording, as those of one user.
    #[must_use]
    pub fn requests(mut self, requests: Vec<Request>) -> Self {
        for request in requests {
            self.recording.push(Recorded::new(request));
        }
        self
    }

    /// How often each request that only reads is sent, at least once. Default: 2. More repeats tell rare
    /// noise from differences in a single request.
    #[must_use]
    pub fn with_repeats(mut self, repeats: usize) -> Self {
        self.repeats = repeats.max(1);
        self
    }

    /// Does not compare the places that a pattern matches; see [`Options::ignoring`].
    #[must_use]
    pub fn ignoring(mut self, pattern: impl Into<String>) -> Self {
        self.options = self.options.ignoring(pattern);
        self
    }

    /// Compares one header more; see [`Options::headers`].
    #[must_use]
    pub fn header(mut self, name: impl AsRef<str>) -> Self {
        self.options = self.options.with_header(name);
        self
    }

    /// Takes requests whose paths fit a template for those of one endpoint; see [`Options::with_template`].
    #[must_use]
    pub fn with_template(mut self, path: impl Into<String>) -> Self {
        self.options = self.options.with_template(path);
        self
    }

    /// Sends requests with other limits.
    #[must_use]
    pub fn with_client_options(mut self, options: ClientOptions) -> Self {
        self.client = options;
        self
    }

    /// Compares answers only, and not what the requests wrote to the databases of the sides.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn without_rows(mut self) -> Self {
        self.rows = false;
        self
    }

    /// Waits, before the rows are compared, until this query returns no row on any side: for what workers still
    /// have to do, such as `select from outbox`. After 30 s the replay is inconclusive.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn settled_when_empty(mut self, sql: impl Into<String>) -> Self {
        self.settled = Some(sql.into());
        self
    }

    /// Waits until nothing is left to do; the reason why that did not end.
    #[cfg(feature = "postgres")]
    async fn settle(&self, cx: &UpgradeContext) -> Result<Option<String>> {
        let Some(sql) = &self.settled else {
            return Ok(None);
        };
        let until = Instant::now() + SETTLES;
        for side in Side::ALL {
            let at = cx.at_side(side)?;
            while crate::flow::query::rows(&at, sql, &[]).await? != Value::Array(Vec::new()) {
                if Instant::now() >= until {
                    return Ok(Some(format!(
                        "`{sql}` still returns rows on the {side} after {SETTLES:?}"
                    )));
                }
                cx.bounded("wait for what workers do", sleep(PAUSE)).await?; // poll
            }
        }
        Ok(None)
    }

    /// A session with each side, in the order of the sides.
    fn sessions(&self, cx: &UpgradeContext) -> Result<[Session; 3]> {
        let session = |side| -> Result<Session> {
            let cx = cx.at_side(side)?;
            let client = Client::new(cx.endpoint(&self.endpoint)?)?.with_options(self.client);
            Ok(Session::new(side, cx, client))
        };
        let [baseline, secondary, candidate] = Side::ALL;
        Ok([session(baseline)?, session(secondary)?, session(candidate)?])
    }

    /// Sends everything to all sides.
    async fn send(&self, sessions: &mut [Session; 3]) -> Result<Sent> {
        let mut sent = Sent::default();
        for (at, recorded) in self.recording.requests().iter().enumerate() {
            let repeats = if recorded.request.is_safe() {
                self.repeats
            } else {
                1
            };
            for repeat in 0..repeats {
                for session in &mut *sessions {
                    session.send(recorded).await?;
                }
                if repeat == 0 {
                    sent.count(recorded, sessions);
                    learn(recorded, sessions);
                }
                let broken = Side::ALL.into_iter().zip(&*sessions);
                let mut broken = broken.filter(|(_, session)| session.broken >= BROKEN);
                if let Some((side, _)) = broken.next() {
                    sent.stopped = Some((side, at + 1));
                    return Ok(sent);
                }
            }
        }
        Ok(sent)
    }

    fn verdict(&self, cx: &UpgradeContext, sent: &Sent, findings: Vec<Finding>) -> Verdict {
        if findings.iter().any(Finding::fails) {
            return Verdict::Fail(findings);
        }
        // What fails nothing is worth reading all the same.
        findings.into_iter().for_each(|finding| cx.notice(finding));
        match sent.too_little() {
            Some(reason) => Verdict::Inconclusive(reason),
            None => Verdict::Pass,
        }
    }
}

/// Teaches each side from the answers to the first repeat of a request.
fn learn(recorded: &Recorded, sessions: &mut [Session; 3]) {
    // An answer of which only the status is known says nothing about names.
    let known = recorded.answer.as_ref();
    let known = known.filter(|one| !one.body.is_empty() || one.headers.iter().next().is_some());
    let baseline = sessions[0].last().cloned();
    let Some(reference) = known.cloned().or(baseline) else {
        return;
    };
    for session in sessions {
        session.learn(recorded, &reference);
    }
}

/// What came of sending.
#[derive(Debug, Default)]
struct Sent {
    requests: usize,
    /// Requests that baseline and secondary answered with success.
    answered: usize,
    /// Requests that were recorded with success and are refused by all sides, by status.
    refused: BTreeMap<u16, usize>,
    /// The side that no longer gave answers, and at which request.
    stopped: Option<(Side, usize)>,
}

impl Sent {
    fn count(&mut self, recorded: &Recorded, sessions: &[Session; 3]) {
        let answers = sessions.each_ref().map(Session::last);
        let success = |answer: Option<&Response>| {
            answer.is_some_and(|answer| (200..400).contains(&answer.status))
        };
        self.requests += 1;
        if success(answers[0]) && success(answers[1]) {
            self.answered += 1;
        }
        let refused = answers.iter().all(|answer| answer.is_some_and(is_refused));
        if let Some(first) = answers[0].filter(|_| refused && success(recorded.answer.as_ref())) {
            let to_login = recorded
                .answer
                .as_ref()
                .is_some_and(|of| of.status == first.status);
            if !to_login {
                *self.refused.entry(first.status).or_default() += 1;
            }
        }
    }

    /// Why no verdict is possible, if nothing was found.
    fn too_little(&self) -> Option<String> {
        let of = self.requests;
        if of == 0 {
            return Some("the recording has no requests".to_owned());
        }
        if let Some((side, at)) = self.stopped {
            return Some(format!(
                "the replay ended at request {at}: the last {BROKEN} answers of the {side} were not complete"
            ));
        }
        if self.answered == 0 {
            return Some(format!(
                "the previous release answered none of {of} requests with success"
            ));
        }
        let (status, count) = self.refused.iter().next()?;
        Some(format!(
            "all sides refused {count} of {of} requests with {status} that were recorded with success: the \
             recorded session is not valid here; record the login, too"
        ))
    }
}

/// Whether an answer asks for a login.
fn is_refused(response: &Response) -> bool {
    let location = response.headers.get("location").unwrap_or_default();
    let login = ["login", "signin", "sign_in", "sign-in"];
    match response.status {
        401 | 403 => true,
        300..=399 => login.iter().any(|login| location.contains(login)),
        _ => false,
    }
}

#[async_trait]
impl Validator for Replay {
    fn name(&self) -> &str {
        &self.name
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let mut sessions = self.sessions(cx)?;
        #[cfg(feature = "postgres")]
        let before = match self.rows {
            true => super::rows::Before::read(cx).await?,
            false => None,
        };
        let sent = self.send(&mut sessions).await?;
        let options = Options {
            server: sessions[2].server().to_owned(),
            ..self.options.clone()
        };
        let [baseline, secondary, candidate] = &sessions;
        let mut findings = judge(
            &baseline.exchanges,
            &secondary.exchanges,
            &candidate.exchanges,
            &options,
        );
        #[cfg(feature = "postgres")]
        if let Some(before) = before {
            if let Some(reason) = self.settle(cx).await? {
                return Ok(Verdict::Inconclusive(reason));
            }
            let of_rows = before.judge(cx).await?.into_iter();
            findings.extend(of_rows.filter(|of| !options.ignores_rows(of.subject.as_str())));
        }
        for finding in &mut findings {
            finding.message = cx.redact(&finding.message);
            finding.evidence = finding.evidence.as_deref().map(|text| cx.redact(text));
            finding.subject = match finding.subject.object() {
                Some(_) => finding.subject.clone(),
                None => cx.redact(finding.subject.as_str()).into(),
            };
        }
        Ok(self.verdict(cx, &sent, findings))
    }
}
