//! What clauses are written with: each question names what was expected and what was found.

use std::fmt::Debug;

use tokio::time::{Instant, sleep, timeout};
use upgrade_core::migration::Outcome;
use upgrade_core::{Error, ErrorKind, Failure, Observation, Result, UpgradeContext};

use super::outcome::{ClauseFailed, ClauseOutcome, ClauseResult};
use super::run::{DEADLINE, MARGIN};

/// The name of the clause that asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clause(pub(super) &'static str);

/// The given case, or the clause ends here as not applicable.
macro_rules! given {
    ($case:expr) => {
        match $case {
            $crate::conformance::Case::Given(value) => value,
            $crate::conformance::Case::NotApplicable(reason) => {
                return Ok($crate::conformance::ClauseOutcome::NotApplicable(reason));
            }
        }
    };
}
pub(super) use given;

/// The facet, or the clause ends here as not applicable.
macro_rules! facet {
    ($clause:expr, $facet:expr, $none:expr) => {
        match $facet {
            Some(facet) => facet,
            None => return $clause.not_applicable($none),
        }
    };
}
pub(super) use facet;

impl Clause {
    pub(super) fn failed(
        self,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> ClauseFailed {
        ClauseFailed {
            clause: self.0,
            expected: expected.into(),
            found: found.into(),
        }
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "the last line of a clause, where its result is expected"
    )]
    pub(super) fn holds(self) -> ClauseResult {
        Ok(ClauseOutcome::Holds)
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "a line of a clause that returns its result"
    )]
    pub(super) fn not_applicable(self, reason: impl Into<String>) -> ClauseResult {
        Ok(ClauseOutcome::NotApplicable(reason.into()))
    }

    pub(super) fn that(
        self,
        holds: bool,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Result<(), ClauseFailed> {
        if holds {
            Ok(())
        } else {
            Err(self.failed(expected, found))
        }
    }

    /// The value of a call that must succeed.
    pub(super) fn ok<T>(self, call: &str, result: Result<T>) -> Result<T, ClauseFailed> {
        result.map_err(|error| self.failed(format!("{call} succeeds"), said(&error)))
    }

    /// The value of a call to the fixture, without which nothing can be examined.
    pub(super) fn fixture<T>(self, call: &str, result: Result<T>) -> Result<T, ClauseFailed> {
        self.ok(&format!("the fixture's `{call}`"), result)
    }

    /// The error of a call that must not succeed.
    pub(super) fn error<T: Debug>(
        self,
        call: &str,
        result: Result<T>,
    ) -> Result<Error, ClauseFailed> {
        match result {
            Ok(value) => Err(self.failed(format!("{call} is an error"), format!("Ok({value:?})"))),
            Err(error) => Ok(error),
        }
    }

    /// Whether an act that must not fail has done anything.
    pub(super) fn done(self, call: &str, result: Result<Outcome>) -> Result<bool, ClauseFailed> {
        self.ok(call, result.and_then(Outcome::into_result))
    }

    /// An act that must fail, and say so with a value.
    pub(super) fn bad(self, call: &str, result: Result<Outcome>) -> Result<Failure, ClauseFailed> {
        match self.ok(call, result)? {
            Outcome::Failed(failure) => Ok(*failure),
            outcome => Err(self.failed(format!("{call} has failed"), format!("{outcome:?}"))),
        }
    }

    /// A call that must end with an error of one of these kinds.
    pub(super) fn kind<T: Debug>(
        self,
        call: &str,
        result: Result<T>,
        kinds: &[ErrorKind],
    ) -> Result<(), ClauseFailed> {
        let error = self.error(call, result)?;
        let names: Vec<String> = kinds.iter().map(|kind| format!("{kind:?}")).collect();
        self.that(
            kinds.contains(&error.kind()),
            format!("{call} is an error of kind {}", names.join(" or ")),
            said(&error),
        )
    }

    pub(super) fn equal<T: PartialEq + Debug>(
        self,
        what: &str,
        expected: &T,
        found: &T,
    ) -> Result<(), ClauseFailed> {
        self.that(
            expected == found,
            format!("{what}: {expected:?}"),
            format!("{found:?}"),
        )
    }

    /// Two texts that show a system, told apart by the first line that differs.
    pub(super) fn same_text(
        self,
        what: &str,
        expected: &str,
        found: &str,
    ) -> Result<(), ClauseFailed> {
        if expected == found {
            return Ok(());
        }
        let end = "(the text ends)";
        let (mut expected, mut found) = (expected.lines(), found.lines());
        for number in 1.. {
            let (left, right) = (expected.next(), found.next());
            if left != right {
                let left = left.unwrap_or(end);
                return Err(self.failed(
                    format!("{what}, line {number}: {left}"),
                    right.unwrap_or(end),
                ));
            }
            if left.is_none() {
                break;
            }
        }
        Err(self.failed(what, "the same lines, with other line ends"))
    }

    /// Two observations, told apart by what differs.
    pub(super) fn same_observation(
        self,
        what: &str,
        expected: &Observation,
        found: &Observation,
    ) -> Result<(), ClauseFailed> {
        if expected == found {
            return Ok(());
        }
        let mut findings = expected.schema_findings(found, "schema");
        findings.extend(expected.row_findings(found, "rows-lost", "rows-changed"));
        let mut differences: Vec<String> =
            findings.iter().map(|finding| finding.to_string()).collect();
        differences.extend(
            found
                .tables
                .keys()
                .filter(|table| !expected.tables.contains_key(*table))
                .map(|table| format!("table {table}: was not there before")),
        );
        if differences.is_empty() {
            differences.push(format!("{found:?} instead of {expected:?}"));
        }
        Err(self.failed(what, differences.join("; ")))
    }

    /// A call that has to wait, under a deadline: it must end with a timeout, in time.
    pub(super) async fn ends_at_the_deadline<T: Debug>(
        self,
        call: &str,
        cx: &UpgradeContext,
        act: impl AsyncFnOnce(&UpgradeContext) -> Result<T>,
    ) -> Result<(), ClauseFailed> {
        let cx = cx.clone().with_deadline(Instant::now() + DEADLINE);
        let result = self.in_time(call, "deadline", act(&cx)).await?;
        self.kind(call, result, &[ErrorKind::Timeout])
    }

    /// A call that has to wait, cancelled while it does: it must end as cancelled, in time.
    pub(super) async fn ends_on_cancellation<T: Debug>(
        self,
        call: &str,
        cx: &UpgradeContext,
        act: impl AsyncFnOnce(&UpgradeContext) -> Result<T>,
    ) -> Result<(), ClauseFailed> {
        let cx = cancellable(cx);
        let cancel = async {
            // The stimulus of the clause, not a synchronisation: any moment would do.
            sleep(DEADLINE).await;
            cx.cancellation().cancel();
        };
        let call_in_time = self.in_time(call, "cancellation", act(&cx));
        let (result, ()) = tokio::join!(call_in_time, cancel);
        self.kind(call, result?, &[ErrorKind::Cancelled])
    }

    async fn in_time<T>(
        self,
        call: &str,
        end: &str,
        act: impl Future<Output = T>,
    ) -> Result<T, ClauseFailed> {
        let started = Instant::now();
        let ended = timeout(DEADLINE + MARGIN, act).await;
        let late = started.elapsed() > DEADLINE + MARGIN;
        match ended {
            // One that blocks its thread ends before the clock is looked at.
            Ok(result) if !late => Ok(result),
            _ => Err(self.failed(
                format!("{call} ends within {MARGIN:?} of its {end}"),
                format!("it was still waiting after {:.1?}", started.elapsed()),
            )),
        }
    }
}

/// The same context with its own cancellation.
pub(super) fn cancellable(cx: &UpgradeContext) -> UpgradeContext {
    cx.clone()
        .with_cancellation(cx.cancellation().child_token())
}

/// The same context, cancelled already.
pub(super) fn cancelled(cx: &UpgradeContext) -> UpgradeContext {
    let cx = cancellable(cx);
    cx.cancellation().cancel();
    cx
}

/// What is in `after` and was not in `before`.
pub(super) fn new_in(after: &[String], before: &[String]) -> Vec<String> {
    after
        .iter()
        .filter(|name| !before.contains(name))
        .cloned()
        .collect()
}

/// An error and its causes, in one line.
pub(super) fn said(error: &Error) -> String {
    let mut text = format!("{:?} error: {error}", error.kind());
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
