//! A catalog as a file.
//!
//! The file is made to be committed and reviewed: one entry for each object, in order, and a value
//! of several lines as a list of lines, so that a change shows as the line that changed.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Catalog, CatalogError, Object, ObjectId, ObjectKind, TableName};

/// The number of the form that is written. Another number means another form.
const FORMAT: u32 = 1;

impl Catalog {
    /// The catalog as JSON that is stable to the byte and readable, ending in a newline.
    pub fn to_json_pretty(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a catalog holds text only");
        text.push('\n');
        text
    }

    /// Reads what [`Catalog::to_json_pretty`] wrote.
    ///
    /// # Errors
    /// [`CatalogError::Json`] if it is no JSON, no catalog, or one of another format.
    pub fn from_json(text: &str) -> Result<Self, CatalogError> {
        serde_json::from_str(text).map_err(|source| CatalogError::Json { source })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    format: u32,
    objects: Vec<ObjectEntry>,
    column_order: Vec<ColumnOrderEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectEntry {
    kind: ObjectKind,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    schema: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    name: String,
    attributes: BTreeMap<String, Lines>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnOrderEntry {
    schema: String,
    name: String,
    columns: Vec<String>,
}

impl From<Catalog> for Document {
    fn from(catalog: Catalog) -> Self {
        let objects = catalog.objects.into_iter().map(|(id, object)| ObjectEntry {
            kind: id.kind,
            schema: id.schema,
            parent: id.parent,
            name: id.name,
            attributes: object
                .attributes
                .into_iter()
                .map(|(name, value)| (name, Lines(value)))
                .collect(),
        });
        let orders = catalog
            .column_order
            .into_iter()
            .map(|(table, columns)| ColumnOrderEntry {
                schema: table.schema,
                name: table.name,
                columns,
            });
        Self {
            format: FORMAT,
            objects: objects.collect(),
            column_order: orders.collect(),
        }
    }
}

impl TryFrom<Document> for Catalog {
    type Error = String;

    fn try_from(document: Document) -> Result<Self, String> {
        if document.format != FORMAT {
            return Err(format!(
                "format {} is not supported, only {FORMAT} (read the catalog from the database again)",
                document.format
            ));
        }
        let mut objects = BTreeMap::new();
        for entry in document.objects {
            let id = ObjectId {
                kind: entry.kind,
                schema: entry.schema,
                parent: entry.parent,
                name: entry.name,
            };
            let attributes = entry
                .attributes
                .into_iter()
                .map(|(name, lines)| (name, lines.0))
                .collect();
            if objects.insert(id.clone(), Object { attributes }).is_some() {
                return Err(format!("`{id}` is in it twice"));
            }
        }
        let orders = document.column_order.into_iter();
        let orders = orders
            .map(|entry| (TableName::new(entry.schema, entry.name), entry.columns))
            .collect();
        Ok(Self::new(objects, orders))
    }
}

/// Text that is a string if it is one line and a list of strings if it is more.
struct Lines(String);

impl Serialize for Lines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.0.contains('\n') {
            return serializer.serialize_str(&self.0);
        }
        let mut list = serializer.serialize_seq(None)?;
        for line in self.0.split('\n') {
            list.serialize_element(line)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LinesVisitor;

        impl<'de> Visitor<'de> for LinesVisitor {
            type Value = Lines;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of lines")
            }

            fn visit_str<E>(self, text: &str) -> Result<Lines, E> {
                Ok(Lines(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Lines, A::Error> {
                let mut lines: Vec<String> = Vec::new();
                while let Some(line) = list.next_element()? {
                    lines.push(line);
                }
                Ok(Lines(lines.join("\n")))
            }
        }

        deserializer.deserialize_any(LinesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let object = |facts: &[(&str, &str)]| Object {
            attributes: facts
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        Catalog::new(
            BTreeMap::from([
                (
                    ObjectId::new(ObjectKind::Table, "public", "t"),
                    object(&[("kind", "table")]),
                ),
                (
                    ObjectId::new(ObjectKind::Column, "public", "a").of("t"),
                    object(&[("type", "text")]),
                ),
                (
                    ObjectId::new(ObjectKind::View, "public", "v"),
                    object(&[("definition", " SELECT a\n   FROM t;"), ("comment", "")]),
                ),
            ]),
            BTreeMap::from([(TableName::new("public", "t"), vec!["a".to_owned()])]),
        )
    }

    #[test]
    fn a_file_brings_the_catalog_back() {
        let text = catalog().to_json_pretty();
        assert!(
            text.contains("\"   FROM t;\""),
            "each line stands alone:\n{text}"
        );
        assert_eq!(Catalog::from_json(&text).unwrap(), catalog());
    }

    #[test]
    fn another_format_is_refused() {
        let text = catalog()
            .to_json_pretty()
            .replace("\"format\": 1", "\"format\": 2");
        let error = Catalog::from_json(&text).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            cause.starts_with("format 2 is not supported, only 1"),
            "{cause}"
        );
    }

    #[test]
    fn the_digest_ignores_the_order_of_columns_only() {
        let one = catalog();
        let mut other = catalog();
        other.column_order.clear();
        assert_eq!(one.digest(), other.digest());
        other.objects.pop_last();
        assert_ne!(one.digest(), other.digest());
    }
}
