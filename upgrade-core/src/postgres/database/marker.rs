//! The comment that proves that this library made a database.

use serde::{Deserialize, Serialize};

/// What every marked comment begins with.
const PREFIX: &str = "upgrade:";

/// Says, in the comment of a database, that this library made it, for which run, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Marker {
    /// The version of this format.
    pub format: u32,
    /// What it was made for.
    pub kind: MarkerKind,
    /// The run that made it, or the content that it holds.
    pub owner: String,
    /// The comment that the database it was copied from had.
    pub comment: Option<String>,
}

/// What a marked database is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MarkerKind {
    /// A test works in it.
    Test,
    /// Test databases are copied from it.
    Template,
    /// It keeps a state to go back to.
    Kept,
    /// It was set aside by a rollback.
    Aside,
}

impl Marker {
    /// A marker of a kind for an owner.
    pub fn new(kind: MarkerKind, owner: impl Into<String>) -> Self {
        Self {
            format: 1,
            kind,
            owner: owner.into(),
            comment: None,
        }
    }

    /// Remembers the comment of the database that was copied.
    #[must_use]
    pub fn with_comment(mut self, comment: Option<String>) -> Self {
        self.comment = comment;
        self
    }

    /// The comment to write.
    pub fn to_comment(&self) -> String {
        let json = serde_json::to_string(self).expect("a marker has only string keys");
        format!("{PREFIX}{json}")
    }

    /// Reads a comment; `None` for one that is not a marker.
    pub fn from_comment(comment: &str) -> Option<Self> {
        serde_json::from_str(comment.strip_prefix(PREFIX)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_markers_are_markers() {
        let marker = Marker::new(MarkerKind::Kept, "r1").with_comment(Some("it's prod".to_owned()));
        assert_eq!(Marker::from_comment(&marker.to_comment()), Some(marker));
        for comment in [
            "",
            "production, do not touch",
            "upgrade:",
            "upgrade:{}",
            "{\"format\":1}",
        ] {
            assert_eq!(Marker::from_comment(comment), None, "{comment}");
        }
    }
}
