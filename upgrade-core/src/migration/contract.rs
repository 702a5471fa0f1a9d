//! The trait, and what its implementations are held to.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::context::UpgradeContext;
use crate::error::Result;
use crate::ids::MigrationId;
use crate::outcome::Outcome;

/// What a migration consists of, in short; two that are equal do the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Checksum(String);

impl Checksum {
    /// A checksum from bytes, shown in hexadecimal digits.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The checksum as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether a migration can be reverted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reversibility {
    /// [`Migration::revert`] undoes it.
    Reversible,
    /// It cannot be reverted, for this reason.
    Irreversible {
        /// Why.
        reason: String,
    },
}

impl Reversibility {
    /// Whether this is [`Reversibility::Reversible`].
    pub fn is_reversible(&self) -> bool {
        matches!(self, Self::Reversible)
    }
}

/// The files that a migration is written in, as a person finds them: the path, relative to its
/// folder, with the line where it does not begin at the first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MigrationFiles {
    /// The file of the up migration.
    pub up: Option<String>,
    /// The file of the down migration.
    pub down: Option<String>,
}

/// What the system itself says about a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Not applied.
    Pending,
    /// Applied, as it is at hand.
    Applied,
    /// Applied, but with another content than the one at hand.
    Divergent {
        /// The checksum that the system recorded.
        recorded: Checksum,
    },
    /// Begun and not ended; a person has to look.
    Dirty,
}

/// One change of the schema or the data.
///
/// # Contract
///
/// - It reaches the system only through the endpoints of the context.
/// - The system itself remembers what is applied: another process, later, sees the same status.
/// - Every wait ends at the context's deadline and on its cancellation; what was begun is then
///   stopped, not left running on the server.
/// - Between its statements it calls [`UpgradeContext::reach`].
#[async_trait]
pub trait Migration: fmt::Debug + Send + Sync + 'static {
    /// Version and name.
    fn id(&self) -> &MigrationId;

    /// What it consists of, in short.
    fn checksum(&self) -> Checksum;

    /// What everything that [`apply`](Self::apply) does follows from, in short: a system to which
    /// two of equal content were applied is the same. `None` where it follows from something that
    /// is not known here, such as files that another program reads; what was made of it is then
    /// never kept to be used again. The [checksum](Self::checksum), where nothing else is said.
    fn content(&self) -> Option<Checksum> {
        Some(self.checksum())
    }

    /// Whether it can be reverted, known without asking the system.
    fn reversibility(&self) -> Reversibility;

    /// How many statements [`apply`](Self::apply) sends one by one, known without asking the
    /// system: it calls [`UpgradeContext::reach`] before the first and after each of them, and a
    /// rehearsal can interrupt it there. One that cannot be looked into is 1.
    fn statements(&self) -> usize;

    /// Where it is written, for whoever has to mend it; empty for one that is no file.
    fn files(&self) -> MigrationFiles;

    /// The SQL that [`apply`](Self::apply) sends; `None`, the default, for one that is no SQL. It
    /// tells what the migration means to change.
    fn script(&self) -> Option<&str> {
        None
    }

    /// The change that it is a part of, where its tool splits one change over several migrations, as
    /// popx does; `None`, the default, for a migration that is a complete change. Migrations of one
    /// unit that follow each other are undone together: no rollback ends in a state in between.
    fn unit(&self) -> Option<&str> {
        None
    }

    /// Whether what [`apply`](Self::apply) changes and its record are committed in one transaction: where
    /// it was interrupted, the record tells the truth. `false`, the default, where that is not known.
    fn is_atomic(&self) -> bool {
        false
    }

    /// What the system says about it.
    ///
    /// # Behavior
    /// - It changes nothing, also when the system has no record of migrations at all.
    /// - Content that differs from what was applied is [`Status::Divergent`], where the
    ///   migration's tool records enough to tell.
    ///
    /// # Errors
    /// [`Database`](crate::ErrorKind::Database) when the system cannot be asked.
    async fn status(&self, cx: &UpgradeContext) -> Result<Status>;

    /// Applies it.
    ///
    /// # Behavior
    /// - A second call does nothing and says [`Outcome::NothingToDo`].
    /// - One that the system refuses is [`Outcome::Failed`], with file, line and what the server
    ///   said.
    /// - When it fails, the status is pending or dirty, never applied.
    /// - Content that differs from what was applied is [`Outcome::Failed`] of the kind
    ///   [`Divergent`](crate::ErrorKind::Divergent), and nothing is done.
    ///
    /// # Errors
    /// Any kind, when it could not tell whether the migration is good: no server answers, say.
    async fn apply(&self, cx: &UpgradeContext) -> Result<Outcome>;

    /// Undoes it.
    ///
    /// # Behavior
    /// - On a pending migration it does nothing and says [`Outcome::NothingToDo`].
    /// - One that the system refuses to undo is [`Outcome::Failed`], with file, line and what the
    ///   server said.
    /// - When it fails, the status is applied or dirty, never pending.
    /// - On one that is [`Reversibility::Irreversible`] it is
    ///   [`Unsupported`](crate::ErrorKind::Unsupported), and nothing is done.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    async fn revert(&self, cx: &UpgradeContext) -> Result<Outcome>;
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: Migration + ?Sized> Migration for Arc<T> {
    fn id(&self) -> &MigrationId {
        (**self).id()
    }

    fn checksum(&self) -> Checksum {
        (**self).checksum()
    }

    fn content(&self) -> Option<Checksum> {
        (**self).content()
    }

    fn reversibility(&self) -> Reversibility {
        (**self).reversibility()
    }

    fn statements(&self) -> usize {
        (**self).statements()
    }

    fn files(&self) -> MigrationFiles {
        (**self).files()
    }

    fn script(&self) -> Option<&str> {
        (**self).script()
    }

    fn unit(&self) -> Option<&str> {
        (**self).unit()
    }

    fn is_atomic(&self) -> bool {
        (**self).is_atomic()
    }

    async fn status(&self, cx: &UpgradeContext) -> Result<Status> {
        (**self).status(cx).await
    }

    async fn apply(&self, cx: &UpgradeContext) -> Result<Outcome> {
        (**self).apply(cx).await
    }

    async fn revert(&self, cx: &UpgradeContext) -> Result<Outcome> {
        (**self).revert(cx).await
    }
}
