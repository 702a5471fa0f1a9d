//! Runs systems side by side and has comparisons judge one by the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::context::UpgradeContext;
use crate::environment::{SideBySide, Usage};
use crate::error::{Error, ErrorKind, Result};
use crate::finding::{Finding, Severity};
use crate::measurement::Measurement;
use crate::migration::Reversibility;
use crate::outcome::Outcome;
use crate::plan::BASELINE;
use crate::runner::run::StepResult;
use crate::runner::state::Run;
use crate::side::{Candidate, Side};
use crate::validator::{Validator, Verdict};

use super::services::why;
use super::validate::run_all;

/// What a finding is about: one that is found again has the same.
type Key = (String, String);

/// Runs every comparison on fresh copies. What one of them finds counts if it finds the same once more, on further
/// copies: noise does not repeat.
pub(in crate::runner) async fn compare(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    candidate: Candidate,
) -> StepResult {
    let Some(sides) = run.environment.side_by_side() else {
        let name = run.environment.name();
        return Ok(Verdict::Inconclusive(format!(
            "environment `{name}` cannot run releases side by side, so nothing was compared"
        )));
    };
    let mut findings = Vec::new();
    let mut inconclusive = Vec::new();
    for comparison in run.upgrade.comparisons() {
        let first = once(run, sides, cx, candidate, comparison).await?;
        let verdict = match first {
            Verdict::Fail(first) if first.iter().any(Finding::fails) => {
                // What it measures is known from the first time.
                let earlier = cx.take_noticed();
                let second = once(run, sides, cx, candidate, comparison).await;
                let later = cx.take_noticed();
                cx.put_noticed(earlier);
                confirmed(comparison.name(), first, second?, later.findings)
            }
            verdict => verdict,
        };
        match verdict {
            Verdict::Pass => {}
            Verdict::Fail(found) => findings.extend(found),
            Verdict::Inconclusive(reason) => inconclusive.push(reason),
        }
    }
    let fails = findings.iter().any(Finding::fails);
    if !fails && !inconclusive.is_empty() {
        findings.into_iter().for_each(|finding| cx.notice(finding));
        return Ok(Verdict::Inconclusive(inconclusive.join("\n")));
    }
    Ok(match findings.is_empty() {
        true => Verdict::Pass,
        false => Verdict::Fail(findings),
    })
}

/// One comparison on three fresh systems, which are removed however it ends.
async fn once(
    run: &Run<'_>,
    sides: &dyn SideBySide,
    cx: &UpgradeContext,
    candidate: Candidate,
    comparison: &Arc<dyn Validator>,
) -> StepResult {
    let started = start(run, sides, cx, candidate).await;
    let verdict = match started {
        Ok(None) => {
            let endpoints: BTreeMap<_, _> = Side::ALL
                .into_iter()
                .map(|side| (side, sides.endpoints(side)))
                .collect();
            let cx = cx.clone().with_sides(endpoints, candidate);
            let before = usage(sides, &cx).await;
            let verdict = run_all(&cx, std::iter::once(comparison)).await;
            let after = usage(sides, &cx).await;
            measure(&cx, comparison.name(), &before, &after);
            verdict
        }
        Ok(Some(finding)) => Ok(Verdict::Fail(vec![finding])),
        Err(error) => Err(error),
    };
    let mut left = None;
    for side in Side::ALL {
        if let Err(error) = sides.remove(cx, side).await {
            left.get_or_insert(error);
        }
    }
    match (verdict, left) {
        (Ok(_), Some(error)) => Err(error),
        (verdict, _) => verdict,
    }
}

/// What each side has used, as far as that is known.
async fn usage(sides: &dyn SideBySide, cx: &UpgradeContext) -> [Usage; 3] {
    let mut all = [Usage::default(); 3];
    for (side, usage) in Side::ALL.into_iter().zip(&mut all) {
        match sides.usage(cx, side).await {
            Ok(known) => *usage = known,
            Err(error) => tracing::info!(?error, %side, "what a side uses is not known"),
        }
    }
    all
}

/// Reports what each side has used during a comparison: all of them had the same requests.
fn measure(cx: &UpgradeContext, name: &str, before: &[Usage; 3], after: &[Usage; 3]) {
    type Figure = fn(&Usage, &Usage) -> Option<f64>;
    let figures: [(&str, &str, Figure); 4] = [
        ("processor time", "s", |before, after| {
            Some(after.cpu?.checked_sub(before.cpu?)?.as_secs_f64())
        }),
        ("memory", "MiB", |_, after| {
            Some(after.memory? as f64 / 1_048_576.0)
        }),
        ("transactions", "", |before, after| {
            Some(after.transactions?.checked_sub(before.transactions?)? as f64)
        }),
        ("statements", "", |before, after| {
            Some(after.statements?.checked_sub(before.statements?)? as f64)
        }),
    ];
    for (metric, unit, figure) in figures {
        let of = |at: usize| figure(&before[at], &after[at]);
        if let [Some(baseline), Some(secondary), Some(candidate)] = [of(0), of(1), of(2)] {
            let measured = Measurement::new(name, metric, unit, candidate);
            cx.measure(measured.with_baseline(baseline).with_secondary(secondary));
        }
    }
}

/// Makes the three systems. A candidate that does not come up is a finding; so is a migration that fails there.
async fn start(
    run: &Run<'_>,
    sides: &dyn SideBySide,
    cx: &UpgradeContext,
    candidate: Candidate,
) -> Result<Option<Finding>> {
    for side in Side::ALL {
        sides.copy(cx, side, BASELINE).await?;
        let release = match (side, candidate) {
            (Side::Candidate, Candidate::Upgraded) => &run.plan.to,
            _ => &run.plan.from,
        };
        if side == Side::Candidate
            && let Some(failed) = migrate(run, sides, cx, candidate).await?
        {
            return Ok(Some(failed));
        }
        if let Outcome::Failed(failure) = sides.start(cx, side, release).await? {
            if side == Side::Candidate {
                let message = format!("beside the previous release: {}", why(&failure));
                let finding = Finding::error("service/not-up", format!("{candidate}"), message);
                return Ok(Some(finding.with_evidence(format!("{failure:#}"))));
            }
            let message = format!("the {side} did not come up");
            return Err(
                Error::new(ErrorKind::Environment, message).with_source(Error::from(*failure))
            );
        }
    }
    Ok(None)
}

/// Brings the data of the candidate to where it has to be.
async fn migrate(
    run: &Run<'_>,
    sides: &dyn SideBySide,
    cx: &UpgradeContext,
    candidate: Candidate,
) -> Result<Option<Finding>> {
    let (up, down) = match candidate {
        Candidate::Unchanged => (false, false),
        Candidate::Upgraded | Candidate::Mixed => (true, false),
        Candidate::RolledBack => (true, true),
    };
    let cx = cx.clone().with_endpoints(sides.endpoints(Side::Candidate));
    let migrations = run.upgrade.migrations();
    let failed =
        |what: &str, migration: &crate::migration::MigrationId, failure: &crate::Failure| {
            let message = format!(
                "{what} of a copy beside the previous release: {}",
                why(failure)
            );
            Finding::error("up/failed", format!("migration {migration}"), message)
                .with_evidence(format!("{failure:#}"))
        };
    if up {
        for migration in migrations {
            if let Outcome::Failed(failure) = migration.apply(&cx).await? {
                return Ok(Some(failed("failed on the data", migration.id(), &failure)));
            }
        }
    }
    if down {
        for migration in migrations.iter().rev() {
            if let Reversibility::Irreversible { reason } = migration.reversibility() {
                let message = format!("`{}` cannot be reverted: {reason}", migration.id());
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
            if let Outcome::Failed(failure) = migration.revert(&cx).await? {
                return Ok(Some(failed(
                    "its down failed on the data",
                    migration.id(),
                    &failure,
                )));
            }
        }
    }
    Ok(None)
}

/// What is found both times. The rest is a note, since a difference that does not repeat is none of the release.
fn confirmed(name: &str, first: Vec<Finding>, second: Verdict, noticed: Vec<Finding>) -> Verdict {
    let second = match second {
        Verdict::Inconclusive(reason) => {
            return Verdict::Inconclusive(format!(
                "{name}: failed, and could not be confirmed on fresh copies: {reason}"
            ));
        }
        Verdict::Pass => noticed,
        Verdict::Fail(mut found) => {
            found.extend(noticed);
            found
        }
    };
    let key = |finding: &Finding| -> Key { (finding.id.clone(), finding.subject.to_string()) };
    let again: BTreeSet<Key> = second
        .iter()
        .filter(|finding| finding.fails())
        .map(key)
        .collect();
    let findings: Vec<Finding> = first
        .into_iter()
        .map(
            |finding| match finding.fails() && !again.contains(&key(&finding)) {
                true => Finding {
                    severity: Severity::Note,
                    message: format!("{}; not found again on fresh copies", finding.message),
                    ..finding
                },
                false => finding,
            },
        )
        .collect();
    match findings.is_empty() {
        true => Verdict::Pass,
        false => Verdict::Fail(findings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(subject: &str) -> Finding {
        Finding::error("x/y", subject, "differs")
    }

    #[test]
    fn only_what_is_found_twice_fails() {
        let first = vec![error("a"), error("b")];
        let second = Verdict::Fail(vec![error("b"), error("c")]);
        let Verdict::Fail(found) = confirmed("n", first, second, Vec::new()) else {
            panic!("b is found twice");
        };
        let fails: Vec<&str> = found
            .iter()
            .filter(|finding| finding.fails())
            .map(|finding| finding.subject.as_str())
            .collect();
        assert_eq!(fails, ["b"]);
        assert_eq!(found.len(), 2, "what was found once is told: {found:?}");
    }

    #[test]
    fn a_second_run_that_cannot_tell_is_no_pass() {
        let second = Verdict::Inconclusive("too noisy".to_owned());
        let verdict = confirmed("n", vec![error("a")], second, Vec::new());
        assert!(matches!(verdict, Verdict::Inconclusive(_)), "{verdict:?}");
    }
}
