//! What findings and losses are about: tables and columns as data, anything else as text.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::endpoint::DATABASE;

/// A table of one database of a system.
///
/// Its parts are spelled as observations spell them: a name that needs quotes has them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TableRef {
    /// The endpoint of its database; [`DATABASE`] by default.
    pub database: String,
    /// Its schema; `None` where the system has no schemas.
    pub schema: Option<String>,
    /// Its name within the schema.
    pub name: String,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ColumnRef {
    /// The table.
    pub table: TableRef,
    /// The column, without quotes.
    pub name: String,
}

impl TableRef {
    /// The table that an observation of the database at [`DATABASE`] names so:
    /// `public.orders`, or `orders` in a system without schemas.
    pub fn new(name: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        let (schema, name) = match first_dot(name) {
            Some(dot) => (Some(name[..dot].to_owned()), name[dot + 1..].to_owned()),
            None => (None, name.to_owned()),
        };
        Self {
            database: DATABASE.to_owned(),
            schema,
            name,
        }
    }

    /// The table of the same name in the database of another endpoint.
    #[must_use]
    pub fn in_database(mut self, endpoint: impl Into<String>) -> Self {
        self.database = endpoint.into();
        self
    }

    /// A column of this table, by its name without quotes.
    pub fn column(&self, name: impl Into<String>) -> ColumnRef {
        ColumnRef {
            table: self.clone(),
            name: name.into(),
        }
    }

    /// The name of the table in observations of its database: `public.orders`.
    pub fn key(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// The table's name, and its database if that is not [`DATABASE`].
impl fmt::Display for TableRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())?;
        if self.database != DATABASE {
            write!(f, " in {}", self.database)?;
        }
        Ok(())
    }
}

impl fmt::Display for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table.key(), self.name)?;
        if self.table.database != DATABASE {
            write!(f, " in {}", self.table.database)?;
        }
        Ok(())
    }
}

/// What a [`Finding`](crate::Finding) or a [`Loss`](crate::rollback::Loss) is about.
///
/// It reads as one line, such as `table public.orders`, and is that line in reports. What is about
/// the rows of a table or the values of a column is made from a [`TableRef`] or a [`ColumnRef`]:
/// only then can a declaration concern it. A text that happens to name a table does not.
#[derive(Debug, Clone)]
pub struct Subject {
    text: String,
    object: Option<Object>,
}

/// The object that a [`Subject`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Object {
    /// The rows of a table.
    Table(TableRef),
    /// The values of a column.
    Column(ColumnRef),
    /// The large objects of the database, which a declaration names `large objects`.
    LargeObjects,
}

/// How a declaration names the large objects of a database.
pub(crate) const LARGE_OBJECTS: &str = "large objects";

impl Subject {
    /// The large objects of the database.
    pub(crate) fn large_objects() -> Self {
        Self {
            text: LARGE_OBJECTS.to_owned(),
            object: Some(Object::LargeObjects),
        }
    }

    /// The line that a person reads.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The object, if the subject was made from one.
    pub fn object(&self) -> Option<&Object> {
        self.object.as_ref()
    }

    /// The table, if the subject is a table.
    pub fn table(&self) -> Option<&TableRef> {
        match self.object() {
            Some(Object::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// The column, if the subject is a column.
    pub fn column(&self) -> Option<&ColumnRef> {
        match self.object() {
            Some(Object::Column(column)) => Some(column),
            _ => None,
        }
    }
}

impl From<TableRef> for Subject {
    fn from(table: TableRef) -> Self {
        Self {
            text: format!("table {table}"),
            object: Some(Object::Table(table)),
        }
    }
}

impl From<ColumnRef> for Subject {
    fn from(column: ColumnRef) -> Self {
        Self {
            text: format!("column {column}"),
            object: Some(Object::Column(column)),
        }
    }
}

impl From<String> for Subject {
    fn from(text: String) -> Self {
        Self { text, object: None }
    }
}

impl From<&str> for Subject {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<&String> for Subject {
    fn from(text: &String) -> Self {
        Self::from(text.clone())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl AsRef<str> for Subject {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// Two subjects are equal if they read the same.
impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Subject {}

impl PartialEq<str> for Subject {
    fn eq(&self, other: &str) -> bool {
        self.text == other
    }
}

impl PartialEq<&str> for Subject {
    fn eq(&self, other: &&str) -> bool {
        self.text == *other
    }
}

impl PartialEq<String> for Subject {
    fn eq(&self, other: &String) -> bool {
        self.text == *other
    }
}

/// A subject is its line. Read again, it is text: what a report says decides nothing.
impl Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// The first dot that stands outside of quotes.
fn first_dot(name: &str) -> Option<usize> {
    let mut quoted = false;
    name.find(|c| {
        quoted ^= c == '"';
        c == '.' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_the_name_that_an_observation_gives_it() {
        for (name, schema) in [
            ("public.orders", Some("public")),
            ("orders", None),
            (r#""a.b".c"#, Some(r#""a.b""#)),
            (r#"public."a.b""#, Some("public")),
            ("", None),
        ] {
            let table = TableRef::new(name);
            assert_eq!(table.key(), name);
            assert_eq!(table.schema.as_deref(), schema);
            assert_eq!(Subject::from(table), format!("table {name}"));
        }
    }

    #[test]
    fn a_table_of_another_database_is_another_table() {
        let here = TableRef::new("public.orders");
        let there = here.clone().in_database("billing");
        assert_ne!(here, there);
        assert_eq!(there.to_string(), "public.orders in billing");
        let column = Subject::from(there.column("a"));
        assert_eq!(column, "column public.orders.a in billing");
    }

    #[test]
    fn a_text_that_names_a_table_is_no_table() {
        let text = Subject::from("table public.orders");
        let table = Subject::from(TableRef::new("public.orders"));
        assert_eq!(text, table);
        assert!(text.object().is_none() && table.table().is_some());
        let json = serde_json::to_string(&table).unwrap();
        assert_eq!(json, r#""table public.orders""#);
        assert_eq!(serde_json::from_str::<Subject>(&json).unwrap(), table);
    }
}
