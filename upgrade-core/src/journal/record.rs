//! A line of the journal.

use std::fmt;
use std::process;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::ids::{MigrationId, Phase, RunId};
use crate::migration::Checksum;
use crate::operation::Consent;
use crate::plan::{Action, Plan, StepId};
use crate::rollback::Prepared;

/// The version of the format. A journal of an older one is read; one of a newer one is refused.
pub const FORMAT: u32 = 1;

/// Who writes, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    name: String,
    host: String,
}

impl Actor {
    /// A person or a service, such as `ann` or `deploy-bot`, on this machine.
    pub fn new(name: impl Into<String>) -> Self {
        let host = rustix::system::uname();
        Self {
            name: name.into(),
            host: host.nodename().to_string_lossy().into_owned(),
        }
    }

    /// The same on another machine.
    #[must_use]
    pub fn on(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// The name of the person or the service.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The machine.
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// One record, as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The version of the format.
    pub format: u32,
    /// Its number, from 1.
    pub seq: u64,
    /// The hash of the record before it.
    pub prev: String,
    /// When it was written, by the clock of the machine (RFC 3339, UTC). Clocks jump: the order of records
    /// is that of their numbers.
    pub at: String,
    /// Who wrote it.
    pub actor: String,
    /// On which machine.
    pub host: String,
    /// In which process.
    pub pid: u32,
    /// In which run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
}

impl Record {
    pub(super) fn new(
        seq: u64,
        prev: &str,
        actor: &Actor,
        run: Option<RunId>,
        entry: Entry,
    ) -> Self {
        Self {
            format: FORMAT,
            seq,
            prev: prev.to_owned(),
            at: Timestamp::now().to_string(),
            actor: actor.name.clone(),
            host: actor.host.clone(),
            pid: process::id(),
            run,
            entry,
        }
    }
}

impl fmt::Display for Record {
    /// One line: number, time, who, and what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seq,
            at,
            actor,
            host,
            pid,
            entry,
            ..
        } = self;
        // To the second: a person reads it.
        let at = at.get(..19).unwrap_or(at);
        write!(f, "{seq:>4}  {at}Z  {actor}@{host}[{pid}]  {entry}")
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Entry {
    /// A process has opened the journal for writing.
    Opened {
        /// The system that it is about.
        target: String,
    },
    /// The process is done with it.
    Closed,
    /// The last line was cut off, and was removed.
    Repaired {
        /// The part of it that was there.
        cut_off: String,
    },
    /// A run of a plan begins.
    Planned {
        /// The plan.
        plan: Box<Plan>,
        /// The migrations that it applies, with what each consists of, in short.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        contents: Vec<(MigrationId, Checksum)>,
    },
    /// A step is about to act.
    Intent {
        /// The step of the plan. A rollback that the runner decides on has the number after its last.
        step: StepId,
        /// Its phase.
        phase: Phase,
        /// What it does.
        action: Action,
        /// For a migration, what it consists of, in short.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checksum: Option<Checksum>,
    },
    /// A rollback has kept something, or measured more. The last one of a strategy counts.
    Kept {
        /// Which strategy.
        strategy: String,
        /// What its calls are given back.
        prepared: Prepared,
    },
    /// What an intent came to.
    Done {
        /// The number of the intent's record.
        intent: u64,
        /// How it ended.
        ended: Ended,
    },
    /// All changes are made: what is there now is what a rollback begins with.
    Reached {
        /// The BLAKE3 hash of the schema.
        schema: String,
    },
    /// Somebody has agreed to lose something in a rollback.
    Consented {
        /// To what.
        to: Consent,
    },
    /// The upgrade was given up as it was.
    Aborted {
        /// Why, in the words of who did.
        reason: String,
    },
    /// Something that a person should know later.
    Note {
        /// In words.
        message: String,
    },
    /// A [channel](crate::notify::Channel) has delivered its notifications up to a record, or gave one up.
    /// The first record of a channel is where it begins.
    Notified {
        /// The name of the channel.
        channel: String,
        /// The number of the record.
        record: u64,
        /// Why the notification of that record was given up; `None` where it was delivered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<String>,
    },
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { target } => write!(f, "opened the journal of {target}"),
            Self::Closed => f.write_str("closed the journal"),
            Self::Repaired { .. } => f.write_str("removed a last line that was cut off"),
            Self::Planned { plan, .. } => write!(f, "began a run of {}", plan.title()),
            Self::Intent { step, action, .. } => write!(f, "began step {step}: {action}"),
            Self::Kept { strategy, .. } => write!(f, "kept what {strategy} needs"),
            Self::Done { intent, ended } => match ended {
                Ended::Done => write!(f, "ended {intent}: done"),
                Ended::Failed(why) => write!(f, "ended {intent}: failed, {why}"),
            },
            Self::Reached { .. } => f.write_str("made all changes"),
            Self::Consented { to } => match to {
                Consent::Nothing => f.write_str("agreed to lose nothing"),
                Consent::To(subjects) => {
                    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
                    write!(f, "agreed to lose {}", subjects.join(", "))
                }
                Consent::Everything => f.write_str("agreed to lose whatever a rollback loses"),
            },
            Self::Aborted { reason } => write!(f, "gave the upgrade up as it was: {reason}"),
            Self::Note { message } => f.write_str(message),
            Self::Notified {
                channel,
                record,
                failed: None,
            } => write!(f, "notified {channel} up to {record}"),
            Self::Notified {
                channel,
                record,
                failed: Some(why),
            } => write!(f, "did not notify {channel} of {record}: {why}"),
        }
    }
}

impl Entry {
    /// Whether it may be written without its secrets. What a rollback keeps may not: changed, it would be
    /// of no use.
    pub(crate) fn may_be_shown_as(&self, shown: &Self) -> Result<()> {
        let Self::Kept { strategy, .. } = self else {
            return Ok(());
        };
        if self == shown {
            return Ok(());
        }
        let message = format!(
            "what `{strategy}` keeps holds a secret: it cannot be written into the journal, and a rollback \
             could not be taken from there"
        );
        Err(Error::new(ErrorKind::Refused, message)
            .with_hint("look for a password in the schema, in a default or a comment for instance"))
    }
}

/// How an intent ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ended {
    /// It was done, or was so already.
    Done,
    /// It was done or not, and something is wrong, in words.
    Failed(String),
}
