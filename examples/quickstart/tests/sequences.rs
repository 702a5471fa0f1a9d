//! Random sequences of events: users write, the release is upgraded, rolled back and upgraded
//! again, between any two migrations.
//! `UPGRADE_SEQUENCES=500 cargo test -p quickstart --test sequences` tries more of them than a
//! build does.

use upgrade_testkit::prelude::*;

#[upgrade_test(from = "0002", rows = 20, scenarios = [upgrade])]
async fn shop(cx: UpgradeContext) -> Result<()> {
    cx.upgrade()
        .invariant(
            "every line belongs to an order",
            "select * from lines where order_id not in (select id from orders)",
        )
        .sequences()
        .rehearse()
        .await
}
