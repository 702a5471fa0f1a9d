//! An async function as a validator.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::contract::{Validator, Verdict};
use crate::context::UpgradeContext;
use crate::error::Result;

/// A validator from a name and an async function.
///
/// The function answers with a [`Verdict`], or with `()` when arriving at the end is the proof.
///
/// ```
/// use upgrade_core::{Result, UpgradeContext, Verdict, validator_fn};
///
/// async fn checkout(_cx: UpgradeContext) -> Result<Verdict> {
///     Ok(Verdict::Pass)
/// }
/// let validator = validator_fn("checkout works", checkout);
/// ```
pub fn validator_fn<F, Fut, V>(name: impl Into<String>, judge: F) -> ValidatorFn
where
    F: Fn(UpgradeContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<V>> + Send + 'static,
    V: Into<Verdict> + 'static,
{
    ValidatorFn {
        name: name.into(),
        judge: Arc::new(move |cx| {
            let verdict = judge(cx);
            Box::pin(async move { verdict.await.map(Into::into) })
        }),
    }
}

type Judge = Arc<dyn Fn(UpgradeContext) -> BoxFuture<'static, Result<Verdict>> + Send + Sync>;

/// The validator that [`validator_fn`] makes.
#[derive(Clone)]
pub struct ValidatorFn {
    name: String,
    judge: Judge,
}

impl fmt::Debug for ValidatorFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidatorFn")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Validator for ValidatorFn {
    fn name(&self) -> &str {
        &self.name
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        cx.bounded(&self.name, (self.judge)(cx.clone())).await?
    }
}
