//! The loop over the steps of a plan.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::deadline::within_reach;
use super::judge::blame;
use super::record::recorded;
use super::state::Run;
use super::steps::requests::Flow;
use super::steps::{self, rollback, service_faults};
use super::{Runner, claim, end};
use crate::context::UpgradeContext;
use crate::environment::EMPTY;
use crate::error::{Error, ErrorKind, Failure, Result};
use crate::event::{Event, EventHub, millis};
use crate::finding::{Finding, KnownFinding, Severity, is_meant};
use crate::measurement::{Attachment, Measurement};
use crate::outcome::StepOutcome;
use crate::plan::{Action, OnFailure, Plan, Step};
use crate::report::{AttachedIn, FoundIn, MeasuredIn, Report};
use crate::validator::Verdict;

/// How a step ended: a verdict, or an error that says why there is none.
pub(super) type StepResult = Result<Verdict>;

/// Whether an action only judges: whatever it finds, the next step begins with the same state.
fn only_judges(action: &Action) -> bool {
    matches!(
        action,
        Action::Validate
            | Action::Judge { .. }
            | Action::Compare { .. }
            | Action::Inspect { .. }
            | Action::CheckRollback { .. }
            | Action::JudgeCrash { .. }
            | Action::Watch { .. }
            | Action::SideBySide { .. }
    )
}

/// A verdict that keeps what does not fail, too, so that it is reported.
pub(super) fn verdict(findings: Vec<Finding>) -> Verdict {
    if findings.is_empty() {
        Verdict::Pass
    } else {
        Verdict::Fail(findings)
    }
}

/// How a step ended.
struct Ended {
    outcome: StepOutcome,
    /// The error that ends the run.
    error: Option<Error>,
    /// Whether the step did its work, whatever it found: the system is in the state that the next
    /// step begins with.
    arrived: bool,
}

pub(super) async fn run(runner: Runner, cx: UpgradeContext, plan: &Plan) -> Result<Report> {
    let Runner {
        upgrade,
        environment,
        sinks,
        reproduce,
        journal,
        standing,
        claims,
        world,
        consent,
        timings,
        ..
    } = runner;
    let cx = cx.with_events(EventHub::new(sinks));
    let span = tracing::info_span!(
        "run",
        run = %cx.run_id(),
        plan = %plan.title(),
        seed = plan.seed,
    );
    async move {
        let checked = upgrade.outline_in(environment.as_ref());
        if let Err(error) = checked.and_then(|outline| plan.check(&outline)) {
            end::release(environment, &cx).await;
            return Err(error);
        }
        let started = Instant::now();
        cx.emit(Event::RunStarted {
            run: cx.run_id().clone(),
            plan: plan.clone(),
        });
        let report = Report::begin(&upgrade, environment.name(), cx.run_id(), plan, reproduce);
        let mut run = Run::new(&upgrade, environment.as_ref(), plan, report);
        run.go_on_from(standing);
        (run.journal, run.claims) = (journal, claims);
        (run.world, run.consent, run.timings) = (world, consent, timings);
        let error = match run.write_plan(&cx).await {
            Ok(()) => run.steps(&cx).await,
            Err(error) => Some(error),
        };
        run.report.unjudged = run.judged.unjudged(plan);
        if error.is_none() {
            run.stale(&cx);
        }
        if error.is_some() || run.report.steps.iter().any(|step| !step.outcome.is_done()) {
            end::collect_logs(&mut run, &cx).await;
        }
        if environment.is_disposable() {
            end::give_up_copies(&run, &cx).await;
        }
        let released = claim::release_if_over(&run, &cx).await;
        let mut report = run.report;
        let error = end::teardown(environment, &cx, plan, &mut report)
            .await
            .or(error)
            .or(released.err());
        report.elapsed_ms = millis(started.elapsed());
        report.passed = error.is_none() && report.steps.iter().all(|step| step.outcome.is_done());
        cx.emit(Event::RunFinished {
            passed: report.passed,
            elapsed_ms: report.elapsed_ms,
        });
        let report = cx.secrets().redact_data(report).ok_or_else(|| {
            Error::new(
                ErrorKind::Internal,
                "the secrets of the run could not be taken out of its report",
            )
        })?;
        match error {
            Some(error) => Err(error.redacted(cx.secrets()).with_report(report)),
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
        for step in plan.steps.iter().filter(|step| !step.action.ends()) {
            self.forget(cx, step).await;
            let skip = match ended {
                // Without attempt 0 nothing else makes sense.
                Some(0) => true,
                Some(attempt) => attempt == step.attempt,
                None => false,
            };
            if !skip
                && let Action::Restore { label } = &step.action
                && !self.snapshots.contains_key(label)
            {
                steps::rebuild::state(self, cx, step, label).await;
            }
            if skip || !self.reachable(&step.action) {
                // A state that no crash has left, or that another one left too, needs no way out;
                // nor does one that a known finding has kept from being reached.
                left_out |= !skip && (self.lacks_states || self.is_optional(&step.action));
                if ended != Some(0) {
                    ended = Some(step.attempt);
                }
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
            let Ended {
                outcome,
                error,
                arrived,
            } = self.one(cx, step).await;
            self.judged.carried_out(step);
            if std::mem::take(&mut self.leaves_attempt) && outcome.is_done() {
                (ended, left_out) = (Some(step.attempt), true);
                continue;
            }
            if arrived && outcome.is_done() {
                self.write_reached(cx, step).await;
            }
            let on_failure = step.policy.on_failure;
            if arrived && (outcome.is_done() || on_failure == OnFailure::Continue) {
                continue;
            }
            if outcome.is_done() {
                // What is known has failed. It fails no run, and what follows from it is not judged.
                (ended, left_out, self.lacks_states) = (Some(step.attempt), true, true);
                self.judged.ended(step);
                continue;
            }
            ended = Some(step.attempt);
            self.judged.ended(step);
            service_faults::recover_all(self, cx).await;
            // A watch that is not sure asks, and never rolls back.
            let is_sure =
                !matches!(step.action, Action::Watch { .. }) || outcome == StepOutcome::Failed;
            if on_failure == OnFailure::RollBack && is_sure {
                let detected = self.detected.take().unwrap_or_else(|| began.elapsed());
                rollback::automatic(self, cx, step, detected).await;
            }
            if error.is_some() {
                return error;
            }
        }
        None
    }

    /// Whether a step may be skipped silently: a crash that cannot be timed, and the ways out of a
    /// state that no crash has left, or that another one left, too.
    fn is_optional(&self, action: &Action) -> bool {
        match action {
            Action::Crash { .. } => true,
            Action::Restore { label } => {
                let of_crash = |step: &Step| matches!(&step.action, Action::JudgeCrash { label: left, .. } if left == label);
                self.plan.steps.iter().any(of_crash)
            }
            _ => false,
        }
    }

    /// Gives up the states that no step from this one on needs.
    async fn forget(&mut self, cx: &UpgradeContext, step: &Step) {
        let Some(snapshots) = self.environment.snapshots() else {
            return;
        };
        let still = self.last_needed.split_off(&step.id);
        let over = std::mem::replace(&mut self.last_needed, still);
        for label in over.into_values().flatten() {
            if self.snapshots.remove(&label).is_none() || label == EMPTY {
                continue;
            }
            let cx = self.context(cx, step.phase, Duration::from_secs(60));
            let forgetting = snapshots.forget(&cx, &label);
            if let Err(error) = within_reach(&cx, "give up a state", forgetting).await {
                tracing::warn!(?error, label, "a state is kept until the teardown");
            }
        }
    }

    /// Whether the state that a step starts from was ever reached.
    fn reachable(&self, action: &Action) -> bool {
        match action {
            Action::Restore { label } => self.snapshots.contains_key(label),
            Action::Compare { with, .. } => self.observations.contains_key(with),
            Action::Crash {
                migration, moment, ..
            } => self.crashes.can_crash(migration, *moment),
            Action::JudgeCrash { before, after, .. } => [before, after]
                .into_iter()
                .all(|label| self.observations.contains_key(label)),
            _ => true,
        }
    }

    /// One step, told, timed, and kept within its budget.
    async fn one(&mut self, cx: &UpgradeContext, step: &Step) -> Ended {
        let title = step.action.to_string();
        cx.emit(Event::StepStarted {
            step: step.id,
            phase: step.phase,
            title: title.clone(),
        });
        let span = tracing::info_span!("step", id = step.id.0, phase = step.phase.as_str(), title);
        let started = Instant::now();
        self.looks.begin(&step.action);
        let within = match step.action {
            Action::RollBack { .. } => rollback::time_for(step.within_ms),
            _ => Duration::from_millis(step.within_ms),
        };
        let cx = self
            .context(cx, step.phase, within)
            .with_attempt(step.attempt);
        let flow = Flow::begin(self, &cx, step);
        let intent = self.write_intent(&cx, step).await;
        let (intent, result) = match intent {
            Ok(intent) => {
                // On the heap: a step is as large as the largest of what it may do.
                let performing = Box::pin(steps::perform(self, &cx, step)).instrument(span);
                (Some(intent), within_reach(&cx, &title, performing).await)
            }
            Err(error) => (None, Err(error)),
        };
        let elapsed_ms = millis(started.elapsed());
        if let Some(flow) = flow {
            flow.end(self, &cx, step).await;
        }
        let arrived = match &result {
            Ok(Verdict::Pass) => true,
            Ok(Verdict::Fail(found)) => {
                only_judges(&step.action) || !found.iter().any(Finding::fails)
            }
            Ok(Verdict::Inconclusive(_)) => only_judges(&step.action),
            Err(_) => false,
        };
        let (mut outcome, mut error) = self.judge(&cx, step, result);
        if let Some(intent) = intent
            && let Err(unwritten) = self.write_end(&cx, step, intent, &outcome).await
            && error.is_none()
        {
            outcome = StepOutcome::Error(Box::new(Failure::from(&unwritten)));
            error = Some(unwritten);
        }
        // The step did what it is for, and what comes after it is judged all the same.
        let reported = match (self.unfilled.take_reason(), &outcome) {
            (Some(reason), StepOutcome::Done) => StepOutcome::Inconclusive(reason),
            _ => outcome.clone(),
        };
        cx.emit(Event::StepFinished {
            step: step.id,
            outcome: reported.clone(),
            elapsed_ms,
        });
        self.report.steps.push(recorded(step, reported, elapsed_ms));
        Ended {
            outcome,
            error,
            arrived,
        }
    }

    /// What a step came to: its verdict, and what was noticed on the way, also before an error.
    pub(super) fn judge(
        &mut self,
        cx: &UpgradeContext,
        step: &Step,
        result: StepResult,
    ) -> (StepOutcome, Option<Error>) {
        let noticed = cx.take_noticed();
        self.record(cx, step, noticed.measurements, noticed.attachments);
        let mut findings = noticed.findings;
        let unless_failed = match result {
            Ok(Verdict::Pass) => StepOutcome::Done,
            Ok(Verdict::Inconclusive(reason)) => StepOutcome::Inconclusive(reason),
            Ok(Verdict::Fail(found)) => {
                findings.extend(found);
                StepOutcome::Done
            }
            Err(error) => {
                for finding in findings {
                    let finding = self.weighed(step, finding);
                    self.found(cx, step, finding);
                }
                let error = error.with_phase(step.phase).with_context("step", step.id);
                return (
                    StepOutcome::Error(Box::new(Failure::from(&error))),
                    Some(error),
                );
            }
        };
        let findings: Vec<Finding> = findings
            .into_iter()
            .map(|finding| self.weighed(step, finding))
            .collect();
        let fails = findings.iter().any(Finding::fails);
        for finding in findings {
            self.found(cx, step, finding);
        }
        let outcome = if fails {
            StepOutcome::Failed
        } else {
            unless_failed
        };
        (outcome, None)
    }

    /// A finding with the migration that it blames, as the upgrade has it weigh: an error where its
    /// id is denied, accepted where it is known.
    pub(super) fn weighed(&mut self, step: &Step, mut finding: Finding) -> Finding {
        finding.blames = finding.blames.or_else(|| blame::blame(self, step));
        if finding.severity == Severity::Warning && self.is_denied(&finding.id) {
            finding.severity = Severity::Error;
        }
        for (known, found) in &mut self.known {
            if known.matches(&finding) {
                *found = true;
                finding.known.get_or_insert_with(|| known.reason.clone());
            }
        }
        finding
    }

    /// Whether a known finding can be found here: not where its migration is released, as in a test of
    /// a later release. What is known of the history is about released files.
    fn concerns(&self, known: &KnownFinding) -> bool {
        let mut released = self.upgrade.released().iter();
        known.id.starts_with("history/")
            || !released.any(|migration| {
                let files = migration.files();
                let subject = format!("migration {}", migration.id());
                known.subject.as_ref() == Some(&subject)
                    || [files.up, files.down]
                        .into_iter()
                        .flatten()
                        .any(|file| known.is_in(&file))
            })
    }

    fn is_denied(&self, id: &str) -> bool {
        let mut denied = self.upgrade.denied().iter();
        denied.any(|named| is_meant(named, id))
    }

    /// Reports what is known and was not found, with the last step that was carried out. Where
    /// something failed, or a state was not reached because of what is known, it might have been
    /// found later.
    fn stale(&mut self, cx: &UpgradeContext) {
        let passed = self.report.steps.iter().all(|step| step.outcome.is_done());
        if !passed || self.lacks_states {
            return;
        }
        let stale = self
            .known
            .iter()
            .filter(|(known, found)| !found && known.must_be_found() && self.concerns(known));
        let stale: Vec<Finding> = stale
            .map(|(known, _)| {
                let subject = known.subject.clone().unwrap_or_else(|| known.id.clone());
                let message = format!("`{}` is known here, and was not found", known.id);
                Finding::error("declared/known-not-found", subject, message)
            })
            .collect();
        if stale.is_empty() {
            return;
        }
        let Some(last) = self.report.steps.last_mut() else {
            return;
        };
        let mut steps = self.plan.steps.iter();
        let Some(step) = steps.find(|step| step.id == last.id) else {
            return;
        };
        last.outcome = StepOutcome::Failed;
        let elapsed_ms = last.elapsed_ms;
        for finding in stale {
            self.found(cx, step, finding);
        }
        cx.emit(Event::StepFinished {
            step: step.id,
            outcome: StepOutcome::Failed,
            elapsed_ms,
        });
    }

    /// Records what validators measured and attached.
    fn record(
        &mut self,
        cx: &UpgradeContext,
        step: &Step,
        measurements: Vec<Measurement>,
        attachments: Vec<Attachment>,
    ) {
        let (id, phase) = (step.id, step.phase);
        for measurement in measurements {
            cx.emit(Event::Measured {
                step: id,
                measurement: measurement.clone(),
            });
            self.report.measurements.push(MeasuredIn {
                step: id,
                phase,
                measurement,
            });
        }
        for attachment in attachments {
            cx.emit(Event::Attached {
                step: id,
                attachment: attachment.clone(),
            });
            self.report.attachments.push(AttachedIn {
                step: id,
                phase,
                attachment,
            });
        }
    }

    /// Records a finding.
    pub(super) fn found(&mut self, cx: &UpgradeContext, step: &Step, finding: Finding) {
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
}
