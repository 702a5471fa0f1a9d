//! The state after a migration that failed, made from an empty system: a migration mostly fails over
//! rows, and what lies above it is judged all the same.

use std::time::Duration;

use crate::context::UpgradeContext;
use crate::environment::{At, EMPTY};
use crate::error::{Error, ErrorKind, Result};
use crate::finding::Finding;
use crate::migration::MigrationId;
use crate::observation::{Observation, Scope};
use crate::outcome::Outcome;
use crate::plan::{Action, Step, past};
use crate::runner::deadline::within_reach;
use crate::runner::state::Run;

use super::migration;

/// Makes the state of a label that no step has reached, and keeps it. Where it cannot, it leaves the
/// label unknown, and tries no second time.
pub(in crate::runner) async fn state(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    label: &str,
) {
    // A crash is timed by how long its migration took on the rows of the previous release.
    let crashes = |step: &Step| matches!(step.action, Action::Crash { .. });
    if run.plan.steps.iter().any(crashes) {
        return;
    }
    let has_empty = run.environment.snapshots().is_some_and(|it| it.has_empty());
    if !has_empty || !run.environment.is_disposable() || run.unreachable.contains(label) {
        return;
    }
    let Some(pending) = past::applied_at(run.plan, label) else {
        return;
    };
    let cx = run
        .context(cx, step.phase, Duration::from_millis(step.within_ms))
        .with_attempt(step.attempt);
    let making = make(run, &cx, &pending, label);
    match within_reach(&cx, "make a state anew", making).await {
        Ok(()) => {
            let seen = run.observations.get(label);
            let message = format!(
                "was not reached, and was made from an empty system by {} migrations; it has {} rows",
                run.upgrade.released().len() + pending.len(),
                seen.map_or(0, Observation::rows),
            );
            let made = Finding::note("data/state-rebuilt", format!("state {label}"), message);
            run.found(&cx, step, made);
        }
        Err(error) => {
            tracing::info!(
                ?error,
                label,
                "the state could not be made from an empty system"
            );
            // What was noticed on the way is of no step.
            cx.take_noticed();
            run.unreachable.insert(label.to_owned());
        }
    }
}

async fn make(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    pending: &[MigrationId],
    label: &str,
) -> Result<()> {
    let snapshots = run.has(run.environment.snapshots(), "snapshots")?;
    snapshots.restore(cx, EMPTY).await?;
    run.put_back(EMPTY);
    let released = run.upgrade.released().iter().cloned();
    let pending = pending.iter().map(|id| migration(run, id));
    let all = released
        .map(Ok)
        .chain(pending)
        .collect::<Result<Vec<_>>>()?;
    for migration in all {
        if let Outcome::Failed(failure) = migration.apply(cx).await? {
            let message = format!("{} fails without rows, too", migration.id());
            return Err(Error::new(ErrorKind::Migration, message)
                .with_context("because", failure.to_string()));
        }
        if run
            .upgrade
            .migrations()
            .iter()
            .any(|it| it.id() == migration.id())
        {
            run.applied.push(migration.id().clone());
        }
    }
    let cx = cx.clone().with_upgraded(run.is_at_head());
    for writes in run.upgrade.writes() {
        if writes.suits_any_release() {
            writes.write(&cx).await?;
        }
    }
    snapshots.take(&cx, label).await?;
    run.rebuilt = true;
    run.keep(label);
    let observation = run.environment.observe(&cx, &At::Live, &Scope::All).await?;
    run.looks.observe(label);
    run.observations.insert(label.to_owned(), observation);
    cx.take_noticed();
    Ok(())
}
