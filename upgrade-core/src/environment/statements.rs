//! What becomes of the statements that a release makes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::subject::TableRef;

/// A kind of statement that users of a release make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StatementKind {
    /// Rows are read.
    Select,
    /// A row is added.
    Insert,
    /// A row is changed.
    Update,
    /// A row is removed.
    Delete,
}

/// A statement of a release that the system refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Refusal {
    /// The table.
    pub table: TableRef,
    /// The kind of the statement.
    pub kind: StatementKind,
    /// The statement, as the release would write it.
    pub statement: String,
    /// What the system answered: its message in the first line, then what else it said.
    pub answer: String,
}

impl StatementKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Select, Self::Insert, Self::Update, Self::Delete];
}

impl fmt::Display for StatementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Select => "select",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        })
    }
}

impl Refusal {
    /// A statement on a table, with what the system answered.
    pub fn new(
        table: TableRef,
        kind: StatementKind,
        statement: impl Into<String>,
        answer: impl Into<String>,
    ) -> Self {
        Self {
            table,
            kind,
            statement: statement.into(),
            answer: answer.into(),
        }
    }
}
