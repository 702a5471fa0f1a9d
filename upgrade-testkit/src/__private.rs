//! What the code of `#[upgrade_test]` calls. No one else may: it changes without notice.

pub use upgrade_core::Scenario;

pub use crate::__upgrade_test_origin as origin;
pub use crate::function::{
    Body, BoxedFn, TestFn, TestOutput, boxed, returns_outcome, takes_context,
};
pub use crate::run::run;
pub use crate::spec::{Origin, TestSpec};

/// Where the test stands, as its own crate is compiled.
#[doc(hidden)]
#[macro_export]
macro_rules! __upgrade_test_origin {
    () => {
        $crate::__private::Origin {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
            manifest_dir: ::core::env!("CARGO_MANIFEST_DIR"),
            package: ::core::env!("CARGO_PKG_NAME"),
            binary: ::core::option_env!("CARGO_BIN_NAME"),
        }
    };
}
