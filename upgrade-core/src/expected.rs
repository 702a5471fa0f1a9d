//! What an upgrade or its rollback loses on purpose, said with a reason.

use serde::{Deserialize, Serialize};

use crate::subject::TableRef;

/// A change of rows that is made on purpose: of a whole table, or of one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExpectedChange {
    /// The table.
    pub table: TableRef,
    /// The column, where only its values change or are lost.
    pub column: Option<String>,
    /// In which direction.
    pub made_by: MadeBy,
    /// Why.
    pub reason: String,
}

/// In which direction a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MadeBy {
    /// By applying.
    Up,
    /// By reverting.
    Down,
    /// By either of the two, or both.
    Either,
}

impl ExpectedChange {
    /// A change of a table (`public.orders`), made by applying, or of a column
    /// (`public.orders.legacy`), made by either direction: a column that is dropped is lost by
    /// the up, and comes back without its values by the down.
    ///
    /// A name with a dot in it stands in double quotes, as it does in reports.
    pub fn new(object: impl AsRef<str>, reason: impl Into<String>) -> Self {
        let parts = parts(object.as_ref().trim());
        let (table, column) = match parts.as_slice() {
            [schema, table, column @ ..] if !column.is_empty() => {
                let table = TableRef::new(format!("{schema}.{table}"));
                (table, Some(bare(&column.join("."))))
            }
            _ => (TableRef::new(object.as_ref().trim()), None),
        };
        Self {
            made_by: if column.is_some() {
                MadeBy::Either
            } else {
                MadeBy::Up
            },
            table,
            column,
            reason: reason.into(),
        }
    }

    /// The same change, made in this direction.
    #[must_use]
    pub fn made_by(mut self, made_by: MadeBy) -> Self {
        self.made_by = made_by;
        self
    }

    /// What changes, for messages: `public.orders.legacy`.
    pub fn object(&self) -> String {
        match &self.column {
            Some(column) => self.table.column(column).to_string(),
            None => self.table.to_string(),
        }
    }

    /// Whether it is made in this direction.
    pub(crate) fn is_made_by(&self, direction: MadeBy) -> bool {
        self.made_by == MadeBy::Either || self.made_by == direction
    }
}

/// The parts between the dots that stand outside of quotes.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in name.chars() {
        match c {
            '.' if !quoted => parts.push(String::new()),
            _ => {
                quoted ^= c == '"';
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    parts
}

/// A name without its quotes.
fn bare(name: &str) -> String {
    name.strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'))
        .map_or_else(|| name.to_owned(), |name| name.replace("\"\"", "\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_and_a_column_are_told_apart() {
        for (object, table, column) in [
            ("orders", "orders", None),
            ("public.orders", "public.orders", None),
            ("public.orders.legacy", "public.orders", Some("legacy")),
            (r#"public."a.b""#, r#"public."a.b""#, None),
            (r#"public."a.b"."C d""#, r#"public."a.b""#, Some("C d")),
        ] {
            let change = ExpectedChange::new(object, "why");
            assert_eq!(
                (change.table.key().as_str(), change.column.as_deref()),
                (table, column)
            );
            assert_eq!(change.is_made_by(MadeBy::Down), column.is_some());
            assert!(change.is_made_by(MadeBy::Up));
        }
        let down = ExpectedChange::new("public.t", "why").made_by(MadeBy::Down);
        assert!(down.is_made_by(MadeBy::Down) && !down.is_made_by(MadeBy::Up));
    }
}
