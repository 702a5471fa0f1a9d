//! The upgrade of the invoices' database. What all services have in common is in `upgrade.toml`.

use upgrade_testkit::prelude::*;

#[upgrade_test(from = "0001")]
async fn billing(cx: UpgradeContext) -> Result<()> {
    cx.upgrade()
        .validator(validator_fn("an order gets one invoice", one_invoice))
        .rehearse()
        .await
}

/// What the orders service relies on: a second invoice for an order is refused.
async fn one_invoice(cx: UpgradeContext) -> Result<()> {
    let mut db = cx.connect().await?;
    let second =
        "insert into invoices (order_id, amount) select order_id, 9.90 from invoices limit 1";
    let answer = sqlx::query(second).execute(&mut db).await;
    let refused = answer.is_err_and(|error| {
        let error = error.as_database_error();
        error.is_some_and(|error| error.is_unique_violation())
    });
    assert!(refused, "an order has two invoices");
    Ok(())
}
