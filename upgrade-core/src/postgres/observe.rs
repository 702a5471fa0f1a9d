//! A database as an [`Observation`]: catalog and fingerprints, joined.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;

use super::catalog::{Catalog, CatalogScope, Object};
use super::fingerprint::{self, ColumnPick, HashMode, TableName, Tables};
use super::large_objects;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Reading, Scope, TableState};

/// The tables in which migration tools keep their own record. What is in them is the tools'
/// affair, and differs after a down and an up by the time at which it happened.
pub const BOOKKEEPING: [&str; 7] = [
    "__diesel_schema_migrations",
    "_sqlx_migrations",
    "_upgrade_migrations",
    "flyway_schema_history",
    "refinery_schema_history",
    "schema_migration",
    "schema_migrations",
];

/// Reads what is compared from a database.
#[derive(Debug, Clone)]
pub struct Observer {
    scope: CatalogScope,
}

impl Default for Observer {
    /// Everything but the record of migration tools in the schema `public`.
    fn default() -> Self {
        let scope = BOOKKEEPING
            .into_iter()
            .fold(CatalogScope::new(), |scope, table| {
                scope.without_table("public", table, "the record of a migration tool")
            });
        Self { scope }
    }
}

impl Observer {
    /// Leaves out a table, for a reason.
    #[must_use]
    pub fn without_table(mut self, schema: &str, table: &str, reason: &str) -> Self {
        self.scope = self.scope.without_table(schema, table, reason);
        self
    }

    /// Leaves out a schema, for a reason.
    #[must_use]
    pub fn without_schema(mut self, schema: &str, reason: &str) -> Self {
        self.scope = self.scope.without_schema(schema, reason);
        self
    }

    /// What is left out and what is not.
    pub fn scope(&self) -> &CatalogScope {
        &self.scope
    }

    /// Reads the database of a connection.
    ///
    /// # Errors
    /// [`ErrorKind::Database`] when it cannot be read.
    pub async fn observe(
        &self,
        connection: &mut PgConnection,
        scope: &Scope,
    ) -> Result<Observation> {
        let mut observation = Observation::default();
        if !matches!(scope, Scope::Columns(_)) {
            let catalog = Catalog::read(connection, &self.scope)
                .await
                .map_err(|source| failed("the schema could not be read").with_source(source))?;
            observation.objects = catalog
                .objects()
                .iter()
                .map(|(id, object)| (id.to_string(), facts(object)))
                .collect();
            observation.column_order = catalog
                .column_order()
                .iter()
                .map(|(table, columns)| (table.to_string(), columns.clone()))
                .collect();
        }
        if *scope != Scope::Schema {
            observation.tables = self.tables(connection, scope).await?;
            observation.sequences = fingerprint::sequence_values(connection, &self.scope)
                .await
                .map_err(|source| failed("the sequences could not be read").with_source(source))?
                .into_iter()
                .map(|(name, state)| (name.to_string(), state))
                .collect();
        }
        if *scope == Scope::All {
            let found = large_objects::read(connection).await.map_err(|source| {
                failed("the large objects could not be read").with_source(source)
            })?;
            observation.large_objects = Some(found);
        }
        Ok(observation)
    }

    async fn tables(
        &self,
        connection: &mut PgConnection,
        scope: &Scope,
    ) -> Result<BTreeMap<String, TableState>> {
        let rows = |source| failed("the rows could not be read").with_source(source);
        let tables = Tables::read(connection, &self.scope).await.map_err(rows)?;
        let mut requests = Vec::new();
        let mut shapes = BTreeMap::new();
        for (name, shape) in &tables.tables {
            let wanted = match scope {
                Scope::Columns(wanted) => wanted.get(&name.to_string()),
                _ => None,
            };
            if wanted.is_none() && matches!(scope, Scope::Columns(_)) {
                continue;
            }
            let mut picks = Vec::new();
            let mut types = BTreeMap::new();
            for (column, column_shape) in &shape.columns {
                let reading = match wanted {
                    None => Reading::Value,
                    Some(wanted) => match wanted.get(column) {
                        Some(reading) => *reading,
                        None => continue,
                    },
                };
                picks.push(match reading {
                    Reading::Value => ColumnPick::new(column),
                    Reading::Text => ColumnPick::as_text(column),
                });
                types.insert(column.clone(), column_shape.type_name.clone());
            }
            requests.push((name.clone(), picks));
            let numbers = shape.columns.iter();
            let numbers = numbers
                .map(|(name, column)| (name.clone(), u64::from(column.number.unsigned_abs())));
            let numbers: BTreeMap<String, u64> = numbers.collect();
            shapes.insert(name.clone(), (types, numbers, u64::from(shape.oid)));
        }
        let prints = fingerprint::fingerprint_all(connection, &requests, HashMode::Native)
            .await
            .map_err(rows)?;
        Ok(prints
            .into_iter()
            .map(|(name, print): (TableName, _)| {
                let (types, numbers, oid) = shapes.remove(&name).unwrap_or_default();
                let state = TableState::new(types, print.rows, print.sum)
                    .with_identity(oid)
                    .with_column_identities(numbers);
                (name.to_string(), state)
            })
            .collect())
    }
}

fn failed(message: &str) -> Error {
    Error::new(ErrorKind::Database, message)
}

/// The facts about an object, one to a line; further lines of a value are indented.
fn facts(object: &Object) -> String {
    let mut text = String::new();
    for (name, value) in &object.attributes {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(&value.replace('\n', "\n    "));
        text.push('\n');
    }
    text
}
