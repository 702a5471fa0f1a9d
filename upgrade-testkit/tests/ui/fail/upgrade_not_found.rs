use upgrade_testkit::prelude::*;

#[upgrade_test(upgrade = shop)]
async fn orders(_cx: UpgradeContext) -> Result<()> {
    Ok(())
}

fn main() {}
