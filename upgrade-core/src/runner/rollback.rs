//! A rollback by the clock: detect, decide, act, verify, against one budget.

use std::time::Duration;

use tokio::time::Instant;

use super::losses;
use super::run::{Run, StepResult, beside, within_reach};
use super::step::way_back;
use crate::context::UpgradeContext;
use crate::error::{ErrorKind, Result};
use crate::event::{Event, millis};
use crate::migration::MigrationId;
use crate::plan::{Action, BASELINE, Step};
use crate::report::{RollbackReport, StepOutcome, StepReport};
use crate::rollback::{RollbackRequest, Safety};
use crate::upgrade::MadeBy;
use crate::validator::{Finding, Verdict};
use crate::version::Phase;

/// A rollback that the plan asks for: nothing has to be detected.
pub(super) async fn planned(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    strategy: &str,
    applied: &[MigrationId],
) -> StepResult {
    timed(run, cx, step, strategy, applied, None).await
}

/// A rollback that the runner decides on, because `failed` did not end as it should and there is
/// a way back.
pub(super) async fn automatic(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    failed: &Step,
    detect: Duration,
) {
    let Some((strategy, before)) = run.prepared.clone() else {
        return;
    };
    let applied = run.applied.get(before..).unwrap_or_default().to_vec();
    if applied.is_empty() {
        return;
    }
    let action = Action::RollBack {
        strategy: strategy.clone(),
        applied: applied.clone(),
    };
    let step = beside(failed, Phase::Rollback, action);
    let title = step.action.to_string();
    cx.emit(Event::StepStarted {
        step: step.id,
        phase: step.phase,
        title: title.clone(),
    });
    let within = Duration::from_millis(run.plan.rollback_within_ms);
    // A cancelled run has to go back as well.
    let cx = run
        .context(cx, Phase::Rollback, within)
        .with_cancellation(tokio_util::sync::CancellationToken::new());
    let started = Instant::now();
    let rolling_back = timed(run, &cx, &step, &strategy, &applied, Some(detect));
    let result = within_reach(&cx, &title, rolling_back).await;
    let elapsed_ms = millis(started.elapsed());
    let outcome = match result {
        Ok(Verdict::Pass) => StepOutcome::Done,
        Ok(Verdict::Inconclusive(reason)) => StepOutcome::Inconclusive(reason),
        Ok(Verdict::Fail(findings)) => {
            for finding in findings {
                run.found(&cx, &step, finding);
            }
            StepOutcome::Failed
        }
        Err(error) => StepOutcome::Error(format!("{error:?}")),
    };
    cx.emit(Event::StepFinished {
        step: step.id,
        outcome: outcome.clone(),
        elapsed_ms,
    });
    run.report.steps.push(StepReport {
        id: step.id,
        attempt: step.attempt,
        phase: step.phase,
        title,
        outcome,
        elapsed_ms,
        within_ms: run.plan.rollback_within_ms,
    });
}

async fn timed(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    strategy: &str,
    applied: &[MigrationId],
    detect: Option<Duration>,
) -> StepResult {
    let rollback = way_back(run, strategy)?;
    let request = RollbackRequest::new(applied.iter().cloned());
    let mut report = RollbackReport {
        step: step.id,
        strategy: strategy.to_owned(),
        boundary: applied.last().cloned(),
        migrations: u32::try_from(applied.len()).unwrap_or(u32::MAX),
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

    let started = Instant::now();
    report.safety = rollback.check(cx, &request).await?;
    report.decide_ms = millis(started.elapsed());

    match report.safety.clone() {
        Safety::Unsafe { boundary, reason } => {
            findings.push(Finding::error("rollback-unsafe", boundary, reason));
        }
        safety => {
            if let Safety::SafeWithLoss { losses } = safety {
                let message = format!("loses {}", losses.join("; "));
                findings.push(Finding::note("rollback-loses", strategy, message));
            }
            let started = Instant::now();
            let executed = rollback.execute(cx, &request).await;
            report.act_ms = millis(started.elapsed());
            match executed {
                Ok(()) => {
                    let started = Instant::now();
                    let mut verdict = rollback.confirm(cx).await;
                    report.verify_ms = millis(started.elapsed());
                    if let Ok(Verdict::Fail(found)) = &mut verdict
                        && rollback.requires_reversible()
                    {
                        // What a down loses is declared with the down.
                        let found = std::mem::take(found);
                        let with = run.restored.clone().unwrap_or(BASELINE.to_owned());
                        let found = losses::excuse(run, cx, &with, MadeBy::Down, found).await?;
                        verdict = Ok(Verdict::Fail(found));
                    }
                    confirmed(verdict, &mut report, &mut findings)?;
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Rollback | ErrorKind::Migration | ErrorKind::Timeout
                    ) =>
                {
                    let chain = format!("{error:?}");
                    let finding = match &run.crashed {
                        Some(id) => {
                            let subject = format!("migration {id}");
                            let message = format!("by {strategy}: {error}");
                            Finding::error("not-revertible-after-crash", subject, message)
                        }
                        None => Finding::error("rollback-failed", strategy, error.to_string()),
                    };
                    findings.push(finding.with_evidence(chain));
                }
                Err(error) => return Err(error),
            }
        }
    }
    if report.total_ms() > report.within_ms {
        findings.push(Finding::error(
            "rollback-over-budget",
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
    Ok(if findings.is_empty() {
        Verdict::Pass
    } else {
        Verdict::Fail(findings)
    })
}

fn confirmed(
    verdict: Result<Verdict>,
    report: &mut RollbackReport,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    match verdict? {
        Verdict::Pass => report.confirmed = true,
        Verdict::Fail(found) => {
            report.confirmed = !found.iter().any(Finding::fails);
            findings.extend(found);
        }
        Verdict::Inconclusive(reason) => {
            findings.push(Finding::error(
                "rollback-unproven",
                report.strategy.clone(),
                reason,
            ));
        }
    }
    Ok(())
}
