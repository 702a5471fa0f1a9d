//! To which operation a system belongs while no process works on it.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};

/// To which operation a system belongs, from its first change until it is final or rolled back. It is
/// written into the system itself, so that a tool on another machine, with another journal, sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Claim {
    /// The journal of the operation: [`Journal::id`](crate::journal::Journal::id).
    pub journal: String,
    /// Where that journal is, as its owner names it.
    pub place: String,
    /// Who began the operation.
    pub actor: String,
    /// On which machine.
    pub host: String,
    /// Since when, by the clock of that machine (RFC 3339, UTC).
    pub since: String,
}

impl Claim {
    /// A claim since now.
    pub fn new(
        journal: impl Into<String>,
        place: impl Into<String>,
        actor: impl Into<String>,
        host: impl Into<String>,
    ) -> Self {
        Self {
            journal: journal.into(),
            place: place.into(),
            actor: actor.into(),
            host: host.into(),
            since: Timestamp::now().to_string(),
        }
    }

    /// The error of another operation that wants the system.
    pub(crate) fn refusal(&self, system: &str) -> Error {
        let message =
            format!("`{system}` belongs to another operation, and nothing was done to it");
        Error::new(ErrorKind::Refused, message)
            .with_context("operation", self)
            .with_hint(
                "finish or roll back that operation with its own journal; if the journal is lost, look at \
                 the system first, then remove the claim: `Claims::release`, in Postgres \
                 `drop schema _upgrade_operation`",
            )
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            journal,
            place,
            actor,
            host,
            since,
        } = self;
        write!(
            f,
            "begun by {actor} on {host} at {since}, journal `{place}` ({journal})"
        )
    }
}

/// The claim of an operation on a system. Between [`prepare`](super::Environment::prepare) and
/// [`teardown`](super::Environment::teardown) the environment of a real system is locked, so no other
/// process claims it between a look and a claim.
#[async_trait]
pub trait Claims: Send + Sync {
    /// To which operation the system belongs; `None` where it is free.
    ///
    /// # Errors
    /// Any kind, when it could not tell.
    async fn claimed(&self, cx: &UpgradeContext) -> Result<Option<Claim>>;

    /// Claims the system, in the place of an earlier claim.
    ///
    /// # Behavior
    /// - An observation does not see it.
    /// - It outlasts this process, and a rollback of the system.
    ///
    /// # Errors
    /// Any kind; the claim is then not there.
    async fn claim(&self, cx: &UpgradeContext, claim: &Claim) -> Result<()>;

    /// Gives the claim up; without one it does nothing.
    ///
    /// # Errors
    /// Any kind; the claim may then still be there.
    async fn release(&self, cx: &UpgradeContext) -> Result<()>;
}
