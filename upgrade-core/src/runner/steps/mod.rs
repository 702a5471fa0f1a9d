//! What each kind of step does.

pub(in crate::runner) mod crash;
mod migrate;
mod migration_test;
mod no_tables;
mod order;
pub(in crate::runner) mod rebuild;
pub(in crate::runner) mod requests;
pub(in crate::runner) mod rollback;
pub(in crate::runner) mod service_faults;
mod services;
mod sessions;
mod side_by_side;
pub(in crate::runner) mod statements;
pub(in crate::runner) mod unfilled;
mod validate;
mod watch;

use self::migrate::{apply, revert};
use self::validate::validate;
use std::sync::Arc;
use std::time::Duration;

use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::{Error, ErrorKind, Result};
use crate::finding::Blame;
use crate::finding::Finding;
use crate::ids::Phase;
use crate::migration::{Migration, MigrationId};
use crate::observation::Scope;
use crate::operation::{CONFIGURATION, Consent, SCHEMA, schema_hash};
use crate::outcome::Outcome;
use crate::plan::{Action, Step, past};
use crate::rollback::{Loss, Rollback, RollbackRequest, RollbackScope, Safety};
use crate::runner::claim;
use crate::runner::compare;
use crate::runner::run::{StepResult, verdict};
use crate::runner::state::Run;
use crate::validator::Verdict;

pub(in crate::runner) async fn perform(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
) -> StepResult {
    if !matches!(step.action, Action::Validate) {
        run.faults.moved_on();
    }
    match &step.action {
        Action::Provision => provision(run, cx).await,
        Action::Attach => claim::attach(run, cx).await,
        Action::Snapshot { label } => {
            run.has(run.environment.snapshots(), "snapshots")?
                .take(cx, label)
                .await?;
            run.keep(label);
            Ok(Verdict::Pass)
        }
        Action::Restore { label } => {
            let snapshots = run.has(run.environment.snapshots(), "snapshots")?;
            snapshots.restore(cx, label).await?;
            run.put_back(label);
            Ok(Verdict::Pass)
        }
        Action::Observe { label } => {
            // Where only rows are compared with it, the schema says nothing.
            let scope = match past::only_written(run.plan, label) {
                true => Scope::Rows,
                false => Scope::All,
            };
            let observation = run.look(cx, &At::Live, &scope).await?;
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
            service_faults::judge(run, cx, step, &verdict);
            verdict
        }
        Action::SideBySide { candidate } => side_by_side::compare(run, cx, *candidate).await,
        Action::Inspect { irreversible } => {
            let mut findings = run.upgrade.findings().to_vec();
            for (id, reason) in irreversible {
                let file = migration(run, id)?.files().up;
                let migration = id.clone();
                findings.push(
                    Finding::error(
                        "file/down-missing",
                        format!("migration {id}"),
                        reason.clone(),
                    )
                    .with_help("write its down, or do not ask for `reversible`")
                    .with_blame(Blame { migration, file }),
                );
            }
            Ok(verdict(findings))
        }
        Action::PrepareRollback { strategy } => {
            let rollback = strategy_named(run, strategy)?;
            if let Some(earlier) = run.kept.get(strategy) {
                rollback.finalize(cx, earlier).await?;
                run.kept.remove(strategy);
            }
            let migrations = run.upgrade.migrations().iter();
            let migrations = migrations.map(|migration| migration.id().clone());
            let scope = RollbackScope::new(migrations.filter(|id| !run.applied.contains(id)));
            let kept = rollback.prepare(cx, &scope).await?;
            run.keep_prepared(cx, strategy, kept).await?;
            run.prepared = Some((strategy.clone(), run.applied.len()));
            Ok(Verdict::Pass)
        }
        Action::CheckRollback { strategy, applied } => {
            let request = RollbackRequest::new(applied.iter().cloned());
            let kept = run.kept(strategy)?;
            let rollback = strategy_named(run, strategy)?;
            let safety = rollback.check(cx, kept, &request).await?;
            refuse_without_consent(run, cx, &*rollback, &safety).await?;
            Ok(match safety {
                Safety::Safe => Verdict::Pass,
                // Somebody has agreed, and the rollback that follows tells it.
                Safety::SafeWithLoss { .. } if step.phase == Phase::Rollback => Verdict::Pass,
                Safety::SafeWithLoss { losses } => Verdict::Fail(vec![Finding::warning(
                    "rollback/loses",
                    strategy.clone(),
                    format!("would lose {}", Loss::list(&losses)),
                )]),
                Safety::Unsafe { boundary, reason } => {
                    Verdict::Fail(vec![Finding::error("rollback/unsafe", boundary, reason)])
                }
            })
        }
        Action::Apply { migration } => {
            let before = unfilled::before(run, cx, migration).await?;
            statements::before(run, cx).await?;
            let watches = sessions::begin(run, cx, step).await?;
            let applied = apply(run, cx, step, migration).await;
            let applied = sessions::end(run, cx, watches, applied).await?;
            if let Some(before) = before {
                let migration = self::migration(run, migration)?;
                unfilled::after(run, cx, &*migration, &before).await?;
            }
            let applied = no_tables::after_apply(run, cx, applied).await?;
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
        Action::JudgeCrash {
            migration,
            before,
            after,
            label,
        } => crash::judge_crash(run, cx, migration, (before, after), label).await,
        Action::ApplyAgain { migration } => order::again(run, cx, migration, true).await,
        Action::RevertAgain { migration } => order::again(run, cx, migration, false).await,
        Action::MergeLate { migration, with } => order::merge_late(run, cx, migration, with).await,
        Action::Revert { migration } => {
            let watches = sessions::begin(run, cx, step).await?;
            let reverted = revert(run, cx, step, migration).await;
            sessions::end(run, cx, watches, reverted).await
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
        Action::Given { migration } => migration_test::given(run, cx, migration).await,
        Action::Judge {
            migration,
            reverted,
        } => migration_test::judge(run, cx, migration, *reverted).await,
        Action::Replace { version } => {
            let new = version == &run.plan.to;
            let count = if new { u32::MAX } else { 0 };
            services::replace(run, cx, services::To::Release(version, count)).await
        }
        Action::Configure { from, to } => services::configure(run, cx, from, to).await,
        Action::ReplaceFirst { count, .. } => {
            services::replace(run, cx, services::To::First(*count)).await
        }
        Action::InjectFault { fault, for_ms } => {
            service_faults::inject(run, cx, fault, Duration::from_millis(*for_ms)).await
        }
        Action::Recover { fault } => service_faults::recover(run, cx, fault).await,
        Action::RollBack { strategy, applied } => {
            rollback::planned(run, cx, step, strategy, applied).await
        }
        Action::Finalize { strategy } => {
            // From here on nothing may be rolled back, also where it does not come to its end.
            (run.prepared, run.finalized) = (None, true);
            let rollback = strategy_named(run, strategy)?;
            rollback.finalize(cx, run.kept(strategy)?).await?;
            run.kept.remove(strategy);
            Ok(Verdict::Pass)
        }
        Action::Watch { policy } => watch::watch(run, cx, step, policy).await,
        // The loop leaves it to the end of the run.
        Action::Teardown | Action::Detach => Ok(Verdict::Pass),
    }
}

/// The rollback that has a name.
pub(in crate::runner) fn strategy_named(
    run: &Run<'_>,
    strategy: &str,
) -> Result<Arc<dyn Rollback>> {
    run.upgrade
        .rollbacks()
        .iter()
        .find(|rollback| rollback.name() == strategy)
        .cloned()
        .ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("the plan names a rollback `{strategy}` that the upgrade does not have"),
            )
            .with_hint("plan again")
        })
}

pub(in crate::runner) fn migration(run: &Run<'_>, id: &MigrationId) -> Result<Arc<dyn Migration>> {
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

/// Refuses a rollback that loses what nobody agreed to lose, where somebody has to agree.
async fn refuse_without_consent(
    run: &Run<'_>,
    cx: &UpgradeContext,
    rollback: &dyn Rollback,
    safety: &Safety,
) -> Result<()> {
    let Some(consent) = &run.consent else {
        return Ok(());
    };
    refuse_what_changed(run, cx, rollback, consent).await?;
    match safety {
        Safety::SafeWithLoss { losses } => consent.refuse_others(losses),
        _ => Ok(()),
    }
}

/// Refuses a rollback by downs where somebody has changed the schema since the upgrade: the previous
/// release would meet a schema that no rehearsal has seen.
async fn refuse_what_changed(
    run: &Run<'_>,
    cx: &UpgradeContext,
    rollback: &dyn Rollback,
    consent: &Consent,
) -> Result<()> {
    if let (Some((_, switched)), Some(configuration)) =
        (&run.configured, run.environment.configuration())
        && !consent.names(CONFIGURATION)
        // From what is live to what is live: nothing moves, and edited files are named.
        && let Outcome::Failed(failure) = configuration.switch(cx, switched, switched).await?
    {
        let name = configuration.name();
        let message =
            format!("the configuration {name} was edited since the upgrade, and nothing was done");
        return Err(Error::new(ErrorKind::Refused, message)
            .with_source(Error::from(*failure))
            .with_hint(format!(
                "undo the edits; or agree to leave the edited files as they are, also under the previous \
                 release: `{CONFIGURATION}`"
            )));
    }
    let Some(reached) = run
        .reached
        .as_ref()
        .filter(|_| rollback.requires_reversible())
    else {
        return Ok(());
    };
    let now = run.look(cx, &At::Live, &Scope::Schema).await?;
    if schema_hash(&now) == *reached || consent.names(SCHEMA) {
        return Ok(());
    }
    let message = "the schema is not the one that the upgrade has left, and nothing was done";
    Err(Error::new(ErrorKind::Refused, message).with_hint(format!(
        "undo what was changed since, then roll back; or agree to keep that change under the previous \
         release: `{SCHEMA}`"
    )))
}

async fn provision(run: &mut Run<'_>, cx: &UpgradeContext) -> StepResult {
    run.environment.prepare(cx).await?;
    unfilled::report(run, cx);
    Ok(Verdict::Pass)
}
