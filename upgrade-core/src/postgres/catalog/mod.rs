//! A schema as data: read from `pg_catalog`, compared object by object, kept as a file.
//!
//! A [`Catalog`] is what [`Catalog::read`] finds in a database: every object that a migration can
//! make, each with its facts as text. Two catalogs of the same schema are equal whatever the
//! order in which the objects were made, the `search_path` of the session, or the server's major
//! version (14 to 18): names print qualified, settings that change how values print are pinned,
//! and what only a newer server stores (a constraint for each `NOT NULL`) is left out.
//!
//! - [`Catalog::diff`] says what differs, [`CatalogDiff`] shows it to a person.
//! - [`Catalog::to_json_pretty`] is the form that a team commits, [`Catalog::digest`] its hash.
//! - [`CatalogScope`] leaves out what is not the schema's, such as a migrator's own tables;
//!   [`Waivers`] leaves out objects and facts by the path that differences print.
//!
//! Not in it, because they are no facts of the schema: the position of a column (kept beside the
//! objects, see [`CatalogDiff::position_changes`] and [`Catalog::with_column_order`]), the values of
//! sequences and the rows of tables (see [`fingerprint`](super::fingerprint)), large objects with
//! their privileges, members of extensions, and temporary objects. Not in it, because a catalog is
//! printed and committed: the connections of subscriptions, and the values of options and settings
//! whose names sound secret (`pass`, `secret`, `token`, `key`), which read `(not told)`.

mod diff;
mod document;
mod error;
mod id;
mod kinds;
mod name;
mod read;
mod render;
mod scope;
mod session;
mod viewdef;
mod waivers;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(in crate::postgres) use self::name::readable;

pub use self::diff::{AttributeChange, CatalogDiff, Change, ChangeKind, PositionChange};
pub use self::error::CatalogError;
pub use self::id::{ObjectId, ObjectKind};
pub use self::name::TableName;
pub use self::scope::CatalogScope;
pub use self::waivers::Waivers;

pub(in crate::postgres) use self::scope::ScopeOids;
pub(in crate::postgres) use self::session::{Pinned, server_major};

/// All that a database's schema consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "document::Document", try_from = "document::Document")]
pub struct Catalog {
    objects: BTreeMap<ObjectId, Object>,
    column_order: BTreeMap<TableName, Vec<String>>,
}

/// The facts about one object, by name: `type`, `not null`, `definition`, `comment`, ...
///
/// A fact that has its default value is absent, unless it is one that a reader expects to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    /// The facts. A value may have several lines.
    pub attributes: BTreeMap<String, String>,
}

impl Catalog {
    /// A catalog from its parts; what [`Catalog::read`] does with a database's.
    pub fn new(
        objects: BTreeMap<ObjectId, Object>,
        column_order: BTreeMap<TableName, Vec<String>>,
    ) -> Self {
        Self {
            objects,
            column_order,
        }
    }

    /// Every object, in the order of [`ObjectId`].
    pub fn objects(&self) -> &BTreeMap<ObjectId, Object> {
        &self.objects
    }

    /// The columns of every table and view, in the order in which `select *` shows them.
    pub fn column_order(&self) -> &BTreeMap<TableName, Vec<String>> {
        &self.column_order
    }

    /// The catalog with the order of columns as a fact, `column order`, of each table and view, so that a
    /// moved column is a difference. Adding a column changes that fact as well.
    #[must_use]
    pub fn with_column_order(mut self) -> Self {
        for (id, object) in &mut self.objects {
            let holds_columns = matches!(
                id.kind,
                ObjectKind::Table | ObjectKind::View | ObjectKind::MaterializedView
            );
            let table = TableName::new(&*id.schema, &*id.name);
            if holds_columns && let Some(columns) = self.column_order.remove(&table) {
                let columns: Vec<String> = columns.iter().map(|column| readable(column)).collect();
                let order = columns.join(", ");
                object.attributes.insert("column order".to_owned(), order);
            }
        }
        self
    }

    /// The hash (BLAKE3, 64 hexadecimal digits) of all objects and their facts. Two digests are
    /// equal exactly when [`Catalog::diff`] is empty; the order of columns is not in it.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut field = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        for (id, object) in &self.objects {
            for part in [
                id.kind.as_str(),
                &id.schema,
                id.parent.as_deref().unwrap_or_default(),
                &id.name,
            ] {
                field(part);
            }
            field(&object.attributes.len().to_string());
            for (name, value) in &object.attributes {
                field(name);
                field(value);
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}
