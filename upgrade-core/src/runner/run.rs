//! The loop over the steps of a plan, and what it remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use super::crash::Crashes;
use super::faults::{self, Faults};
use super::limit::{said, within_reach};
use super::look::Looks;
use super::record::recorded;
use super::rows::OwnRows;
use super::statements::Tried;
use super::traffic::Flow;
use super::unfilled::UnfilledTables;
use super::unjudged::Judged;
use super::{Runner, blame, end, rollback, step};
use crate::context::UpgradeContext;
use crate::environment::{EMPTY, Environment};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventHub, millis};
use crate::migration::{Migration, MigrationId, Status};
use crate::observation::Observation;
use crate::plan::{Action, OnFailure, Plan, Step};
use crate::report::{FoundIn, MigrationReport, Report, StepOutcome};
use crate::upgrade::Upgrade;
use crate::validator::{Finding, Verdict};
use crate::version::Phase;

/// What a run remembers between its steps.
pub(super) struct Run<'a> {
    pub(super) upgrade: &'a Upgrade,
    pub(super) environment: &'a dyn Environment,
    pub(super) plan: &'a Plan,
    pub(super) observations: BTreeMap<String, Observation>,
    pub(super) looks: Looks,
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
    /// Those of them that were there before this run applied them: it never rolls them back.
    pub(super) foreign: BTreeSet<MigrationId>,
    /// Whether the upgrade is final: nothing is rolled back any more.
    pub(super) finalized: bool,
    /// How many instances of services are those of the new release.
    pub(super) replaced: u32,
    /// What a rollback of this attempt has not restored, by the subjects of the findings.
    pub(super) drift: BTreeSet<String>,
    /// Whether the step that is under way has shown that the rest of its attempt has nothing to
    /// say, although nothing failed.
    pub(super) leaves_attempt: bool,
    /// Which steps were carried out.
    judged: Judged,
    /// The faults of services that have struck.
    pub(super) faults: Faults,
    /// Which statements of either release were refused.
    pub(super) tried: Tried,
    /// The rows that ups were seen to insert.
    pub(super) own_rows: OwnRows,
    /// The changes of [`Upgrade::expected_changes`] that were seen to happen, by their place.
    pub(super) happened: BTreeSet<usize>,
    /// The tables that should have rows and have none.
    pub(super) unfilled: UnfilledTables,
    pub(super) report: Report,
}

/// What is remembered of a state that is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct KeptState {
    /// The migrations that are applied in it, or begun; oldest first.
    applied: Vec<MigrationId>,
    /// Those of them that this run did not apply.
    foreign: BTreeSet<MigrationId>,
    /// The migration that was interrupted, if that is how the state came about.
    crashed: Option<MigrationId>,
    /// How many instances of services are those of the new release.
    replaced: u32,
}

impl Run<'_> {
    /// The migrations that are applied in a state that is kept.
    pub(super) fn applied_in(&self, label: &str) -> &[MigrationId] {
        let kept = self.snapshots.get(label);
        kept.map_or(&[], |kept| kept.applied.as_slice())
    }
}

/// How a step ended: a verdict, or an error that says why there is none.
pub(super) type StepResult = Result<Verdict>;

/// Whether an action changes nothing: whatever it finds, the next step begins with the same state.
fn only_looks(action: &Action) -> bool {
    matches!(
        action,
        Action::Validate
            | Action::Compare { .. }
            | Action::Inspect { .. }
            | Action::CheckRollback { .. }
            | Action::Settle { .. }
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
    /// Whether it did what it is for, whatever was found meanwhile: the state is the one that the
    /// next step begins with.
    arrived: bool,
}

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
        let mut run = Run {
            upgrade: &upgrade,
            environment: environment.as_ref(),
            plan,
            observations: BTreeMap::new(),
            looks: Looks::default(),
            snapshots: [(EMPTY.to_owned(), KeptState::default())].into(),
            crashes: Crashes::default(),
            crashed: None,
            prepared: None,
            applied: Vec::new(),
            foreign: BTreeSet::new(),
            finalized: false,
            replaced: 0,
            drift: BTreeSet::new(),
            leaves_attempt: false,
            judged: Judged::default(),
            faults: Faults::default(),
            tried: Tried::default(),
            own_rows: OwnRows::default(),
            happened: BTreeSet::new(),
            unfilled: UnfilledTables::default(),
            report: Report::begin(&upgrade, environment.name(), cx.run_id(), plan, reproduce),
        };
        let error = run.steps(&cx).await;
        run.report.unjudged = run.judged.unjudged(plan);
        if error.is_some() || run.report.steps.iter().any(|step| !step.outcome.is_done()) {
            end::collect_logs(&mut run, &cx).await;
        }
        if environment.capabilities().disposable {
            end::give_up_copies(&run, &cx).await;
        }
        let mut report = run.report;
        let error = end::teardown(environment, &cx, plan, &mut report)
            .await
            .or(error);
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
                left_out |= !skip && self.is_optional(&step.action);
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
            let on_failure = step.policy.on_failure;
            if outcome.is_done() || (on_failure == OnFailure::Continue && arrived) {
                continue;
            }
            ended = Some(step.attempt);
            self.judged.ended(step);
            faults::heal_all(self, cx).await;
            if on_failure == OnFailure::RollBack {
                rollback::automatic(self, cx, step, began.elapsed()).await;
            }
            if error.is_some() {
                return error;
            }
        }
        None
    }

    /// Whether a way back runs the downs.
    pub(super) fn goes_by_downs(&self, strategy: &str) -> bool {
        let mut all = self.upgrade.rollbacks().iter();
        all.any(|rollback| rollback.name() == strategy && rollback.requires_reversible())
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
            foreign: self.foreign.clone(),
            crashed: self.crashed.clone(),
            replaced: self.replaced,
        };
        self.snapshots.insert(label.to_owned(), state);
        self.looks.keep(label);
    }

    /// Goes back to what belongs to the state that was put back now.
    pub(super) fn put_back(&mut self, label: &str) {
        let kept = self.snapshots.get(label).cloned().unwrap_or_default();
        (self.applied, self.foreign) = (kept.applied, kept.foreign);
        (self.crashed, self.replaced) = (kept.crashed, kept.replaced);
        self.finalized = false;
        self.drift.clear();
    }

    /// A migration that is about to be applied. One that the system has applied, or begun, before
    /// this run did is not this run's to roll back.
    pub(super) async fn begin(
        &mut self,
        cx: &UpgradeContext,
        id: &MigrationId,
    ) -> Result<Arc<dyn Migration>> {
        let migration = step::migration(self, id)?;
        if !self.applied.contains(id) {
            if migration.status(cx).await? != Status::Pending {
                self.foreign.insert(id.clone());
            }
            self.applied.push(id.clone());
        }
        Ok(migration)
    }

    /// Refuses to undo what this run did not do.
    pub(super) fn not_ours(&self, migrations: &[MigrationId]) -> Option<Finding> {
        let is_ours = |id: &&MigrationId| self.applied.contains(id) && !self.foreign.contains(*id);
        let id = migrations.iter().find(|id| !is_ours(id))?;
        let message = "was not applied by this run, and a run undoes only what it did itself";
        Some(
            Finding::error("rollback-unsafe", format!("migration {id}"), message)
                .with_help("plan without what the system has applied: `Upgrade::without_applied`"),
        )
    }

    /// What was observed under a label.
    pub(super) fn observed(&self, label: &str) -> Result<&Observation> {
        self.observations.get(label).ok_or_else(|| {
            Error::new(
                ErrorKind::Internal,
                format!("no state was observed as `{label}`"),
            )
        })
    }

    /// Whether a step may be left out without a word: a crash that cannot be timed, and the ways
    /// out of a state that no crash has left, or that another one left, too.
    fn is_optional(&self, action: &Action) -> bool {
        match action {
            Action::Crash { .. } => true,
            Action::Restore { label } => {
                let of_crash = |step: &Step| matches!(&step.action, Action::Settle { label: left, .. } if left == label);
                self.plan.steps.iter().any(of_crash)
            }
            _ => false,
        }
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
        if let Some(flow) = flow {
            flow.end(self, &cx, step).await;
        }
        let arrived = match &result {
            Ok(Verdict::Pass) => true,
            Ok(Verdict::Fail(found)) => {
                only_looks(&step.action) || !found.iter().any(Finding::fails)
            }
            Ok(Verdict::Inconclusive(_)) => only_looks(&step.action),
            Err(_) => false,
        };
        let (outcome, error) = self.judge(&cx, step, result);
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
        let mut findings = cx.take_noticed();
        let unless_failed = match result {
            Ok(Verdict::Pass) => StepOutcome::Done,
            Ok(Verdict::Inconclusive(reason)) => StepOutcome::Inconclusive(reason),
            Ok(Verdict::Fail(found)) => {
                findings.extend(found);
                StepOutcome::Done
            }
            Err(error) => {
                for finding in findings {
                    self.found(cx, step, finding);
                }
                let error = error.with_phase(step.phase).with_context("step", step.id);
                return (StepOutcome::Error(format!("{error:?}")), Some(error));
            }
        };
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

    /// The report of a migration.
    pub(super) fn migration_report(&mut self, id: &MigrationId) -> Option<&mut MigrationReport> {
        self.report
            .migrations
            .iter_mut()
            .find(|migration| migration.id == *id)
    }
}
