//! A run undoes exactly what it did itself, and nothing once the upgrade is final.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

#[allow(
    unreachable_pub,
    reason = "shared by the tests of this file only, and no library"
)]
mod system;

mod mishaps;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use system::{Obedient, Step, System};
use tokio_util::sync::CancellationToken;
use upgrade_core::environment::Capabilities;
use upgrade_core::migration::MigrationId;
use upgrade_core::plan::{Action, Equal, OnFailure, PlannedStep, Policy};
use upgrade_core::validator::validator_fn;
use upgrade_core::{
    Error, ErrorKind, Finding, Phase, Plan, Report, Result, Runner, Scenario, Upgrade, Verdict,
    Version,
};

fn version(number: usize) -> String {
    format!("{number:04}")
}

fn of_migrations(system: &System, count: usize, fails: Option<usize>) -> Upgrade {
    without_rollback(system, count, fails).with_rollback(Obedient(system.clone()))
}

fn without_rollback(system: &System, count: usize, fails: Option<usize>) -> Upgrade {
    let steps = (0..count).map(|at| Step::of(system, &version(at), fails == Some(at)));
    Upgrade::new("shop", "1", "2").with_migrations(steps)
}

async fn run(system: &System, upgrade: Upgrade, plan: &Plan) -> Result<Report> {
    Runner::new(upgrade, system.clone()).run(plan).await
}

async fn carried_out(system: &System, upgrade: Upgrade) -> Result<Report> {
    let plan = Plan::new(&upgrade.outline(system.powers), Scenario::Upgrade, 1)?;
    run(system, upgrade, &plan).await
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// Any of five migrations may be there already, in any combination, and any may fail, or none; with
/// and without what the record of the system says being read first; services may move.
#[test]
fn whatever_is_applied_already_and_whatever_fails_a_run_undoes_only_its_own() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let inputs = (
        1_usize..6,
        any::<u32>(),
        proptest::option::of(0_usize..6),
        any::<bool>(),
        any::<bool>(),
    );
    proptest!(ProptestConfig::with_cases(2_000), |((count, mask, fails, reads, services) in inputs)| {
        let before: BTreeSet<String> = (0..count).filter(|at| mask >> at & 1 == 1).map(version).collect();
        let powers = if services { Capabilities::none().with_services() } else { Capabilities::none() };
        let system = System::new(powers, before.clone());
        let all = of_migrations(&system, count, fails);
        let ran = block_on(async {
            let upgrade = if reads { all.without_applied(&system).await? } else { all };
            carried_out(&system, upgrade).await
        });
        let failing = fails.is_some_and(|at| at < count && !before.contains(&version(at)));
        let pending = count > before.len();
        match ran {
            // Everything is applied, which is no upgrade.
            Err(error) => prop_assert!(reads && !pending && !services, "{error:?}"),
            Ok(report) => {
                prop_assert_eq!(report.passed, !failing, "{}", report);
                let after: BTreeSet<String> = (0..count).map(version).collect();
                prop_assert_eq!(system.applied(), if failing { before.clone() } else { after });
            }
        }
        for call in system.calls() {
            if let Some(undone) = call.strip_prefix("undo ") {
                prop_assert!(!before.contains(undone), "{:?}", system.calls());
            }
        }
        RUNS.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(RUNS.load(Ordering::Relaxed), 2_000);
}

#[tokio::test]
async fn what_is_applied_already_is_in_no_plan() {
    let system = System::new(Capabilities::none(), ["0000".to_owned(), "0001".to_owned()]);
    let upgrade = of_migrations(&system, 3, None)
        .without_applied(&system)
        .await
        .unwrap();
    let plan = Plan::new(&upgrade.outline(system.powers), Scenario::Upgrade, 1).unwrap();
    assert_eq!(plan.migrations(), [&MigrationId::new("0002", "")]);
}

#[tokio::test]
async fn a_planned_rollback_of_what_was_there_before_is_refused() {
    let system = System::new(Capabilities::none(), ["0000".to_owned()]);
    let upgrade = of_migrations(&system, 2, None);
    let strategy = || "obedient".to_owned();
    let ids = || (0..2).map(|at| MigrationId::new(version(at), ""));
    let mut steps = vec![(
        Phase::Preflight,
        Action::PrepareRollback {
            strategy: strategy(),
        },
    )];
    steps.extend(ids().map(|migration| (Phase::Expand, Action::Apply { migration })));
    let roll_back = Action::RollBack {
        strategy: strategy(),
        applied: ids().collect(),
    };
    steps.push((Phase::Rollback, roll_back));
    let plan = Plan::from_steps(&upgrade.outline(system.powers), steps, 1).unwrap();
    let report = run(&system, upgrade, &plan).await.unwrap();
    let refused = report
        .findings
        .iter()
        .find(|found| found.finding.id == "rollback/unsafe");
    assert!(
        refused.is_some_and(|found| found.finding.message.contains("not applied by this run")),
        "{report}"
    );
    let undone: Vec<String> = system.calls();
    assert!(!undone.contains(&"undo 0000".to_owned()), "{undone:?}");
}

/// Passes at the baseline and after the switch, and fails once the upgrade is final.
fn fails_at(number: usize) -> impl upgrade_core::Validator {
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    validator_fn("third time unlucky", move |_| {
        let now = asked.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            Ok(if now == number {
                Verdict::Fail(vec![Finding::error("wrong", "orders", "a wrong total")])
            } else {
                Verdict::Pass
            })
        }
    })
}

#[tokio::test]
async fn nothing_is_rolled_back_after_the_upgrade_is_final() {
    let system = System::new(Capabilities::none().with_services(), []);
    let upgrade = of_migrations(&system, 1, None).with_validator(fails_at(3));
    let report = carried_out(&system, upgrade).await.unwrap();
    assert!(!report.passed && report.rollbacks.is_empty(), "{report}");
    assert_eq!(system.state().release, "2");
    assert_eq!(system.applied().len(), 1);

    // Before that it is.
    let system = System::new(Capabilities::none().with_services(), []);
    let upgrade = of_migrations(&system, 1, None).with_validator(fails_at(2));
    let report = carried_out(&system, upgrade).await.unwrap();
    assert!(report.rollbacks[0].confirmed, "{report}");
    assert_eq!(system.state().release, "1");
    assert!(system.applied().is_empty());
    let ids: BTreeSet<u32> = report.steps.iter().map(|step| step.id.0).collect();
    assert_eq!(ids.len(), report.steps.len(), "one number for each step");
}

#[tokio::test]
async fn a_rollback_that_is_late_comes_to_its_end_and_is_a_finding() {
    let system = System::new(Capabilities::none(), []);
    let upgrade = of_migrations(&system, 2, Some(1)).with_rollback_within(Duration::ZERO);
    let report = carried_out(&system, upgrade).await.unwrap();
    assert!(report.rollbacks[0].confirmed, "{report}");
    assert!(system.applied().is_empty());
    let mut found = report.findings.iter().map(|found| &found.finding);
    let late = found.find(|finding| finding.id == "rollback/over-budget");
    assert!(
        late.is_some_and(|late| late.message.contains("0 ms")),
        "{report}"
    );
}

#[tokio::test]
async fn a_rollback_of_services_is_proven_only_by_a_comparison() {
    let services = Capabilities::none().with_services();
    for forgetful in [false, true] {
        let system = System::new(services, []);
        system.state().forgetful = forgetful;
        let upgrade = Upgrade::new("shop", "1", "2").with_validator(fails_at(2));
        let report = carried_out(&system, upgrade).await.unwrap();
        assert_eq!(report.rollbacks[0].confirmed, !forgetful, "{report}");
        let lost = report
            .findings
            .iter()
            .any(|found| found.finding.id == "rollback/rows-lost");
        assert_eq!(lost, forgetful, "{report}");
    }
    // Without an observation of the state before there is nothing to prove it by.
    let system = System::new(services, []);
    let upgrade = Upgrade::new("shop", "1", "2").with_validator(fails_at(1));
    let to = Version::new("2");
    let back = Policy::default().with_on_failure(OnFailure::RollBack);
    let steps = [
        PlannedStep::new(Phase::Switch, Action::Replace { version: to }),
        PlannedStep::new(Phase::Soak, Action::Validate).with_policy(back),
    ];
    let plan = Plan::from_steps(&upgrade.outline(services), steps, 1).unwrap();
    let report = run(&system, upgrade, &plan).await.unwrap();
    assert!(!report.rollbacks[0].confirmed, "{report}");
    let is_unproven = |id: &str| id == "rollback/unproven";
    assert!(
        report
            .findings
            .iter()
            .any(|found| is_unproven(&found.finding.id))
    );
}

#[tokio::test]
async fn a_real_system_keeps_its_copies_when_a_run_ends_early() {
    let stops = || {
        validator_fn("down", |cx: upgrade_core::UpgradeContext| async move {
            match cx.phase() {
                Phase::Baseline => Ok(Verdict::Pass),
                _ => Err(Error::new(ErrorKind::Unavailable, "no answer")),
            }
        })
    };
    // It can take snapshots, of volumes say, and nobody said that it may be thrown away.
    let real = Capabilities::none().with_snapshots();
    for (powers, given_up) in [(real, false), (real.with_disposable(), true)] {
        let system = System::new(powers, []);
        let upgrade = of_migrations(&system, 1, None).with_validator(stops());
        carried_out(&system, upgrade).await.unwrap_err();
        let calls = system.calls();
        assert_eq!(
            calls.contains(&"finalize".to_owned()),
            given_up,
            "{calls:?}"
        );
    }
}

#[tokio::test]
async fn an_error_of_one_validator_hides_no_finding_of_another() {
    let system = System::new(Capabilities::none(), []);
    let say = |name: &'static str| {
        validator_fn(name, move |cx: upgrade_core::UpgradeContext| async move {
            match (cx.phase(), name) {
                (Phase::Baseline, _) => Ok(Verdict::Pass),
                (_, "second") => Err(Error::new(ErrorKind::Unavailable, "no answer")),
                _ => Ok(Verdict::Fail(vec![Finding::error(
                    "lost",
                    name,
                    "is missing",
                )])),
            }
        })
    };
    let upgrade = of_migrations(&system, 1, None)
        .with_validator(say("first"))
        .with_validator(say("second"))
        .with_validator(say("third"));
    let error = carried_out(&system, upgrade).await.unwrap_err();
    let report = error.report().unwrap();
    let found: Vec<&str> = report
        .findings
        .iter()
        .map(|found| found.finding.subject.as_str())
        .collect();
    assert_eq!(found, ["first", "third"]);
}

#[tokio::test]
async fn a_cancelled_run_has_its_logs() {
    let system = System::new(Capabilities::none(), []);
    let token = CancellationToken::new();
    let cancel = token.clone();
    let upgrade = of_migrations(&system, 1, None).with_validator(validator_fn(
        "cancels",
        move |cx: upgrade_core::UpgradeContext| {
            cancel.cancel();
            async move { cx.bounded("wait", async { Verdict::Pass }).await }
        },
    ));
    let plan = Plan::new(&upgrade.outline(system.powers), Scenario::Upgrade, 1).unwrap();
    let runner = Runner::new(upgrade, system.clone()).with_cancellation(token);
    let error = runner.run(&plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(error.report().unwrap().logs[0].lines, ["a line"]);
}

#[tokio::test]
async fn an_order_of_ones_own_is_rolled_back_while_a_rollback_is_prepared() {
    let system = System::new(Capabilities::none(), []);
    let upgrade = of_migrations(&system, 2, Some(1));
    let strategy = || "obedient".to_owned();
    let apply = |at| Action::Apply {
        migration: MigrationId::new(version(at), ""),
    };
    let steps = [
        (
            Phase::Preflight,
            Action::PrepareRollback {
                strategy: strategy(),
            },
        ),
        (Phase::Expand, apply(0)),
        (Phase::Expand, apply(1)),
        (
            Phase::Finalize,
            Action::Finalize {
                strategy: strategy(),
            },
        ),
    ];
    let plan = Plan::from_steps(&upgrade.outline(system.powers), steps, 1).unwrap();
    assert_eq!(plan.scenario, Scenario::Custom);
    let report = run(&system, upgrade, &plan).await.unwrap();
    assert!(report.rollbacks[0].automatic, "{report}");
    assert!(system.applied().is_empty());
}

/// A plan that was edited, or that belongs to another upgrade, changes nothing.
#[tokio::test]
async fn a_plan_that_cannot_be_carried_out_is_refused_before_its_first_step() {
    let powers = Capabilities::none().with_snapshots().with_disposable();
    let system = System::new(powers, []);
    let upgrade = || of_migrations(&system, 2, None);
    let outline = upgrade().outline(powers);
    let good = Plan::new(&outline, Scenario::RoundTrip, 1).unwrap();
    type Edit = fn(&mut Plan);
    let edits: [(Edit, &str); 9] = [
        (|plan| plan.steps.swap(2, 3), "has number"),
        (|plan| drop(plan.steps.pop()), "no last step"),
        (|plan| plan.steps[1].action = Action::Validate, "has kept"),
        (
            |plan| plan.steps[2].action = Action::Validate,
            "has observed",
        ),
        (
            |plan| plan.steps[3].action = Action::Provision,
            "a second time",
        ),
        (
            |plan| plan.steps[3].action = Action::Teardown,
            "follows the last step",
        ),
        (
            |plan| {
                plan.steps[3].action = Action::Apply {
                    migration: MigrationId::new("9", ""),
                }
            },
            "does not have",
        ),
        (
            |plan| {
                plan.steps[3].action = Action::Replace {
                    version: Version::new("2"),
                }
            },
            "needs an environment with services",
        ),
        (
            |plan| {
                plan.steps[4].action = Action::MergeLate {
                    migration: MigrationId::new("0000", ""),
                    with: "nope".to_owned(),
                }
            },
            "has observed",
        ),
    ];
    for (edit, says) in edits {
        let mut plan = good.clone();
        edit(&mut plan);
        let read = Plan::from_json(&plan.to_json()).unwrap();
        let error = run(&system, upgrade(), &read).await.unwrap_err();
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    assert!(system.calls().iter().all(|call| call == "teardown"));

    // Rows are compared with a state that has to be kept, and with the one below it.
    let observe = |label: &str| Action::Observe {
        label: label.to_owned(),
    };
    let keep = |label: &str| Action::Snapshot {
        label: label.to_owned(),
    };
    let migration = || MigrationId::new("0000", "");
    let compare = Action::Compare {
        with: "a".to_owned(),
        equal: Equal::SharedRows,
    };
    let steps = [
        (Phase::Baseline, observe("a")),
        (Phase::Baseline, keep("a")),
        (
            Phase::Expand,
            Action::Apply {
                migration: migration(),
            },
        ),
        (
            Phase::Rollback,
            Action::Revert {
                migration: migration(),
            },
        ),
        (Phase::Rollback, compare),
    ];
    let error = Plan::from_steps(&outline, steps, 1).unwrap_err();
    assert!(error.to_string().contains("`baseline`"), "{error}");
}
