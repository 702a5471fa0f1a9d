//! The trait, and what its implementations are held to.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::context::UpgradeContext;
use crate::error::Result;
use crate::finding::Finding;

/// What a judge found: the upgrade is good, it is bad, or there was too little to tell.
///
/// An [`Err`] beside it means that we could not tell at all. No data is never a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It does not hold, and this is what was seen.
    Fail(Vec<Finding>),
    /// There was too little to judge, for this reason.
    Inconclusive(String),
}

impl Verdict {
    /// `Pass` if there is nothing that fails, else `Fail` with all of the findings.
    pub fn from_findings(findings: Vec<Finding>) -> Self {
        if findings.iter().any(Finding::fails) {
            Self::Fail(findings)
        } else {
            Self::Pass
        }
    }

    /// Whether this is [`Verdict::Pass`].
    pub fn is_pass(&self) -> bool {
        matches!(self, Self::Pass)
    }
}

impl From<()> for Verdict {
    fn from((): ()) -> Self {
        Self::Pass
    }
}

/// Judges one thing that must hold, before and after an upgrade and after a rollback.
///
/// A validator judges; the plan decides what follows from it (go on, roll back, stop).
///
/// # Contract
///
/// - It may be called any number of times in a run, at every release that the plan passes.
/// - It reaches the system only through the endpoints of the context.
/// - It changes nothing that another validator or the comparison of data would see, unless it
///   puts it back.
/// - Every wait ends at the context's deadline and on its cancellation.
#[async_trait]
pub trait Validator: fmt::Debug + Send + Sync + 'static {
    /// The name that a person reads in plans and reports.
    fn name(&self) -> &str;

    /// Judges the system as it is now.
    ///
    /// # Behavior
    /// - A system that holds is [`Verdict::Pass`]; called again on the same system, so is the
    ///   second verdict.
    /// - A system that does not hold is [`Verdict::Fail`] with at least one finding of severity
    ///   error.
    /// - A system that shows nothing to judge is [`Verdict::Inconclusive`], never a pass.
    /// - A system that cannot be reached is an error.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorKind::Timeout) and [`Cancelled`](crate::ErrorKind::Cancelled) from
    /// the context; any other kind when the question could not be asked.
    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict>;
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: Validator + ?Sized> Validator for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        (**self).validate(cx).await
    }
}
