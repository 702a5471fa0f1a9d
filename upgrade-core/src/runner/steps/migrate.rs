//! A migration is applied, or reverted.

use tokio::time::Instant;

use super::migration;
use crate::context::UpgradeContext;
use crate::error::Failure;
use crate::event::millis;
use crate::finding::{Finding, Severity};
use crate::ids::MigrationId;
use crate::outcome::Outcome;
use crate::plan::{Action, Step, past};
use crate::report::MigrationReport;
use crate::runner::deadline::in_time;
use crate::runner::run::StepResult;
use crate::runner::state::Run;
use crate::validator::Verdict;

/// What to know of a failure on a state that was made from an empty system.
const ON_REBUILT: &str = "an earlier migration failed, so this one ran on a state that was made from an empty \
     system; if it needs rows of the previous release, mend the earlier one first";

pub(super) async fn apply(
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
    let outcome = in_time(result).map_err(|error| error.with_context("migration", id))?;
    if let Outcome::Failed(failure) = outcome {
        return Ok(Verdict::Fail(vec![if after_crash {
            let restored = past::restored(run.plan, step);
            let downs_lead_back = restored.is_some_and(|label| run.crashes.is_recovered(label));
            run.leaves_attempt = downs_lead_back;
            not_re_runnable(id, &failure, downs_lead_back)
        } else {
            let failed = refused("up/failed", id, &failure);
            match run.rebuilt {
                true => failed.with_help(ON_REBUILT),
                false => failed,
            }
        }]));
    }
    if let Some(report) = run.migration_report(id) {
        report.applied += 1;
        report.slowest_apply_ms = report.slowest_apply_ms.max(elapsed_ms);
    }
    if outcome == Outcome::Done || after_crash {
        return Ok(Verdict::Pass);
    }
    Ok(Verdict::Fail(vec![Finding::warning(
        "up/already-applied",
        format!("migration {id}"),
        "the system says that it is applied already",
    )]))
}

pub(super) async fn revert(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    id: &MigrationId,
) -> StepResult {
    let migration = migration(run, id)?;
    if let Some(refused) = run.not_ours(std::slice::from_ref(id)) {
        return Ok(Verdict::Fail(vec![refused]));
    }
    match in_time(migration.revert(cx).await) {
        Ok(Outcome::Done) => {
            run.applied.retain(|applied| applied != id);
            run.foreign.remove(id);
            if let Some(report) = run.migration_report(id) {
                report.reverted += 1;
            }
            Ok(Verdict::Pass)
        }
        Ok(Outcome::NothingToDo) => Ok(Verdict::Fail(vec![Finding::error(
            "down/did-nothing",
            format!("migration {id}"),
            "the system says that it was not applied, so nothing was reverted",
        )])),
        Ok(Outcome::Failed(failure)) => {
            // Over the old rows it went well, earlier in this run.
            let passed = |migration: &mut MigrationReport| migration.reverted > 0;
            let fails_on_new_rows =
                past::written(run.plan, step) && run.migration_report(id).is_some_and(passed);
            let finding = if fails_on_new_rows {
                "down/fails-on-new-rows"
            } else {
                "down/failed"
            };
            Ok(Verdict::Fail(vec![refused(finding, id, &failure)]))
        }
        Err(error) => Err(error.with_context("migration", id)),
    }
}

/// A migration that fails when it is run again after a crash. Where the downs lead back from there,
/// a person has a safe way on, and nothing is recorded that is not so.
fn not_re_runnable(id: &MigrationId, failure: &Failure, downs_lead_back: bool) -> Finding {
    let finding = refused("crash/not-rerunnable", id, failure);
    if !downs_lead_back {
        return finding.with_help("after a crash the migration cannot be run again; make each statement repeatable or run them in one transaction");
    }
    Finding {
        severity: Severity::Warning,
        ..finding
    }
    .with_help("after a crash, roll back by the downs and upgrade again: from here that reaches the new release")
}

pub(in crate::runner) fn refused(finding: &str, id: &MigrationId, failure: &Failure) -> Finding {
    let subject = format!("migration {id}");
    let seen = match &failure.hint {
        Some(hint) => Finding::error(finding, subject, &failure.message).with_help(hint),
        None => Finding::error(finding, subject, failure.to_string()),
    };
    match failure.causes.is_empty() {
        true => seen,
        false => seen.with_evidence(failure.causes.join("\n") + "\n"),
    }
}
