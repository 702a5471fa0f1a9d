//! Arguments and results of other types: one error each, under the type.

use upgrade_testkit::prelude::*;

#[upgrade_test(postgres = [15, 17])]
async fn argument_type(_cx: String) -> Result<()> {
    Ok(())
}

#[upgrade_test]
async fn argument_reference(_cx: &UpgradeContext) -> Result<()> {
    Ok(())
}

#[upgrade_test(postgres = [15, 17])]
async fn result_type(_cx: UpgradeContext) -> u32 {
    7
}

fn main() {}
