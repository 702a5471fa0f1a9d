//! What goes wrong in a rollback, and what is known to go wrong: the report omits none of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use upgrade_core::environment::Capabilities;
use upgrade_core::event::EventRecord;
use upgrade_core::finding::KnownFinding;
use upgrade_core::migration::Outcome;
use upgrade_core::report::StepOutcome;
use upgrade_core::rollback::{Prepared, Rollback, RollbackRequest, RollbackScope, Safety};
use upgrade_core::validator::validator_fn;
use upgrade_core::{
    Error, ErrorKind, Event, EventSink, Finding, Plan, Report, Result, Runner, Scenario,
    UpgradeContext, Verdict,
};

use super::system::{Obedient, Step, System};
use super::{carried_out, fails_at, of_migrations, without_rollback};

/// Undoes all, or says that it cannot, and then proves what it is told to.
#[derive(Debug)]
struct Wayward {
    obedient: Obedient,
    undo: Undo,
    proof: fn() -> Result<Verdict>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Undo {
    All,
    Nothing,
}

#[async_trait]
impl Rollback for Wayward {
    fn name(&self) -> &str {
        "wayward"
    }

    fn requires_reversible(&self) -> bool {
        self.obedient.requires_reversible()
    }

    async fn prepare(&self, cx: &UpgradeContext, scope: &RollbackScope) -> Result<Prepared> {
        self.obedient.prepare(cx, scope).await
    }

    async fn check(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        request: &RollbackRequest,
    ) -> Result<Safety> {
        self.obedient.check(cx, prepared, request).await
    }

    async fn execute(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        request: &RollbackRequest,
    ) -> Result<Outcome> {
        match self.undo {
            Undo::All => self.obedient.execute(cx, prepared, request).await,
            Undo::Nothing => {
                let refused = Error::new(ErrorKind::Database, "it is in use");
                Ok(Outcome::failed(refused))
            }
        }
    }

    async fn confirm(&self, _: &UpgradeContext, _: &Prepared) -> Result<Verdict> {
        (self.proof)()
    }

    async fn finalize(&self, cx: &UpgradeContext, prepared: &Prepared) -> Result<()> {
        self.obedient.finalize(cx, prepared).await
    }
}

/// An upgrade whose second migration fails, and is rolled back.
async fn rolled_back(system: &System, proof: fn() -> Result<Verdict>) -> Result<Report> {
    let upgrade = without_rollback(system, 2, Some(1));
    let rollback = Wayward {
        obedient: Obedient(system.clone()),
        undo: Undo::All,
        proof,
    };
    let upgrade = upgrade.with_rollback(rollback);
    let known = KnownFinding::new("rollback/rows-lost", "an old one, seen in every upgrade");
    carried_out(system, upgrade.with_known([known])).await
}

#[tokio::test]
async fn a_rollback_that_panics_ends_in_an_error_and_everything_is_removed() {
    let system = System::new(Capabilities::none(), []);
    let error = rolled_back(&system, || panic!("no such column")).await;
    let report = match &error {
        Ok(report) => report,
        Err(error) => error.report().unwrap(),
    };
    assert!(!report.passed);
    let text = format!("{report}");
    assert!(text.contains("no such column"), "{text}");
    assert_eq!(system.calls().last().unwrap(), "teardown");
}

#[tokio::test]
async fn a_rollback_that_was_carried_out_is_reported_whatever_its_proof_says() {
    let system = System::new(Capabilities::none(), []);
    let unproven = || {
        Err(Error::new(
            ErrorKind::Database,
            "the server no longer answers",
        ))
    };
    let ended = rolled_back(&system, unproven).await;
    let report = match &ended {
        Ok(report) => report,
        Err(error) => error.report().unwrap(),
    };
    let [rollback] = &report.rollbacks[..] else {
        panic!("{report}")
    };
    assert!(!rollback.confirmed && rollback.migrations == 2, "{report}");
    assert!(system.calls().contains(&"undo 0000".to_owned()));
}

#[tokio::test]
async fn a_rollback_that_finds_only_what_is_known_is_confirmed() {
    let lost = || {
        let lost = Finding::error("rollback/rows-lost", "public.orders", "3 rows are missing");
        Ok(Verdict::Fail(vec![lost]))
    };
    let system = System::new(Capabilities::none(), []);
    let report = rolled_back(&system, lost).await.unwrap();
    assert!(report.rollbacks[0].confirmed, "{report}");
    assert!(
        report
            .findings
            .iter()
            .any(|found| found.finding.known.is_some())
    );
}

#[tokio::test]
async fn each_entry_that_a_finding_matches_is_found() {
    let system = System::new(Capabilities::none(), []);
    let warns = validator_fn("totals", |_| async {
        let wrong = Finding::error("wrong", "public.orders", "a wrong total");
        Ok(Verdict::Fail(vec![wrong]))
    });
    let of = || KnownFinding::new("wrong", "since 2019").in_scenarios([Scenario::Upgrade]);
    let upgrade = of_migrations(&system, 1, None)
        .with_validator(warns)
        .with_known([of(), of().about("public.orders")]);
    let report = carried_out(&system, upgrade).await.unwrap();
    assert!(report.passed, "{report}");
}

/// Remembers the last that was said of each step.
#[derive(Debug, Default, Clone)]
struct Failed(Arc<AtomicBool>);

impl EventSink for Failed {
    fn record(&self, record: &EventRecord) {
        if let Event::StepFinished { outcome, .. } = &record.event
            && matches!(outcome, StepOutcome::Failed)
        {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

#[tokio::test]
async fn a_known_finding_that_is_gone_is_told_with_the_step_that_fails_by_it() {
    let system = System::new(Capabilities::none(), []);
    let known = KnownFinding::new("wrong", "since 2019").in_scenarios([Scenario::Upgrade]);
    let upgrade = of_migrations(&system, 1, None).with_known([known]);
    let plan = Plan::new(&upgrade.outline(system.powers), Scenario::Upgrade, 1).unwrap();
    let failed = Failed::default();
    let runner = Runner::new(upgrade, system.clone()).with_sink(failed.clone());
    let report = runner.run(&plan).await.unwrap();
    let stale = report.findings.last().unwrap();
    assert_eq!(stale.finding.id, "declared/known-not-found");
    let steps = report.steps.iter();
    let wrong: Vec<_> = steps.filter(|step| !step.outcome.is_done()).collect();
    assert_eq!((wrong.len(), wrong[0].id), (1, stale.step), "{report}");
    assert!(failed.0.load(Ordering::SeqCst), "whoever listens is told");
}

#[tokio::test]
async fn what_is_known_of_a_released_migration_need_not_be_found() {
    for (released, passes) in [(true, true), (false, false)] {
        let system = System::new(Capabilities::none(), []);
        let known = KnownFinding::new("up/failed", "since 2019")
            .about("migration 9999")
            .in_scenarios([Scenario::Upgrade]);
        let mut upgrade = of_migrations(&system, 1, None).with_known([known]);
        if released {
            upgrade = upgrade.with_released([Step::of(&system, "9999", false)], [1]);
        }
        let report = carried_out(&system, upgrade).await.unwrap();
        assert_eq!(report.passed, passes, "{report}");
    }
}

#[tokio::test]
async fn services_that_do_not_start_are_told_also_where_the_data_fails() {
    let system = System::new(Capabilities::none().with_services(), []);
    system.state().stuck = true;
    let upgrade = without_rollback(&system, 1, None);
    let rollback = Wayward {
        obedient: Obedient(system.clone()),
        undo: Undo::Nothing,
        proof: || Ok(Verdict::Pass),
    };
    let upgrade = upgrade.with_rollback(rollback).with_validator(fails_at(2));
    let report = carried_out(&system, upgrade).await.unwrap();
    let ids: Vec<&str> = report
        .findings
        .iter()
        .map(|found| found.finding.id.as_str())
        .collect();
    assert!(ids.contains(&"service/not-up"), "{report}");
    assert!(ids.contains(&"rollback/failed"), "{report}");
}
