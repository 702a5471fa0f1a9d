//! What a step does.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::configuration::Digest;
use crate::fault::ServiceFault;
use crate::ids::{MigrationId, Version};
use crate::side::Candidate;
use crate::watch::WatchPolicy;

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Makes the environment at the previous release, populated.
    Provision,
    /// Takes a system that exists and that others use: locks it against other operations, and changes
    /// nothing.
    Attach,
    /// Keeps the state under a label.
    Snapshot {
        /// The label.
        label: String,
    },
    /// Puts the state back that a label keeps.
    Restore {
        /// The label.
        label: String,
    },
    /// Measures schema and rows and remembers them under a label.
    Observe {
        /// The label.
        label: String,
    },
    /// Measures again and compares.
    Compare {
        /// What to compare with: the label of an observation.
        with: String,
        /// How much has to be equal.
        equal: Equal,
    },
    /// Asks every validator.
    Validate,
    /// Runs the previous release twice and a candidate side by side, each over a copy of the baseline's data, and
    /// has every comparison judge the candidate.
    SideBySide {
        /// What the candidate is.
        candidate: Candidate,
    },
    /// Reports what is known about the migrations before any of them runs.
    Inspect {
        /// Those that cannot be reverted although that was asked for, each with its reason.
        irreversible: Vec<(MigrationId, String)>,
    },
    /// Has a rollback prepare what it will need.
    PrepareRollback {
        /// Which rollback.
        strategy: String,
    },
    /// Checks whether a rollback is possible.
    CheckRollback {
        /// Which rollback.
        strategy: String,
        /// What it would have to undo.
        applied: Vec<MigrationId>,
    },
    /// Applies a migration.
    Apply {
        /// Which one.
        migration: MigrationId,
    },
    /// Applies a migration and lets it crash on the way.
    Crash {
        /// Which one.
        migration: MigrationId,
        /// When.
        moment: Moment,
        /// What crashes.
        victim: Victim,
    },
    /// Compares what the record says of a migration that crashed with what there is, and keeps the
    /// state if no earlier crash of this migration has left the same one.
    JudgeCrash {
        /// Which one.
        migration: MigrationId,
        /// The label of the observation before it.
        before: String,
        /// The label of the observation after it.
        after: String,
        /// The label under which the state is kept.
        label: String,
    },
    /// Applies a migration again that is applied; nothing may change.
    ApplyAgain {
        /// Which one.
        migration: MigrationId,
    },
    /// Reverts a migration again that is reverted; nothing may change.
    RevertAgain {
        /// Which one.
        migration: MigrationId,
    },
    /// Applies all migrations but one, then that one. Where others need it, they fail, and nothing
    /// is found: their order is given.
    MergeLate {
        /// Which one comes late.
        migration: MigrationId,
        /// The label of the observation that the end has to equal.
        with: String,
    },
    /// Reverts a migration.
    Revert {
        /// Which one.
        migration: MigrationId,
    },
    /// Has the users of the release that is live write.
    Write {
        /// What they write is drawn from it.
        seed: u64,
    },
    /// Puts in the rows that the tests of a migration give.
    Given {
        /// Which migration.
        migration: MigrationId,
    },
    /// Runs the checks of the tests of a migration.
    Judge {
        /// Which migration.
        migration: MigrationId,
        /// Whether the migration is reverted; else it is applied.
        reverted: bool,
    },
    /// Replaces the services by those of a release.
    Replace {
        /// Which release.
        version: Version,
    },
    /// Switches the files of the configuration.
    Configure {
        /// What is live before it.
        from: Digest,
        /// What is live afterwards.
        to: Digest,
    },
    /// Has both releases run side by side.
    ReplaceFirst {
        /// How many instances are those of the new release.
        count: u32,
        /// How many there are.
        of: u32,
    },
    /// Injects a fault of a service, and lets users go on with it for a while.
    InjectFault {
        /// Which fault.
        fault: ServiceFault,
        /// How long it is waited then, in milliseconds.
        for_ms: u64,
    },
    /// Undoes a fault of a service.
    Recover {
        /// Which fault.
        fault: ServiceFault,
    },
    /// Evaluates every validator again and again, and whether the services run, until a policy decides:
    /// the new release may stay, a person has to decide, or it is rolled back.
    Watch {
        /// The policy.
        policy: WatchPolicy,
    },
    /// Executes a rollback and verifies it.
    RollBack {
        /// Which rollback.
        strategy: String,
        /// What it has to undo.
        applied: Vec<MigrationId>,
    },
    /// Gives up the rollback.
    Finalize {
        /// Which rollback.
        strategy: String,
    },
    /// Removes everything.
    Teardown,
    /// Releases a system that stays: gives its lock up.
    Detach,
}

impl Action {
    /// Whether it begins a plan.
    pub(crate) fn begins(&self) -> bool {
        matches!(self, Self::Provision | Self::Attach)
    }

    /// Whether it brings a system nearer to the release `to`.
    pub(crate) fn advances(&self, to: &Version) -> bool {
        match self {
            Self::Apply { .. } | Self::Configure { .. } => true,
            Self::Replace { version } => version == to,
            Self::ReplaceFirst { count, .. } => *count > 0,
            _ => false,
        }
    }

    /// Whether it ends a plan.
    pub(crate) fn ends(&self) -> bool {
        matches!(self, Self::Teardown | Self::Detach)
    }
}

/// When a rehearsed crash happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Moment {
    /// When that many statements are done, before the next one or the record.
    After(usize),
    /// In the middle of the statement that took longest when nothing crashed.
    WithinLongest,
    /// While a statement waits for the snapshot of another session, which is held open for it.
    WhileWaiting,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(done) => write!(f, "after {done} of its statements"),
            Self::WithinLongest => f.write_str("within its longest statement"),
            Self::WhileWaiting => f.write_str("while it waits for a snapshot"),
        }
    }
}

/// What crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Victim {
    /// The session of the migration, ended by the server.
    Session,
    /// The process that migrates.
    Process,
    /// The server.
    Server,
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Session => "session",
            Self::Process => "process",
            Self::Server => "server",
        })
    }
}

/// How much has to be equal in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Equal {
    /// The schema and all rows.
    Everything,
    /// The schema.
    Schema,
    /// The schema, and all rows but those of tables that differ from one clean run to the next.
    Reproducible,
    /// The rows, in the columns that both sides have.
    SharedRows,
    /// Every row that was there after users wrote, in the columns that both releases have. More
    /// may be there.
    Written,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = |applied: &[MigrationId]| match applied {
            [] => "no migrations".to_owned(),
            [one] => one.to_string(),
            [first, .., last] => format!("{first} to {last}"),
        };
        match self {
            Self::Provision => f.write_str("provision the previous release"),
            Self::Attach => f.write_str("lock the system against other operations"),
            Self::Snapshot { label } => write!(f, "keep the state as `{label}`"),
            Self::Restore { label } => write!(f, "restore the state `{label}`"),
            Self::Observe { label } => write!(f, "observe schema and rows as `{label}`"),
            Self::Compare {
                with,
                equal: Equal::Everything,
            } => {
                write!(f, "compare schema and rows with `{with}`")
            }
            Self::Compare {
                with,
                equal: Equal::Reproducible,
            } => write!(f, "compare with `{with}` as it is each time"),
            Self::Compare {
                with,
                equal: Equal::Schema,
            } => write!(f, "compare schema with `{with}`"),
            Self::Compare {
                with,
                equal: Equal::SharedRows,
            } => {
                write!(f, "compare rows with `{with}`, in the columns of both")
            }
            Self::Compare {
                with,
                equal: Equal::Written,
            } => {
                write!(f, "compare rows with `{with}`, those of users among them")
            }
            Self::Validate => f.write_str("validate"),
            Self::SideBySide { candidate } => {
                write!(f, "compare {candidate} side by side with the previous one")
            }
            Self::Watch { policy } => {
                let time = Duration::from_millis(policy.for_ms);
                let every = Duration::from_millis(policy.every_ms);
                write!(f, "watch the new release for {time:?}, every {every:?}")
            }
            Self::Inspect { .. } => f.write_str("inspect the migrations as they are written"),
            Self::PrepareRollback { strategy } => write!(f, "prepare the rollback by {strategy}"),
            Self::CheckRollback { strategy, applied } => {
                write!(f, "check the rollback by {strategy} of {}", many(applied))
            }
            Self::Apply { migration } => write!(f, "apply {migration}"),
            Self::Crash {
                migration,
                moment,
                victim,
            } => write!(f, "apply {migration}, kill the {victim} {moment}"),
            Self::JudgeCrash { migration, .. } => {
                write!(f, "compare what {migration} left with its record")
            }
            Self::ApplyAgain { migration } => write!(f, "apply {migration} once more"),
            Self::RevertAgain { migration } => write!(f, "revert {migration} once more"),
            Self::MergeLate { migration, .. } => {
                write!(f, "apply all others, then {migration}")
            }
            Self::Revert { migration } => write!(f, "revert {migration}"),
            Self::Write { seed } => write!(f, "users write (seed {seed})"),
            Self::Given { migration } => write!(f, "put in the rows of the test of {migration}"),
            Self::Judge {
                migration,
                reverted: false,
            } => write!(f, "run the checks of the test of {migration}"),
            Self::Judge { migration, .. } => {
                write!(
                    f,
                    "run the checks of the test of {migration} after its rollback"
                )
            }
            Self::Configure { to, .. } => write!(f, "switch the configuration to {to:.12}"),
            Self::Replace { version } => write!(f, "replace the services by {version}"),
            Self::ReplaceFirst { count, of } => {
                write!(f, "have {count} of {of} instances be of the new release")
            }
            Self::InjectFault { fault, for_ms } => {
                let lasts = Duration::from_millis(*for_ms);
                write!(f, "inject `{fault}`, and wait {lasts:?}")
            }
            Self::Recover { fault } => write!(f, "recover from `{fault}`"),
            Self::RollBack { strategy, applied } => {
                write!(f, "roll back by {strategy}: {}", many(applied))
            }
            Self::Finalize { strategy } => write!(
                f,
                "give up what {strategy} keeps: nothing can be rolled back any more"
            ),
            Self::Teardown => f.write_str("remove everything"),
            Self::Detach => f.write_str("give the lock of the system up"),
        }
    }
}
