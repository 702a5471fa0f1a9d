//! Generated code that names of the user's own do not disturb.

#![deny(warnings)]
#![allow(dead_code)]

use upgrade_testkit::prelude::{UpgradeContext, upgrade_test};

mod core {}
mod std {}
struct Option;
struct Box;
fn body() {}
fn spec() {}

#[upgrade_test(postgres = [15])]
async fn orders(_cx: UpgradeContext) {}

fn main() {}
