//! Judging whether the system does what its users need.

#[cfg(feature = "postgres")]
mod invariant;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::context::UpgradeContext;
use crate::error::Result;
use crate::finding::Blame;
use crate::subject::Subject;

#[cfg(feature = "postgres")]
pub use invariant::Invariant;

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

/// How much a [`Finding`] weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; changes no verdict.
    Note,
    /// Worth a person's look; changes no verdict.
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
    /// The stable name of this kind of finding, such as `round-trip-schema-differs`.
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
    /// [catalogue](crate::finding) says.
    pub help: Option<String>,
    /// The migration that is at fault, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blames: Option<Blame>,
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

    /// Whether it makes a verdict a failure.
    pub fn fails(&self) -> bool {
        self.severity == Severity::Error
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

/// A validator from a name and an async function.
///
/// The function answers with a [`Verdict`], or with `()` when arriving at the end is the proof.
///
/// ```
/// use upgrade_core::{Result, UpgradeContext, Verdict, validator_fn};
///
/// async fn checkout(_cx: UpgradeContext) -> Result<Verdict> {
///     Ok(Verdict::Pass)
/// }
/// let validator = validator_fn("checkout works", checkout);
/// ```
pub fn validator_fn<F, Fut, V>(name: impl Into<String>, judge: F) -> ValidatorFn
where
    F: Fn(UpgradeContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<V>> + Send + 'static,
    V: Into<Verdict> + 'static,
{
    ValidatorFn {
        name: name.into(),
        judge: Arc::new(move |cx| {
            let verdict = judge(cx);
            Box::pin(async move { verdict.await.map(Into::into) })
        }),
    }
}

impl From<()> for Verdict {
    fn from((): ()) -> Self {
        Self::Pass
    }
}

type Judge = Arc<dyn Fn(UpgradeContext) -> BoxFuture<'static, Result<Verdict>> + Send + Sync>;

/// The validator that [`validator_fn`] makes.
#[derive(Clone)]
pub struct ValidatorFn {
    name: String,
    judge: Judge,
}

impl fmt::Debug for ValidatorFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidatorFn")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Validator for ValidatorFn {
    fn name(&self) -> &str {
        &self.name
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        cx.bounded(&self.name, (self.judge)(cx.clone())).await?
    }
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
