//! The attribute `#[upgrade_test]` of `upgrade-testkit`.
//!
//! Use it through `upgrade-testkit`, which documents it and holds everything that the generated
//! code calls. This crate reads the options (`args`), checks the function, and renders one
//! libtest case for each scenario and server version (`expand`); it does nothing else.

mod args;
mod expand;

use proc_macro::TokenStream;

/// Makes upgrade tests of an `async fn(UpgradeContext)`; see `upgrade_testkit::upgrade_test`.
#[proc_macro_attribute]
pub fn upgrade_test(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(args.into(), item.into()).into()
}
