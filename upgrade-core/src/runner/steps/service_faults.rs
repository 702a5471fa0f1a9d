//! Faults of services on the way, and whether the system recovers.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::context::UpgradeContext;
use crate::environment::ServiceFaults;
use crate::error::{Error, ErrorKind, Result};
use crate::fault::ServiceFault;
use crate::finding::Finding;
use crate::outcome::Outcome;
use crate::plan::{Action, Step};
use crate::report::StepOutcome;
use crate::runner::deadline::{in_time, within_reach};
use crate::runner::run::StepResult;
use crate::runner::state::Run;
use crate::runner::steps::services::why;
use crate::validator::Verdict;

/// What is remembered of faults.
#[derive(Debug, Default)]
pub(in crate::runner) struct Faults {
    /// Those that were not recovered from yet.
    there: Vec<ServiceFault>,
    /// The last one that was recovered from, until the system is observed.
    recovered: Option<ServiceFault>,
}

impl Faults {
    /// Something else happens: what is wrong from now on need not be the last fault's.
    pub(in crate::runner) fn moved_on(&mut self) {
        self.recovered = None;
    }
}

/// Injects a fault, and lets users go on with it for a while.
pub(in crate::runner) async fn inject(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    fault: &ServiceFault,
    lasts: Duration,
) -> StepResult {
    // what fails halfway is to be recovered from, too.
    run.faults.there.push(fault.clone());
    service_faults(run)?.inject(cx, fault).await?;
    tokio::select! {
        () = tokio::time::sleep(lasts) => Ok(Verdict::Pass),
        () = cx.cancellation().cancelled() => {
            Err(Error::new(ErrorKind::Cancelled, "cancelled while a fault was there"))
        }
    }
}

fn service_faults<'r>(run: &'r Run<'_>) -> Result<&'r dyn ServiceFaults> {
    run.has(run.environment.service_faults(), "faults of services")
}

/// Undoes a fault. A service that does not come back from it is a defect of the release.
pub(in crate::runner) async fn recover(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    fault: &ServiceFault,
) -> StepResult {
    match in_time(service_faults(run)?.recover(cx, fault).await)? {
        Outcome::Done | Outcome::NothingToDo => {
            run.faults.there.retain(|there| there != fault);
            run.faults.recovered = Some(fault.clone());
            Ok(Verdict::Pass)
        }
        Outcome::Failed(failure) => {
            let message = format!(
                "does not get ready again after `{fault}`: {}",
                why(&failure)
            );
            let finding = Finding::error("service/not-recovered", fault.target(), message);
            Ok(Verdict::Fail(vec![
                finding.with_evidence(format!("{failure:#}")),
            ]))
        }
    }
}

/// Recovers from what an attempt that has ended leaves, as far as it can be: what cannot is put back with
/// the state, or removed.
pub(in crate::runner) async fn recover_all(run: &mut Run<'_>, cx: &UpgradeContext) {
    run.faults.recovered = None;
    for fault in std::mem::take(&mut run.faults.there).iter().rev() {
        // A cancelled run recovers as well: what is rolled back next has to work.
        let cx = run
            .context(cx, cx.phase(), Duration::from_secs(60))
            .with_cancellation(CancellationToken::new());
        let recovering = async {
            let recovered = service_faults(run)?.recover(&cx, fault).await?;
            recovered.into_result()
        };
        if let Err(error) = within_reach(&cx, "recover from a fault", recovering).await {
            tracing::warn!(%fault, ?error, "a fault was not recovered from");
        }
    }
}

/// After a look at the system: what fails now, and did not before the fault, it has done.
pub(in crate::runner) fn judge(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    verdict: &StepResult,
) {
    let Some(fault) = run.faults.recovered.take() else {
        return;
    };
    let looks = |id| {
        let mut steps = run.plan.steps.iter();
        steps.any(|step| step.id == id && step.action == Action::Validate)
    };
    let mut before = run.report.steps.iter().rev();
    let last_look = before.find(|step| looks(step.id));
    let held = last_look.is_some_and(|step| step.outcome == StepOutcome::Done);
    if let Ok(Verdict::Fail(found)) = verdict
        && held
    {
        let weighed = found
            .iter()
            .map(|finding| run.weighed(step, finding.clone()));
        let count = weighed.filter(Finding::fails).count();
        if count > 0 {
            let message = format!(
                "{count} things are wrong since `{fault}` was recovered from, and were not before it was injected"
            );
            cx.notice(Finding::error(
                "service/not-recovered",
                fault.target(),
                message,
            ));
        }
    }
}
