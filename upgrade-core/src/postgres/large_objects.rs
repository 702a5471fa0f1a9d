//! Large objects, which lie beside the tables.

use sqlx::{AssertSqlSafe, PgConnection};

use super::fingerprint::exact_hash;
use crate::observation::LargeObjects;

/// Counts the large objects, and hashes their content where the role may read it, which by
/// default is a superuser only.
pub(super) async fn read(conn: &mut PgConnection) -> Result<LargeObjects, sqlx::Error> {
    let (count, readable): (i64, bool) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM pg_largeobject_metadata),
            has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')",
    )
    .fetch_one(&mut *conn)
    .await?;
    let sum = if readable && count > 0 {
        let hash = exact_hash(&["t.loid", "t.pageno", "t.data"].map(str::to_owned), 0);
        let sql = format!("SELECT coalesce(sum({hash}), 0)::text FROM pg_largeobject t");
        let sum = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false);
        Some(sum.fetch_one(&mut *conn).await?)
    } else {
        readable.then(|| "0".to_owned())
    };
    Ok(LargeObjects::new(count.unsigned_abs(), sum))
}
