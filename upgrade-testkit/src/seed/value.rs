//! What a seeded cell and a seeded row are: text in the form Postgres reads, NULL, or DEFAULT.

use std::collections::BTreeMap;
use std::fmt;

/// One cell: the text form of a value, NULL, or the column's default.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SqlValue {
    /// The value as its type's input function reads it, unquoted: `2024-02-29`, `{1,2}`, `it's`.
    Text(String),
    /// SQL NULL.
    Null,
    /// Whatever the column's default gives.
    Default,
}

impl SqlValue {
    /// The text, unless this is NULL or DEFAULT.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Default => None,
        }
    }
}

impl fmt::Display for SqlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Null => f.write_str("NULL"),
            Self::Default => f.write_str("DEFAULT"),
        }
    }
}

impl From<&str> for SqlValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<T: Into<Self>> From<Option<T>> for SqlValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

macro_rules! from_display {
    ($($type:ty),*) => {$(
        impl From<$type> for SqlValue {
            fn from(value: $type) -> Self {
                Self::Text(value.to_string())
            }
        }
    )*};
}
from_display!(
    String, bool, char, i8, i16, i32, i64, i128, u8, u16, u32, u64, f32, f64
);
from_display!(serde_json::Value);

/// A row as far as somebody has decided it: columns by name.
///
/// Columns that a row does not name are drawn as in any other row of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    cells: BTreeMap<String, SqlValue>,
}

impl Row {
    /// A row in which nothing is decided.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decides one column.
    #[must_use]
    pub fn with(mut self, column: impl Into<String>, value: impl Into<SqlValue>) -> Self {
        self.cells.insert(column.into(), value.into());
        self
    }

    /// The value of a column, if it is decided.
    pub fn get(&self, column: &str) -> Option<&SqlValue> {
        self.cells.get(column)
    }

    /// The decided columns, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SqlValue)> {
        self.cells
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }
}

impl<N: Into<String>, V: Into<SqlValue>, const LEN: usize> From<[(N, V); LEN]> for Row {
    fn from(cells: [(N, V); LEN]) -> Self {
        cells.into_iter().collect()
    }
}

impl<N: Into<String>, V: Into<SqlValue>> FromIterator<(N, V)> for Row {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(cells: I) -> Self {
        let cells = cells
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self { cells }
    }
}
