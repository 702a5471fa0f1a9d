//! Every option at once, on a function of a name that is a keyword, with attributes.

use upgrade_testkit::prelude::*;

mod releases {
    use super::*;

    pub async fn shop(_cx: UpgradeContext) -> Result<Upgrade> {
        Ok(Upgrade::new("shop", "1", "2"))
    }
}

#[upgrade_test(
    migrations = "db",
    from = "v1.8.0",
    scenarios = [control, upgrade, round_trip, rollback, crash],
    postgres = [15, 17],
    rollback_within = "5m",
    rows = 50,
    seed = 7,
    reversible = true,
)]
#[ignore = "needs a server"]
#[cfg(unix)]
async fn r#match(_cx: UpgradeContext) {}

#[upgrade_test(upgrade = releases::shop)]
pub(crate) async fn relative(mut _cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(upgrade = crate::releases::shop)]
async fn absolute(_: UpgradeContext) -> std::result::Result<(), String> {
    Ok(())
}

fn main() {}
