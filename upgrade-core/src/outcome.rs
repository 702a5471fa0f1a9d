//! What an act, a step, a rollback came to, as data.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Failure, Result};
use crate::ids::{MigrationId, Phase, StepId};
use crate::rollback::contract::Safety;

/// What an act came to.
#[must_use = "it may have failed: see `Outcome::into_result`"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was so already; nothing was done.
    NothingToDo,
    /// It could not be done, because what was to be done is bad: a migration that the server
    /// refuses, services that do not start. `Err` instead means that the implementation could not
    /// tell.
    Failed(Box<Failure>),
}

impl Outcome {
    /// An act that failed, by the error or the data that say why.
    pub fn failed(failure: impl Into<Failure>) -> Self {
        Self::Failed(Box::new(failure.into()))
    }

    /// Whether anything was done; `false` where it was so already.
    ///
    /// # Errors
    /// The failure as an error, for callers that treat a bad migration like any other error.
    pub fn into_result(self) -> Result<bool> {
        match self {
            Self::Done => Ok(true),
            Self::NothingToDo => Ok(false),
            Self::Failed(failure) => Err(Error::from(*failure)),
        }
    }

    /// The outcome of an act whose errors of some kinds say that what was to be done is bad.
    pub(crate) fn judged(result: Result<Self>, bad: &[ErrorKind]) -> Result<Self> {
        match result {
            Err(error) if bad.contains(&error.kind()) => Ok(Self::failed(error)),
            other => other,
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepOutcome {
    /// As it should.
    Done,
    /// A check failed.
    Failed,
    /// There was too little to judge, for this reason.
    Inconclusive(String),
    /// There is no verdict, because of this error.
    Error(Box<Failure>),
    /// It was not begun, because an earlier step did not end as it should.
    Skipped,
}

impl StepOutcome {
    /// The outcome as it stands in lines and tables; what failed is in capitals.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Failed => "FAILED",
            Self::Inconclusive(_) => "inconclusive",
            Self::Error(_) => "error",
            Self::Skipped => "skipped",
        }
    }

    /// Whether this is [`StepOutcome::Done`].
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

/// One rollback, measured against its budget.
///
/// The budget holds the sum of four parts: until it was seen that something is wrong, until the
/// rollback was found to be possible, until it was executed, until the previous state was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RollbackReport {
    /// The step.
    pub step: StepId,
    /// The rollback.
    pub strategy: String,
    /// The last migration that was applied or begun; `None` when there was none.
    pub boundary: Option<MigrationId>,
    /// How many migrations were undone.
    pub migrations: u32,
    /// How large the data was when it began, in bytes, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether the runner decided on it because a step had failed.
    pub automatic: bool,
    /// What was said beforehand.
    pub safety: Safety,
    /// How long it took to see that something is wrong, in milliseconds; 0 where the plan says so.
    pub detect_ms: u64,
    /// How long the check took, in milliseconds.
    pub decide_ms: u64,
    /// How long the rollback took, in milliseconds.
    pub act_ms: u64,
    /// How long the proof took, in milliseconds.
    pub verify_ms: u64,
    /// The budget, in milliseconds.
    pub within_ms: u64,
    /// Whether the old state was proven.
    pub confirmed: bool,
}

impl RollbackReport {
    /// The sum of the four parts, in milliseconds: what the budget is compared with.
    pub fn total_ms(&self) -> u64 {
        self.detect_ms + self.decide_ms + self.act_ms + self.verify_ms
    }

    /// An automatic one by a snapshot swap that took 10 ms and arrived.
    #[cfg(test)]
    pub(crate) fn sample(step: StepId, boundary: MigrationId) -> Self {
        Self {
            step,
            strategy: "snapshot swap".to_owned(),
            boundary: Some(boundary),
            migrations: 1,
            bytes: None,
            automatic: true,
            safety: Safety::Safe,
            detect_ms: 1,
            decide_ms: 2,
            act_ms: 3,
            verify_ms: 4,
            within_ms: 300_000,
            confirmed: true,
        }
    }
}

/// What became of users' requests while one step was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrafficReport {
    /// The step.
    pub step: StepId,
    /// Its phase.
    pub phase: Phase,
    /// The name of the requests.
    pub name: String,
    /// How many were made.
    pub requests: u64,
    /// How many were not answered, or by an error.
    pub lost: u64,
    /// How many were answered wrongly.
    pub wrong: u64,
    /// How many were answered, and late.
    pub slow: u64,
    /// The median response time, in milliseconds.
    pub median_ms: u64,
    /// The 99th percentile of the response times, in milliseconds.
    pub p99_ms: u64,
    /// The longest that an answer took, in milliseconds.
    pub longest_ms: u64,
    /// The longest time in which no user got a good answer, in milliseconds.
    pub longest_gap_ms: u64,
    /// How long requests were made, in milliseconds.
    pub window_ms: u64,
}
