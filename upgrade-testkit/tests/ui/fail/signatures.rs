//! Functions that cannot be upgrade tests.

use upgrade_testkit::prelude::*;

#[upgrade_test]
fn not_async(_cx: UpgradeContext) {}

#[upgrade_test]
unsafe extern "C" fn modifiers(_cx: UpgradeContext) {}

#[upgrade_test]
const fn constant(_cx: UpgradeContext) {}

#[upgrade_test]
async fn generic<T>(_cx: T) {}

#[upgrade_test]
async fn where_clause(_cx: UpgradeContext)
where
    UpgradeContext: Clone,
{
}

#[upgrade_test]
async fn no_argument() {}

#[upgrade_test]
async fn two_arguments(_cx: UpgradeContext, _rows: u32) {}

struct Methods;

impl Methods {
    #[upgrade_test]
    async fn method(&self) {}
}

#[upgrade_test]
#[test]
async fn second_test(_cx: UpgradeContext) {}

#[upgrade_test]
#[upgrade_test]
async fn twice(_cx: UpgradeContext) {}

#[upgrade_test]
struct Orders;

fn main() {}
