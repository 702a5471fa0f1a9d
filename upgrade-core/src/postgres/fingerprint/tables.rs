//! Which tables there are and what columns they have.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgRow;
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

/// The tables with their columns, and of each column what its type is.
const COLUMNS: &str = "
    SELECT n.nspname::text AS schema, c.relname::text AS tbl, c.oid AS oid, c.relkind = 'p' AS partitioned,
        a.attname::text AS col, a.attnum AS number, a.atttypid AS typ, a.attgenerated <> '' AS generated,
        format_type(a.atttypid, a.atttypmod) AS type_name,
        coalesce(NOT co.collisdeterministic, false) AS loose,
        t.typtype = 'e' AS enumerated,
        CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname::text END AS of_server
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_collation co ON co.oid = a.attcollation
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND c.relnamespace = ANY($1) AND c.oid <> ALL($2)";

/// Types of the server whose hash may be used, as [`UNFIT`] finds of each; it is slow to plan, and
/// many databases have columns of no others. What the server has of them nobody can drop.
const FIT: [&str; 25] = [
    "bool",
    "bpchar",
    "bytea",
    "char",
    "cidr",
    "date",
    "float4",
    "float8",
    "inet",
    "int2",
    "int4",
    "int8",
    "jsonb",
    "macaddr",
    "macaddr8",
    "name",
    "numeric",
    "oid",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "uuid",
    "varchar",
];

/// Those of some types whose hash may not be used. Follows each down to the types that it is made
/// of, and asks that of them. A type has a hash if it is the default of a hash operator class with
/// the 64-bit function (2), itself or through a type of the same bits, as `varchar` has that of
/// `text`. `OFFSET 0` keeps the planner from asking that of all types before it picks those in use.
const UNFIT: &str = "
    WITH RECURSIVE made_of(root, typ) AS (
        SELECT typ, typ FROM unnest($1::oid[]) typ
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
    )
    SELECT t.root
    FROM (
        SELECT m.root, t.*, co.collisdeterministic
        FROM made_of m
        JOIN pg_type t ON t.oid = m.typ
        LEFT JOIN pg_collation co ON co.oid = t.typcollation
        OFFSET 0
    ) t
    WHERE CASE
        WHEN t.typtype = 'e' THEN true
        WHEN t.typtype <> 'b' OR t.typsubscript = 'array_subscript_handler'::regproc
            THEN NOT coalesce(t.collisdeterministic, true)
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
    JOIN pg_collation co ON co.oid = a.attcollation AND NOT co.collisdeterministic";

/// A row of [`COLUMNS`]; what is of the column is null in a table that has none.
struct Column {
    schema: String,
    tbl: String,
    oid: Oid,
    partitioned: bool,
    col: Option<String>,
    number: Option<i16>,
    typ: Option<Oid>,
    generated: Option<bool>,
    type_name: Option<String>,
    loose: bool,
    enumerated: Option<bool>,
    of_server: Option<String>,
}

impl Column {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            schema: row.try_get("schema")?,
            tbl: row.try_get("tbl")?,
            oid: row.try_get("oid")?,
            partitioned: row.try_get("partitioned")?,
            col: row.try_get("col")?,
            number: row.try_get("number")?,
            typ: row.try_get("typ")?,
            generated: row.try_get("generated")?,
            type_name: row.try_get("type_name")?,
            loose: row.try_get("loose")?,
            enumerated: row.try_get("enumerated")?,
            of_server: row.try_get("of_server")?,
        })
    }

    fn is_enumerated(&self) -> bool {
        self.enumerated == Some(true)
    }

    /// Whether its type has to be asked for.
    fn is_doubtful(&self) -> bool {
        let fit = self
            .of_server
            .as_deref()
            .is_some_and(|name| FIT.contains(&name));
        !fit && !self.is_enumerated()
    }

    fn is_hashable(&self, unfit: &BTreeSet<u32>) -> bool {
        // The hash of a label is that of an internal number.
        let fit = self.typ.is_some_and(|typ| !unfit.contains(&typ.0));
        fit && !self.is_enumerated() && !self.loose
    }
}

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
        let (mut session, oids) = Pinned::begin_listing(conn, scope)
            .await
            .map_err(|source| FingerprintError::Scope { source })?;
        let tables = Self::list(session.conn(), &oids).await?;
        session.end().await.map_err(failed)?;
        Ok(tables)
    }

    /// The names of the tables in scope that the role may read.
    pub(in crate::postgres) async fn readable(
        conn: &mut PgConnection,
        scope: &CatalogScope,
    ) -> Result<Vec<TableName>, FingerprintError> {
        const READABLE: &str = "
            SELECT n.nspname::text, c.relname::text
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
                AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL($1)
                AND NOT EXISTS (SELECT FROM unnest($2::text[], $3::text[]) x(s, t)
                    WHERE x.s = n.nspname AND x.t = c.relname)
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
                AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
            ORDER BY 1, 2";
        let schemas: Vec<&str> = scope.excluded_schemas().map(|(name, _)| name).collect();
        let (table_schemas, table_names): (Vec<&str>, Vec<&str>) = scope
            .excluded_tables()
            .map(|(table, _)| (table.schema.as_str(), table.name.as_str()))
            .unzip();
        let names: Vec<(String, String)> = sqlx::query_as(READABLE)
            .bind(schemas)
            .bind(table_schemas)
            .bind(table_names)
            .fetch_all(conn)
            .await
            .map_err(|source| FingerprintError::List {
                what: "tables",
                source,
            })?;
        let names = names.into_iter();
        Ok(names
            .map(|(schema, name)| TableName::new(schema, name))
            .collect())
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
        let query = sqlx::query(COLUMNS).bind(schemas).bind(hidden);
        let rows = query.fetch_all(&mut *conn).await.map_err(failed)?;
        let columns: Vec<Column> = rows
            .iter()
            .map(Column::read)
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let doubtful = columns.iter().filter(|column| column.is_doubtful());
        let doubtful: BTreeSet<u32> = doubtful.filter_map(|column| Some(column.typ?.0)).collect();
        let mut unfit = BTreeSet::new();
        if !doubtful.is_empty() {
            let doubtful: Vec<Oid> = doubtful.into_iter().map(Oid).collect();
            let found = sqlx::query_scalar(UNFIT).bind(doubtful).fetch_all(conn);
            let found: Vec<Oid> = found.await.map_err(failed)?;
            unfit.extend(found.into_iter().map(|typ| typ.0));
        }
        let mut tables = BTreeMap::<TableName, TableShape>::new();
        for column in columns {
            let hashable = column.is_hashable(&unfit);
            let name = TableName::new(column.schema, column.tbl);
            let table = tables.entry(name).or_default();
            table.oid = column.oid.0;
            table.partitioned = column.partitioned;
            // Null if the table has no column at all.
            if let (Some(name), Some(number), Some(type_name), Some(generated)) = (
                column.col,
                column.number,
                column.type_name,
                column.generated,
            ) {
                let shape = ColumnShape {
                    type_name,
                    hashable,
                    generated,
                    number,
                };
                table.columns.insert(name, shape);
            }
        }
        Ok(Self { tables })
    }
}
