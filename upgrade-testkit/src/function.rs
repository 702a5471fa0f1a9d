//! The function that a user marks with `#[upgrade_test]`, as a value of one type.
//!
//! The two traits exist for their messages: a function with a wrong argument or result is told
//! what is expected, once, under the type that its author wrote.

use std::fmt;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use upgrade_core::{Result, Upgrade, UpgradeContext};

/// An `async fn(UpgradeContext)` with this result.
///
/// The result is a parameter and not an associated type: of a function that is no test it stays
/// unknown, and the compiler has nothing to complain about a second time.
#[diagnostic::on_unimplemented(
    message = "an upgrade test takes one argument, an `UpgradeContext`",
    label = "expected `UpgradeContext`",
    note = "write `async fn name(cx: UpgradeContext) -> Result<()>`"
)]
pub trait TestFn<T> {
    /// The function with its future boxed. The future stays on the thread of the test.
    fn boxed(self) -> BoxedFn<T>;
}

impl<Fut> TestFn<Fut::Output> for fn(UpgradeContext) -> Fut
where
    Fut: Future + 'static,
{
    fn boxed(self) -> BoxedFn<Fut::Output> {
        Box::new(move |cx| self(cx).boxed_local())
    }
}

/// A function of the context, with its future boxed.
pub type BoxedFn<T> = Box<dyn FnOnce(UpgradeContext) -> LocalBoxFuture<'static, T>>;

/// What a test may give: `()` or a `Result<(), E>`.
#[diagnostic::on_unimplemented(
    message = "an upgrade test gives `()` or a `Result<(), E>` whose error has `Debug`, not `{Self}`",
    label = "expected `()` or `Result<(), E>`"
)]
pub trait TestOutput {
    /// Whether it went well.
    ///
    /// # Errors
    /// What to print when it did not.
    fn outcome(self) -> Result<(), String>;
}

impl TestOutput for () {
    fn outcome(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: fmt::Debug> TestOutput for Result<(), E> {
    fn outcome(self) -> Result<(), String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

/// The body of a test.
pub struct Body(pub(crate) BoxedFn<Result<(), String>>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

/// Checks the argument of a test.
pub fn takes_context<F: TestFn<T>, T>(f: F) -> BoxedFn<T> {
    f.boxed()
}

/// Checks the result of a test.
pub fn returns_outcome<T: TestOutput + 'static>(f: BoxedFn<T>) -> Body {
    Body(Box::new(move |cx| {
        f(cx).map(TestOutput::outcome).boxed_local()
    }))
}

/// Boxes what the function of the option `upgrade` gives.
pub fn boxed<F>(future: F) -> BoxFuture<'static, Result<Upgrade>>
where
    F: Future<Output = Result<Upgrade>> + Send + 'static,
{
    future.boxed()
}
