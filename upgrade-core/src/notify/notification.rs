//! What people learn from one record of a journal. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::MigrationId;
use crate::journal::{Chain, Ended, Entry, Head, Record, Standing, State};
use crate::plan::{Action, Plan};

/// What one record of a journal means to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Notification {
    /// The same in every delivery of this notification, and of no other one: `<journal>-<seq>`.
    pub id: String,
    /// The journal: [`Journal::id`](crate::journal::Journal::id).
    pub journal: String,
    /// The number of the record.
    pub seq: u64,
    /// The hash of the record, 64 hexadecimal digits.
    pub hash: String,
    /// When the record was written, by the clock of the machine (RFC 3339, UTC).
    pub at: String,
    /// The system that the journal is about.
    pub target: String,
    /// Who wrote the record: a person or a service.
    pub actor: String,
    /// On which machine.
    pub host: String,
    /// What happened.
    pub kind: Kind,
    /// How urgent it is.
    pub severity: Severity,
    /// What happened, in one line that begins with the target.
    pub title: String,
    /// Details, in any number of lines; may be empty.
    pub text: String,
}

/// What happened, by a name that stays the same in all releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A run of a plan began.
    RunBegan,
    /// A migration began to be applied or reverted.
    MigrationBegan,
    /// A migration could not be applied or reverted.
    MigrationFailed,
    /// Services began to be replaced.
    ServicesBegan,
    /// Services could not be replaced.
    ServicesFailed,
    /// Another step failed: a check, a measurement, the lock of the system.
    StepFailed,
    /// All changes are made: users work with the new release, and a rollback is possible.
    SoakingBegan,
    /// A rollback began.
    RollbackBegan,
    /// The system was rolled back.
    RollbackDone,
    /// The rollback failed: a person has to decide.
    RollbackFailed,
    /// The upgrade is final: no rollback is possible any more.
    Finalized,
    /// The upgrade was given up as it was.
    Aborted,
    /// Something that a person should know.
    Note,
    /// The last line of the journal was cut off by a crash, and was removed.
    JournalRepaired,
}

impl Kind {
    /// The name as it stands in JSON, such as `migration_failed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunBegan => "run_began",
            Self::MigrationBegan => "migration_began",
            Self::MigrationFailed => "migration_failed",
            Self::ServicesBegan => "services_began",
            Self::ServicesFailed => "services_failed",
            Self::StepFailed => "step_failed",
            Self::SoakingBegan => "soaking_began",
            Self::RollbackBegan => "rollback_began",
            Self::RollbackDone => "rollback_done",
            Self::RollbackFailed => "rollback_failed",
            Self::Finalized => "finalized",
            Self::Aborted => "aborted",
            Self::Note => "note",
            Self::JournalRepaired => "journal_repaired",
        }
    }

    /// How urgent it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::MigrationFailed
            | Self::ServicesFailed
            | Self::StepFailed
            | Self::RollbackFailed => Severity::Error,
            Self::RollbackBegan | Self::Aborted | Self::JournalRepaired => Severity::Warning,
            Self::RunBegan
            | Self::MigrationBegan
            | Self::ServicesBegan
            | Self::SoakingBegan
            | Self::RollbackDone
            | Self::Finalized
            | Self::Note => Severity::Info,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How urgent a [`Notification`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// The operation goes as planned.
    Info,
    /// The operation does not go as planned, and the tool handles it.
    Warning,
    /// Something failed.
    Error,
}

impl Notification {
    /// The notification of a record, by the number of the record. `None` for a record that no person needs,
    /// such as the beginning of a check, and where there is no such record.
    ///
    /// Later records change nothing about it.
    pub fn of(chain: &Chain, seq: u64) -> Option<Self> {
        let at = usize::try_from(seq.checked_sub(1)?).ok()?;
        let until = chain.records().get(..=at)?;
        let record = until.last()?;
        let (kind, what, text) = meaning(until)?;
        let journal = chain.id();
        let target = chain.target().unwrap_or_default().to_owned();
        Some(Self {
            id: format!("{journal}-{seq}"),
            journal,
            seq,
            hash: chain.hash(seq)?.to_owned(),
            at: record.at.clone(),
            actor: record.actor.clone(),
            host: record.host.clone(),
            kind,
            severity: kind.severity(),
            title: one_line(&format!("{target}: {what}")),
            target,
            text,
        })
    }

    /// The number and the hash of the record. [`Chain::contains`] shows later whether a journal still has
    /// that record.
    pub fn head(&self) -> Head {
        Head {
            seq: self.seq,
            hash: self.hash.clone(),
        }
    }
}

/// What the last of these records means: its kind, a short sentence, and details.
fn meaning(until: &[Record]) -> Option<(Kind, String, String)> {
    let record = until.last()?;
    let meaning = match &record.entry {
        Entry::Planned { plan, .. } => {
            let what = format!("a run of {} began", plan.title());
            (Kind::RunBegan, what, outline(plan))
        }
        Entry::Intent {
            step,
            phase,
            action,
            ..
        } => {
            let what = format!("began to {action}");
            let text = format!("step {step}, phase {phase}");
            match action {
                Action::Apply { .. } | Action::Revert { .. } => (Kind::MigrationBegan, what, text),
                Action::Replace { .. } | Action::ReplaceFirst { .. } => {
                    (Kind::ServicesBegan, what, text)
                }
                Action::RollBack { .. } => (Kind::RollbackBegan, what, text),
                Action::Finalize { .. } if enters(until, State::Finalized) => {
                    let what = "the upgrade is final: no rollback is possible any more";
                    (Kind::Finalized, what.to_owned(), text)
                }
                _ => return None,
            }
        }
        Entry::Done { intent, ended } => {
            let action = intended(until, *intent)?;
            return match ended {
                Ended::Failed(why) => {
                    let kind = match action {
                        Action::Apply { .. } | Action::Revert { .. } => Kind::MigrationFailed,
                        Action::Replace { .. } | Action::ReplaceFirst { .. } => {
                            Kind::ServicesFailed
                        }
                        Action::RollBack { .. } => Kind::RollbackFailed,
                        _ => Kind::StepFailed,
                    };
                    Some((kind, format!("failed to {action}"), why.clone()))
                }
                Ended::Done => done(until, action),
            };
        }
        Entry::Aborted { reason } => {
            let what = "the upgrade was given up as it was";
            (Kind::Aborted, what.to_owned(), reason.clone())
        }
        Entry::Note { message } => {
            let what = format!("a note by {}", record.actor);
            (Kind::Note, what, message.clone())
        }
        entry @ Entry::Consented { .. } => {
            let what = format!("{} {entry}", record.actor);
            (Kind::Note, what, String::new())
        }
        Entry::Repaired { .. } => {
            let what = "the journal was repaired after a crash";
            let text =
                "Its last line was cut off, and was removed. Nothing had been done because of it.";
            (Kind::JournalRepaired, what.to_owned(), text.to_owned())
        }
        // A notification of these would be the cause of the next one, without end.
        Entry::Notified { .. } => return None,
        Entry::Opened { .. } | Entry::Closed | Entry::Kept { .. } | Entry::Reached { .. } => {
            return None;
        }
    };
    Some(meaning)
}

/// What it means that an action was done.
fn done(until: &[Record], action: &Action) -> Option<(Kind, String, String)> {
    match action {
        Action::RollBack { strategy, applied } => {
            let what = format!("the system was rolled back by {strategy}");
            Some((Kind::RollbackDone, what, many(applied)))
        }
        Action::Apply { .. }
        | Action::Configure { .. }
        | Action::Replace { .. }
        | Action::ReplaceFirst { .. }
            if enters(until, State::Soaking) =>
        {
            let what =
                "all changes are made: users work with the new release, and a rollback is possible";
            let text = many(&Standing::of(until).applied);
            Some((Kind::SoakingBegan, what.to_owned(), text))
        }
        _ => None,
    }
}

/// The action of an intent, by the number of its record.
fn intended(records: &[Record], seq: u64) -> Option<&Action> {
    let at = usize::try_from(seq.checked_sub(1)?).ok()?;
    match &records.get(at)?.entry {
        Entry::Intent { action, .. } => Some(action),
        _ => None,
    }
}

/// Whether the upgrade came into a state by the last of these records.
fn enters(until: &[Record], state: State) -> bool {
    let before = until.split_last().map_or(until, |(_, before)| before);
    Standing::of(until).state == state && Standing::of(before).state != state
}

/// What a plan does, in short: its migrations, or where it applies none, its steps.
fn outline(plan: &Plan) -> String {
    let actions = || plan.steps.iter().map(|step| &step.action);
    let applied: Vec<MigrationId> = actions()
        .filter_map(|action| match action {
            Action::Apply { migration } => Some(migration.clone()),
            _ => None,
        })
        .collect();
    if !applied.is_empty() {
        return format!("release {} to {}, {}", plan.from, plan.to, many(&applied));
    }
    let steps = actions().filter(|action| !action.begins() && !action.ends());
    let steps: Vec<String> = steps.map(ToString::to_string).collect();
    steps.join("\n")
}

fn many(migrations: &[MigrationId]) -> String {
    let names: Vec<String> = migrations.iter().map(ToString::to_string).collect();
    match names.len() {
        0 => "no migrations".to_owned(),
        1 => format!("1 migration: {}", names.join(", ")),
        count => format!("{count} migrations: {}", names.join(", ")),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
