//! What a clause answers, and what a fixture can hand it.

use std::any::Any;

use thiserror::Error;

/// What an examined clause came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClauseOutcome {
    /// The implementation keeps it.
    Holds,
    /// The clause needs something that the back end does not have, for this reason.
    NotApplicable(String),
}

/// The implementation does not keep a clause, or the fixture could not show that it does.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("clause `{clause}` does not hold\n  expected: {expected}\n  found: {found}")]
#[non_exhaustive]
pub struct ClauseFailed {
    /// The name of the clause.
    pub clause: &'static str,
    /// What the clause promises at this point.
    pub expected: String,
    /// What was seen instead.
    pub found: String,
}

/// What a clause answers.
pub type ClauseResult = Result<ClauseOutcome, ClauseFailed>;

/// One entry of a list of clauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClauseInfo {
    /// The name of the clause's function and of its test.
    pub name: &'static str,
    /// `required`, or what a back end must have for the clause to apply.
    pub needs: &'static str,
}

impl ClauseInfo {
    pub(super) const fn new(name: &'static str, needs: &'static str) -> Self {
        Self { name, needs }
    }
}

/// Something that a back end may not be able to show. A reason is asked for, because it is what
/// the list of clauses that do not apply prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Case<T> {
    /// Here it is.
    Given(T),
    /// The back end has no such thing, for this reason.
    NotApplicable(String),
}

impl<T> Case<T> {
    /// The back end has no such thing.
    pub fn not_applicable(reason: impl Into<String>) -> Self {
        Self::NotApplicable(reason.into())
    }
}

/// Holds a system so that whoever reads it has to wait, until this is dropped: an open transaction
/// with an exclusive lock, a paused process.
pub type Hold = Box<dyn Any + Send>;
