//! Runs validators.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use crate::context::UpgradeContext;
use crate::finding::Finding;
use crate::runner::deadline::said;
use crate::runner::run::StepResult;
use crate::runner::state::Run;
use crate::validator::{Validator, Verdict};

/// Runs every validator, also after one has failed or could not tell.
pub(in crate::runner) async fn validate(run: &mut Run<'_>, cx: &UpgradeContext) -> StepResult {
    run_all(cx, run.upgrade.validators().iter()).await
}

pub(super) async fn run_all(
    cx: &UpgradeContext,
    validators: impl Iterator<Item = &Arc<dyn Validator>>,
) -> StepResult {
    let mut findings = Vec::new();
    let mut inconclusive = Vec::new();
    let mut failed = None;
    for validator in validators {
        let name = validator.name();
        // A failed assertion in a validator is a judgement, not a defect of the run.
        match AssertUnwindSafe(validator.validate(cx))
            .catch_unwind()
            .await
        {
            Ok(Ok(Verdict::Pass)) => {}
            Ok(Ok(Verdict::Fail(found))) if found.is_empty() => findings.push(Finding::error(
                "validator/failed",
                name,
                "failed without a finding that says why",
            )),
            Ok(Ok(Verdict::Fail(found))) => findings.extend(found),
            Ok(Ok(Verdict::Inconclusive(reason))) => inconclusive.push(format!("{name}: {reason}")),
            Ok(Err(error)) => {
                failed.get_or_insert(error.with_context("validator", name));
            }
            Err(panic) => {
                findings.push(Finding::error("validator/panicked", name, said(&*panic)));
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
