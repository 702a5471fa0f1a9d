//! Which of the rows drawn would repeat a unique value of a row that the table has.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row as _};
use upgrade_core::postgres::sql::quote_literal;

use super::drawer::unique_values;
use super::error::{Doing as _, SeedError};
use super::insert::ask;
use super::resolve::Cells;
use super::schema::{Table, quote};

/// The rows that the table's unique indexes would refuse because of rows before them, by position,
/// and positions of those indexes.
///
/// One query for each index and batch, compared as the columns' types compare: `1.0` repeats `1.00`.
/// Nothing is said of values that cannot be compared so; those rows are refused one by one.
pub(crate) async fn taken(
    conn: &mut PgConnection,
    table: &Table,
    rows: &[&Cells],
) -> Result<BTreeMap<usize, Vec<usize>>, SeedError> {
    let mut taken: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, unique) in table.unique.iter().enumerate() {
        let values: Vec<String> = rows
            .iter()
            .enumerate()
            .filter_map(|(at, cells)| {
                let values = unique_values(cells, &unique.columns)?;
                let values: Vec<String> = values.iter().map(|text| quote_literal(text)).collect();
                Some(format!("({at}, {})", values.join(", ")))
            })
            .collect();
        if values.is_empty() {
            continue;
        }
        let columns = || unique.columns.iter().map(|at| &table.columns[*at]);
        let names: Vec<String> = (0..unique.columns.len())
            .map(|at| format!("c{at}"))
            .collect();
        let same: Vec<String> = columns()
            .zip(&names)
            .map(|(column, name)| {
                format!("r.{} = v.{name}::{}", quote(&column.name), column.ty.name)
            })
            .collect();
        let query = format!(
            "SELECT v.at FROM (VALUES {}) AS v (at, {}) WHERE EXISTS (SELECT FROM {} AS r WHERE {})",
            values.join(", "),
            names.join(", "),
            table.sql(),
            same.join(" AND "),
        );
        let doing = || format!("look for rows of `{}`", table.label());
        for row in ask(conn, query).await.doing(doing)?.unwrap_or_default() {
            let at: i32 = row.try_get(0).doing(doing)?;
            let at = usize::try_from(at).expect("positions are not negative");
            taken.entry(at).or_default().push(index);
        }
    }
    Ok(taken)
}
