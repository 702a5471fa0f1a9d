//! Steps that act once more, or out of order.

use crate::context::UpgradeContext;
use crate::environment::At;
use crate::finding::Finding;
use crate::migration::{MigrationId, Outcome};
use crate::observation::Scope;
use crate::runner::compare::differences;
use crate::runner::compare::rows::Ids;
use crate::runner::deadline::in_time;
use crate::runner::run::{StepResult, verdict};
use crate::runner::state::Run;
use crate::runner::steps::migration;

/// Applies or reverts a migration once more: the record has to keep it from doing anything.
pub(in crate::runner) async fn again(
    run: &Run<'_>,
    cx: &UpgradeContext,
    id: &MigrationId,
    up: bool,
) -> StepResult {
    let migration = migration(run, id)?;
    let subject = format!("migration {id}");
    let before = run.environment.observe(cx, &At::Live, &Scope::All).await?;
    let (finding, acted, result) = if up {
        ("up/not-idempotent", "applied", migration.apply(cx).await)
    } else {
        (
            "down/not-idempotent",
            "reverted",
            migration.revert(cx).await,
        )
    };
    let mut findings = Vec::new();
    match in_time(result) {
        Ok(Outcome::NothingToDo) => {}
        Ok(Outcome::Done) => {
            let message = format!("is {acted} already, and was {acted} once more");
            findings.push(Finding::error(finding, subject, message));
        }
        Ok(Outcome::Failed(failure)) => {
            let message =
                format!("is {acted} already, and fails to be {acted} once more: {failure}");
            findings.push(Finding::error(finding, subject, message));
        }
        Err(error) => return Err(error.with_context("migration", id)),
    }
    let after = run.environment.observe(cx, &At::Live, &Scope::All).await?;
    findings.extend(differences(&before, &after, finding, Ids::same(finding)));
    Ok(verdict(findings))
}

/// Applies all migrations but one, then that one, and compares the schema with the head's.
pub(in crate::runner) async fn merge_late(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    late: &MigrationId,
    with: &str,
) -> StepResult {
    let all: Vec<MigrationId> = run
        .upgrade
        .migrations()
        .iter()
        .map(|migration| migration.id().clone())
        .collect();
    let others = all.iter().filter(|id| *id != late);
    let mut skipped = false;
    for id in others.chain([late]) {
        let applying = run.begin(cx, id).await;
        let applied = match applying {
            Ok(migration) => migration.apply(cx).await,
            Err(error) => Err(error),
        };
        match in_time(applied) {
            // One that needs the late one, or is needed by it: there is no other order.
            Ok(Outcome::Failed(_)) => return Ok(verdict(Vec::new())),
            Ok(outcome) => skipped |= outcome == Outcome::NothingToDo,
            Err(error) => return Err(error.with_context("migration", id)),
        }
    }
    let expected = run.observed(with)?;
    let scope = Scope::Schema;
    let actual = run.environment.observe(cx, &At::Live, &scope).await?;
    let mut findings = expected.schema_findings(&actual, "order/late-differs");
    if skipped {
        let message = "its tool passes over it when it comes late, and says nothing";
        findings.push(Finding::error(
            "order/late-differs",
            format!("migration {late}"),
            message,
        ));
    }
    Ok(verdict(findings))
}
