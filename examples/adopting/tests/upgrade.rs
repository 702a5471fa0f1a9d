//! The upgrade from the release in production. `upgrade-known.toml` has what is known to be wrong;
//! everything else fails.

use upgrade_testkit::prelude::*;

#[upgrade_test(from = "0003", rows = 20, scenarios = [upgrade, round_trip, rollback, rerun])]
async fn tickets(cx: UpgradeContext) -> Result<()> {
    cx.upgrade()
        .invariant(
            "every comment belongs to a ticket",
            "select * from comments where ticket_id not in (select id from tickets)",
        )
        .rehearse()
        .await
}
