//! A description as it is compared and as traffic is checked by it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde_json::{Map, Value};

use super::reader::Reader;
use super::schema::{Schema, SchemaId};
use super::text;
use crate::error::{Error, ErrorKind, Result};

/// A description of an HTTP interface, in OpenAPI 3.0 or 3.1.
///
/// Reading it resolves every local `$ref`, merges `allOf` and brings both versions to one form: `nullable`
/// becomes a type, a boolean `exclusiveMinimum` becomes a number. Nothing is lost: a keyword that no rule
/// knows is kept, and compared as it stands.
///
/// A text may have 64 MB, and its values may be nested 127 levels deep. References to other documents are
/// not followed; a description that has one is refused.
#[derive(Clone)]
pub struct Description {
    pub(super) name: String,
    pub(super) openapi: String,
    pub(super) version: String,
    /// Sorted by path and method.
    pub(super) operations: Vec<Operation>,
    pub(super) webhooks: Vec<Operation>,
    pub(super) schemas: Vec<Schema>,
    pub(super) schemes: BTreeMap<String, Value>,
    pub(super) servers: Vec<String>,
    pub(super) unknown: Map<String, Value>,
}

/// Alternatives, each with the schemes that it needs and their scopes.
pub(super) type Security = Vec<BTreeMap<String, BTreeSet<String>>>;

#[derive(Debug, Clone)]
pub(super) struct Operation {
    /// In upper case.
    pub(super) method: String,
    /// The template as it stands in the text.
    pub(super) path: String,
    pub(super) id: Option<String>,
    pub(super) deprecated: bool,
    /// The text of `x-sunset`.
    pub(super) sunset: Option<String>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    /// By status, such as `200`, `2XX` or `default`.
    pub(super) responses: BTreeMap<String, Answered>,
    pub(super) security: Security,
    /// Each callback by its name, address and method.
    pub(super) callbacks: Vec<Self>,
    pub(super) unknown: Map<String, Value>,
}

#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub(super) name: String,
    /// `path`, `query`, `header` or `cookie`.
    pub(super) place: String,
    pub(super) required: bool,
    pub(super) style: String,
    pub(super) explode: bool,
    pub(super) deprecated: bool,
    pub(super) schema: Option<SchemaId>,
    /// The media type, if it has one instead of a style.
    pub(super) media: Option<String>,
    pub(super) unknown: Map<String, Value>,
}

#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) required: bool,
    pub(super) content: Content,
}

/// By media type, without parameters and in lower case.
pub(super) type Content = BTreeMap<String, Media>;

#[derive(Debug, Clone)]
pub(super) struct Media {
    pub(super) schema: Option<SchemaId>,
    pub(super) unknown: Map<String, Value>,
}

#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub(super) content: Content,
    /// By name in lower case.
    pub(super) headers: BTreeMap<String, Header>,
    pub(super) unknown: Map<String, Value>,
}

#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) required: bool,
    pub(super) schema: Option<SchemaId>,
    pub(super) unknown: Map<String, Value>,
}

impl Description {
    /// Reads a description from JSON or YAML. The name is that of the file; errors name it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a text that cannot be read, with line and column; for a description
    /// of another version; and for one that does not hold together, with the place as a JSON pointer.
    pub fn read(name: &str, text: &str) -> Result<Self> {
        let root = sorted(text::parse(name, text)?);
        Reader::read(name, &root)
    }

    /// Reads a description from a file.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] for a file that cannot be read, [`ErrorKind::InvalidInput`] for one that is not
    /// text; and those of [`read`](Self::read).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| {
            let message = format!("the description `{name}` cannot be read");
            Error::new(ErrorKind::Io, message).with_source(source)
        })?;
        let text = String::from_utf8(bytes).map_err(|source| {
            let message = format!("the description `{name}` is not UTF-8");
            Error::new(ErrorKind::InvalidInput, message).with_source(source)
        })?;
        Self::read(&name, &text)
    }

    /// The name that it was read by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of the interface, which is `info.version`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The version of OpenAPI that it is written in, such as `3.0.3`.
    pub fn openapi(&self) -> &str {
        &self.openapi
    }

    /// How many operations it describes.
    pub fn operations(&self) -> usize {
        self.operations.len()
    }

    pub(super) fn schema(&self, id: SchemaId) -> &Schema {
        &self.schemas[id]
    }
}

/// Without its content, which can be long.
impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Description")
            .field("name", &self.name)
            .field("openapi", &self.openapi)
            .field("version", &self.version)
            .field("operations", &self.operations.len())
            .finish_non_exhaustive()
    }
}

/// The method and the path: `GET /orders/{id}`.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Operation {
    /// What says that two operations are the same one: method and path, whatever its parameters are called.
    pub(super) fn key(&self) -> (String, String) {
        (shape(&self.path), self.method.clone())
    }
}

/// A template without the names of its parameters: `/orders/{}/lines`.
pub(super) fn shape(path: &str) -> String {
    let mut shape = String::new();
    let mut inside = false;
    for c in path.chars() {
        inside = (inside && c != '}') || c == '{';
        if !inside || c == '{' {
            shape.push(c);
        }
    }
    shape
}

/// The names of the parameters in a template, in their order.
pub(super) fn names(path: &str) -> Vec<&str> {
    let parts = path.split('{').skip(1);
    parts
        .filter_map(|part| part.split_once('}'))
        .map(|(name, _)| name)
        .collect()
}

/// The same with the fields of objects by name, so that what is said of them does not depend on the order in which
/// a text has them.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(fields) => {
            let by_name: BTreeMap<String, Value> = fields.into_iter().collect();
            let fields = by_name.into_iter();
            fields
                .map(|(name, value)| (name, sorted(value)))
                .collect::<Map<_, _>>()
                .into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_a_shape_and_names() {
        assert_eq!(shape("/a/{b}/c.{d}"), "/a/{}/c.{}");
        assert_eq!(names("/a/{b}/c.{d}"), ["b", "d"]);
    }
}
