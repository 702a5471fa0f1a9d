//! What belongs to the schema and what does not.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use sqlx::postgres::types::Oid;

use super::{CatalogError, TableName};

/// Which objects a catalog, a list of tables or a set of fingerprints is about: all that a user
/// made, less what is excluded here. What is excluded has a reason, so that a report can say it.
///
/// With a table goes all that belongs to it: columns, constraints, indexes, triggers, sequences.
/// A name that does not exist excludes nothing.
///
/// ```
/// use upgrade_core::postgres::catalog::CatalogScope;
///
/// let scope = CatalogScope::new()
///     .without_schema("partman", "made and dropped by pg_partman at any time")
///     .without_table("public", "_sqlx_migrations", "the migrator's own record");
/// assert_ne!(scope, CatalogScope::new());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CatalogScope {
    schemas: BTreeMap<String, String>,
    tables: BTreeMap<TableName, String>,
}

impl CatalogScope {
    /// Everything that a user made.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves out a schema and all that is in it.
    #[must_use]
    pub fn without_schema(mut self, schema: impl Into<String>, reason: impl Into<String>) -> Self {
        self.schemas.insert(schema.into(), reason.into());
        self
    }

    /// Leaves out a table and all that belongs to it.
    #[must_use]
    pub fn without_table(
        mut self,
        schema: impl Into<String>,
        name: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        self.tables
            .insert(TableName::new(schema, name), reason.into());
        self
    }

    /// Takes a table back in that was left out for a reason.
    pub(in crate::postgres) fn with_table(
        mut self,
        schema: &str,
        name: &str,
        reason: &str,
    ) -> Self {
        let table = TableName::new(schema, name);
        if self.tables.get(&table).is_some_and(|found| found == reason) {
            self.tables.remove(&table);
        }
        self
    }

    /// The excluded schemas, each with the reason.
    pub(crate) fn excluded_schemas(&self) -> impl Iterator<Item = (&str, &str)> {
        self.schemas
            .iter()
            .map(|(name, reason)| (name.as_str(), reason.as_str()))
    }

    /// The excluded tables, each with the reason.
    pub(crate) fn excluded_tables(&self) -> impl Iterator<Item = (&TableName, &str)> {
        self.tables
            .iter()
            .map(|(name, reason)| (name, reason.as_str()))
    }
}

/// A scope as the server knows it, so that every query filters by the same two lists.
#[derive(Debug)]
pub(in crate::postgres) struct ScopeOids {
    /// The schemas that are in scope (`$1` of the queries).
    pub(in crate::postgres) schemas: Vec<Oid>,
    /// Relations in them that are not: excluded tables with their indexes and sequences, and
    /// members of extensions (`$2` of the queries).
    pub(in crate::postgres) hidden: Vec<Oid>,
}

/// Names that begin with `pg_` are the server's, for schemas a user cannot take them.
const SCOPE: &str = "
    WITH tables AS (
        SELECT c.oid
        FROM unnest($2::text[], $3::text[]) x(schema, name)
        JOIN pg_namespace n ON n.nspname = x.schema
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = x.name
    )
    SELECT ARRAY(
        SELECT n.oid FROM pg_namespace n
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL($1)
        ORDER BY n.oid
    ), ARRAY(
    SELECT oid FROM tables
    UNION SELECT i.indexrelid FROM pg_index i JOIN tables t ON t.oid = i.indrelid
    UNION SELECT d.objid FROM pg_depend d
        JOIN tables t ON t.oid = d.refobjid
        JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
            AND d.deptype IN ('a', 'i')
    UNION SELECT d.objid FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
    ORDER BY 1
    )";

impl ScopeOids {
    /// Looks the names up.
    pub(in crate::postgres) async fn resolve(
        conn: &mut PgConnection,
        scope: &CatalogScope,
    ) -> Result<Self, CatalogError> {
        let failed = |source| CatalogError::Query {
            what: "scope",
            source,
        };
        let schemas: Vec<&str> = scope.schemas.keys().map(String::as_str).collect();
        let (table_schemas, table_names): (Vec<&str>, Vec<&str>) = scope
            .tables
            .keys()
            .map(|table| (table.schema.as_str(), table.name.as_str()))
            .unzip();
        let (schemas, hidden) = sqlx::query_as(SCOPE)
            .bind(schemas)
            .bind(table_schemas)
            .bind(table_names)
            .fetch_one(conn)
            .await
            .map_err(failed)?;
        Ok(Self { schemas, hidden })
    }
}
