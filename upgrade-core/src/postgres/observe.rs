//! A database as an [`Observation`]: catalog and fingerprints, joined.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::postgres::PgConnection;

use super::catalog::{Catalog, CatalogError, CatalogScope, Object, Pinned, ScopeOids, Waivers};
use super::fingerprint::{self, ColumnPick, HashMode, TableName, Tables};
use super::large_objects;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Reading, Scope, TableState};

/// The tables in which migration tools keep their own record. What is in them is the tools'
/// affair, and differs after a down and an up by the time at which it happened.
pub const BOOKKEEPING: [&str; 10] = [
    "__diesel_schema_migrations",
    "_sqlx_migrations",
    "_upgrade_migrations",
    "flyway_schema_history",
    "goose_db_version",
    "gorp_migrations",
    "pgmigrations",
    "refinery_schema_history",
    "schema_migration",
    "schema_migrations",
];

/// The schema with the claim of an operation on a real database.
const CLAIM: &str = "_upgrade_operation";

/// Why their tables are left out where nothing else is said.
const RECORD: &str = "the record of a migration tool";

/// Reads what is compared from a database.
///
/// Clones share the memory of what was waived, so that after a run any of them can tell which
/// waivers are [stale](Observer::stale_waivers).
#[derive(Debug, Clone)]
pub struct Observer {
    scope: CatalogScope,
    waivers: Waivers,
    column_order: bool,
    mode: HashMode,
    used: Arc<Mutex<BTreeSet<String>>>,
}

impl Default for Observer {
    /// Everything but the record of migration tools in the schema `public`, and the claim of an
    /// operation in the schema `_upgrade_operation`.
    fn default() -> Self {
        let scope = BOOKKEEPING
            .into_iter()
            .fold(CatalogScope::new(), |scope, table| {
                scope.without_table("public", table, RECORD)
            })
            .without_schema(CLAIM, "the claim of an operation");
        Self {
            scope,
            waivers: Waivers::new(),
            column_order: false,
            mode: HashMode::Native,
            used: Arc::default(),
        }
    }
}

impl Observer {
    /// Leaves out a table, for a reason.
    #[must_use]
    pub fn without_table(mut self, schema: &str, table: &str, reason: &str) -> Self {
        self.scope = self.scope.without_table(schema, table, reason);
        self
    }

    /// Names the table in which the migration tool keeps its record: tables of `public` in which
    /// other tools keep theirs are then compared as any other.
    #[must_use]
    pub fn with_record(mut self, table: &str) -> Self {
        self.scope = BOOKKEEPING
            .into_iter()
            .filter(|other| *other != table)
            .fold(self.scope, |scope, other| {
                scope.with_table("public", other, RECORD)
            });
        self
    }

    /// Leaves out a schema, for a reason.
    #[must_use]
    pub fn without_schema(mut self, schema: &str, reason: &str) -> Self {
        self.scope = self.scope.without_schema(schema, reason);
        self
    }

    /// Leaves out the objects, or the facts of objects, whose path the pattern matches, for a
    /// reason: `index public.orders_*_tmp`, `column public.orders.note: comment`. See [`Waivers`].
    #[must_use]
    pub fn without_object(mut self, pattern: &str, reason: &str) -> Self {
        self.waivers = self.waivers.with(pattern, reason);
        self
    }

    /// Makes the order of columns a fact of their table: a run then fails where a column that is
    /// dropped and made again stands last.
    #[must_use]
    pub fn with_column_order(mut self) -> Self {
        self.column_order = true;
        self
    }

    /// Hashes rows in a way that gives the same on every major version, and takes longer: what two
    /// servers of different majors are compared by.
    #[must_use]
    pub fn with_portable_rows(mut self) -> Self {
        self.mode = HashMode::Portable;
        self
    }

    /// The waivers that matched nothing in all that was observed so far, by this observer and by
    /// its clones, each with its reason.
    pub fn stale_waivers(&self) -> Vec<(&str, &str)> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let waivers = self.waivers.iter();
        waivers
            .filter(|(pattern, _)| !used.contains(*pattern))
            .collect()
    }

    /// What is observed and what is excluded.
    pub fn scope(&self) -> &CatalogScope {
        &self.scope
    }

    /// Reads the database of a connection, all of it in one state. A connection that is used again
    /// is quicker: its queries are prepared.
    ///
    /// # Errors
    /// [`ErrorKind::Database`] when it cannot be read.
    pub async fn observe(
        &self,
        connection: &mut PgConnection,
        scope: &Scope,
    ) -> Result<Observation> {
        let (mut session, oids) = Pinned::begin_listing(connection, &self.scope)
            .await
            .map_err(|source| failed("the schema could not be read").with_source(source))?;
        let conn = session.conn();
        let mut observation = Observation::default();
        if matches!(scope, Scope::All | Scope::Schema) {
            let catalog = Catalog::list(conn, &oids).await;
            let catalog = self.without_waived(catalog)?;
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
            observation.tables = tables(conn, &oids, scope, self.mode).await?;
            observation.sequences = fingerprint::sequences_listed(conn, &oids)
                .await
                .map_err(|source| failed("the sequences could not be read").with_source(source))?
                .into_iter()
                .map(|(name, state)| (name.to_string(), state))
                .collect();
        }
        if matches!(scope, Scope::All | Scope::Rows) {
            observation.counted = fingerprint::counted_listed(conn, &oids)
                .await
                .map_err(|source| {
                    failed("the columns of sequences could not be read").with_source(source)
                })?
                .into_iter()
                .map(|(name, counted)| (name.to_string(), counted))
                .collect();
        }
        let beside = |source| failed("the large objects could not be read").with_source(source);
        if matches!(scope, Scope::All | Scope::Rows) {
            observation.large_objects = Some(large_objects::read(conn).await.map_err(beside)?);
        }
        session.end().await.map_err(beside)?;
        Ok(observation)
    }

    /// Reads the schema alone, with the order of columns where it is asked for, and without what is
    /// waived.
    ///
    /// # Errors
    /// [`ErrorKind::Database`] when it cannot be read.
    pub async fn catalog(&self, connection: &mut PgConnection) -> Result<Catalog> {
        self.without_waived(Catalog::read(connection, &self.scope).await)
    }

    fn without_waived(&self, catalog: Result<Catalog, CatalogError>) -> Result<Catalog> {
        let mut catalog =
            catalog.map_err(|source| failed("the schema could not be read").with_source(source))?;
        if self.column_order {
            catalog = catalog.with_column_order();
        }
        let used = self.waivers.apply(&mut catalog);
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(used);
        Ok(catalog)
    }
}

async fn tables(
    conn: &mut PgConnection,
    oids: &ScopeOids,
    scope: &Scope,
    mode: HashMode,
) -> Result<BTreeMap<String, TableState>> {
    let rows = |source| failed("the rows could not be read").with_source(source);
    let tables = Tables::list(conn, oids).await.map_err(rows)?;
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
            picks.push(ColumnPick::read(column, reading));
            types.insert(column.clone(), column_shape.type_name.clone());
        }
        requests.push((name.clone(), picks));
        let numbers = shape.columns.iter();
        let numbers =
            numbers.map(|(name, column)| (name.clone(), u64::from(column.number.unsigned_abs())));
        let numbers: BTreeMap<String, u64> = numbers.collect();
        shapes.insert(name.clone(), (types, numbers, u64::from(shape.oid)));
    }
    let prints = fingerprint::fingerprint_listed(conn, &tables, &requests, mode)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_record_of_the_tool_at_hand_is_left_out() {
        let observer = Observer::default()
            .without_table("public", "schema_migrations", "it is counted elsewhere")
            .with_record("_sqlx_migrations");
        let left_out: Vec<String> = observer
            .scope
            .excluded_tables()
            .map(|(table, _)| table.name.clone())
            .collect();
        assert_eq!(left_out, ["_sqlx_migrations", "schema_migrations"]);
    }
}
