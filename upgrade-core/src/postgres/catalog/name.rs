//! The name of a table.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::postgres::sql::quote_ident;

/// The name of a table, or of another relation such as a view or a sequence, with its schema.
///
/// Holds the bare names; `Display` quotes what a person would have to quote.
///
/// ```
/// use upgrade_core::postgres::catalog::TableName;
///
/// assert_eq!(TableName::new("public", "orders").to_string(), "public.orders");
/// assert_eq!(TableName::new("public", "Orders").to_string(), r#"public."Orders""#);
/// assert_eq!(TableName::new("public", "user").to_sql(), r#""public"."user""#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    /// The schema's name.
    pub schema: String,
    /// The table's name.
    pub name: String,
}

impl TableName {
    /// Names a table.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// The name for use in a statement: both parts, always quoted.
    pub fn to_sql(&self) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(&self.name))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!(
            "{}.{}",
            readable(&self.schema),
            readable(&self.name)
        ))
    }
}

/// A name as a person reads it: in quotes only if it is not plain. Key words stay as they are, so
/// this is not for statements.
pub(in crate::postgres) fn readable(name: &str) -> String {
    let plain = name
        .bytes()
        .all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'$'));
    if plain
        && name
            .bytes()
            .next()
            .is_some_and(|c| matches!(c, b'a'..=b'z' | b'_'))
    {
        name.to_owned()
    } else {
        quote_ident(name)
    }
}
