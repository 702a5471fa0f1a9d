//! Scenarios and versions that cannot be.

use upgrade_testkit::prelude::*;

#[upgrade_test(scenarios = [upgrade, sideways])]
async fn scenario_unknown(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(scenarios = [upgrade, control, upgrade])]
async fn scenario_twice(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(scenarios = ["upgrade", 1])]
async fn scenario_not_a_name(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(scenarios = [])]
async fn scenarios_empty(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(postgres = [9, 15, "16", -17])]
async fn postgres_no_major(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(postgres = [15, 15])]
async fn postgres_twice(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(postgres = [])]
async fn postgres_empty(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

fn main() {}
