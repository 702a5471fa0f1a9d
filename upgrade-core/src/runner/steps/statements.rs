//! Whether the tables still take the statements of each release: those of the previous one after
//! each migration, and those of the newer one when it is reached.

use std::collections::BTreeSet;

use crate::context::UpgradeContext;
use crate::environment::{At, Refusal, StatementKind};
use crate::error::Result;
use crate::finding::{Finding, Severity};
use crate::migration::MigrationId;
use crate::plan::{Action, BASELINE};
use crate::runner::state::Run;

/// What is known of the statements of both releases.
#[derive(Debug, Default)]
pub(in crate::runner) struct Tried {
    /// What was refused before anything changed: that is no matter of the upgrade.
    before: Option<BTreeSet<(String, StatementKind)>>,
    /// After which migrations they were tried.
    after: BTreeSet<Vec<MigrationId>>,
    /// What was reported of the previous release.
    reported: BTreeSet<(String, StatementKind)>,
}

/// Tries the statements at the previous release, unless that was done.
pub(in crate::runner) async fn before(run: &mut Run<'_>, cx: &UpgradeContext) -> Result<()> {
    let at_baseline = run.applied.is_empty() && run.snapshots.contains_key(BASELINE);
    let crashes = |step: &crate::plan::Step| matches!(step.action, Action::Crash { .. });
    if !at_baseline || run.tried.before.is_some() || run.plan.steps.iter().any(crashes) {
        return Ok(());
    }
    let Some(trial) = run.environment.statement_trial() else {
        return Ok(());
    };
    let refused = trial.try_statements(cx, &At::Live).await?;
    run.tried.before = Some(refused.iter().map(key).collect());
    Ok(())
}

/// Tries them after a migration was applied, and notices what is refused now.
pub(in crate::runner) async fn after(run: &mut Run<'_>, cx: &UpgradeContext) -> Result<()> {
    // In a rebuilt state the rows that the statements are about are not there.
    if run.rebuilt || run.tried.before.is_none() || !run.tried.after.insert(run.applied.clone()) {
        return Ok(());
    }
    // A loss of the new release is one of the previous release as well: it is told once.
    let of_new = if run.is_at_head() {
        refused_now(run, cx, &At::Live).await?
    } else {
        Vec::new()
    };
    let known: BTreeSet<_> = of_new.iter().map(key).collect();
    for finding in new_release(&of_new) {
        cx.notice(finding);
    }
    let of_old = refused_now(run, cx, &At::Snapshot(BASELINE.to_owned())).await?;
    let overlaps = run.upgrade.releases_overlap()
        || run
            .plan
            .steps
            .iter()
            .any(|step| matches!(step.action, Action::ReplaceFirst { .. }));
    let mut first_seen = of_old;
    first_seen.retain(|refusal| {
        !known.contains(&key(refusal)) && run.tried.reported.insert(key(refusal))
    });
    for finding in old_release(&first_seen, overlaps) {
        cx.notice(finding);
    }
    Ok(())
}

/// The writes of the newer release that are refused, and were not before: why users cannot write.
pub(in crate::runner) async fn of_new_release(
    run: &Run<'_>,
    cx: &UpgradeContext,
) -> Result<Vec<Finding>> {
    if run.tried.before.is_none() || !run.is_at_head() {
        return Ok(Vec::new());
    }
    Ok(new_release(&refused_now(run, cx, &At::Live).await?))
}

async fn refused_now(run: &Run<'_>, cx: &UpgradeContext, of: &At) -> Result<Vec<Refusal>> {
    let trial = run.has(run.environment.statement_trial(), "trial of statements")?;
    let mut refused = trial.try_statements(cx, of).await?;
    let before = run.tried.before.iter().flatten();
    let before: BTreeSet<_> = before.collect();
    refused.retain(|refusal| !before.contains(&key(refusal)));
    Ok(refused)
}

fn key(refusal: &Refusal) -> (String, StatementKind) {
    (refusal.table.to_string(), refusal.kind)
}

fn new_release(refused: &[Refusal]) -> Vec<Finding> {
    by_table(refused, "statement/write-fails", "fails at the new release")
}

fn old_release(refused: &[Refusal], overlaps: bool) -> Vec<Finding> {
    let what = "of the previous release fails on the new schema";
    let mut findings = by_table(refused, "statement/old-fails", what);
    for finding in &mut findings {
        finding.severity = if overlaps {
            Severity::Error
        } else {
            Severity::Note
        };
    }
    findings
}

/// One finding for each table: the first statement in the message, all of them as evidence.
fn by_table(refused: &[Refusal], id: &str, what: &str) -> Vec<Finding> {
    let of_tables = refused.chunk_by(|one, other| one.table == other.table);
    of_tables
        .map(|all| {
            let Refusal {
                table,
                statement,
                answer,
                ..
            } = &all[0];
            let first = answer.lines().next().unwrap_or_default();
            let more = match all.len() - 1 {
                0 => String::new(),
                1 => ", and another kind of statement as well".to_owned(),
                more => format!(", and {more} other kinds of statements as well"),
            };
            let message = format!("`{statement}` {what}: {first}{more}");
            let evidence: String = all
                .iter()
                .map(|refusal| format!("{};\n{}\n", refusal.statement, refusal.answer))
                .collect();
            Finding::error(id, table.clone(), message).with_evidence(evidence)
        })
        .collect()
}
