//! The loop over the steps of a plan, and what it remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use super::crash::Crashes;
use super::{Runner, blame, rollback, step};
use crate::context::UpgradeContext;
use crate::environment::{EMPTY, Environment};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventHub, millis};
use crate::migration::{Migration, MigrationId};
use crate::observation::Observation;
use crate::plan::{Action, Plan, Step, StepId};
use crate::report::{self, CrashReport, FoundIn, MigrationReport, Report, StepOutcome, StepReport};
use crate::scenario::Scenario;
use crate::upgrade::Upgrade;
use crate::validator::{Finding, Verdict};
use crate::version::Phase;

/// How long a call into one of the traits may take to end after its time is over.
const GRACE: Duration = Duration::from_secs(10);

/// How many lines of each log a report keeps. Its text shows the few of them that matter.
const LOG_LINES: usize = 200;

/// What a run remembers between its steps.
pub(super) struct Run<'a> {
    pub(super) upgrade: &'a Upgrade,
    pub(super) environment: &'a dyn Environment,
    pub(super) plan: &'a Plan,
    pub(super) observations: BTreeMap<String, Observation>,
    /// The states that are kept.
    pub(super) snapshots: BTreeMap<String, KeptState>,
    /// What crashes have left.
    pub(super) crashes: Crashes,
    /// The migration that was interrupted last, until it is applied or undone.
    pub(super) crashed: Option<MigrationId>,
    /// The way back that is prepared, until it is given up, and how many migrations were applied
    /// when it was.
    pub(super) prepared: Option<(String, usize)>,
    /// The migrations that are applied, or begun, now; oldest first.
    pub(super) applied: Vec<MigrationId>,
    /// The label that was restored last.
    pub(super) restored: Option<String>,
    /// Whether users have written since then.
    pub(super) written: bool,
    /// The changes of [`Upgrade::expected_changes`] that were seen to happen, by their place.
    pub(super) happened: BTreeSet<usize>,
    pub(super) report: Report,
}

/// What is remembered of a state that is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct KeptState {
    /// The migrations that are applied in it, or begun; oldest first.
    applied: Vec<MigrationId>,
    /// The migration that was interrupted, if that is how the state came about.
    crashed: Option<MigrationId>,
}

/// How a step ended: a verdict, or an error that says why there is none.
pub(super) type StepResult = Result<Verdict>;

pub(super) async fn run(runner: Runner, cx: UpgradeContext, plan: &Plan) -> Result<Report> {
    let Runner {
        upgrade,
        environment,
        sinks,
        reproduce,
        ..
    } = runner;
    let cx = cx.with_events(EventHub::new(sinks));
    let span = tracing::info_span!(
        "run",
        run = %cx.run_id(),
        upgrade = upgrade.name(),
        scenario = plan.scenario.as_str(),
        seed = plan.seed,
    );
    async move {
        let started = Instant::now();
        cx.emit(Event::RunStarted {
            run: cx.run_id().clone(),
            plan: plan.clone(),
        });
        let mut run = Run {
            upgrade: &upgrade,
            environment: environment.as_ref(),
            plan,
            observations: BTreeMap::new(),
            snapshots: [(EMPTY.to_owned(), KeptState::default())].into(),
            crashes: Crashes::default(),
            crashed: None,
            prepared: None,
            applied: Vec::new(),
            restored: None,
            written: false,
            happened: BTreeSet::new(),
            report: blank(&upgrade, environment.name(), &cx, plan, reproduce),
        };
        let error = run.steps(&cx).await;
        if error.is_some() || run.report.steps.iter().any(|step| !step.outcome.is_done()) {
            run.collect_logs(&cx).await;
        }
        if environment.capabilities().snapshots {
            run.give_up_copies(&cx).await;
        }
        let mut report = run.report;
        let error = teardown(environment, &cx, plan, &mut report)
            .await
            .or(error);
        report.elapsed_ms = millis(started.elapsed());
        report.passed = error.is_none() && report.steps.iter().all(|step| step.outcome.is_done());
        cx.emit(Event::RunFinished {
            passed: report.passed,
            elapsed_ms: report.elapsed_ms,
        });
        match error {
            Some(error) => Err(error.with_report(report)),
            None => Ok(report),
        }
    }
    .instrument(span)
    .await
}

impl Run<'_> {
    /// All steps but the teardown. Answers with the error that ended the run early, if one did.
    async fn steps(&mut self, cx: &UpgradeContext) -> Option<Error> {
        let mut ended: Option<u32> = None;
        let mut left_out = false;
        let plan = self.plan;
        for step in plan
            .steps
            .iter()
            .filter(|step| step.action != Action::Teardown)
        {
            let skip = match ended {
                // Without attempt 0 nothing else makes sense.
                Some(0) => true,
                Some(attempt) => attempt == step.attempt,
                None => false,
            };
            if skip || !self.reachable(&step.action) {
                // A state that no crash has left, or that another one left too, needs no way out.
                left_out |= !skip && plan.scenario == Scenario::CrashAt;
                ended = ended.max(Some(step.attempt));
                if !left_out {
                    self.report
                        .steps
                        .push(recorded(step, StepOutcome::Skipped, 0));
                }
                continue;
            }
            ended = None;
            left_out = false;
            let began = Instant::now();
            let (outcome, error) = self.one(cx, step).await;
            if outcome.is_done() {
                continue;
            }
            ended = Some(step.attempt);
            if plan.scenario == Scenario::Straight {
                rollback::automatic(self, cx, step, began.elapsed()).await;
            }
            if error.is_some() {
                return error;
            }
        }
        None
    }

    /// Whether every migration is applied.
    pub(super) fn is_at_head(&self) -> bool {
        let all = self.upgrade.migrations();
        let done = |migration: &Arc<dyn Migration>| self.applied.contains(migration.id());
        !all.is_empty() && all.iter().all(done)
    }

    /// Remembers what belongs to the state that was kept now.
    pub(super) fn keep(&mut self, label: &str) {
        let state = KeptState {
            applied: self.applied.clone(),
            crashed: self.crashed.clone(),
        };
        self.snapshots.insert(label.to_owned(), state);
    }

    /// Goes back to what belongs to the state that was put back now.
    pub(super) fn put_back(&mut self, label: &str) {
        self.restored = Some(label.to_owned());
        self.written = false;
        let kept = self.snapshots.get(label).cloned();
        (self.applied, self.crashed) =
            kept.map_or_else(Default::default, |kept| (kept.applied, kept.crashed));
    }

    /// Whether the state that a step starts from was ever reached.
    fn reachable(&self, action: &Action) -> bool {
        match action {
            Action::Restore { label } => self.snapshots.contains_key(label),
            Action::Compare { with, .. } => self.observations.contains_key(with),
            Action::Crash {
                migration, moment, ..
            } => self.crashes.can_strike(migration, *moment),
            Action::Settle { before, after, .. } => [before, after]
                .into_iter()
                .all(|label| self.observations.contains_key(label)),
            _ => true,
        }
    }

    /// One step, told, timed, and kept within its budget.
    async fn one(&mut self, cx: &UpgradeContext, step: &Step) -> (StepOutcome, Option<Error>) {
        let title = step.action.to_string();
        cx.emit(Event::StepStarted {
            step: step.id,
            phase: step.phase,
            title: title.clone(),
        });
        let span = tracing::info_span!("step", id = step.id.0, phase = step.phase.as_str(), title);
        let started = Instant::now();
        let cx = self.context(cx, step.phase, Duration::from_millis(step.within_ms));
        // On the heap: a step is as large as the largest of what it may do.
        let performing = Box::pin(step::perform(self, &cx, step)).instrument(span);
        let result = AssertUnwindSafe(within_reach(&cx, &title, performing))
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| {
                Err(Error::new(
                    ErrorKind::Internal,
                    format!("a step panicked: {}", said(&*panic)),
                ))
            });
        let elapsed_ms = millis(started.elapsed());
        let result = with_noticed(result, cx.take_noticed());
        let (outcome, error) = self.judge(&cx, step, result);
        cx.emit(Event::StepFinished {
            step: step.id,
            outcome: outcome.clone(),
            elapsed_ms,
        });
        self.report
            .steps
            .push(recorded(step, outcome.clone(), elapsed_ms));
        (outcome, error)
    }

    fn judge(
        &mut self,
        cx: &UpgradeContext,
        step: &Step,
        result: StepResult,
    ) -> (StepOutcome, Option<Error>) {
        match result {
            Ok(Verdict::Pass) => (StepOutcome::Done, None),
            Ok(Verdict::Inconclusive(reason)) => (StepOutcome::Inconclusive(reason), None),
            Ok(Verdict::Fail(findings)) => {
                let fails = findings.iter().any(Finding::fails);
                for finding in findings {
                    self.found(cx, step, finding);
                }
                (
                    if fails {
                        StepOutcome::Failed
                    } else {
                        StepOutcome::Done
                    },
                    None,
                )
            }
            Err(error) => {
                let error = error.with_phase(step.phase).with_context("step", step.id);
                (StepOutcome::Error(format!("{error:?}")), Some(error))
            }
        }
    }

    /// Records a finding, with the migration that it blames.
    pub(super) fn found(&mut self, cx: &UpgradeContext, step: &Step, mut finding: Finding) {
        finding.blames = finding.blames.or_else(|| blame::blame(self, step));
        cx.emit(Event::FindingRaised {
            step: step.id,
            finding: finding.clone(),
        });
        self.report.findings.push(FoundIn {
            step: step.id,
            phase: step.phase,
            title: step.action.to_string(),
            finding,
        });
    }

    /// The context of a call: where we are, how long it may take, what can be reached.
    pub(super) fn context(
        &self,
        cx: &UpgradeContext,
        phase: Phase,
        within: Duration,
    ) -> UpgradeContext {
        let deadline = Instant::now() + within;
        cx.clone()
            .with_upgraded(self.is_at_head() && self.crashed.is_none())
            .with_phase(phase)
            .with_deadline(deadline)
            .with_endpoints(self.environment.endpoints())
    }

    pub(super) fn migration_report(&mut self, id: &MigrationId) -> Option<&mut MigrationReport> {
        self.report
            .migrations
            .iter_mut()
            .find(|migration| migration.id == *id)
    }

    /// In staging nothing has to be kept for a person who wants to go back later. On a real system
    /// what a way back keeps stays until it is given up on purpose.
    async fn give_up_copies(&self, cx: &UpgradeContext) {
        let cx = self
            .context(cx, Phase::Teardown, Duration::from_secs(60))
            .with_cancellation(tokio_util::sync::CancellationToken::new());
        if cx.endpoints().iter().next().is_none() {
            return;
        }
        for rollback in self.upgrade.rollbacks() {
            if let Err(error) = within_reach(&cx, "give up copies", rollback.finalize(&cx)).await {
                tracing::warn!(rollback = rollback.name(), ?error, "a copy may be left");
            }
        }
    }

    async fn collect_logs(&mut self, cx: &UpgradeContext) {
        let cx = self.context(cx, Phase::Teardown, Duration::from_secs(10));
        match within_reach(&cx, "read the logs", self.environment.logs(&cx, LOG_LINES)).await {
            Ok(logs) => self.report.logs = logs,
            Err(error) => tracing::warn!(%error, "the logs could not be read"),
        }
    }
}

/// Adds what an implementation has noticed to what its call came to. An error says more than a
/// finding: it stays.
fn with_noticed(result: StepResult, noticed: Vec<Finding>) -> StepResult {
    if noticed.is_empty() {
        return result;
    }
    match result? {
        Verdict::Fail(findings) => Ok(Verdict::Fail(noticed.into_iter().chain(findings).collect())),
        Verdict::Pass | Verdict::Inconclusive(_) => Ok(Verdict::Fail(noticed)),
    }
}

/// Waits for a call into one of the traits. Each has to end at its deadline and on cancellation by
/// itself, and is the one that can do so in order; one that does not is given up a little later,
/// so that no implementation can hold the run for ever.
pub(super) async fn within_reach<T>(
    cx: &UpgradeContext,
    what: &str,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    let over = async {
        let deadline = async {
            match cx.deadline() {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cx.cancellation().cancelled() => {}
            () = deadline => {}
        }
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        result = call => result,
        () = over => {
            let (kind, when) = if cx.cancellation().is_cancelled() {
                (ErrorKind::Cancelled, "the cancellation")
            } else {
                (ErrorKind::Timeout, "its deadline")
            };
            let message = format!("`{what}` still ran {GRACE:?} after {when} and was given up");
            Err(Error::new(kind, message)
                .with_hint("every wait in it has to end with `UpgradeContext::bounded`"))
        }
    }
}

/// Teardown does not look at the cancellation, so that a cancelled run leaves nothing either.
async fn teardown(
    environment: Box<dyn Environment>,
    cx: &UpgradeContext,
    plan: &Plan,
    report: &mut Report,
) -> Option<Error> {
    let step = plan
        .steps
        .iter()
        .find(|step| step.action == Action::Teardown)?;
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
        .with_cancellation(tokio_util::sync::CancellationToken::new())
        .with_phase(Phase::Teardown)
        .with_endpoints(environment.endpoints())
        .with_deadline(deadline);
    let result = within_reach(&cx, "teardown", environment.teardown(&cx)).await;
    let elapsed_ms = millis(started.elapsed());
    let error = result.err().map(|error| error.with_phase(Phase::Teardown));
    let outcome = match &error {
        None => StepOutcome::Done,
        Some(error) => StepOutcome::Error(format!("{error:?}")),
    };
    cx.emit(Event::StepFinished {
        step: step.id,
        outcome: outcome.clone(),
        elapsed_ms,
    });
    report.steps.push(recorded(step, outcome, elapsed_ms));
    error
}

fn recorded(step: &Step, outcome: StepOutcome, elapsed_ms: u64) -> StepReport {
    StepReport {
        id: step.id,
        attempt: step.attempt,
        phase: step.phase,
        title: step.action.to_string(),
        outcome,
        elapsed_ms,
        within_ms: step.within_ms,
    }
}

fn blank(
    upgrade: &Upgrade,
    environment: &str,
    cx: &UpgradeContext,
    plan: &Plan,
    reproduce: Option<String>,
) -> Report {
    let touched = plan.migrations();
    Report {
        format: report::FORMAT,
        run: cx.run_id().clone(),
        name: plan.name.clone(),
        scenario: plan.scenario,
        environment: environment.to_owned(),
        from: plan.from.clone(),
        to: plan.to.clone(),
        seed: plan.seed,
        passed: false,
        rows: 0,
        tables: 0,
        steps: Vec::new(),
        migrations: upgrade
            .migrations()
            .iter()
            .filter(|migration| touched.contains(&migration.id()))
            .map(|migration| MigrationReport {
                id: migration.id().clone(),
                checksum: migration.checksum().to_string(),
                reversible: migration.reversibility().is_reversible(),
                applied: 0,
                crashed: 0,
                crash: CrashReport::default(),
                reverted: 0,
                rolled_back: 0,
                slowest_apply_ms: 0,
            })
            .collect(),
        rollbacks: Vec::new(),
        findings: Vec::new(),
        logs: Vec::new(),
        reproduce,
        elapsed_ms: 0,
    }
}

/// What a panic said.
pub(super) fn said(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "nothing that could be read".to_owned())
}

/// The step that a finding belongs to when no step of the plan raised it.
pub(super) fn beside(step: &Step, phase: Phase, action: Action) -> Step {
    Step {
        id: StepId(step.id.0),
        attempt: step.attempt,
        phase,
        action,
        within_ms: step.within_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_never_ends_is_given_up_and_one_that_ends_late_is_heard() {
        let limit = Duration::from_secs(3);
        let cx = || UpgradeContext::new("1", "2").with_deadline(Instant::now() + limit);
        let never = std::future::pending::<Result<()>>();
        let error = within_reach(&cx(), "validate", never).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(
            error.to_string().contains("`validate` still ran"),
            "{error}"
        );
        let late = async {
            tokio::time::sleep(limit + GRACE / 2).await;
            Ok(7)
        };
        assert_eq!(within_reach(&cx(), "clean up", late).await.unwrap(), 7);
        let cancelled = cx();
        cancelled.cancellation().cancel();
        let never = std::future::pending::<Result<()>>();
        let error = within_reach(&cancelled, "apply", never).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}
