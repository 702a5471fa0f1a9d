//! How two schemas relate, and what that means for whom.

use std::fmt;

use crate::finding::Severity;

/// Who reads the values of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The service: what it accepts must not become less.
    Request,
    /// The client: what it has to expect must not become more.
    Response,
}

impl Direction {
    /// The name, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }

    pub(super) fn reversed(self) -> Self {
        match self {
            Self::Request => Self::Response,
            Self::Response => Self::Request,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The values that are valid now, beside those that were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Same,
    /// A part of them.
    Narrower,
    /// These and more.
    Wider,
    /// Some of them and some others, or nobody can tell.
    Other,
}

impl Relation {
    /// From whether the old values contain the new ones, and the reverse.
    pub(super) fn of(old_has_new: bool, new_has_old: bool) -> Self {
        match (old_has_new, new_has_old) {
            (true, true) => Self::Same,
            (true, false) => Self::Narrower,
            (false, true) => Self::Wider,
            (false, false) => Self::Other,
        }
    }

    /// Of two restrictions that both count.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Same, one) | (one, Self::Same) => one,
            (a, b) if a == b => a,
            _ => Self::Other,
        }
    }

    /// Of values that are not valid.
    pub(super) fn inverted(self) -> Self {
        match self {
            Self::Narrower => Self::Wider,
            Self::Wider => Self::Narrower,
            same => same,
        }
    }

    pub(super) fn breaks(self, direction: Direction) -> bool {
        match self {
            Self::Same => false,
            Self::Narrower => direction == Direction::Request,
            Self::Wider => direction == Direction::Response,
            Self::Other => true,
        }
    }

    /// What stands behind the name of a rule.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Same | Self::Other => "changed",
            Self::Narrower => "narrowed",
            Self::Wider => "widened",
        }
    }
}

/// How much a difference weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// An error if its relation breaks the direction.
    ByDirection,
    /// This in place of an error.
    Breaking(Severity),
    /// This, whatever the relation is.
    Always(Severity),
}

/// One difference of two schemas, without what is inside of their inner schemas.
#[derive(Debug, Clone)]
pub(super) struct Difference {
    /// The rule: the name of a comparator, to which direction and relation are added; or a whole name, if
    /// the relation is [`Relation::Same`].
    pub(super) rule: &'static str,
    pub(super) relation: Relation,
    pub(super) weight: Weight,
    /// What was and what is.
    pub(super) text: String,
    /// What stands behind the place of the schema, such as `.price`.
    pub(super) step: String,
    /// The fragments, if they are worth a diff.
    pub(super) fragments: Option<(String, String)>,
}

impl Difference {
    pub(super) fn new(rule: &'static str, relation: Relation, text: impl Into<String>) -> Self {
        Self {
            rule,
            relation,
            weight: Weight::ByDirection,
            text: text.into(),
            step: String::new(),
            fragments: None,
        }
    }

    pub(super) fn weighing(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }

    pub(super) fn at(mut self, step: impl Into<String>) -> Self {
        self.step = step.into();
        self
    }

    pub(super) fn between(
        mut self,
        old: &impl serde::Serialize,
        new: &impl serde::Serialize,
    ) -> Self {
        // A schema of JSON always prints.
        let printed = |text: serde_json::Result<String>| text.unwrap_or_default();
        let old = printed(serde_json::to_string_pretty(old));
        self.fragments = Some((old, printed(serde_json::to_string_pretty(new))));
        self
    }

    /// Its severity, and whether it is compatible.
    pub(super) fn severity(&self, direction: Direction) -> (Severity, bool) {
        let breaks = self.relation.breaks(direction);
        match self.weight {
            Weight::Always(severity) => (severity, false),
            Weight::ByDirection if breaks => (Severity::Error, false),
            Weight::Breaking(severity) if breaks => (severity, false),
            Weight::ByDirection | Weight::Breaking(_) => (Severity::Note, true),
        }
    }
}
