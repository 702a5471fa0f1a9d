//! The one public error of this crate.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::Phase;
use crate::redact::{Secrets, chain, changed, credentials};

/// Any error, boxed, as a source.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong, for code that has to decide what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option, a file or a value is not what it must be.
    InvalidInput,
    /// Something named does not exist.
    NotFound,
    /// The implementation does not have the power that was asked for.
    Unsupported,
    /// The operation would change something that the library neither made nor was allowed to change.
    Refused,
    /// A component is not there or does not answer.
    Unavailable,
    /// A deadline passed.
    Timeout,
    /// The run was cancelled.
    Cancelled,
    /// A migration could not be applied or reverted.
    Migration,
    /// A migration that is applied differs from the one at hand.
    Divergent,
    /// The rollback failed or could not be verified.
    Rollback,
    /// The environment could not be made, changed or removed.
    Environment,
    /// A database statement failed.
    Database,
    /// A file or a process could not be read, written or started.
    Io,
    /// The upgrade failed its checks: the findings are in the report.
    Failed,
    /// There was too little to judge.
    Inconclusive,
    /// A defect of this library.
    Internal,
}

/// What went wrong, where, and what to do about it.
///
/// `Display` describes this layer only, in one line; the cause is in
/// [`source`](std::error::Error::source). `{:?}` prints a readable block with the whole chain,
/// because that is what `cargo test` prints for a returned `Err`; `{:#?}` prints the structure.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    phase: Option<Phase>,
    context: Vec<(Cow<'static, str>, String)>,
    source: Option<BoxError>,
    attached: Option<Box<dyn Attached>>,
}

/// What an error can carry beside its own chain, and shows at its end: the report of a run. Of any
/// type, because what a report is made of knows errors.
pub(crate) trait Attached: Any + fmt::Debug + fmt::Display + Send + Sync {}

impl<T: Any + fmt::Debug + fmt::Display + Send + Sync> Attached for T {}

impl Error {
    /// An error of a kind. The message is lower case, without a final period, and names the
    /// object in backticks.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: clean(&message.into()),
            hint: None,
            phase: None,
            context: Vec::new(),
            source: None,
            attached: None,
        }))
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(cleaned(plain(source.into()), &clean));
        self
    }

    /// Adds what to do about it; printed last, in parentheses.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds a named fact.
    #[must_use]
    pub fn with_context(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        let value = clean(&value.to_string());
        self.0.context.push((Cow::Borrowed(key), value));
        self
    }

    /// Adds the phase in which it happened, unless one is known already.
    #[must_use]
    pub fn with_phase(mut self, phase: Phase) -> Self {
        self.0.phase.get_or_insert(phase);
        self
    }

    /// Adds something that is shown at the end.
    pub(crate) fn with_attached(mut self, attached: impl Attached) -> Self {
        self.0.attached = Some(Box::new(attached));
        self
    }

    pub(crate) fn attached<T: Any>(&self) -> Option<&T> {
        let attached: &dyn Any = self.0.attached.as_deref()?;
        attached.downcast_ref()
    }

    /// The same without the secrets of a run.
    pub(crate) fn redacted(mut self, secrets: &Secrets) -> Self {
        let change = |text: &str| secrets.redact(text).into_owned();
        let inner = &mut *self.0;
        inner.message = change(&inner.message);
        inner.hint = inner.hint.as_deref().map(change);
        for (_, value) in &mut inner.context {
            *value = change(value);
        }
        inner.source = inner.source.take().map(|source| cleaned(source, &change));
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The phase in which it happened, if it happened in a run.
    pub fn phase(&self) -> Option<Phase> {
        self.0.phase
    }

    /// The named facts, in the order in which they were added.
    pub fn context(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.context.iter();
        all.map(|(key, value)| (key.as_ref(), value.as_str()))
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The code of the server's error that is the cause, such as `53100` for a full disk.
    #[cfg(feature = "postgres")]
    pub fn sqlstate(&self) -> Option<&str> {
        let mut source = StdError::source(self);
        while let Some(cause) = source {
            if let Some(said) = cause.downcast_ref::<Said>() {
                return said.sqlstate.as_deref();
            }
            source = cause.source();
        }
        None
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(hint) = &self.0.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return self.0.fmt(f);
        }
        write!(f, "{self}")?;
        if let Some(phase) = self.0.phase {
            write!(f, "\n  phase: {phase}")?;
        }
        for (key, value) in &self.0.context {
            write!(f, "\n  {key}: {value}")?;
        }
        let mut source = StdError::source(self);
        while let Some(cause) = source {
            write!(f, "\n  caused by: {cause}")?;
            source = cause.source();
        }
        if let Some(attached) = &self.0.attached {
            write!(f, "\n\n{attached}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

/// An error as data: in events and reports, and as the value with which an implementation says that
/// what it was given is bad.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// What kind of thing went wrong.
    pub kind: ErrorKind,
    /// What went wrong, in one line.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The phase in which it happened, if it happened in a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Named facts, in the order in which they were added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<(String, String)>,
    /// What it came from, the nearest cause first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    #[serde(skip)]
    original: Original,
}

/// The error itself, as long as the failure has not left this process as data: its causes have types,
/// by which callers decide.
#[derive(Clone, Default)]
struct Original(Option<Arc<Error>>);

/// Failures are equal where their data are.
impl PartialEq for Original {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Original {}

impl fmt::Debug for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Some(..)" } else { "None" })
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let causes = std::iter::successors(StdError::source(error), |cause| (*cause).source());
        Self {
            kind: error.kind(),
            message: error.0.message.clone(),
            hint: error.0.hint.clone(),
            phase: error.0.phase,
            context: error
                .context()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            causes: causes.map(ToString::to_string).collect(),
            original: Original::default(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut failure = Self::from(&error);
        failure.original = Original(Some(Arc::new(error)));
        failure
    }
}

/// Turns a failure back into an error, for callers that treat a bad migration like any other error.
/// What was read from JSON has causes without types.
impl From<Failure> for Error {
    fn from(mut failure: Failure) -> Self {
        if let Some(Ok(error)) = failure.original.0.take().map(Arc::try_unwrap) {
            return error;
        }
        let context = failure.context.into_iter();
        Self(Box::new(Inner {
            kind: failure.kind,
            message: failure.message,
            hint: failure.hint,
            phase: failure.phase,
            context: context
                .map(|(key, value)| (Cow::Owned(key), value))
                .collect(),
            source: chain(failure.causes),
            attached: None,
        }))
    }
}

/// As an [`Error`] of the same content: one line, or by `{:#}` the whole block.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        if !f.alternate() {
            return Ok(());
        }
        if let Some(phase) = self.phase {
            write!(f, "\n  phase: {phase}")?;
        }
        for (key, value) in &self.context {
            write!(f, "\n  {key}: {value}")?;
        }
        self.causes
            .iter()
            .try_for_each(|cause| write!(f, "\n  caused by: {cause}"))
    }
}

/// A text without what stands where passwords stand.
fn clean(text: &str) -> String {
    credentials(text).into_owned()
}

/// A cause with changed texts: as it is where none changes, else as texts.
fn cleaned(source: BoxError, change: &dyn Fn(&str) -> String) -> BoxError {
    #[cfg(feature = "postgres")]
    let source = match source.downcast::<Said>() {
        Ok(mut said) => {
            said.message = change(&said.message);
            for (_, text) in &mut said.more {
                *text = change(text);
            }
            return said;
        }
        Err(source) => source,
    };
    changed(source.as_ref(), change).unwrap_or(source)
}

/// What a server said, without what a driver puts around it: sqlx says the same text twice, once
/// as itself and once as its source, and adds a line of the server's own source code.
#[cfg(feature = "postgres")]
fn plain(source: BoxError) -> BoxError {
    match source.downcast::<sqlx::Error>() {
        Ok(error) => match *error {
            sqlx::Error::Database(said) => Box::new(Said::new(&*said)),
            other => Box::new(other),
        },
        Err(source) => source,
    }
}

#[cfg(not(feature = "postgres"))]
fn plain(source: BoxError) -> BoxError {
    source
}

/// All that a server said about an error: its message with the SQLSTATE, and a line for each of
/// `DETAIL`, `HINT` and `CONTEXT`, as in its log.
#[cfg(feature = "postgres")]
#[derive(Debug)]
struct Said {
    message: String,
    sqlstate: Option<String>,
    more: Vec<(&'static str, String)>,
}

#[cfg(feature = "postgres")]
impl Said {
    fn new(said: &dyn sqlx::error::DatabaseError) -> Self {
        let more = said
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .map(|said| {
                [
                    ("DETAIL", said.detail()),
                    ("HINT", said.hint()),
                    ("CONTEXT", said.r#where()),
                ]
            });
        Self {
            message: said.message().to_owned(),
            sqlstate: said.code().map(|code| code.into_owned()),
            more: more
                .into_iter()
                .flatten()
                .filter_map(|(name, text)| Some((name, text?.to_owned())))
                .collect(),
        }
    }
}

#[cfg(feature = "postgres")]
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(sqlstate) = &self.sqlstate {
            write!(f, " (SQLSTATE {sqlstate})")?;
        }
        self.more
            .iter()
            .try_for_each(|(name, text)| write!(f, "\n{name}: {text}"))
    }
}

#[cfg(feature = "postgres")]
impl StdError for Said {}

impl From<std::io::Error> for Error {
    fn from(source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, "an input or output operation failed").with_source(source)
    }
}

#[cfg(feature = "postgres")]
impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        Self::new(ErrorKind::Database, "a database call failed").with_source(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_repeats_no_text() {
        let error = Error::new(
            ErrorKind::Migration,
            "migration `0002_lines` failed at line 3",
        )
        .with_source(std::io::Error::other("relation `lines` exists"))
        .with_context("database", "orders")
        .with_hint("drop it first")
        .with_phase(Phase::Expand);
        let mut seen = vec![error.to_string()];
        let mut source = StdError::source(&error);
        while let Some(cause) = source {
            let text = cause.to_string();
            assert!(
                seen.iter().all(|earlier| !earlier.contains(&text)),
                "{text} twice"
            );
            seen.push(text);
            source = cause.source();
        }
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn debug_is_a_block_to_read() {
        let error = Error::new(ErrorKind::Timeout, "no answer after 5 s")
            .with_source(std::io::Error::other("refused"))
            .with_context("server", "local")
            .with_phase(Phase::Provision);
        assert_eq!(
            format!("{error:?}"),
            "no answer after 5 s\n  phase: provision\n  server: local\n  caused by: refused"
        );
        assert!(format!("{error:#?}").contains("kind: Timeout"));
    }

    #[test]
    fn a_failure_is_the_error_again_until_it_is_data() {
        let error = Error::new(ErrorKind::Migration, "it failed")
            .with_source(std::io::Error::from(std::io::ErrorKind::StorageFull))
            .with_context("file", "1_a.sql")
            .with_hint("free some space");
        let said = format!("{error:?}");
        let failure = Failure::from(error);
        assert_eq!(format!("{failure:#}"), said);
        let data = serde_json::to_string(&failure).unwrap();
        let read: Failure = serde_json::from_str(&data).unwrap();
        assert_eq!(read, failure);

        let is_full = |error: &Error| {
            let source = StdError::source(error).unwrap();
            let io = source.downcast_ref::<std::io::Error>();
            io.is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull)
        };
        let again = Error::from(failure);
        assert!(is_full(&again));
        let of_data = Error::from(read);
        assert!(!is_full(&of_data));
        assert_eq!(format!("{of_data:?}"), said);
    }

    #[test]
    fn the_first_phase_stays() {
        let error = Error::new(ErrorKind::Io, "x")
            .with_phase(Phase::Expand)
            .with_phase(Phase::Verify);
        assert_eq!(error.phase(), Some(Phase::Expand));
    }
}
