use upgrade_testkit::prelude::*;

async fn shop(_cx: UpgradeContext) -> Upgrade {
    Upgrade::new("shop", "1", "2")
}

#[upgrade_test(upgrade = shop)]
async fn orders(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

fn main() {}
