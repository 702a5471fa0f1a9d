//! What users do, on release 1, on release 2, while one is replaced by the other, and after a rollback.

mod system;

use upgrade_testkit::prelude::*;

use system::{V2, checkout, system};

#[upgrade_test(from = "0001", scenarios = [control, upgrade, rollback, rolling])]
async fn orders(cx: UpgradeContext) -> Result<()> {
    system(cx.upgrade(), V2, "")
        .comparison(checkout())
        .rehearse()
        .await
}
