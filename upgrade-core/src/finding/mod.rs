//! One thing that was seen, and the kinds of them that this library raises: their stable names,
//! what each breaks and for whom, how to mend it.
//!
//! A [`Finding`] carries its id as text, because a team's own validators raise custom ids, which
//! are in no catalogue. Each kind has a page, `docs/findings/<id>.md`, with an example.

mod api;
mod before;
mod blame;
mod crash;
mod down;
mod flow;
mod judge;
mod kind;
mod known;
mod latency;
mod order;
mod page;
mod replay;
mod services;
mod up;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::subject::Subject;

pub use blame::Blame;
pub use kind::{FindingKind, by_area, catalogue};
pub use known::KnownFinding;
pub(crate) use known::is_meant;

/// How much a [`Finding`] weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; changes no verdict.
    Note,
    /// Worth a person's look; changes no verdict. [`Upgrade::with_denied`](crate::Upgrade::with_denied)
    /// makes the warnings of an id errors.
    Warning,
    /// Makes the verdict a failure.
    Error,
}

impl Severity {
    /// The severity's name as it stands in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that was seen, as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// The stable name of this kind of finding, such as `down/schema-differs`.
    pub id: String,
    /// How much it weighs.
    pub severity: Severity,
    /// What it is about: a migration, a table, a file with its line.
    pub subject: Subject,
    /// What was seen, in one sentence.
    pub message: String,
    /// Proof to read: a unified diff, rows, log lines.
    pub evidence: Option<String>,
    /// What to do about it; where nothing is said, a report says what the
    /// [catalogue] says.
    pub help: Option<String>,
    /// The migration that is at fault, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blames: Option<Blame>,
    /// Why it is accepted, if it is a [known](KnownFinding) one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
}

impl Finding {
    /// A finding that fails the verdict.
    pub fn error(
        id: impl Into<String>,
        subject: impl Into<Subject>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            severity: Severity::Error,
            subject: subject.into(),
            message: message.into(),
            evidence: None,
            help: None,
            blames: None,
            known: None,
        }
    }

    /// A finding that a person should look at.
    pub fn warning(
        id: impl Into<String>,
        subject: impl Into<Subject>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(id, subject, message)
        }
    }

    /// A finding that is only worth knowing.
    pub fn note(
        id: impl Into<String>,
        subject: impl Into<Subject>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Note,
            ..Self::error(id, subject, message)
        }
    }

    /// Adds proof to read.
    #[must_use]
    pub fn with_evidence(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = Some(evidence.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Names the migration that is at fault. Where a finding names none, the runner does if the
    /// step leaves no doubt.
    #[must_use]
    pub fn with_blame(mut self, blame: Blame) -> Self {
        self.blames = Some(blame);
        self
    }

    /// Whether it makes a verdict a failure: an error that is not known.
    pub fn fails(&self) -> bool {
        self.severity == Severity::Error && self.known.is_none()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}[{}] {}: {}",
            self.severity, self.id, self.subject, self.message
        )
    }
}
