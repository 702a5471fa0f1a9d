//! What a migration leaves behind in sessions, where the environment can tell.

use super::run::{Run, StepResult};
use crate::context::UpgradeContext;
use crate::scenario::Scenario;

/// Begins to watch before a migration is applied or reverted. Answers whether it does.
pub(super) async fn begin(run: &Run<'_>, cx: &UpgradeContext) -> crate::Result<bool> {
    let watches = run.environment.capabilities().watches
        && matches!(run.plan.scenario, Scenario::Straight | Scenario::RoundTrip);
    if watches {
        run.environment.watch(cx).await?;
    }
    Ok(watches)
}

/// Adds what was left behind to what the migration came to.
pub(super) async fn end(
    run: &Run<'_>,
    cx: &UpgradeContext,
    watches: bool,
    result: StepResult,
) -> StepResult {
    if watches {
        match run.environment.left_behind(cx).await {
            Ok(left) => left.into_iter().for_each(|finding| cx.notice(finding)),
            // What the migration itself came to says more.
            Err(error) if result.is_err() => {
                tracing::warn!(?error, "what a migration left behind could not be told");
            }
            Err(error) => return Err(error),
        }
    }
    result
}
