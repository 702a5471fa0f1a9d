//! The upgrade of the shop, from the release that had only customers and orders to today's.
//!
//! `cargo test -p quickstart` runs each scenario as a separate test.

use sqlx::{Connection, PgConnection};
use upgrade_testkit::prelude::*;

#[upgrade_test(from = "0002", rows = 40, reversible = true)]
async fn shop(cx: UpgradeContext) -> Result<()> {
    cx.upgrade()
        .invariant(
            "every line belongs to an order",
            "select * from lines where order_id not in (select id from orders)",
        )
        .invariant(
            "every order belongs to a customer",
            "select * from orders where customer_id not in (select id from customers)",
        )
        .validator(validator_fn("a customer can place an order", checkout))
        .validator(validator_fn("every customer can be reached", mailing))
        .rehearse()
        .await
}

/// Places an order the way the service of each release does, and takes it back.
async fn checkout(cx: UpgradeContext) -> Result<()> {
    let mut db = cx.connect().await?;
    let mut order = db.begin().await?;
    let customer: i64 = if cx.is_upgraded() {
        sqlx::query_scalar(
            "insert into customers (contact_email, first_name) values ('new@example.org', 'Ada') \
             returning id",
        )
        .fetch_one(&mut *order)
        .await?
    } else {
        sqlx::query_scalar(
            "insert into customers (email, full_name) values ('new@example.org', 'Ada Lovelace') \
             returning id",
        )
        .fetch_one(&mut *order)
        .await?
    };
    let id: i64 = sqlx::query_scalar(
        "insert into orders (customer_id, total) values ($1, 12.50) returning id",
    )
    .bind(customer)
    .fetch_one(&mut *order)
    .await?;
    sqlx::query(
        "insert into lines (order_id, position, sku, quantity, price) values ($1, 1, 'A-1', 5, 2.5)",
    )
    .bind(id)
    .execute(&mut *order)
    .await?;
    let status: String = sqlx::query_scalar("select status::text from orders where id = $1")
        .bind(id)
        .fetch_one(&mut *order)
        .await?;
    assert_eq!(status, "new");
    order.rollback().await?;
    Ok(())
}

/// The address of every customer is where each release looks for it. No customers, no verdict.
async fn mailing(cx: UpgradeContext) -> Result<Verdict> {
    let mut db = cx.connect().await?;
    let column = if cx.is_upgraded() {
        "contact_email"
    } else {
        "email"
    };
    let (all, reachable) = count(&mut db, column).await?;
    Ok(if all == 0 {
        Verdict::Inconclusive("there are no customers".to_owned())
    } else if reachable == all {
        Verdict::Pass
    } else {
        Verdict::Fail(vec![Finding::error(
            "unreachable-customers",
            column,
            format!("{} of {all} customers have no address", all - reachable),
        )])
    })
}

async fn count(db: &mut PgConnection, column: &str) -> Result<(i64, i64)> {
    let sql = format!("select count(*), count({column}) from customers");
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_one(db)
        .await?)
}
