//! What is done when the steps are over, however they ended.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::UpgradeContext;
use crate::environment::Environment;
use crate::error::{Error, Failure};
use crate::event::{Event, millis};
use crate::ids::Phase;
use crate::plan::Plan;
use crate::report::{Report, StepOutcome};
use crate::runner::deadline::within_reach;
use crate::runner::record::recorded;
use crate::runner::state::Run;

/// How many lines of each log a report keeps. Its text shows the few of them that matter.
const LOG_LINES: usize = 200;

/// In staging nothing has to be kept for a person who wants to roll back later. On a real system
/// what a rollback keeps stays until it is given up on purpose.
pub(super) async fn give_up_copies(run: &Run<'_>, cx: &UpgradeContext) {
    let cx = run
        .context(cx, Phase::Teardown, Duration::from_secs(60))
        .with_cancellation(CancellationToken::new());
    if cx.endpoints().iter().next().is_none() {
        return;
    }
    for rollback in run.upgrade.rollbacks() {
        let Some(kept) = run.kept.get(rollback.name()) else {
            continue;
        };
        let finalizing = rollback.finalize(&cx, kept);
        if let Err(error) = within_reach(&cx, "give up copies", finalizing).await {
            tracing::warn!(rollback = rollback.name(), ?error, "a copy may be left");
        }
    }
}

pub(super) async fn collect_logs(run: &mut Run<'_>, cx: &UpgradeContext) {
    // Those of a cancelled run say why it was cancelled.
    let cx = run
        .context(cx, Phase::Teardown, Duration::from_secs(10))
        .with_cancellation(CancellationToken::new());
    match within_reach(&cx, "read the logs", run.environment.logs(&cx, LOG_LINES)).await {
        Ok(logs) => run.report.logs = logs,
        Err(error) => tracing::warn!(%error, "the logs could not be read"),
    }
}

/// Gives back an environment in which nothing was done.
pub(super) async fn release(environment: Box<dyn Environment>, cx: &UpgradeContext) {
    let cx = cx
        .clone()
        .with_cancellation(CancellationToken::new())
        .with_phase(Phase::Teardown)
        .with_endpoints(environment.endpoints())
        .with_new_deadline(Instant::now() + Duration::from_secs(60));
    if let Err(error) = within_reach(&cx, "teardown", environment.teardown(&cx)).await {
        tracing::warn!(?error, "the environment was not removed");
    }
}

/// Teardown does not look at the cancellation, so that a cancelled run leaves nothing either.
pub(super) async fn teardown(
    environment: Box<dyn Environment>,
    cx: &UpgradeContext,
    plan: &Plan,
    report: &mut Report,
) -> Option<Error> {
    let step = plan.steps.iter().find(|step| step.action.ends())?;
    let title = step.action.to_string();
    cx.emit(Event::StepStarted {
        step: step.id,
        phase: step.phase,
        title,
    });
    let started = Instant::now();
    let deadline = started + Duration::from_millis(step.within_ms);
    let cx = cx
        .clone()
        .with_cancellation(CancellationToken::new())
        .with_phase(Phase::Teardown)
        .with_endpoints(environment.endpoints())
        .with_deadline(deadline);
    let result = within_reach(&cx, "teardown", environment.teardown(&cx)).await;
    let elapsed_ms = millis(started.elapsed());
    let error = result.err().map(|error| error.with_phase(Phase::Teardown));
    let outcome = match &error {
        None => StepOutcome::Done,
        Some(error) => StepOutcome::Error(Box::new(Failure::from(error))),
    };
    cx.emit(Event::StepFinished {
        step: step.id,
        outcome: outcome.clone(),
        elapsed_ms,
    });
    report.steps.push(recorded(step, outcome, elapsed_ms));
    error
}
