//! What was done and what was found: the record of one run.
//!
//! A report is data with a version ([`FORMAT`]); [`Report::to_json`] is for machines,
//! [`Display`](std::fmt::Display) for people: what was found, with the steps of the attempt that
//! failed; `{:#}` shows every step.

mod append;
mod begin;
mod log;
mod merge;
mod schema;
pub(crate) mod text;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::endpoint::LogTail;
use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};
use crate::ids::{MigrationId, Phase, RunId, StepId, Version};
use crate::measurement::{Attachment, Measurement};
use crate::saved;
use crate::scenario::Scenario;

pub use crate::outcome::{RollbackReport, StepOutcome, TrafficReport};

#[cfg(feature = "postgres")]
pub(crate) use text::seconds;

/// The version of the JSON format.
pub const FORMAT: u32 = 3;

/// The record of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The version of this format.
    pub format: u32,
    /// The run.
    pub run: RunId,
    /// The name of the upgrade.
    pub name: String,
    /// The scenario.
    pub scenario: Scenario,
    /// The environment.
    pub environment: String,
    /// The release that it started at.
    pub from: Version,
    /// The release that it led to.
    pub to: Version,
    /// The folder of the migrations' files, from the root of their repository, where the harness
    /// knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The names of the validators.
    #[serde(default)]
    pub validators: Vec<String>,
    /// The seed.
    pub seed: u64,
    /// Whether no check failed and every step was done.
    pub passed: bool,
    /// How many rows the baseline had.
    pub rows: u64,
    /// How many tables the baseline had.
    pub tables: u64,
    /// The steps, in order.
    pub steps: Vec<StepReport>,
    /// Every migration that the plan touches.
    pub migrations: Vec<MigrationReport>,
    /// What the services of the new release consist of, where they were replaced by it: by the name of
    /// each, the digest of its image or whatever else tells its artifact from another one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub artifacts: BTreeMap<String, String>,
    /// Every change that the migrations made to the schema.
    #[serde(default)]
    pub schema: Vec<SchemaChange>,
    /// Every rollback that was taken.
    pub rollbacks: Vec<RollbackReport>,
    /// What became of users' requests, for each step during which they were made.
    #[serde(default)]
    pub traffic: Vec<TrafficReport>,
    /// Everything that was found.
    pub findings: Vec<FoundIn>,
    /// The figures that validators measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<MeasuredIn>,
    /// The files that validators attached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachedIn>,
    /// The migrations of the plan of which nothing is known, because an earlier step failed.
    #[serde(default)]
    pub unjudged: Vec<Unjudged>,
    /// The end of the logs, when a check failed.
    pub logs: Vec<LogTail>,
    /// The line that runs it again, where the harness knows one.
    pub reproduce: Option<String>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// A finding and the step in which it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FoundIn {
    /// The step.
    pub step: StepId,
    /// Its phase.
    pub phase: Phase,
    /// A short description of what the step did.
    pub title: String,
    /// What was found.
    pub finding: Finding,
}

/// A figure and the step in which it was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MeasuredIn {
    /// The step.
    pub step: StepId,
    /// Its phase.
    pub phase: Phase,
    /// The figure.
    pub measurement: Measurement,
}

/// A file and the step in which it was attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttachedIn {
    /// The step.
    pub step: StepId,
    /// Its phase.
    pub phase: Phase,
    /// The file.
    pub attachment: Attachment,
}

/// Migrations that the plan would have judged, and the step that kept it from doing so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unjudged {
    /// Which migrations, in the order of the plan.
    pub migrations: Vec<MigrationId>,
    /// Whether only their rollback was not judged.
    pub rollback_only: bool,
    /// A short description of what the step that failed did.
    pub because: String,
}

/// The record of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepReport {
    /// Its number.
    pub id: StepId,
    /// Its attempt.
    pub attempt: u32,
    /// Its phase.
    pub phase: Phase,
    /// A short description of what it did.
    pub title: String,
    /// How it ended.
    pub outcome: StepOutcome,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// How long it might take, in milliseconds.
    pub within_ms: u64,
}

/// What was done with one migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MigrationReport {
    /// Which one.
    pub id: MigrationId,
    /// What it consists of, in short.
    pub checksum: String,
    /// Whether it can be reverted.
    pub reversible: bool,
    /// How often it was applied.
    pub applied: u32,
    /// How often it was interrupted.
    pub crashed: u32,
    /// What those interruptions came to.
    #[serde(default)]
    pub crash: CrashReport,
    /// How often it was reverted.
    pub reverted: u32,
    /// How often a rollback has crossed it.
    pub rolled_back: u32,
    /// The slowest of its applications, in milliseconds.
    pub slowest_apply_ms: u64,
}

/// One object of the schema that differs after a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SchemaChange {
    /// The migration; `None` where several were applied before the schema was observed.
    pub migration: Option<MigrationId>,
    /// The object: `column public.orders.total`.
    pub object: String,
    /// What differs: which of its facts, from what to what; or that it is new, or missing.
    pub change: String,
}

impl SchemaChange {
    /// A change of one object.
    pub fn new(
        migration: Option<MigrationId>,
        object: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        Self {
            migration,
            object: object.into(),
            change: change.into(),
        }
    }
}

/// What the rehearsed crashes of one migration came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CrashReport {
    /// How many left nothing of it.
    pub undone: u32,
    /// How many left all of it.
    pub done: u32,
    /// How many left a part of it.
    pub between: u32,
    /// How many different states they left; from each of them both ways out were tried.
    pub states: u32,
    /// From how many of the states it was run again and came to its end.
    pub run_again: u32,
    /// How often a rollback led from one of the states to the previous release.
    pub rolled_back: u32,
}

impl Report {
    /// The report as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has only string keys")
    }

    /// Reads a report that was saved.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) with line and column, or when the
    /// format is of another version.
    pub fn from_json(json: &str) -> Result<Self> {
        saved::read(json, "report", FORMAT, "run the test again")
    }

    /// The findings of a severity.
    pub fn findings_of(&self, severity: Severity) -> impl Iterator<Item = &FoundIn> {
        self.findings
            .iter()
            .filter(move |found| found.finding.severity == severity)
    }

    /// How many rollbacks were proven.
    pub fn rollbacks_verified(&self) -> usize {
        self.rollbacks
            .iter()
            .filter(|rollback| rollback.confirmed)
            .count()
    }
}

impl Error {
    /// Adds everything that was done until then.
    #[must_use]
    pub fn with_report(self, report: Report) -> Self {
        self.with_attached(report)
    }

    /// Everything that was done until then, if the error comes from a run.
    pub fn report(&self) -> Option<&Report> {
        self.attached()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::render(self, f)
    }
}
