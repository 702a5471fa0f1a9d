//! What was written to a database since a point: which rows are newer, and how many are missing.

use std::collections::BTreeMap;

use sqlx::postgres::types::Oid;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::catalog::{Pinned, TableName};
use super::fingerprint::{TableShape, Tables};
use super::observe::Observer;
use super::sql::quote_ident;
use crate::error::{Error, ErrorKind, Result};

/// Of a table with more new rows their values are not read.
const MOST: u64 = 10_000;

/// The rows of a database at a point in time.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    /// The first transaction that had not begun.
    transaction: String,
    tables: BTreeMap<TableName, Rows>,
}

/// How many rows there are, and which: the sum of the hashes of their primary keys, and of each column that of
/// its values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Rows {
    count: u64,
    keys: i128,
    columns: BTreeMap<String, i128>,
}

/// What was written to a table since a point.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Written {
    /// Rows that were there and are missing or changed.
    pub(crate) touched: u64,
    /// The sum of the hashes of the primary keys of those rows; `None` for a table without one.
    pub(crate) touched_keys: Option<i128>,
    /// Rows that were added or changed.
    pub(crate) rows: u64,
    /// The columns of the primary key.
    pub(crate) key: Vec<String>,
    /// The columns, by name.
    pub(crate) columns: BTreeMap<String, WrittenColumn>,
}

/// A column of a table, in the rows that were added or changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct WrittenColumn {
    pub(crate) type_name: String,
    /// The table and the column whose values it refers to.
    pub(crate) refers_to: Option<(TableName, String)>,
    /// The sum of the hashes of all values that it had at the point.
    pub(crate) before: Option<i128>,
    /// Its values as text; `None` if there are too many.
    pub(crate) values: Option<Vec<Option<String>>>,
}

impl Point {
    /// The point in time that is now. Sessions that write at this moment are not waited for.
    ///
    /// # Errors
    /// [`ErrorKind::Database`] when the database cannot be read.
    pub(crate) async fn now(conn: &mut PgConnection) -> Result<Self> {
        let listed = Listed::read(conn).await?;
        let mut session = Pinned::begin(conn).await.map_err(failed)?;
        let conn = session.conn();
        let transaction: String =
            sqlx::query_scalar("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
                .fetch_one(&mut *conn)
                .await
                .map_err(failed)?;
        let mut tables = BTreeMap::new();
        for (name, shape) in &listed.tables.tables {
            let sums = shape.columns.keys().map(|column| {
                let column = quote_ident(column);
                format!("coalesce(sum(hashtextextended({column}::text, 0)), 0)::text")
            });
            let sql = format!(
                "SELECT count(*), coalesce(sum({}), 0)::text, ARRAY[{}]::text[] FROM {}",
                listed.hash(shape),
                sums.collect::<Vec<_>>().join(", "),
                from(name, shape),
            );
            let row = sqlx::query(AssertSqlSafe(sql))
                .persistent(false)
                .fetch_one(&mut *conn)
                .await
                .map_err(failed)?;
            let sums: Vec<String> = row.try_get(2).map_err(failed)?;
            let sums = sums.into_iter().map(number).collect::<Result<Vec<_>>>()?;
            let rows = Rows {
                count: row.try_get::<i64, _>(0).map_err(failed)?.unsigned_abs(),
                keys: number(row.try_get(1).map_err(failed)?)?,
                columns: shape.columns.keys().cloned().zip(sums).collect(),
            };
            tables.insert(name.clone(), rows);
        }
        session.end().await.map_err(failed)?;
        Ok(Self {
            transaction,
            tables,
        })
    }

    /// How many rows each table has.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&TableName, u64)> {
        self.tables.iter().map(|(name, rows)| (name, rows.count))
    }

    /// What was written since, to the tables that were there.
    ///
    /// # Errors
    /// As [`now`](Self::now).
    pub(crate) async fn written(
        &self,
        conn: &mut PgConnection,
    ) -> Result<BTreeMap<TableName, Written>> {
        let listed = Listed::read(conn).await?;
        let mut session = Pinned::begin(conn).await.map_err(failed)?;
        let conn = session.conn();
        let mut all = BTreeMap::new();
        for (name, before) in &self.tables {
            if let Some(shape) = listed.tables.tables.get(name) {
                let written = self.of_table(conn, &listed, name, shape, before).await?;
                all.insert(name.clone(), written);
            }
        }
        session.end().await.map_err(failed)?;
        Ok(all)
    }

    async fn of_table(
        &self,
        conn: &mut PgConnection,
        listed: &Listed,
        name: &TableName,
        shape: &TableShape,
        before: &Rows,
    ) -> Result<Written> {
        // Transaction numbers are compared by their age: they begin anew after 2^32.
        let new = format!("age(xmin) <= age('{}'::xid8::xid)", self.transaction);
        let table = from(name, shape);
        let hash = listed.hash(shape);
        let sql = format!(
            "SELECT count(*) FILTER (WHERE {new}), count(*) FILTER (WHERE NOT {new}),
                coalesce(sum({hash}) FILTER (WHERE NOT {new}), 0)::text
            FROM {table}"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .fetch_one(&mut *conn)
            .await
            .map_err(failed)?;
        let count = |at: usize| row.try_get::<i64, _>(at).map_err(failed);
        let (rows, kept) = (count(0)?.unsigned_abs(), count(1)?.unsigned_abs());
        let kept_keys = number(row.try_get(2).map_err(failed)?)?;
        let names: Vec<&String> = shape.columns.keys().collect();
        let mut values: Option<Vec<Vec<Option<String>>>> = None;
        if rows <= MOST && !names.is_empty() {
            let texts: Vec<String> = names
                .iter()
                .map(|column| format!("{}::text", quote_ident(column)))
                .collect();
            let sql = format!(
                "SELECT ARRAY[{}] FROM {table} WHERE {new}",
                texts.join(", ")
            );
            let read = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false);
            values = Some(read.fetch_all(&mut *conn).await.map_err(failed)?);
        }
        let columns = names.iter().enumerate().map(|(at, column)| {
            let of_column = |rows: &Vec<Vec<Option<String>>>| {
                rows.iter()
                    .map(|row| row.get(at).cloned().flatten())
                    .collect()
            };
            let described = WrittenColumn {
                type_name: shape.columns[*column].type_name.clone(),
                before: before.columns.get(*column).copied(),
                refers_to: listed
                    .references
                    .get(&(shape.oid, (*column).clone()))
                    .cloned(),
                values: values.as_ref().map(of_column),
            };
            ((*column).clone(), described)
        });
        let key = listed.keys.get(&shape.oid).cloned().unwrap_or_default();
        Ok(Written {
            touched: before.count.saturating_sub(kept),
            touched_keys: (!key.is_empty()).then(|| before.keys - kept_keys),
            rows,
            key,
            columns: columns.collect(),
        })
    }
}

/// The tables of a database with their keys, by the numbers that the server knows tables by.
struct Listed {
    tables: Tables,
    keys: BTreeMap<u32, Vec<String>>,
    references: BTreeMap<(u32, String), (TableName, String)>,
}

impl Listed {
    async fn read(conn: &mut PgConnection) -> Result<Self> {
        const KEYS: &str = "
            SELECT c.conrelid AS tbl, a.attname::text AS col, c.contype::text AS kind,
                n.nspname::text AS to_schema, r.relname::text AS to_table, f.attname::text AS to_column
            FROM pg_catalog.pg_constraint c
            CROSS JOIN LATERAL unnest(c.conkey) WITH ORDINALITY k(number, place)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number
            LEFT JOIN pg_catalog.pg_class r ON r.oid = c.confrelid
            LEFT JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
            LEFT JOIN pg_catalog.pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[k.place]
            WHERE c.contype IN ('p', 'f')
            ORDER BY c.oid, k.place";
        let tables = Tables::read(conn, Observer::default().scope())
            .await
            .map_err(|source| {
                let message = "the tables could not be listed";
                Error::new(ErrorKind::Database, message).with_source(source)
            })?;
        let rows = sqlx::query(KEYS).fetch_all(conn).await.map_err(failed)?;
        let mut listed = Self {
            tables,
            keys: BTreeMap::new(),
            references: BTreeMap::new(),
        };
        for row in rows {
            let table: Oid = row.try_get("tbl").map_err(failed)?;
            let column: String = row.try_get("col").map_err(failed)?;
            let to = |name: &str| row.try_get::<Option<String>, _>(name).map_err(failed);
            let to = (to("to_schema")?, to("to_table")?, to("to_column")?);
            match (
                row.try_get::<String, _>("kind").map_err(failed)?.as_str(),
                to,
            ) {
                ("f", (Some(schema), Some(name), Some(to_column))) => {
                    let to = (TableName::new(schema, name), to_column);
                    listed.references.insert((table.0, column), to);
                }
                _ => listed.keys.entry(table.0).or_default().push(column),
            }
        }
        Ok(listed)
    }

    /// The hash of the primary key of a row; nothing in a table without one.
    fn hash(&self, shape: &TableShape) -> String {
        let Some(key) = self.keys.get(&shape.oid) else {
            return "0".to_owned();
        };
        let columns: Vec<String> = key
            .iter()
            .map(|column| format!("{}::text", quote_ident(column)))
            .collect();
        format!("hashtextextended(ARRAY[{}]::text, 0)", columns.join(", "))
    }
}

/// A table without those that inherit from it, and with its partitions.
fn from(name: &TableName, shape: &TableShape) -> String {
    let only = if shape.partitioned { "" } else { "ONLY " };
    format!("{only}{}", name.to_sql())
}

fn number(text: String) -> Result<i128> {
    text.parse().map_err(|source: std::num::ParseIntError| {
        Error::new(ErrorKind::Internal, "a sum of hashes is no number").with_source(source)
    })
}

fn failed(source: sqlx::Error) -> Error {
    let message = "the rows that were written could not be read";
    Error::new(ErrorKind::Database, message).with_source(source)
}
