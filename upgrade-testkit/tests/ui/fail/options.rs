//! Options that do not exist, are repeated, or have a value of another kind.

use upgrade_testkit::prelude::*;

#[upgrade_test(colour = "red", migrations = "db")]
async fn option_unknown(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(seed = 1, rows = 2, seed = 3)]
async fn option_twice(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(reversible)]
async fn option_without_value(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(7)]
async fn option_not_a_name(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(
    migrations = 1,
    from = true,
    upgrade = "f",
    scenarios = upgrade,
    postgres = 15,
    rollback_within = 5,
    rows = "many",
    seed = x,
    reversible = 1,
    crate = 2,
)]
async fn wrong_type(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(migrations = "", from = " ")]
async fn empty_text(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(rows = 0, colour = 1, scenarios = [sideways, backwards], postgres = [9])]
async fn all_at_once(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

fn main() {}
