//! The fronts: one `#[test]` for each clause, in a module named after the back end.
//!
//! A list of clauses exists once, as a `for_each_*_clause!` macro beside its fixture. It hands
//! the list to whichever macro asks for it: the fronts below make tests of it, [`list_clauses`]
//! data, [`run_clauses`] calls.

/// Makes one `#[test]` for each clause of `Environment`, in a module of the given name.
///
/// The expression makes the [fixture](crate::conformance::EnvironmentFixture); each test evaluates
/// it anew, inside its own runtime, so it may await. Attributes before the name go on every test.
///
/// ```ignore
/// upgrade_testkit::environment_conformance!(
///     #[ignore = "needs Docker"]
///     docker,
///     DockerFixture::start().await
/// );
/// ```
#[macro_export]
macro_rules! environment_conformance {
    ($(#[$attribute:meta])* $module:ident, $fixture:expr $(,)?) => {
        $crate::for_each_environment_clause! {
            [$crate::__conformance_tests]
            [environment] [$(#[$attribute])*] $module [$fixture]
        }
    };
}

/// Makes one `#[test]` for each clause of `Migration`, in a module of the given name; see
/// [`environment_conformance!`](crate::environment_conformance) for the arguments.
#[macro_export]
macro_rules! migration_conformance {
    ($(#[$attribute:meta])* $module:ident, $fixture:expr $(,)?) => {
        $crate::for_each_migration_clause! {
            [$crate::__conformance_tests]
            [migration] [$(#[$attribute])*] $module [$fixture]
        }
    };
}

/// Makes one `#[test]` for each clause of `Validator`, in a module of the given name; see
/// [`environment_conformance!`](crate::environment_conformance) for the arguments.
#[macro_export]
macro_rules! validator_conformance {
    ($(#[$attribute:meta])* $module:ident, $fixture:expr $(,)?) => {
        $crate::for_each_validator_clause! {
            [$crate::__conformance_tests]
            [validator] [$(#[$attribute])*] $module [$fixture]
        }
    };
}

/// Makes one `#[test]` for each clause of `Rollback`, in a module of the given name; see
/// [`environment_conformance!`](crate::environment_conformance) for the arguments.
#[macro_export]
macro_rules! rollback_conformance {
    ($(#[$attribute:meta])* $module:ident, $fixture:expr $(,)?) => {
        $crate::for_each_rollback_clause! {
            [$crate::__conformance_tests]
            [rollback] [$(#[$attribute])*] $module [$fixture]
        }
    };
}

/// A module with a test for each clause.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (
        $kind:tt $attributes:tt $module:ident $fixture:tt
        $($clause:ident: $needs:literal,)*
    ) => {
        mod $module {
            #[allow(unused_imports, reason = "the fixture may be named by a full path")]
            use super::*;
            $($crate::__conformance_test! { $kind $attributes $module $fixture $clause })*
        }
    };
}

/// One test.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_test {
    (
        [$kind:ident] [$(#[$attribute:meta])*] $module:ident [$fixture:expr] $clause:ident
    ) => {
        #[::core::prelude::v1::test]
        $(#[$attribute])*
        fn $clause() {
            $crate::conformance::run(
                ::core::concat!(
                    ::core::stringify!($module),
                    "::",
                    ::core::stringify!($clause)
                ),
                async {
                    let fixture = $fixture;
                    $crate::conformance::$kind::$clause(&fixture).await
                },
            );
        }
    };
}

/// The list of clauses as data.
macro_rules! list_clauses {
    ($($clause:ident: $needs:literal,)*) => {
        &[$($crate::conformance::ClauseInfo::new(stringify!($clause), $needs)),*]
    };
}
pub(super) use list_clauses;

/// Each clause on a new fixture, one after the other.
macro_rules! run_clauses {
    ([$make:ident] $($clause:ident: $needs:literal,)*) => {{
        let mut results = Vec::new();
        $({
            let fixture = $make().await;
            results.push((stringify!($clause), Box::pin($clause(&fixture)).await));
        })*
        results
    }};
}
pub(super) use run_clauses;
