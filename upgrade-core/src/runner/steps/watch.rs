//! The new release under the eyes of a policy, while users work with it.

use std::collections::BTreeMap;
use std::iter;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::validate::run_all;
use crate::context::UpgradeContext;
use crate::error::{ErrorKind, Result};
use crate::event::Event;
use crate::finding::Finding;
use crate::ids::Version;
use crate::plan::Step;
use crate::rollback::Estimate;
use crate::runner::deadline::within_reach;
use crate::runner::run::StepResult;
use crate::runner::state::Run;
use crate::validator::{Validator, Verdict};
use crate::watch::{Decider, Decision, Rule, SERVICES, Seen, WatchPolicy};

/// How long one evaluation of a check may take at least.
const PATIENCE: Duration = Duration::from_secs(10);

/// Evaluates every check, again and again, until the policy decides. A person is asked by
/// [`Verdict::Inconclusive`], and a rollback is a failure.
pub(in crate::runner) async fn watch(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    policy: &WatchPolicy,
) -> StepResult {
    let upgrade = run.upgrade;
    let has_services = run.environment.services().is_some();
    let validators = upgrade.validators();
    let names = validators.iter().map(|validator| validator.name());
    let names: Vec<&str> = names.chain(has_services.then_some(SERVICES)).collect();
    let mut decider = Decider::new(policy.clone(), names)?;
    let begun = Instant::now();
    let every = Duration::from_millis(policy.every_ms);
    // Since when each check that does not hold has not held.
    let mut failing: BTreeMap<&str, Instant> = BTreeMap::new();
    let mut round = begun;
    loop {
        for check in validators
            .iter()
            .map(Some)
            .chain(has_services.then_some(None))
        {
            let evaluated = cx
                .clone()
                .with_deadline(Instant::now() + every.max(PATIENCE));
            let (name, seen) = match check {
                Some(validator) => {
                    let name = validator.name();
                    let judging = run_all(&evaluated, iter::once(validator));
                    let judged = within_reach(&evaluated, name, judging).await;
                    (name, seen(run, step, judged))
                }
                None => (SERVICES, services_run(run, &evaluated).await),
            };
            if cx.cancellation().is_cancelled() {
                return Ok(ended_early());
            }
            match seen {
                Seen::Fail(_) => {
                    failing.entry(name).or_insert_with(Instant::now);
                }
                Seen::Pass => {
                    failing.remove(name);
                }
                Seen::Inconclusive(_) | Seen::Error(_) => {}
            }
            decider.observe(begun.elapsed(), name, seen)?;
            if let Decision::RollBack { reason } = decider.decision(begun.elapsed()) {
                run.detected = failing.get(name).map(Instant::elapsed);
                return Ok(Verdict::Fail(vec![Finding::error(
                    "watch/failed",
                    format!("release {}", run.plan.to),
                    reason,
                )]));
            }
        }
        predict(run, cx, policy).await;
        match decider.decision(begun.elapsed()) {
            Decision::Done => return Ok(Verdict::Pass),
            Decision::Ask { reason } => return Ok(Verdict::Inconclusive(reason)),
            _ => {}
        }
        round = (round + every).max(Instant::now());
        match cx
            .bounded("watch the new release", sleep_until(round))
            .await
        {
            Err(error) if error.kind() == ErrorKind::Cancelled => return Ok(ended_early()),
            waited => waited?,
        }
    }
}

fn ended_early() -> Verdict {
    Verdict::Inconclusive("the watch was ended before its time was over".to_owned())
}

/// What a check has seen: warnings, and findings that the team accepts, are no failures.
fn seen(run: &mut Run<'_>, step: &Step, result: Result<Verdict>) -> Seen {
    match result {
        Ok(Verdict::Pass) => Seen::Pass,
        Ok(Verdict::Fail(found)) => {
            let mut weighed = found.into_iter().map(|finding| run.weighed(step, finding));
            match weighed.find(Finding::fails) {
                Some(Finding {
                    subject, message, ..
                }) => Seen::Fail(format!("{subject}: {message}")),
                None => Seen::Pass,
            }
        }
        Ok(Verdict::Inconclusive(reason)) => Seen::Inconclusive(reason),
        Err(error) => Seen::Error(error.to_string()),
    }
}

/// Whether every service runs the new release.
async fn services_run(run: &Run<'_>, cx: &UpgradeContext) -> Seen {
    let Some(services) = run.environment.services() else {
        return Seen::Pass;
    };
    let running = match within_reach(cx, "look at the services", services.running(cx)).await {
        Ok(running) => running,
        Err(error) => return Seen::Error(error.to_string()),
    };
    if running.is_empty() {
        return Seen::Inconclusive("it is not known which release the services run".to_owned());
    }
    let to = &run.plan.to;
    match running
        .iter()
        .find(|(_, release)| release.as_ref() != Some(to))
    {
        Some((name, release)) => {
            let runs = release.as_ref().map_or("no release", Version::as_str);
            Seen::Fail(format!("service `{name}` runs {runs}, not {to}"))
        }
        None => Seen::Pass,
    }
}

/// Tells how long a rollback would take now, where rehearsals have measured it.
async fn predict(run: &Run<'_>, cx: &UpgradeContext, policy: &WatchPolicy) {
    let (Some((strategy, _)), false) = (&run.prepared, run.timings.is_empty()) else {
        return;
    };
    let cx = cx.clone().with_deadline(Instant::now() + PATIENCE);
    let Ok(Some(bytes)) = within_reach(&cx, "read the size", run.environment.size(&cx)).await
    else {
        return;
    };
    let within_ms = run.plan.rollback_within_ms;
    if let Some(mut estimate) = Estimate::new(&run.timings, strategy, bytes, within_ms) {
        estimate.detect_ms = slowest_detection(policy);
        cx.emit(Event::RollbackPredicted { estimate });
    }
}

/// How long a failure lasts, at most, before the policy rolls back; in milliseconds.
fn slowest_detection(policy: &WatchPolicy) -> u64 {
    let limits = policy.rules.iter().filter_map(|rule| match rule {
        Rule::RollBack { failed, .. } => Some(u64::from(failed.times)),
        _ => None,
    });
    limits.max().unwrap_or(0).saturating_mul(policy.every_ms)
}
