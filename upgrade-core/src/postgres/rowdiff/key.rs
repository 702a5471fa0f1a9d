//! By what the rows of a table are recognised.

use sqlx::postgres::types::Oid;
use sqlx::{PgConnection, Row as _};

use super::sql::Column;

/// The columns that name a row; none where only the whole row does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) columns: Vec<String>,
}

/// The unique indexes that name every row, the primary key first, then those of fewest columns.
const KEYS: &str = "
    SELECT ARRAY(
        SELECT a.attname::text
        FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(num, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num
        WHERE k.place <= i.indnkeyatts
        ORDER BY k.place)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
        AND NOT EXISTS (
            SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(num, place)
            LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num
            WHERE k.place <= i.indnkeyatts AND a.attnotnull IS NOT TRUE)
    ORDER BY NOT i.indisprimary, i.indnkeyatts, c.relname";

impl Key {
    /// The first key, of the earlier side and then of the later one, whose columns are compared.
    /// It need not be unique on the other side: rows of one key are counted.
    pub(super) async fn choose(
        before: &mut PgConnection,
        after: &mut PgConnection,
        tables: [Option<u32>; 2],
        columns: &[Column],
    ) -> Result<Self, sqlx::Error> {
        for (conn, table) in [before, after].into_iter().zip(tables) {
            let Some(table) = table else {
                continue;
            };
            let rows = sqlx::query(KEYS)
                .persistent(false)
                .bind(Oid(table))
                .fetch_all(conn)
                .await?;
            for row in rows {
                let names: Vec<String> = row.try_get(0)?;
                let known = |name: &String| columns.iter().any(|column| column.name == *name);
                if names.iter().all(known) {
                    return Ok(Self { columns: names });
                }
            }
        }
        Ok(Self::default())
    }

    pub(super) fn is_whole_row(&self) -> bool {
        self.columns.is_empty()
    }
}
