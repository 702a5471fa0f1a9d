//! The upgrade of the orders' database. What all services have in common is in `upgrade.toml`.

use upgrade_testkit::prelude::*;

#[upgrade_test(from = "0001")]
async fn orders(cx: UpgradeContext) -> Result<()> {
    cx.upgrade()
        .invariant(
            "every order belongs to a customer",
            "select * from orders where customer_id not in (select id from customers)",
        )
        .rehearse()
        .await
}
