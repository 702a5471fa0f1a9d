//! What sides answer, apart from how long it takes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Answer, Client, Request};
use crate::side::Side;
use crate::statistics::fisher;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// A status below 400, after this time.
    Done(Duration),
    /// A status of 400 to 499, after this time: the request is refused.
    Refused(Duration, u16),
    /// A status of 500 or more.
    Failed(u16),
    /// The service answered nothing that is complete, or could not be reached.
    Broken,
}

impl Outcome {
    /// How long a proper answer took.
    pub(super) fn time(self) -> Option<Duration> {
        match self {
            Self::Done(time) | Self::Refused(time, _) => Some(time),
            Self::Failed(_) | Self::Broken => None,
        }
    }

    /// Whether the answer is an error where the other side gave a better one.
    pub(super) fn is_worse_than(self, other: Self) -> bool {
        self.rank() > other.rank()
    }

    /// Whether the service failed.
    pub(super) fn is_error(self) -> bool {
        self.time().is_none()
    }

    fn rank(self) -> u8 {
        match self {
            Self::Done(_) => 0,
            Self::Refused(..) => 1,
            Self::Failed(_) => 2,
            Self::Broken => 3,
        }
    }
}

/// Sends a request to a side, once; the outcome, and a short description of it.
///
/// # Errors
/// Those of [`Client::send`]. A candidate that cannot be reached is none: the others can, or their requests
/// end in an error.
pub(super) async fn send(
    cx: &UpgradeContext,
    side: Side,
    client: &Client,
    request: &Request,
) -> Result<(Outcome, String)> {
    match client.send(cx, request).await {
        Ok(Answer::Complete(response)) => {
            let (time, status) = (response.elapsed, response.status);
            let outcome = match status {
                ..400 => Outcome::Done(time),
                400..500 => Outcome::Refused(time, status),
                _ => Outcome::Failed(status),
            };
            Ok((outcome, format!("status {status}")))
        }
        Ok(Answer::Broken(broken)) => Ok((Outcome::Broken, broken.to_string())),
        Err(error) if side == Side::Candidate && error.kind() == ErrorKind::Unavailable => {
            Ok((Outcome::Broken, "no connection".to_owned()))
        }
        Err(error) => Err(error.with_context("side", side.to_string())),
    }
}

/// A client of each side, with its connections.
///
/// # Errors
/// Those of [`UpgradeContext::side`], [`UpgradeContext::endpoint`] and [`Client::new`].
pub(super) fn clients(cx: &UpgradeContext, endpoint: &str) -> Result<BTreeMap<Side, Client>> {
    let client = |side| {
        let of_side = cx.at_side(side)?;
        let located = |error: Error| error.with_context("side", side.to_string());
        let endpoint = of_side.endpoint(endpoint).map_err(located)?;
        Ok((side, Client::new(endpoint).map_err(located)?))
    };
    Side::ALL.into_iter().map(client).collect()
}

/// Errors of each side over the same requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Errors {
    /// The same requests, sent to all sides.
    pub(super) requests: u32,
    /// Answers of each side that are errors.
    pub(super) of_side: BTreeMap<Side, u32>,
    /// Answers that are worse than those of the baseline to the same request.
    secondary_worse: u32,
    candidate_worse: u32,
    /// The first of the candidate's.
    example: Option<String>,
}

/// What errors say about the candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ErrorsSay {
    /// Nothing that the baseline does not do, too.
    Nothing,
    /// A single answer, which is too few to judge, described in one sentence.
    Doubt(String),
    /// It answers errors where the baseline does not: the message.
    Worse(String),
}

impl Errors {
    /// Takes in what the sides answered to the same request, each with a description.
    pub(super) fn observe(
        &mut self,
        request: &Request,
        answers: &BTreeMap<Side, (Outcome, String)>,
    ) {
        self.requests = self.requests.saturating_add(1);
        for (side, (outcome, _)) in answers {
            *self.of_side.entry(*side).or_default() += u32::from(outcome.is_error());
        }
        let [baseline, secondary, candidate] = Side::ALL.map(|side| &answers[&side]);
        self.secondary_worse += u32::from(secondary.0.is_worse_than(baseline.0));
        if candidate.0.is_worse_than(baseline.0) {
            self.candidate_worse += 1;
            // Without the query, which may hold what is secret.
            let line = format!("{} {}", request.method, request.path());
            self.example.get_or_insert_with(|| {
                format!(
                    "`{line}`: {}, and {} of the baseline",
                    candidate.1, baseline.1
                )
            });
        }
    }

    /// What follows, where a chance of at most `alpha` for a false alarm is allowed.
    ///
    /// If the three sides answered alike, the candidate would be worse than the baseline as often as the
    /// secondary is: Fisher's exact test of the two counts. Where neither baseline ever answers an error, two
    /// of the candidate are enough.
    pub(super) fn judge(&self, alpha: f64) -> ErrorsSay {
        let (worse, all) = (self.candidate_worse, self.requests);
        let Some(example) = self.example.as_ref().filter(|_| worse > 0) else {
            return ErrorsSay::Nothing;
        };
        let of = |side| self.of_side.get(&side).copied().unwrap_or_default();
        let never = self.secondary_worse + of(Side::Baseline) + of(Side::Secondary) == 0;
        let noise = self.secondary_worse;
        if worse >= 2 && (never || fisher((noise, all), (worse, all)) < alpha) {
            return ErrorsSay::Worse(format!(
                "{worse} of {all} answers are worse than those of the baseline, whose second system has {noise} such; the first is {example}"
            ));
        }
        match never {
            true => ErrorsSay::Doubt(format!(
                "one of {all} answers of the candidate is worse than that of the baseline, which is too few to judge: {example}"
            )),
            false => ErrorsSay::Nothing,
        }
    }

    /// Whether the candidate fails for sure, so that times need not be measured any longer.
    pub(super) fn is_clear(&self) -> bool {
        let all = self.requests;
        self.candidate_worse >= 20
            && fisher((self.secondary_worse, all), (self.candidate_worse, all)) < 1e-6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: Outcome = Outcome::Done(Duration::from_millis(1));

    fn seen(rounds: &[(u32, [Outcome; 3])]) -> Errors {
        let mut errors = Errors::default();
        let request = Request::get("/a?token=hunter2").with_header("authorization", "hunter2");
        for (times, outcomes) in rounds {
            let answers = Side::ALL.into_iter().zip(*outcomes);
            let answers = answers
                .map(|(side, it)| (side, (it, format!("{it:?}"))))
                .collect();
            for _ in 0..*times {
                errors.observe(&request, &answers);
            }
        }
        errors
    }

    #[test]
    fn errors_count_where_the_baseline_has_none() {
        const FAILED: Outcome = Outcome::Failed(503);
        const REFUSED: Outcome = Outcome::Refused(Duration::from_millis(1), 404);
        for (rounds, expected) in [
            (&[(100, [DONE, DONE, DONE])][..], "Nothing"),
            (
                &[(99, [DONE, DONE, DONE]), (1, [DONE, DONE, FAILED])],
                "Doubt",
            ),
            (
                &[(98, [DONE, DONE, DONE]), (2, [DONE, DONE, FAILED])],
                "Worse",
            ),
            (
                &[(98, [DONE, DONE, DONE]), (2, [DONE, DONE, REFUSED])],
                "Worse",
            ),
            // What is refused by all is meant.
            (&[(98, [REFUSED, REFUSED, REFUSED])], "Nothing"),
            (&[(98, [REFUSED, REFUSED, Outcome::Broken])], "Worse"),
            // All fail as often.
            (
                &[
                    (90, [DONE, DONE, DONE]),
                    (5, [DONE, DONE, FAILED]),
                    (5, [DONE, FAILED, DONE]),
                ],
                "Nothing",
            ),
            (
                &[
                    (90, [DONE, DONE, DONE]),
                    (5, [DONE, DONE, FAILED]),
                    (5, [FAILED, DONE, DONE]),
                ],
                "Nothing",
            ),
            (
                &[
                    (90, [DONE, DONE, DONE]),
                    (50, [DONE, DONE, FAILED]),
                    (5, [DONE, FAILED, DONE]),
                ],
                "Worse",
            ),
            // Better is not worse.
            (&[(90, [FAILED, FAILED, DONE])], "Nothing"),
        ] {
            let say = seen(rounds).judge(0.005);
            let is = format!("{say:?}");
            assert!(is.starts_with(expected), "{rounds:?}: {is}");
            assert!(!is.contains("hunter2"), "{is}");
        }
    }

    #[test]
    fn a_dead_candidate_is_clear_soon() {
        let dead = [DONE, DONE, Outcome::Broken];
        assert!(!seen(&[(19, dead)]).is_clear());
        assert!(seen(&[(20, dead)]).is_clear());
        assert!(!seen(&[(500, [DONE, Outcome::Broken, Outcome::Broken])]).is_clear());
    }
}
