//! Release 2: the total as a number of cents, and the channel as a separate field.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgPool};

use super::{After, PAGE, Refusal, written};

/// An order, as release 2 knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, FromRow)]
pub struct OrderV2 {
    /// Chosen by the client, so that it can send an order again.
    pub id: String,
    /// Who ordered.
    pub customer: String,
    /// In cents.
    pub total_cents: i64,
    /// Where the order came from.
    pub channel: Option<String>,
}

/// The paths below `/v2`.
pub fn v2() -> Router<PgPool> {
    Router::new()
        .route("/v2/orders", get(page))
        .route("/v2/orders/{id}", get(one).put(put))
}

async fn put(
    State(pool): State<PgPool>,
    Path(id): Path<String>,
    Json(order): Json<OrderV2>,
) -> Result<StatusCode, Refusal> {
    let placed = sqlx::query(
        "with placed as (
            insert into orders (id, customer, total_cents, channel) values ($1, $2, $3, $4)
            on conflict (id) do nothing returning id)
        insert into outbox (order_id) select id from placed",
    )
    .bind(&id)
    .bind(&order.customer)
    .bind(order.total_cents)
    .bind(&order.channel)
    .execute(&pool)
    .await?;
    let found = find(&pool, &id).await?;
    written(placed.rows_affected() > 0, &order, &found)
}

async fn one(State(pool): State<PgPool>, Path(id): Path<String>) -> Result<Json<OrderV2>, Refusal> {
    find(&pool, &id).await.map(Json)
}

async fn find(pool: &PgPool, id: &str) -> Result<OrderV2, Refusal> {
    let found =
        sqlx::query_as("select id, customer, total_cents, channel from orders where id = $1")
            .bind(id)
            .fetch_optional(pool)
            .await?;
    found.ok_or(Refusal::Unknown)
}

async fn page(
    State(pool): State<PgPool>,
    Query(After { after }): Query<After>,
) -> Result<Json<Vec<OrderV2>>, Refusal> {
    let orders = sqlx::query_as(
        "select id, customer, total_cents, channel from orders
        where id > $1 order by id limit $2",
    )
    .bind(after)
    .bind(PAGE)
    .fetch_all(&pool)
    .await?;
    Ok(Json(orders))
}
