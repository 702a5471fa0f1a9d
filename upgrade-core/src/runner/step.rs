//! What each kind of step does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::limit::said;
use super::run::{Run, StepResult, verdict};
use super::{
    compare, crash, empty, faults, order, rollback, services, statements, unfilled, watch,
};
use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::{Error, ErrorKind, Result};
use crate::event::millis;
use crate::finding::Blame;
use crate::migration::{Migration, MigrationId, Outcome};
use crate::observation::Scope;
use crate::plan::{Action, Step, past};
use crate::report::MigrationReport;
use crate::rollback::{Loss, Rollback, RollbackRequest, Safety};
use crate::validator::{Finding, Severity, Verdict};

pub(super) async fn perform(run: &mut Run<'_>, cx: &UpgradeContext, step: &Step) -> StepResult {
    if !matches!(step.action, Action::Validate) {
        run.faults.moved_on();
    }
    match &step.action {
        Action::Provision => provision(run, cx).await,
        Action::Snapshot { label } => {
            run.environment.snapshot(cx, label).await?;
            run.keep(label);
            Ok(Verdict::Pass)
        }
        Action::Restore { label } => {
            run.environment.restore(cx, label).await?;
            run.put_back(label);
            Ok(Verdict::Pass)
        }
        Action::Observe { label } => {
            let observation = run.look(cx, &At::Live, &Scope::All).await?;
            run.looks.observe(label);
            if run.observations.is_empty() {
                run.report.rows = observation.rows();
                run.report.tables = observation.tables.len() as u64;
            }
            run.observations.insert(label.clone(), observation);
            Ok(Verdict::Pass)
        }
        Action::Compare { with, equal } => compare::compare(run, cx, step, with, *equal).await,
        Action::Validate => {
            let verdict = validate(run, cx).await;
            faults::judge(run, cx, &verdict);
            verdict
        }
        Action::Inspect { irreversible } => {
            let mut findings = run.upgrade.findings().to_vec();
            for (id, reason) in irreversible {
                let file = migration(run, id)?.files().up;
                let migration = id.clone();
                findings.push(
                    Finding::error("down-missing", format!("migration {id}"), reason.clone())
                        .with_help("write its down, or do not ask for `reversible`")
                        .with_blame(Blame { migration, file }),
                );
            }
            Ok(verdict(findings))
        }
        Action::PrepareRollback { strategy } => {
            way_back(run, strategy)?.prepare(cx).await?;
            run.prepared = Some((strategy.clone(), run.applied.len()));
            Ok(Verdict::Pass)
        }
        Action::CheckRollback { strategy, applied } => {
            let request = RollbackRequest::new(applied.iter().cloned());
            let safety = way_back(run, strategy)?.check(cx, &request).await?;
            Ok(match safety {
                Safety::Safe => Verdict::Pass,
                Safety::SafeWithLoss { losses } => Verdict::Fail(vec![Finding::warning(
                    "rollback-loses",
                    strategy.clone(),
                    format!("would lose {}", Loss::list(&losses)),
                )]),
                Safety::Unsafe { boundary, reason } => {
                    Verdict::Fail(vec![Finding::error("rollback-unsafe", boundary, reason)])
                }
            })
        }
        Action::Apply { migration } => {
            let before = unfilled::before(run, cx, migration).await?;
            statements::before(run, cx).await?;
            let watches = watch::begin(run, cx, step).await?;
            let applied = apply(run, cx, step, migration).await;
            let applied = watch::end(run, cx, watches, applied).await?;
            if let Some(before) = before {
                let migration = self::migration(run, migration)?;
                unfilled::after(run, cx, &*migration, &before).await?;
            }
            let applied = empty::after_apply(run, cx, applied).await?;
            if !matches!(&applied, Verdict::Fail(found) if found.iter().any(Finding::fails)) {
                statements::after(run, cx).await?;
            }
            Ok(applied)
        }
        Action::Crash {
            migration,
            moment,
            victim,
        } => crash::crash(run, cx, migration, *moment, *victim).await,
        Action::Settle {
            migration,
            before,
            after,
            label,
        } => crash::settle(run, cx, migration, (before, after), label).await,
        Action::ApplyAgain { migration } => order::again(run, cx, migration, true).await,
        Action::RevertAgain { migration } => order::again(run, cx, migration, false).await,
        Action::MergeLate { migration, with } => order::merge_late(run, cx, migration, with).await,
        Action::Revert { migration } => {
            let watches = watch::begin(run, cx, step).await?;
            let reverted = revert(run, cx, step, migration).await;
            watch::end(run, cx, watches, reverted).await
        }
        Action::Write { seed } => {
            let cx = cx.clone().with_seed(*seed);
            for writes in run.upgrade.writes() {
                match writes.write(&cx).await {
                    Ok(()) => {}
                    Err(error)
                        if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Cancelled) =>
                    {
                        return Err(error);
                    }
                    // Without what users write, this attempt proves nothing; others may.
                    Err(error) => {
                        let refused = statements::of_new_release(run, &cx).await?;
                        if !refused.is_empty() {
                            return Ok(Verdict::Fail(refused));
                        }
                        return Ok(Verdict::Inconclusive(format!(
                            "users could not write: {error:?}"
                        )));
                    }
                }
            }
            Ok(Verdict::Pass)
        }
        Action::Replace { version } => {
            let new = version == &run.plan.to;
            let count = if new { u32::MAX } else { 0 };
            services::replace(run, cx, services::To::Release(version, count)).await
        }
        Action::ReplaceFirst { count, .. } => {
            services::replace(run, cx, services::To::First(*count)).await
        }
        Action::Strike { fault, for_ms } => {
            faults::strike(run, cx, fault, Duration::from_millis(*for_ms)).await
        }
        Action::Heal { fault } => faults::heal(run, cx, fault).await,
        Action::RollBack { strategy, applied } => {
            rollback::planned(run, cx, step, strategy, applied).await
        }
        Action::Finalize { strategy } => {
            // From here on nothing may be rolled back, also where it does not come to its end.
            (run.prepared, run.finalized) = (None, true);
            way_back(run, strategy)?.finalize(cx).await?;
            Ok(Verdict::Pass)
        }
        // The loop leaves it to the end of the run.
        Action::Teardown => Ok(Verdict::Pass),
    }
}

/// The way back of a name.
pub(super) fn way_back(run: &Run<'_>, strategy: &str) -> Result<Arc<dyn Rollback>> {
    run.upgrade
        .rollbacks()
        .iter()
        .find(|rollback| rollback.name() == strategy)
        .cloned()
        .ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("the plan names a way back `{strategy}` that the upgrade does not have"),
            )
            .with_hint("plan again")
        })
}

pub(super) fn migration(run: &Run<'_>, id: &MigrationId) -> Result<Arc<dyn Migration>> {
    let upgrade = run.upgrade;
    let all = upgrade.released().iter().chain(upgrade.migrations());
    all.into_iter()
        .find(|migration| migration.id() == id)
        .cloned()
        .ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("the plan names a migration `{id}` that the upgrade does not have"),
            )
            .with_hint("plan again")
        })
}

async fn provision(run: &mut Run<'_>, cx: &UpgradeContext) -> StepResult {
    run.environment.prepare(cx).await?;
    unfilled::report(run, cx);
    Ok(Verdict::Pass)
}

/// Runs every validator, also after one has failed or could not tell.
pub(super) async fn validate(run: &mut Run<'_>, cx: &UpgradeContext) -> StepResult {
    let mut findings = Vec::new();
    let mut inconclusive = Vec::new();
    let mut failed = None;
    for validator in run.upgrade.validators() {
        let name = validator.name();
        // A failed assertion in a validator is a judgement, not a defect of the run.
        match AssertUnwindSafe(validator.validate(cx))
            .catch_unwind()
            .await
        {
            Ok(Ok(Verdict::Pass)) => {}
            Ok(Ok(Verdict::Fail(found))) if found.is_empty() => findings.push(Finding::error(
                "validator-failed",
                name,
                "failed without a finding that says why",
            )),
            Ok(Ok(Verdict::Fail(found))) => findings.extend(found),
            Ok(Ok(Verdict::Inconclusive(reason))) => inconclusive.push(format!("{name}: {reason}")),
            Ok(Err(error)) => {
                failed.get_or_insert(error.with_context("validator", name));
            }
            Err(panic) => {
                findings.push(Finding::error("validator-panicked", name, said(&*panic)));
            }
        }
    }
    if let Some(error) = failed {
        findings.into_iter().for_each(|finding| cx.notice(finding));
        return Err(error);
    }
    Ok(match (findings.is_empty(), inconclusive.is_empty()) {
        (true, true) => Verdict::Pass,
        (true, false) => Verdict::Inconclusive(inconclusive.join("\n")),
        (false, _) => Verdict::Fail(findings),
    })
}

async fn apply(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    id: &MigrationId,
) -> StepResult {
    let is_interrupted =
        |step: &Step| matches!(&step.action, Action::Crash { migration, .. } if migration == id);
    let measures = run.plan.steps.iter().any(is_interrupted);
    let started = Instant::now();
    let result = match run.begin(cx, id).await {
        Ok(migration) if measures => run.crashes.measured(&*migration, cx).await,
        Ok(migration) => migration.apply(cx).await,
        Err(error) => Err(error),
    };
    let elapsed_ms = millis(started.elapsed());
    let after_crash = run.crashed.take().is_some_and(|crashed| crashed == *id);
    match result {
        Ok(outcome) => {
            if let Some(report) = run.migration_report(id) {
                report.applied += 1;
                report.slowest_apply_ms = report.slowest_apply_ms.max(elapsed_ms);
            }
            Ok(if outcome == Outcome::NothingToDo && !after_crash {
                Verdict::Fail(vec![Finding::warning(
                    "applied-before",
                    format!("migration {id}"),
                    "the system says that it is applied already",
                )])
            } else {
                Verdict::Pass
            })
        }
        Err(error) if is_judgement(&error) => Ok(Verdict::Fail(vec![if after_crash {
            let restored = past::restored(run.plan, step);
            let downs_lead_back = restored.is_some_and(|label| run.crashes.is_recovered(label));
            run.leaves_attempt = downs_lead_back;
            not_re_runnable(id, &error, downs_lead_back)
        } else {
            refused("up-failed", id, &error)
        }])),
        Err(error) => Err(error.with_context("migration", id)),
    }
}

async fn revert(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    id: &MigrationId,
) -> StepResult {
    let migration = migration(run, id)?;
    if let Some(refused) = run.not_ours(std::slice::from_ref(id)) {
        return Ok(Verdict::Fail(vec![refused]));
    }
    match migration.revert(cx).await {
        Ok(Outcome::Done) => {
            run.applied.retain(|applied| applied != id);
            run.foreign.remove(id);
            if let Some(report) = run.migration_report(id) {
                report.reverted += 1;
            }
            Ok(Verdict::Pass)
        }
        Ok(Outcome::NothingToDo) => Ok(Verdict::Fail(vec![Finding::error(
            "down-did-nothing",
            format!("migration {id}"),
            "the system says that it was not applied, so nothing was reverted",
        )])),
        Err(error) if is_judgement(&error) => {
            // Over the old rows it went well, earlier in this run.
            let passed = |migration: &mut MigrationReport| migration.reverted > 0;
            let fails_on_new_rows =
                past::written(run.plan, step) && run.migration_report(id).is_some_and(passed);
            let finding = if fails_on_new_rows {
                "down-fails-on-new-rows"
            } else {
                "down-failed"
            };
            Ok(Verdict::Fail(vec![refused(finding, id, &error)]))
        }
        Err(error) => Err(error.with_context("migration", id)),
    }
}

/// A migration that fails when it is run again after a crash. Where the downs lead back from there,
/// a person has a safe way on, and nothing is recorded that is not so.
fn not_re_runnable(id: &MigrationId, error: &Error, downs_lead_back: bool) -> Finding {
    let finding = refused("not-re-runnable", id, error);
    if !downs_lead_back {
        return finding.with_help("after a crash the migration cannot be run again; make each statement repeatable or run them in one transaction");
    }
    Finding {
        severity: Severity::Warning,
        ..finding
    }
    .with_help("after a crash, roll back by the downs and upgrade again: from here that reaches the new release")
}

/// Whether an error of a migration says that the migration is bad, not that we could not tell.
pub(super) fn is_judgement(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Migration | ErrorKind::Divergent | ErrorKind::Timeout
    )
}

pub(super) fn refused(finding: &str, id: &MigrationId, error: &Error) -> Finding {
    let mut evidence = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        evidence.push_str(&format!("{cause}\n"));
        source = cause.source();
    }
    let seen = Finding::error(finding, format!("migration {id}"), error.to_string());
    if evidence.is_empty() {
        seen
    } else {
        seen.with_evidence(evidence)
    }
}
