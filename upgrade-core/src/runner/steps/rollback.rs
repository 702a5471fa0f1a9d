//! A rollback by the clock: detect, decide, act, verify, against one budget.

use std::time::Duration;

use tokio::time::Instant;

use super::validate::validate;
use super::{refuse_without_consent, strategy_named};
use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::{ErrorKind, Result};
use crate::event::{Event, millis};
use crate::expected::MadeBy;
use crate::finding::Finding;
use crate::ids::Phase;
use crate::migration::MigrationId;
use crate::observation::Scope;
use crate::outcome::{Outcome, RollbackReport};
use crate::plan::{Action, BASELINE, Policy, Step, StepId, past};
use crate::rollback::{Loss, Rollback, RollbackRequest, Safety};
use crate::runner::compare::declared;
use crate::runner::compare::differences;
use crate::runner::compare::rows::{self, BACK};
use crate::runner::deadline::within_reach;
use crate::runner::judge::{Counts, Difference, Ground};
use crate::runner::record::recorded;
use crate::runner::run::{StepResult, verdict};
use crate::runner::state::Run;
use crate::runner::steps::requests::{self, Flow};
use crate::runner::steps::services;
use crate::validator::Verdict;

/// The rollback where only services were replaced.
const SERVICES: &str = "replacing the services";

/// How long the calls of a rollback may take. Its budget is judged and not enforced: a rollback
/// that is cut off because it is late is worse than one that is late.
pub(in crate::runner) fn time_for(budget_ms: u64) -> Duration {
    Duration::from_millis(budget_ms) * 2 + Duration::from_secs(60)
}

/// A rollback that the plan asks for: nothing has to be detected.
pub(in crate::runner) async fn planned(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    strategy: &str,
    applied: &[MigrationId],
) -> StepResult {
    timed(run, cx, step, strategy, applied, None).await
}

/// A rollback that the runner decides on, because `failed` did not end as it should and there is
/// a rollback.
pub(in crate::runner) async fn automatic(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    failed: &Step,
    detect: Duration,
) {
    if run.finalized {
        return;
    }
    let (strategy, before) = match run.prepared.clone() {
        Some(prepared) => prepared,
        None => (SERVICES.to_owned(), run.applied.len()),
    };
    let since = run.applied.get(before..).unwrap_or_default().iter();
    let applied: Vec<MigrationId> = since
        .filter(|id| !run.foreign.contains(*id))
        .cloned()
        .collect();
    if applied.is_empty() && run.replaced == 0 && run.configured.is_none() {
        return;
    }
    let mut detect = detect;
    if matches!(failed.action, Action::Watch { .. }) {
        // Users have worked with the new release, and nobody is there to be asked. What is refused stays as
        // it is, so that a person has every choice.
        let asking = Instant::now();
        if let Err(refused) = permitted(run, cx, failed, &strategy, &applied).await {
            let finding = Finding::error("rollback/unsafe", strategy, refused.to_string())
                .with_evidence(format!("{refused:?}"))
                .with_help("a person has to decide: agree to what is lost and roll back, or go on with the new release");
            run.found(cx, failed, finding);
            return;
        }
        detect += asking.elapsed();
    }
    let action = Action::RollBack {
        strategy: strategy.clone(),
        applied: applied.clone(),
    };
    run.looks.begin(&action);
    // No step of the plan, so its number follows theirs.
    let last = run.plan.steps.last().map_or(0, |step| step.id.0);
    let step = Step {
        id: StepId(last + 1),
        attempt: failed.attempt,
        phase: Phase::Rollback,
        action,
        within_ms: run.plan.rollback_within_ms,
        policy: Policy {
            traffic: failed.policy.traffic,
            ..Policy::default()
        },
    };
    let title = step.action.to_string();
    cx.emit(Event::StepStarted {
        step: step.id,
        phase: step.phase,
        title: title.clone(),
    });
    let within = time_for(step.within_ms);
    // A cancelled run is rolled back as well.
    let cx = run
        .context(cx, Phase::Rollback, within)
        .with_attempt(step.attempt)
        .with_cancellation(tokio_util::sync::CancellationToken::new());
    let started = Instant::now();
    let flow = Flow::begin(run, &cx, &step);
    let intent = run.write_intent(&cx, &step).await;
    let (intent, result) = match intent {
        Ok(intent) => {
            let rolling_back = timed(run, &cx, &step, &strategy, &applied, Some(detect));
            (Some(intent), within_reach(&cx, &title, rolling_back).await)
        }
        Err(error) => (None, Err(error)),
    };
    let elapsed_ms = millis(started.elapsed());
    if let Some(flow) = flow {
        flow.end(run, &cx, &step).await;
    }
    let (outcome, _) = run.judge(&cx, &step, result);
    if let Some(intent) = intent
        && let Err(error) = run.write_end(&cx, &step, intent, &outcome).await
    {
        tracing::warn!(?error, "what the rollback came to is not in the journal");
    }
    cx.emit(Event::StepFinished {
        step: step.id,
        outcome: outcome.clone(),
        elapsed_ms,
    });
    let steps = &mut run.report.steps;
    steps.push(recorded(&step, outcome, elapsed_ms));
}

/// Whether a rollback that a watch decides on loses nothing but what somebody agreed to lose.
async fn permitted(
    run: &Run<'_>,
    cx: &UpgradeContext,
    failed: &Step,
    strategy: &str,
    applied: &[MigrationId],
) -> Result<()> {
    if strategy == SERVICES {
        return Ok(());
    }
    let rollback = strategy_named(run, strategy)?;
    let within = time_for(run.plan.rollback_within_ms);
    let cx = run.context(cx, failed.phase, within);
    let request = RollbackRequest::new(applied.iter().cloned());
    let safety = rollback.check(&cx, run.kept(strategy)?, &request).await?;
    refuse_without_consent(run, &cx, &*rollback, &safety).await
}

async fn timed(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    strategy: &str,
    applied: &[MigrationId],
    detect: Option<Duration>,
) -> StepResult {
    let rollback = match strategy {
        SERVICES => None,
        _ => Some(strategy_named(run, strategy)?),
    };
    if let Some(refused) = run.not_ours(applied) {
        return Ok(Verdict::Fail(vec![refused]));
    }
    let request = RollbackRequest::new(applied.iter().cloned());
    let mut report = RollbackReport {
        step: step.id,
        strategy: strategy.to_owned(),
        boundary: applied.last().cloned(),
        migrations: u32::try_from(applied.len()).unwrap_or(u32::MAX),
        bytes: run.environment.size(cx).await.unwrap_or_default(),
        automatic: detect.is_some(),
        safety: Safety::Safe,
        detect_ms: detect.map_or(0, millis),
        decide_ms: 0,
        act_ms: 0,
        verify_ms: 0,
        within_ms: run.plan.rollback_within_ms,
        confirmed: false,
    };
    let mut findings = Vec::new();
    let acted = act(
        run,
        cx,
        step,
        rollback.as_deref(),
        &request,
        &mut report,
        &mut findings,
    )
    .await;
    if report.total_ms() > report.within_ms {
        findings.push(Finding::error(
            "rollback/over-budget",
            strategy,
            format!(
                "took {} ms, {} ms are allowed",
                report.total_ms(),
                report.within_ms
            ),
        ));
    }
    if report.confirmed {
        if let Some(id) = run.crashed.take()
            && let Some(migration) = run.migration_report(&id)
        {
            migration.crash.rolled_back += 1;
        }
        run.applied.retain(|id| !applied.contains(id));
        run.configured = None;
        for id in applied {
            if let Some(migration) = run.migration_report(id) {
                migration.rolled_back += 1;
            }
        }
    }
    cx.emit(Event::RollbackFinished {
        step: step.id,
        rollback: report.clone(),
    });
    run.report.rollbacks.push(report);
    if let Err(error) = acted {
        findings.into_iter().for_each(|finding| cx.notice(finding));
        return Err(error);
    }
    Ok(verdict(findings))
}

/// Decides, acts and verifies, and measures each in the report. What was done is in the report also
/// where this ends with an error.
async fn act(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    rollback: Option<&dyn Rollback>,
    request: &RollbackRequest,
    report: &mut RollbackReport,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let strategy = report.strategy.clone();
    // What the plan asks for it proves itself, in the steps that follow.
    let validates = report.automatic && run.replaced > 0;
    let started = Instant::now();
    let checked = match rollback {
        Some(rollback) => {
            let kept = run.kept(&strategy)?;
            rollback.check(cx, kept, request).await
        }
        None => Ok(Safety::Safe),
    };
    report.decide_ms = millis(started.elapsed());
    report.safety = match checked {
        Ok(safety) => safety,
        Err(error) if error.kind() == ErrorKind::Timeout => {
            let failed = Finding::error("rollback/failed", strategy, error.to_string());
            findings.push(failed.with_evidence(format!("{error:?}")));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    match &report.safety {
        Safety::Safe => {}
        Safety::SafeWithLoss { losses } => {
            let message = format!("loses {}", Loss::list(losses));
            findings.push(Finding::note("rollback/loses", &strategy, message));
        }
        Safety::Unsafe { boundary, reason } => {
            findings.push(Finding::error("rollback/unsafe", boundary, reason));
            return Ok(());
        }
    }
    let started = Instant::now();
    let begun = match rollback {
        Some(rollback) => {
            let kept = rollback.begin(cx, run.kept(&strategy)?, request).await?;
            run.keep_prepared(cx, &strategy, kept.clone()).await?;
            Some((rollback, kept))
        }
        None => None,
    };
    let data = async {
        match &begun {
            Some((rollback, kept)) => rollback.execute(cx, kept, request).await,
            None => Ok(Outcome::NothingToDo),
        }
    };
    let executed = services::go_back(run, cx, data).await;
    report.act_ms = millis(started.elapsed());
    if let Outcome::Failed(failure) = executed? {
        let finding = match &run.crashed {
            Some(id) => {
                let subject = format!("migration {id}");
                let message = format!("by {strategy}: {failure}");
                Finding::error("crash/not-revertible", subject, message)
            }
            None => Finding::error("rollback/failed", strategy, failure.to_string()),
        };
        findings.push(finding.with_evidence(format!("{failure:#}")));
        return Ok(());
    }
    let started = Instant::now();
    let proof = prove(run, cx, step, rollback, validates).await;
    report.verify_ms = millis(started.elapsed());
    match proof? {
        Verdict::Pass => report.confirmed = true,
        Verdict::Fail(found) => {
            let mut weighed = found
                .iter()
                .map(|finding| run.weighed(step, finding.clone()));
            report.confirmed = !weighed.any(|finding| finding.fails());
            findings.extend(found);
        }
        Verdict::Inconclusive(reason) => {
            findings.push(Finding::error("rollback/unproven", strategy, reason));
        }
    }
    Ok(())
}

/// Whether the system is what it was, as the strategy and, where they are asked, the validators
/// tell.
async fn prove(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    rollback: Option<&dyn Rollback>,
    validates: bool,
) -> StepResult {
    let mut verdict = match rollback {
        Some(rollback) => rollback.confirm(cx, run.kept(rollback.name())?).await?,
        None => is_as_before(run, cx).await?,
    };
    if validates && verdict.is_pass() {
        verdict = validate(run, cx).await?;
    }
    if let Verdict::Fail(found) = verdict {
        let by_downs = rollback.is_some_and(Rollback::requires_reversible);
        return Ok(Verdict::Fail(
            excused(run, cx, step, found, by_downs).await?,
        ));
    }
    Ok(verdict)
}

/// Whether schema and rows are what they were before the upgrade, where no strategy proves it.
async fn is_as_before(run: &Run<'_>, cx: &UpgradeContext) -> Result<Verdict> {
    let Some(then) = run.observations.get(BASELINE) else {
        return Ok(Verdict::Inconclusive(
            "schema and rows were not observed before the upgrade".to_owned(),
        ));
    };
    let now = run.look(cx, &At::Live, &Scope::All).await?;
    let findings = differences(then, &now, "rollback/schema-differs", BACK);
    Ok(Verdict::from_findings(findings))
}

/// What a rollback found when it compared the system with what it was, judged by what the rollback
/// cannot know: whether users wrote in between, and what is declared.
async fn excused(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    found: Vec<Finding>,
    by_downs: bool,
) -> Result<Vec<Finding>> {
    let with = past::prepared_at(run.plan, step).unwrap_or(BASELINE);
    let mut grounds = Vec::new();
    let mut differences: Vec<Difference> = found
        .into_iter()
        .map(|finding| {
            let is_loss = finding.id == BACK.lost;
            let difference = Difference::of(finding);
            if is_loss {
                difference.with_counts(Counts::SOME_LOST)
            } else {
                difference
            }
        })
        .collect();
    if requests::flows(run, step) {
        rows::name_all(run, cx, with, BACK, &mut differences).await?;
        grounds.push(Ground::Meanwhile);
        grounds.extend(requests::changes(run));
    } else if !run.environment.is_disposable() {
        // Nobody stops the users of a real system: what they write during the rollback, or right after it,
        // cannot be told from a change. Rows that are missing stay an error.
        grounds.push(Ground::Meanwhile);
    }
    if by_downs {
        // When users have written, rows are not what they were: the comparison with what users
        // left, which follows, judges them.
        if past::written(run.plan, step) {
            grounds.push(Ground::Later);
        }
        // What a down loses is declared with the down.
        grounds.extend(declared::declared(run, MadeBy::Down));
    }
    declared::judge_differences(run, cx, with, differences, &grounds).await
}
