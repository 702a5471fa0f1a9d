//! Upgrade validations as ordinary `cargo test` suites.
//!
//! [`#[upgrade_test]`](upgrade_test) turns an `async fn(UpgradeContext)` into one test case for
//! each [`Scenario`](upgrade_core::Scenario) and, where it is asked to, for each major version of
//! Postgres. The cases are plain `#[test]` functions: `cargo test`, `cargo nextest`, filters,
//! `#[ignore]` and `#[should_panic]` work as everywhere.
//!
//! - [`settings`]: every environment variable, in one table.
//! - [`case`]: one case while it runs: its seed, what it has to remove, where its report goes.
//! - [`conformance`]: whether an implementation of one of the four traits keeps its promises.
//! - [`sequences`]: property tests of an upgrade.
//! - [`schema_file`]: the schema as a file that a team commits.

#[doc(hidden)]
pub mod __private;
pub mod case;
pub mod conformance;
#[doc(hidden)]
pub mod display;
mod function;
pub mod known;
mod polls;
pub mod pool;
pub mod prelude;
pub mod rehearsal;
#[doc(hidden)]
pub mod report_file;
#[doc(hidden)]
pub mod reproduce;
mod run;
pub mod schema_file;
pub mod seed;
pub mod sequences;
pub mod settings;
#[doc(hidden)]
pub mod spec;
#[cfg(feature = "report")]
pub mod summary;

#[doc(no_inline)]
pub use {proptest, sqlx, upgrade_core};

pub use case::TestCase;
pub use rehearsal::{Rehearsal, UpgradeContextExt};
pub use seed::Seeder;
pub use settings::Settings;
#[doc(hidden)]
pub use spec::TestSpec;

#[doc(inline)]
#[doc = include_str!("upgrade_test.md")]
pub use upgrade_macros::upgrade_test;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The examples of the guides compile.
#[cfg(doctest)]
mod guides {
    macro_rules! pages {
        ($($name:ident: $file:literal),+ $(,)?) => {$(
            #[doc = include_str!(concat!("../../docs/guide/", $file))]
            struct $name;
        )+};
    }

    pages! {
        FirstTest: "first-test.md",
        DeclareAndAccept: "declare-and-accept.md",
        Validators: "validators.md",
        Rollback: "rollback.md",
        MajorVersions: "major-versions.md",
        Operations: "operations.md",
        YourOwnTool: "your-own-tool.md",
        Watching: "watching.md",
    }

    #[cfg(feature = "openapi")]
    pages! {
        Workflows: "workflows.md",
    }

    #[cfg(feature = "docker")]
    pages! {
        Services: "services.md",
    }
}
