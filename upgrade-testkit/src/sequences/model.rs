//! What a team's own users remember: a model that writes, and checks the system against its memory.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use upgrade_core::{Result, UpgradeContext, Validator, Verdict, Writes, validator_fn, writes_fn};

/// The users of a system, reduced to what they have been told.
///
/// It writes through the endpoints of the context, as the release does that is live
/// ([`UpgradeContext::is_upgraded`]), remembers what was acknowledged, and is asked at both
/// releases whether the system still knows it. [`sequences`](crate::sequences) has an example.
#[async_trait]
pub trait Model: Send + Sync + 'static {
    /// A model that remembers nothing, for the next sequence.
    fn fresh(&self) -> Box<dyn Model>;

    /// Writes what it draws from [`UpgradeContext::seed`], and remembers what was acknowledged.
    ///
    /// # Errors
    /// Any, when the system refuses: the sequence has then failed.
    async fn write(&mut self, cx: &UpgradeContext) -> Result<()>;

    /// Whether the system still has all that was acknowledged. One that remembers nothing passes.
    ///
    /// # Errors
    /// When that could not be asked.
    async fn check(&self, cx: &UpgradeContext) -> Result<Verdict>;
}

/// One model as the runner knows users: it writes, and it judges.
pub(super) fn users(model: &dyn Model) -> (Writes, Arc<dyn Validator>) {
    let model = Arc::new(Mutex::new(model.fresh()));
    let writer = Arc::clone(&model);
    let writes = writes_fn("the model writes", move |cx: UpgradeContext| {
        let model = Arc::clone(&writer);
        async move { model.lock().await.write(&cx).await }
    });
    let validator = validator_fn("the model is right", move |cx: UpgradeContext| {
        let model = Arc::clone(&model);
        async move { model.lock().await.check(&cx).await }
    });
    (writes, Arc::new(validator))
}

impl fmt::Debug for dyn Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Model")
    }
}
