//! Leftovers of a migration in sessions, where the environment can observe them.

use std::time::Duration;

use tokio::time::Instant;

use crate::context::UpgradeContext;
use crate::plan::Step;
use crate::runner::run::StepResult;
use crate::runner::state::Run;

/// How long a look at sessions may take. The migration before it may have used up the time of its
/// step, which says something about the migration and nothing about the sessions.
const WITHIN: Duration = Duration::from_secs(30);

/// Begins to monitor sessions before a migration is applied or reverted. Answers whether it does.
pub(in crate::runner) async fn begin(
    run: &Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
) -> crate::Result<bool> {
    match run.environment.session_monitor() {
        Some(monitor) if step.policy.monitor => monitor.begin(cx).await.map(|()| true),
        _ => Ok(false),
    }
}

/// Adds the leftovers in sessions to the result of the migration.
pub(in crate::runner) async fn end(
    run: &Run<'_>,
    cx: &UpgradeContext,
    monitors: bool,
    result: StepResult,
) -> StepResult {
    if let Some(monitor) = run.environment.session_monitor()
        && monitors
    {
        let late = cx.clone().with_new_deadline(Instant::now() + WITHIN);
        match monitor.end(&late).await {
            Ok(left) => left.into_iter().for_each(|finding| cx.notice(finding)),
            // What the migration itself came to says more.
            Err(error) if !matches!(result, Ok(crate::Verdict::Pass)) => {
                tracing::warn!(?error, "sessions could not be observed after a migration");
            }
            Err(error) => return Err(error),
        }
    }
    result
}
