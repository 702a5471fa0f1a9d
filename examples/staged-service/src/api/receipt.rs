//! What became of the job of an order.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use sqlx::{FromRow, PgPool};

use super::Refusal;

/// The receipt of an order, which the worker prints.
#[derive(Debug, Serialize, FromRow)]
pub(super) struct Receipt {
    order: String,
    /// `waiting` or `printed`.
    state: String,
    line: Option<String>,
}

pub(super) async fn receipt(
    State(pool): State<PgPool>,
    Path(id): Path<String>,
) -> Result<Json<Receipt>, Refusal> {
    let found = sqlx::query_as(
        r#"select id as "order", line, case when line is null then 'waiting' else 'printed' end as state
        from orders left join receipts on order_id = id where id = $1"#,
    )
    .bind(id)
    .fetch_optional(&pool)
    .await?;
    found.map(Json).ok_or(Refusal::Unknown)
}
