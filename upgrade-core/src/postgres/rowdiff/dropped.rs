//! The values of columns that only the earlier side has.

use sqlx::{AssertSqlSafe, Row as _};

use super::RowDiffOptions;
use super::show::shown;
use crate::observation::{ColumnChange, ColumnValue, DroppedColumn, RowChange, RowChangeKind};
use crate::postgres::catalog::Pinned;
use crate::postgres::fingerprint::TableShape;
use crate::postgres::sql::quote_ident;

/// Counts the values of these columns, and names the first rows that have one.
pub(super) async fn read(
    session: &mut Pinned<'_>,
    (from, shape): (&str, &TableShape),
    columns: &[String],
    key: &[String],
    options: &RowDiffOptions,
) -> Result<Vec<DroppedColumn>, sqlx::Error> {
    let counts: Vec<String> = columns
        .iter()
        .map(|column| format!("count(t.{})", quote_ident(column)))
        .collect();
    let row = sqlx::query(AssertSqlSafe(format!(
        "SELECT {} FROM {from}",
        counts.join(", ")
    )))
    .persistent(false)
    .fetch_one(session.conn())
    .await?;
    let mut dropped = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let values = row.try_get::<i64, _>(index)?.unsigned_abs();
        let mut found = DroppedColumn::new(column, values);
        if values > 0 {
            found.rows = rows(session, (from, shape), column, key, options).await?;
        }
        dropped.push(found);
    }
    Ok(dropped)
}

async fn rows(
    session: &mut Pinned<'_>,
    (from, shape): (&str, &TableShape),
    column: &str,
    key: &[String],
    options: &RowDiffOptions,
) -> Result<Vec<RowChange>, sqlx::Error> {
    let (limit, named) = (options.value_chars, options.named);
    let value = |name: &str| {
        let value = format!("t.{}", quote_ident(name));
        let text = shape
            .columns
            .get(name)
            .map(|column| column.form.text(&value));
        format!(
            "left({}, {})",
            text.unwrap_or_else(|| "NULL".to_owned()),
            limit + 1
        )
    };
    let names: Vec<String> = key.iter().map(|name| value(name)).collect();
    let order: Vec<String> = if key.is_empty() {
        vec![format!("{} COLLATE \"C\"", value(column))]
    } else {
        let columns = key.iter().map(|name| format!("t.{}", quote_ident(name)));
        columns.collect()
    };
    let sql = format!(
        "SELECT ARRAY[{}]::text[], {} FROM {from} WHERE t.{} IS DISTINCT FROM NULL ORDER BY {} LIMIT {named}",
        names.join(", "),
        value(column),
        quote_ident(column),
        order.join(", "),
    );
    sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_all(session.conn())
        .await?
        .iter()
        .map(|row| {
            let texts: Vec<Option<String>> = row.try_get(0)?;
            let text: Option<String> = row.try_get(1)?;
            let mut change = RowChange::new(RowChangeKind::Changed);
            change.key = key
                .iter()
                .zip(texts)
                .map(|(name, text)| ColumnValue::new(name, shown(text.as_deref(), limit)))
                .collect();
            change.columns.push(ColumnChange::new(
                column,
                Some(shown(text.as_deref(), limit)),
                None,
            ));
            Ok(change)
        })
        .collect()
}
