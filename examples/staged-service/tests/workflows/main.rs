//! What users do, on release 1, on release 2, while one is replaced by the other, and after a rollback.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod defects;
mod kills;
mod programs;
mod system;

use upgrade_core::openapi::OpenApi;
use upgrade_testkit::prelude::*;

use system::{V2, checkout, list, many_orders, system};

/// Everything but the page and the times, which the tests of defects have.
#[upgrade_test(from = "0001", scenarios = [control, upgrade, rollback, rolling])]
async fn orders(cx: UpgradeContext) -> Result<()> {
    system(cx.upgrade(), V2, "")
        .flow(checkout())
        .flow(list())
        .api(OpenApi::new("api").with_flow(checkout()))
        .api(many_orders())
        .allow(
            "api/answer-differs",
            "GET /v1/orders/{unique}/receipt: $.line",
            "release 2 prints cents and the channel",
        )
        .rehearse()
        .await
}
