//! The crate under another name, and no import of anything but the attribute.

#![deny(warnings)]

mod kit {
    pub use upgrade_testkit as inner;
}

#[kit::inner::upgrade_test(crate = "crate::kit::inner", scenarios = [upgrade])]
async fn orders(_cx: kit::inner::prelude::UpgradeContext) {}

fn main() {}
