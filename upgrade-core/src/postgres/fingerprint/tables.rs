//! Which tables there are and what columns they have.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgRow;
use sqlx::postgres::types::Oid;
use sqlx::{PgConnection, Row as _};

use super::value::{Form, Types};
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
    /// Whether the value is computed from others (`GENERATED`, stored or virtual).
    pub generated: bool,
    /// What the server knows the column by: it stays when the column is renamed.
    pub number: i16,
    /// How its values are read.
    pub(in crate::postgres) form: Form,
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
        t.typsend <> 0 AS sends,
        CASE WHEN t.oid < 10000 AND t.typtype = 'b' AND t.typcategory <> 'A' THEN t.typname::text END AS of_server
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_type t ON t.oid = a.atttypid
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND c.relnamespace = ANY($1) AND c.oid <> ALL($2)";

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
    sends: Option<bool>,
    /// Its type, if that is one of the server's own that is made of no others.
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
            sends: row.try_get("sends")?,
            of_server: row.try_get("of_server")?,
        })
    }

    /// The number of its type, where that has to be looked up.
    fn doubtful(&self) -> Option<u32> {
        self.typ
            .filter(|_| self.of_server.is_none())
            .map(|typ| typ.0)
    }

    fn form(&self, types: &Types) -> Form {
        match (&self.of_server, self.typ) {
            (Some(name), _) => Form::of_server(name, self.sends == Some(true)),
            (None, typ) => types.form(typ.unwrap_or_default().0),
        }
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
        let doubtful: BTreeSet<u32> = columns.iter().filter_map(Column::doubtful).collect();
        let types = if doubtful.is_empty() {
            Types::default()
        } else {
            let doubtful = doubtful.into_iter().map(Oid).collect();
            Types::read(conn, doubtful).await.map_err(failed)?
        };
        let mut tables = BTreeMap::<TableName, TableShape>::new();
        for column in columns {
            let form = column.form(&types);
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
                    generated,
                    number,
                    form,
                };
                table.columns.insert(name, shape);
            }
        }
        Ok(Self { tables })
    }
}
