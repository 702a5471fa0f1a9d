use upgrade_testkit::prelude::*;

async fn shop(_cx: UpgradeContext) -> Result<Upgrade> {
    Ok(Upgrade::new("shop", "1", "2"))
}

#[upgrade_test(upgrade = shop, migrations = "db", from = "v1")]
async fn orders(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

fn main() {}
