//! Which migration is at fault.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::MigrationId;

/// The migration that a finding blames, and the file to open.
///
/// `Display` reads as in `migration 0002_totals (0002_totals.down.sql)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Blame {
    /// Which one.
    pub migration: MigrationId,
    /// The file of the direction that is at fault, with the line where that is not the first:
    /// `0002_totals.down.sql`, `0002_totals.sql:7`. None for a migration that is no file.
    pub file: Option<String>,
}

impl Blame {
    /// Blames a migration of which no file is known.
    pub fn new(migration: MigrationId) -> Self {
        Self {
            migration,
            file: None,
        }
    }

    /// Names the file.
    #[must_use]
    pub fn with_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// The path of the file, and the line where one is named.
    pub fn place(&self) -> Option<(&str, Option<u32>)> {
        self.file.as_deref().map(place)
    }
}

/// The path and the line of `0002_totals.sql:7`.
pub(super) fn place(file: &str) -> (&str, Option<u32>) {
    let parts = file.rsplit_once(':');
    let parts = parts.and_then(|(path, line)| Some((path, Some(line.parse().ok()?))));
    parts.unwrap_or((file, None))
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "migration {}", self.migration)?;
        match &self.file {
            Some(file) => write!(f, " ({file})"),
            None => Ok(()),
        }
    }
}
