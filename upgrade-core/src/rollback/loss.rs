//! What a rollback loses, as data.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::subject::Subject;

/// Something that a rollback loses, announced before it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Loss {
    /// What loses something: a [`TableRef`](crate::TableRef), a [`ColumnRef`](crate::ColumnRef), or
    /// a text that names anything else.
    pub subject: Subject,
    /// What of it is lost.
    pub kind: LossKind,
    /// The number of rows; `None` where that is not known.
    pub rows: Option<u64>,
    /// The loss as a person reads it; it names the object.
    pub message: String,
}

/// What a [`Loss`] takes from its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LossKind {
    /// Whole rows.
    Rows,
    /// Values; the rows stay.
    Values,
    /// Everything that was written to it since a moment: rows and values.
    Writes,
    /// Nothing of its rows: statistics, a cache.
    Other,
}

impl Loss {
    /// A loss of this kind. The message names the object, because it is shown alone.
    pub fn new(kind: LossKind, subject: impl Into<Subject>, message: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            kind,
            rows: None,
            message: message.into(),
        }
    }

    /// The same loss, of this number of rows.
    #[must_use]
    pub fn with_rows(mut self, rows: u64) -> Self {
        self.rows = Some(rows);
        self
    }

    /// The messages of losses in one line.
    pub(crate) fn list(losses: &[Self]) -> String {
        let messages: Vec<&str> = losses.iter().map(|loss| loss.message.as_str()).collect();
        messages.join("; ")
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
