//! Changes rows that are there: sets cells of some, deletes some.

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::error::{Doing as _, SeedError};
use super::insert::{Refusal, literal, or_refusal, run};
use super::schema::{Table, quote};
use super::value::SqlValue;

/// Rows that one statement changes.
pub(crate) const BATCH: usize = 500;

/// Where a row lies: its table or partition, and its place in that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    relation: i64,
    tuple: String,
}

impl Place {
    /// What to select for a place, of a table called `r`.
    pub(crate) const COLUMNS: &'static str = "r.tableoid::int8, r.ctid::text";

    /// Reads the first two columns of a row.
    pub(crate) fn read(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            relation: row.try_get(0)?,
            tuple: row.try_get(1)?,
        })
    }

    fn literals(&self) -> String {
        format!("{}::oid, '{}'::tid", self.relation, self.tuple)
    }
}

/// Sets columns of some rows, all or none; gives how many rows were set.
pub(crate) async fn set(
    conn: &mut PgConnection,
    table: &Table,
    columns: &[usize],
    rows: &[(&Place, Vec<&SqlValue>)],
) -> Result<Result<u64, Refusal>, SeedError> {
    let set: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let column = &table.columns[*column];
            format!("{} = v.c{at}::{}", quote(&column.name), column.ty.name)
        })
        .collect();
    let names: Vec<String> = (0..columns.len()).map(|at| format!("c{at}")).collect();
    let values: Vec<String> = rows
        .iter()
        .map(|(place, cells)| {
            let cells: Vec<String> = cells
                .iter()
                .map(|cell| format!("{}::text", literal(Some(cell))))
                .collect();
            format!("({}, {})", place.literals(), cells.join(", "))
        })
        .collect();
    let statement = format!(
        "UPDATE {} AS r SET {} FROM (VALUES {}) AS v (relation, place, {}) \
         WHERE r.ctid = v.place AND r.tableoid = v.relation",
        table.sql(),
        set.join(", "),
        values.join(", "),
        names.join(", "),
    );
    let sent = run(conn, &statement).await;
    or_refusal(conn, sent, || format!("update rows of `{}`", table.label())).await
}

/// Deletes some rows, all or none; gives how many were deleted.
pub(crate) async fn delete(
    conn: &mut PgConnection,
    table: &Table,
    places: &[Place],
) -> Result<Result<u64, Refusal>, SeedError> {
    let values: Vec<String> = places
        .iter()
        .map(|place| format!("({})", place.literals()))
        .collect();
    let statement = format!(
        "DELETE FROM {} AS r USING (VALUES {}) AS v (relation, place) \
         WHERE r.ctid = v.place AND r.tableoid = v.relation",
        table.sql(),
        values.join(", "),
    );
    let sent = run(conn, &statement).await;
    or_refusal(conn, sent, || format!("delete rows of `{}`", table.label())).await
}

/// Rows that a condition on `r` allows, chosen by `salt` and by what identifies them, wherever they
/// lie, or the first ones without it; with the text of some columns.
pub(crate) async fn choose(
    conn: &mut PgConnection,
    table: &Table,
    columns: &[usize],
    condition: &str,
    salt: Option<u64>,
    most: u64,
) -> Result<Vec<(Place, Vec<SqlValue>)>, SeedError> {
    let of_row = |at: &usize| format!("r.{}", quote(&table.columns[*at].name));
    let identity = match table.unique.iter().find(|unique| unique.primary) {
        Some(key) => {
            let columns: Vec<String> = key.columns.iter().map(of_row).collect();
            format!("ROW({})::text", columns.join(", "))
        }
        None => "(r.*)::text".to_owned(),
    };
    let columns: String = columns
        .iter()
        .map(|at| format!(", {}::text", of_row(at)))
        .collect();
    let order = match salt {
        None => "r.tableoid::regclass::text COLLATE \"C\", r.ctid".to_owned(),
        Some(salt) => format!(
            "hashtextextended({identity}, ({})::int8), {identity} COLLATE \"C\"",
            salt.cast_signed()
        ),
    };
    let query = format!(
        "SELECT {}{columns} FROM {} AS r WHERE {condition} ORDER BY {order} LIMIT {most}",
        Place::COLUMNS,
        table.sql(),
    );
    let doing = || format!("choose rows of `{}`", table.label());
    let rows = sqlx::query(AssertSqlSafe(query))
        .persistent(false)
        .fetch_all(conn)
        .await
        .doing(doing)?;
    rows.iter()
        .map(|row| {
            let cells = (2..row.len())
                .map(|at| Ok(SqlValue::from(row.try_get::<Option<String>, _>(at)?)))
                .collect::<Result<_, sqlx::Error>>()?;
            Ok((Place::read(row)?, cells))
        })
        .collect::<Result<_, sqlx::Error>>()
        .doing(doing)
}
