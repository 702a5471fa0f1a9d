//! What the users of a system write while an upgrade is under way.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::context::UpgradeContext;
use crate::error::Result;

/// Writes of the release that is live, as its users make them.
///
/// A rehearsal makes them between migrations, and asks after a rollback whether they are still
/// there. The function draws what it writes from [`UpgradeContext::seed`], which differs from one
/// call to the next, and speaks to the release that it meets ([`UpgradeContext::is_upgraded`]).
#[derive(Clone)]
pub struct Writes {
    name: String,
    any_release: bool,
    write: Arc<dyn Fn(UpgradeContext) -> BoxFuture<'static, Result<()>> + Send + Sync>,
}

/// Writes from a name and an async function.
///
/// ```
/// use upgrade_core::{Result, UpgradeContext, writes_fn};
///
/// async fn place_an_order(_cx: UpgradeContext) -> Result<()> {
///     Ok(())
/// }
/// let writes = writes_fn("orders are placed", place_an_order);
/// assert_eq!(writes.name(), "orders are placed");
/// ```
pub fn writes_fn<F, Fut>(name: impl Into<String>, write: F) -> Writes
where
    F: Fn(UpgradeContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    Writes {
        name: name.into(),
        any_release: false,
        write: Arc::new(move |cx| Box::pin(write(cx))),
    }
}

impl Writes {
    /// The name that a person reads in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says that they suit any schema, also that of a release before the one that the upgrade
    /// starts at.
    #[must_use]
    pub fn at_any_release(mut self) -> Self {
        self.any_release = true;
        self
    }

    /// Whether they suit any schema.
    pub(crate) fn suits_any_release(&self) -> bool {
        self.any_release
    }

    /// Makes the writes.
    ///
    /// # Errors
    /// Those of the function, [`Timeout`](crate::ErrorKind::Timeout) and
    /// [`Cancelled`](crate::ErrorKind::Cancelled).
    pub async fn write(&self, cx: &UpgradeContext) -> Result<()> {
        let written = cx.bounded(&self.name, (self.write)(cx.clone())).await?;
        written.map_err(|error| error.with_context("writes", &self.name))
    }
}

impl fmt::Debug for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writes")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
