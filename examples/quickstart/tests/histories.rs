//! Orders of events that nobody has written down: users write, the release goes up, goes back, and
//! up again, at any boundary. `UPGRADE_HISTORIES=500 cargo test -p quickstart --test histories`
//! looks longer than a build does.

use upgrade_testkit::prelude::*;

#[upgrade_test(from = "0002", rows = 20, scenarios = [upgrade])]
async fn shop(cx: UpgradeContext) -> Result<()> {
    cx.upgrade()
        .invariant(
            "every line belongs to an order",
            "select * from lines where order_id not in (select id from orders)",
        )
        .histories()
        .rehearse()
        .await
}
