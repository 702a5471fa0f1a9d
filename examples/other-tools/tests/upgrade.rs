//! A folder of diesel, and one of golang-migrate. The library recognises a folder by the names of its
//! files; two tools with the same names are told apart by naming one.

use upgrade_testkit::prelude::*;
use upgrade_testkit::upgrade_core::migration::folder::{Layout, MigrationFolder};

#[upgrade_test(
    migrations = "diesel",
    from = "2024-01-10-090000",
    rows = 20,
    scenarios = [upgrade, round_trip, rollback]
)]
async fn diesel(cx: UpgradeContext) -> Result<()> {
    cx.upgrade().rehearse().await
}

#[upgrade_test(from = "1", rows = 20, scenarios = [upgrade, round_trip, rollback])]
async fn golang_migrate(cx: UpgradeContext) -> Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/golang-migrate");
    let folder = MigrationFolder::read_as(folder, Layout::GolangMigrate)?;
    cx.upgrade().folder(folder).rehearse().await
}
