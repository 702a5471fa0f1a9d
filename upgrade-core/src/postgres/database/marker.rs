//! The comment that proves that this library made a database.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The connection limit that a database has from the moment it exists until its marker is written.
///
/// `CREATE DATABASE` and `COMMENT` cannot be one transaction. A process that dies between the two
/// leaves a database without a marker; this limit, which no server can reach and nobody chooses,
/// says that it is ours all the same.
#[doc(hidden)]
pub const UNFINISHED_LIMIT: i32 = 1_970_301_017;

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
    /// More facts, by name, for whoever wrote the marker.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
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
    /// It keeps a state to roll back to.
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
            notes: BTreeMap::new(),
        }
    }

    /// Adds a fact.
    #[must_use]
    pub fn with_note(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.notes.insert(name.into(), value.into());
        self
    }

    /// Adds beside which database the marked one stands, and since when.
    pub(crate) fn beside(self, database: &super::Database) -> Self {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        self.with_note(super::OF, database.name())
            .with_note(super::MADE, now.to_string())
    }

    /// Remembers the comment of the database that was copied.
    #[must_use]
    pub(crate) fn with_comment(mut self, comment: Option<String>) -> Self {
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

    #[test]
    fn a_marker_without_notes_is_read_and_one_with_notes_comes_back() {
        let plain = r#"upgrade:{"format":1,"kind":"test","owner":"r1","comment":null}"#;
        let marker = Marker::from_comment(plain).unwrap();
        assert_eq!(marker.to_comment(), plain);
        let marker = marker.with_note("kept_until", "17");
        assert_eq!(Marker::from_comment(&marker.to_comment()), Some(marker));
    }
}
