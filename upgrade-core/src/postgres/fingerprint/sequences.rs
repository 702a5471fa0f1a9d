//! Where sequences stand, and which columns they count for.

use std::collections::BTreeMap;

use sqlx::postgres::types::Oid;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Row as _};

use super::compute::settings;
use super::{FingerprintError, TableName};
use crate::observation::{Counted, SequenceState};
use crate::postgres::catalog::{CatalogScope, Pinned, ScopeOids, readable};
use crate::postgres::sql::quote_ident;

/// How many sequences one statement reads.
const CHUNK: usize = 200;

/// Where every sequence in scope stands, by name.
///
/// The sequences of a table that is out of scope are out too. What a sequence hands out is not
/// undone by a rollback, so these values need not be of one state of the database.
///
/// Whose sequence it is does not matter, if the role may read it: it needs `SELECT` on the sequence
/// and `USAGE` on its schema.
///
/// # Errors
/// [`FingerprintError::Sequence`] for the first one that the role may not read,
/// [`FingerprintError::List`] or [`FingerprintError::Scope`] when a query fails.
pub async fn sequence_values(
    conn: &mut PgConnection,
    scope: &CatalogScope,
) -> Result<BTreeMap<TableName, SequenceState>, FingerprintError> {
    let (mut session, oids) = Pinned::begin_listing(conn, scope)
        .await
        .map_err(|source| FingerprintError::Scope { source })?;
    let values = sequences_listed(session.conn(), &oids).await?;
    session.end().await.map_err(settings)?;
    Ok(values)
}

/// Where the sequences of these schemas stand, inside a transaction with pinned settings.
pub(in crate::postgres) async fn sequences_listed(
    conn: &mut PgConnection,
    oids: &ScopeOids,
) -> Result<BTreeMap<TableName, SequenceState>, FingerprintError> {
    const LIST: &str = "
        SELECT n.nspname::text, c.relname::text, s.seqincrement, s.seqstart, s.seqcycle,
            has_schema_privilege(n.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'SELECT')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid
        WHERE c.relkind = 'S' AND c.relnamespace = ANY($1) AND c.oid <> ALL($2)
        ORDER BY 1, 2";
    let failed = |source| FingerprintError::List {
        what: "sequences",
        source,
    };
    let (schemas, hidden): (&[Oid], &[Oid]) = (&oids.schemas, &oids.hidden);
    let rows = sqlx::query(LIST)
        .bind(schemas)
        .bind(hidden)
        .fetch_all(&mut *conn)
        .await
        .map_err(failed)?;
    let mut known: Vec<(TableName, SequenceState)> = Vec::with_capacity(rows.len());
    for row in rows {
        let (schema, name, increment, start, cycles, readable): (
            String,
            String,
            i64,
            i64,
            bool,
            bool,
        ) = FromRow::from_row(&row).map_err(failed)?;
        let sequence = TableName::new(schema, name);
        if !readable {
            return Err(FingerprintError::Sequence { sequence });
        }
        let mut state = SequenceState::new(0, false);
        (state.increment, state.start, state.cycles) = (increment, start, cycles);
        known.push((sequence, state));
    }
    let mut values = BTreeMap::new();
    for chunk in known.chunks(CHUNK) {
        let reads: Vec<String> = chunk
            .iter()
            .enumerate()
            .map(|(index, (name, _))| {
                format!(
                    "SELECT {index} AS n, last_value, is_called FROM {}",
                    name.to_sql()
                )
            })
            .collect();
        let sql = reads.join(" UNION ALL ");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .fetch_all(&mut *conn)
            .await
            .map_err(failed)?;
        for row in rows {
            let index: i32 = row.try_get("n").map_err(failed)?;
            let (name, mut state) = chunk[index.unsigned_abs() as usize].clone();
            state.last_value = row.try_get("last_value").map_err(failed)?;
            state.is_called = row.try_get("is_called").map_err(failed)?;
            values.insert(name, state);
        }
    }
    Ok(values)
}

/// The columns of whole numbers for which the sequences of these schemas count, each with the number in
/// it that is furthest on, by the name of the sequence; inside a transaction with pinned settings.
///
/// A sequence counts for the column that owns it, and for one whose default calls it.
pub(in crate::postgres) async fn counted_listed(
    conn: &mut PgConnection,
    oids: &ScopeOids,
) -> Result<BTreeMap<TableName, Counted>, FingerprintError> {
    const LIST: &str = "
        SELECT DISTINCT ON (s.seqrelid) sn.nspname::text, sc.relname::text, s.seqincrement > 0,
            n.nspname::text, c.relname::text, a.attname::text
        FROM pg_sequence s
        JOIN pg_class sc ON sc.oid = s.seqrelid
        JOIN pg_namespace sn ON sn.oid = sc.relnamespace
        JOIN LATERAL (
            SELECT d.refobjid AS rel, d.refobjsubid AS num FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid
                AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
            UNION ALL
            SELECT ad.adrelid, ad.adnum FROM pg_depend d JOIN pg_attrdef ad ON ad.oid = d.objid
            WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
                AND d.refobjid = s.seqrelid
        ) own ON true
        JOIN pg_class c ON c.oid = own.rel AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = own.rel AND a.attnum = own.num
        WHERE a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
            AND sc.relnamespace = ANY($1) AND sc.oid <> ALL($2) AND c.relnamespace = ANY($1) AND c.oid <> ALL($2)
        ORDER BY s.seqrelid, c.oid";
    let failed = |source| FingerprintError::List {
        what: "columns of sequences",
        source,
    };
    let (schemas, hidden): (&[Oid], &[Oid]) = (&oids.schemas, &oids.hidden);
    let query = sqlx::query_as(LIST).bind(schemas).bind(hidden);
    let rows: Vec<(String, String, bool, String, String, String)> =
        query.fetch_all(&mut *conn).await.map_err(failed)?;
    let mut counted = BTreeMap::new();
    for chunk in rows.chunks(CHUNK) {
        let reads: Vec<String> = chunk
            .iter()
            .enumerate()
            .map(|(index, (_, _, up, schema, table, column))| {
                let (most, column) = (if *up { "max" } else { "min" }, quote_ident(column));
                let table = TableName::new(schema, table).to_sql();
                format!(
                    "SELECT {index} AS n, (SELECT {most}({column})::int8 FROM {table}) AS furthest"
                )
            })
            .collect();
        let sql = reads.join(" UNION ALL ");
        let found = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
        let found: Vec<(i32, Option<i64>)> = found.fetch_all(&mut *conn).await.map_err(failed)?;
        for (index, furthest) in found {
            let (schema, name, _, of, table, column) = &chunk[index.unsigned_abs() as usize];
            let Some(furthest) = furthest else { continue };
            let column = format!("{}.{}", TableName::new(of, table), readable(column));
            counted.insert(TableName::new(schema, name), Counted::new(column, furthest));
        }
    }
    Ok(counted)
}
