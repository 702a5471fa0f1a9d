//! What the services of a system hold in its database.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::database::close;

/// The rows of a query as an array of objects, read in a read-only transaction.
pub(crate) async fn rows(
    cx: &UpgradeContext,
    sql: &str,
    parameters: &[Option<String>],
) -> Result<Value> {
    let failed = |source: sqlx::Error| {
        Error::new(ErrorKind::Database, "a query of a flow failed")
            .with_source(source)
            .with_hint("it must be one query; parameters are text, so cast them: `$1::int`")
    };
    let mut connection = cx.connect().await?;
    // The line break ends a comment.
    let sql = sql.trim().trim_end_matches(';');
    let sql = format!("select pg_catalog.to_jsonb(q)::text from (\n{sql}\n) q");
    let mut transaction = connection.begin().await.map_err(failed)?;
    transaction
        .execute("set transaction read only")
        .await
        .map_err(failed)?;
    let mut query = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql));
    for parameter in parameters {
        query = query.bind(parameter);
    }
    let texts = query.fetch_all(&mut *transaction).await.map_err(failed)?;
    transaction.rollback().await.map_err(failed)?;
    close(connection).await;
    let rows = texts.iter().map(|text| serde_json::from_str(text));
    rows.collect::<std::result::Result<Vec<Value>, _>>()
        .map(Value::Array)
        .map_err(|source| Error::new(ErrorKind::Database, "a row is no JSON").with_source(source))
}
