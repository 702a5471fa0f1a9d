//! An upgraded database without a table: whatever was compared in it, nothing was tested.

use crate::context::UpgradeContext;
use crate::environment::At;
use crate::finding::Finding;
use crate::observation::Scope;
use crate::runner::run::{StepResult, verdict};
use crate::runner::state::Run;
use crate::validator::Verdict;

/// After a migration was applied: whether it was the last one, and there is no table all the same.
/// Where the previous release had tables, the comparison of rows tells what became of them; where it was
/// not observed, nothing is known of it.
pub(in crate::runner) async fn after_apply(
    run: &Run<'_>,
    cx: &UpgradeContext,
    applied: Verdict,
) -> StepResult {
    let mut findings = match applied {
        Verdict::Pass => Vec::new(),
        Verdict::Fail(findings) if !findings.iter().any(Finding::fails) => findings,
        other => return Ok(other),
    };
    let was_empty = !run.observations.is_empty() && run.report.tables == 0;
    let may_be_empty = run.is_at_head() && was_empty && has_database(cx);
    if !may_be_empty {
        return Ok(verdict(findings));
    }
    let now = run.look(cx, &At::Live, &Scope::Rows).await?;
    if !now.tables.is_empty() {
        return Ok(verdict(findings));
    }
    let count = run.upgrade.released().len() + run.upgrade.migrations().len();
    let message = format!(
        "has no table after {count} migration{}: there is nothing in it that could be tested",
        if count == 1 { "" } else { "s" }
    );
    let subject = "the upgraded database";
    findings.push(Finding::error("up/no-tables", subject, message));
    Ok(verdict(findings))
}

#[cfg(feature = "postgres")]
fn has_database(cx: &UpgradeContext) -> bool {
    cx.database().is_ok()
}

#[cfg(not(feature = "postgres"))]
fn has_database(_: &UpgradeContext) -> bool {
    false
}
