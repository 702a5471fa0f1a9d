//! Which tables there are and what columns they have.

use std::collections::BTreeMap;

use sqlx::postgres::types::Oid;
use sqlx::{PgConnection, Row as _};

use super::{ColumnPick, FingerprintError, TableName};
use crate::postgres::catalog::{CatalogScope, Pinned, ScopeOids};

/// The tables that hold a database's data.
///
/// Ordinary tables, and partitioned tables with all of their partitions as one. Not listed are
/// foreign tables, whose rows are elsewhere, and materialized views, which can be computed again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// The tables, by name.
    pub tables: BTreeMap<TableName, TableShape>,
}

/// The columns of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableShape {
    /// The live columns, by name. Generated ones are among them, because readers see them.
    pub columns: BTreeMap<String, ColumnShape>,
    /// What the server knows the table by: it stays when the table is renamed, and in copies of
    /// the database.
    pub oid: u32,
    /// Whether rows are in partitions, so that a scan of the table has to include them.
    pub(in crate::postgres) partitioned: bool,
}

/// What is known of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnShape {
    /// The type as the server prints it: `numeric(10,2)`.
    pub type_name: String,
    /// Whether the hash of the type tells all that a reader sees, see the
    /// [module](super).
    pub hashable: bool,
    /// Whether the value is computed from others (`GENERATED`, stored or virtual).
    pub generated: bool,
    /// What the server knows the column by: it stays when the column is renamed.
    pub number: i16,
}

impl TableShape {
    /// All of its columns.
    pub fn picks(&self) -> Vec<ColumnPick> {
        self.columns.keys().map(ColumnPick::new).collect()
    }
}

/// Follows each column's type down to the types that it is made of, and asks of each whether its
/// hash may be used. A type has a hash if it is the default of a hash operator class with the
/// 64-bit function (2), itself or through a type of the same bits, as `varchar` has that of `text`.
const TABLES: &str = "
    WITH RECURSIVE cols AS (
        SELECT n.nspname::text AS schema, c.relname::text AS tbl, c.oid AS oid, c.relkind = 'p' AS partitioned,
            a.attname::text AS col, a.attnum AS number, a.atttypid AS typ, a.attgenerated <> '' AS generated,
            format_type(a.atttypid, a.atttypmod) AS type_name,
            coalesce(NOT co.collisdeterministic, false) AS loose
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_collation co ON co.oid = a.attcollation
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND c.relnamespace = ANY($1) AND c.oid <> ALL($2)
    ),
    made_of(root, typ) AS (
        SELECT DISTINCT typ, typ FROM cols
        UNION
        SELECT m.root, part.typ
        FROM made_of m
        JOIN pg_type t ON t.oid = m.typ
        CROSS JOIN LATERAL (
            SELECT t.typelem AS typ WHERE t.typelem <> 0 AND t.typsubscript = 'array_subscript_handler'::regproc
            UNION ALL SELECT t.typbasetype WHERE t.typtype = 'd'
            UNION ALL SELECT a.atttypid FROM pg_attribute a
                WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
            UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
        ) part
    ),
    hashed AS (
        SELECT o.opcintype AS typ
        FROM pg_opclass o
        JOIN pg_am am ON am.oid = o.opcmethod AND am.amname = 'hash'
        JOIN pg_amproc p ON p.amprocfamily = o.opcfamily AND p.amproclefttype = o.opcintype
            AND p.amprocrighttype = o.opcintype AND p.amprocnum = 2
        WHERE o.opcdefault
    ),
    unfit AS (
        SELECT m.root
        FROM made_of m
        JOIN pg_type t ON t.oid = m.typ
        LEFT JOIN pg_collation co ON co.oid = t.typcollation
        WHERE CASE
            WHEN t.typtype = 'e' THEN true
            WHEN t.typtype <> 'b' OR t.typsubscript = 'array_subscript_handler'::regproc
                THEN NOT coalesce(co.collisdeterministic, true)
            WHEN t.typnamespace = 'pg_catalog'::regnamespace AND (t.typname LIKE 'reg%' OR t.typname = 'interval')
                THEN true
            WHEN t.typcategory = 'S' AND t.typnamespace <> 'pg_catalog'::regnamespace THEN true
            ELSE NOT EXISTS (
                SELECT FROM hashed h
                WHERE h.typ = t.oid OR EXISTS (
                    SELECT FROM pg_cast ca
                    WHERE ca.castsource = t.oid AND ca.casttarget = h.typ
                        AND ca.castmethod = 'b' AND ca.castcontext = 'i'))
            END
        UNION
        SELECT m.root
        FROM made_of m
        JOIN pg_type t ON t.oid = m.typ AND t.typtype = 'c'
        JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_collation co ON co.oid = a.attcollation AND NOT co.collisdeterministic
    )
    SELECT c.schema, c.tbl, c.oid, c.partitioned, c.col, c.number, c.type_name, c.generated,
        NOT c.loose AND NOT EXISTS (SELECT FROM unfit u WHERE u.root = c.typ) AS hashable
    FROM cols c
    ORDER BY c.schema, c.tbl, c.col";

impl Tables {
    /// Lists the tables in scope.
    ///
    /// # Errors
    /// [`FingerprintError::List`] or [`FingerprintError::Scope`] when a query fails.
    pub async fn read(
        conn: &mut PgConnection,
        scope: &CatalogScope,
    ) -> Result<Self, FingerprintError> {
        let failed = |source| FingerprintError::List {
            what: "tables",
            source,
        };
        let mut session = Pinned::begin(conn).await.map_err(failed)?;
        let oids = ScopeOids::resolve(session.conn(), scope)
            .await
            .map_err(|source| FingerprintError::Scope { source })?;
        let tables = Self::list(session.conn(), &oids).await?;
        session.end().await.map_err(failed)?;
        Ok(tables)
    }

    /// Lists the tables of these schemas, inside a transaction with pinned settings.
    pub(in crate::postgres) async fn list(
        conn: &mut PgConnection,
        oids: &ScopeOids,
    ) -> Result<Self, FingerprintError> {
        let failed = |source| FingerprintError::List {
            what: "tables",
            source,
        };
        let (schemas, hidden): (&[Oid], &[Oid]) = (&oids.schemas, &oids.hidden);
        let query = sqlx::query(TABLES)
            .persistent(false)
            .bind(schemas)
            .bind(hidden);
        let mut tables = BTreeMap::<TableName, TableShape>::new();
        for row in query.fetch_all(conn).await.map_err(failed)? {
            let name = TableName::new(
                row.try_get::<String, _>("schema").map_err(failed)?,
                row.try_get::<String, _>("tbl").map_err(failed)?,
            );
            let table = tables.entry(name).or_default();
            table.oid = row.try_get::<Oid, _>("oid").map_err(failed)?.0;
            table.partitioned = row.try_get("partitioned").map_err(failed)?;
            // Null if the table has no column at all.
            if let Some(column) = row.try_get::<Option<String>, _>("col").map_err(failed)? {
                let shape = ColumnShape {
                    type_name: row.try_get("type_name").map_err(failed)?,
                    hashable: row.try_get("hashable").map_err(failed)?,
                    generated: row.try_get("generated").map_err(failed)?,
                    number: row.try_get("number").map_err(failed)?,
                };
                table.columns.insert(column, shape);
            }
        }
        Ok(Self { tables })
    }
}
