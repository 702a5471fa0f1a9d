//! Durations, numbers and paths that cannot be.

use upgrade_testkit::prelude::*;

#[upgrade_test(rollback_within = "5 minutes")]
async fn duration_unreadable(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(rollback_within = "0s")]
async fn duration_zero(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(rollback_within = "9999999999999999h")]
async fn duration_too_long(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(rows = -1, seed = -7)]
async fn negative(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(rows = 0)]
async fn rows_zero(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(rows = 4294967296, seed = 18446744073709551616)]
async fn number_too_large(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(crate = "a b")]
async fn crate_not_a_path(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(crate = "super::kit")]
async fn crate_relative(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

fn main() {}
