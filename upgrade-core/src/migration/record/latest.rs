//! golang-migrate: one row with the latest version, dirty while a migration runs. The row is
//! written in a separate transaction.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::RecordTable;

pub(super) fn create(table: &RecordTable) -> String {
    format!(
        "create table if not exists {} (version bigint not null primary key, dirty boolean not null)",
        table.quoted()
    )
}

pub(super) fn select(table: &RecordTable) -> String {
    // -1 stands for "nothing applied", while the first migration is being reverted.
    format!(
        "select greatest(version, 0)::text, null::bytea, not dirty from {} where version >= 0 or dirty",
        table.quoted()
    )
}

pub(super) async fn set(
    conn: &mut PgConnection,
    table: &RecordTable,
    row: Option<(&str, bool)>,
) -> Result<(), sqlx::Error> {
    let name = table.quoted();
    let mut transaction = conn.begin().await?;
    sqlx::query(AssertSqlSafe(format!("truncate {name}")))
        .execute(&mut *transaction)
        .await?;
    if let Some((version, dirty)) = row {
        let sql = format!("insert into {name} (version, dirty) values ($1::text::int8, $2)");
        sqlx::query(AssertSqlSafe(sql))
            .bind(version)
            .bind(dirty)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}
