//! Release 1: the total as text, everything else in labels.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sqlx::types::Json as Labels;
use sqlx::{FromRow, PgPool};

use super::receipt::receipt;
use super::{After, PAGE, Refusal, written};

/// An order, as release 1 knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, FromRow)]
pub struct OrderV1 {
    /// Chosen by the client, so that it can send an order again.
    pub id: String,
    /// Who ordered.
    pub customer: String,
    /// As in `12.50`.
    pub total: String,
    /// Whatever else the client wants to keep.
    pub labels: Labels<BTreeMap<String, String>>,
}

/// The paths below `/v1`.
pub fn v1() -> Router<PgPool> {
    Router::new()
        .route("/v1/orders", get(page))
        .route("/v1/orders/{id}", get(one).put(put))
        .route("/v1/orders/{id}/receipt", get(receipt))
}

async fn put(
    State(pool): State<PgPool>,
    Path(id): Path<String>,
    Json(order): Json<OrderV1>,
) -> Result<StatusCode, Refusal> {
    let placed = sqlx::query(
        "with placed as (
            insert into orders (id, customer, total, labels) values ($1, $2, $3::numeric, $4)
            on conflict (id) do nothing returning id)
        insert into outbox (order_id) select id from placed",
    )
    .bind(&id)
    .bind(&order.customer)
    .bind(&order.total)
    .bind(&order.labels)
    .execute(&pool)
    .await?;
    let found = find(&pool, &id).await?;
    written(placed.rows_affected() > 0, &order, &found)
}

async fn one(State(pool): State<PgPool>, Path(id): Path<String>) -> Result<Json<OrderV1>, Refusal> {
    find(&pool, &id).await.map(Json)
}

async fn find(pool: &PgPool, id: &str) -> Result<OrderV1, Refusal> {
    let found = sqlx::query_as(
        "select id, customer, total::text as total, labels from orders where id = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await?;
    found.ok_or(Refusal::Unknown)
}

async fn page(
    State(pool): State<PgPool>,
    Query(After { after }): Query<After>,
) -> Result<Json<Vec<OrderV1>>, Refusal> {
    let orders = sqlx::query_as(
        "select id, customer, total::text as total, labels from orders
        where id > $1 order by id limit $2",
    )
    .bind(after)
    .bind(PAGE)
    .fetch_all(&pool)
    .await?;
    Ok(Json(orders))
}
