//! What is known of the values that one column may take.

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Lt,
    Le,
    Eq,
    Ne,
    Ge,
    Gt,
}

impl Op {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "<" => Self::Lt,
            "<=" => Self::Le,
            "=" => Self::Eq,
            "<>" | "!=" => Self::Ne,
            ">=" => Self::Ge,
            ">" => Self::Gt,
            _ => return None,
        })
    }

    /// `a op b` is `b op.flip() a`.
    pub(crate) fn flip(self) -> Self {
        match self {
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Ge => Self::Le,
            Self::Gt => Self::Lt,
            Self::Eq | Self::Ne => self,
        }
    }

    /// `not (a op b)` is `a op.negate() b`.
    pub(crate) fn negate(self) -> Self {
        match self {
            Self::Lt => Self::Ge,
            Self::Le => Self::Gt,
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Ge => Self::Lt,
            Self::Gt => Self::Le,
        }
    }

    pub(crate) fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Lt => ordering.is_lt(),
            Self::Le => ordering.is_le(),
            Self::Eq => ordering.is_eq(),
            Self::Ne => ordering.is_ne(),
            Self::Ge => ordering.is_ge(),
            Self::Gt => ordering.is_gt(),
        }
    }
}

/// A constant that a column is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Text(String),
    /// The time of the statement, or a span from it.
    Now,
}

/// One end of what a column may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) limit: Limit,
    pub(crate) inclusive: bool,
}

/// What is known of one column. The default knows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    /// Whether it must be NULL, must not be, or may be either.
    pub(crate) null: Option<bool>,
    /// Lower ends; the greatest counts. Kept as text: only the type can compare them.
    pub(crate) min: Vec<Bound>,
    /// Upper ends; the least counts.
    pub(crate) max: Vec<Bound>,
    /// The only values allowed.
    pub(crate) one_of: Option<Vec<String>>,
    /// Values not allowed.
    pub(crate) none_of: Vec<String>,
    /// Least length: characters, bytes, bits or elements.
    pub(crate) min_len: Option<i64>,
    /// Greatest length.
    pub(crate) max_len: Option<i64>,
    /// A Postgres regular expression to match.
    pub(crate) regex: Option<String>,
    /// Letters only, in this case: for expressions such as `lower(x) = x` and `btrim(x) <> ''`.
    pub(crate) letters: Option<Case>,
    /// `jsonb_typeof`.
    pub(crate) json: Option<String>,
    /// Keys that a JSON object must have, with the text of the value where that is known.
    pub(crate) keys: Vec<(String, Option<String>)>,
    /// An exclusion constraint covers it: ranges should be short and bounded, to leave room.
    pub(crate) sparse: bool,
}

/// The case of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    Upper,
}

impl Hints {
    /// The least length; zero if none is known.
    pub(crate) fn least_len(&self) -> usize {
        let least = self.min_len.and_then(|len| usize::try_from(len).ok());
        least.unwrap_or(0)
    }

    /// The greatest length, if one is known.
    pub(crate) fn most_len(&self) -> Option<usize> {
        self.max_len.and_then(|len| usize::try_from(len).ok())
    }

    /// Both what `self` and what `other` know, or nothing when they contradict each other.
    pub(crate) fn and(mut self, other: Self) -> Option<Self> {
        self.null = match (self.null, other.null) {
            (Some(a), Some(b)) if a != b => return None,
            (a, b) => a.or(b),
        };
        self.min.extend(other.min);
        self.max.extend(other.max);
        self.none_of.extend(other.none_of);
        self.one_of = match (self.one_of, other.one_of) {
            (Some(a), Some(b)) => Some(a.into_iter().filter(|value| b.contains(value)).collect()),
            (a, b) => a.or(b),
        };
        if let Some(values) = &mut self.one_of {
            values.retain(|value| !self.none_of.contains(value));
            if values.is_empty() {
                return None;
            }
            self.none_of.clear();
        }
        self.min_len = self.min_len.max(other.min_len);
        self.max_len = match (self.max_len, other.max_len) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if matches!((self.min_len, self.max_len), (Some(min), Some(max)) if min > max) {
            return None;
        }
        self.regex = self.regex.or(other.regex);
        self.letters = self.letters.or(other.letters);
        self.json = match (self.json, other.json) {
            (Some(a), Some(b)) if a != b => return None,
            (a, b) => a.or(b),
        };
        for (key, value) in other.keys {
            match self.keys.iter_mut().find(|(known, _)| *known == key) {
                None => self.keys.push((key, value)),
                Some((_, known)) => match (&known, value) {
                    (Some(a), Some(b)) if *a != b => return None,
                    (None, Some(b)) => *known = Some(b),
                    _ => {}
                },
            }
        }
        self.sparse |= other.sparse;
        Some(self)
    }
}
