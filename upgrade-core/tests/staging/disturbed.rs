//! Upgrades with injected faults.

use std::collections::BTreeSet;

use upgrade_core::docker::Stack;
use upgrade_core::environment::DockerEnvironment;
use upgrade_core::fault::{FaultKind, Faults, ServiceFault};
use upgrade_core::plan::{Action, Plan};
use upgrade_core::{Scenario, Severity, Upgrade};

use crate::rolling::{Back, EXPAND, NEW, OLD, SHOP, failures, rehearse_as, shop, system};
use crate::support::*;

/// The faults that a plan has drawn.
fn injected(plan: &Plan) -> Vec<&ServiceFault> {
    let all = plan.steps.iter().filter_map(|step| match &step.action {
        Action::InjectFault { fault, .. } => Some(fault),
        _ => None,
    });
    all.collect()
}

/// The first plan that has drawn what is wanted.
fn drawn(
    upgrade: Upgrade,
    environment: &DockerEnvironment,
    scenario: Scenario,
    wanted: impl Fn(&[&ServiceFault]) -> bool,
) -> (Upgrade, Plan) {
    let outline = upgrade.outline_in(environment).unwrap();
    let mut plans = (0..500).map(|seed| Plan::new(&outline, scenario, seed).unwrap());
    let plan = plans.find(|plan| wanted(&injected(plan)));
    (upgrade, plan.expect("one of five hundred"))
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_good_upgrade_recovers_from_what_is_drawn_and_keeps_every_order() {
    let fixture = Fixture::new();
    let environment = system(
        &fixture,
        shop("1", "select 1", OLD),
        shop("2", "select note from orders limit 1", NEW),
    );
    let declared = [
        EXPAND[0],
        (
            "1_note.down.sql",
            "-- upgrade: loses public.orders.note: it is new\nalter table orders drop column note;",
        ),
    ];
    let kinds = BTreeSet::from([FaultKind::Kill, FaultKind::Pause, FaultKind::Partition]);
    let report = rehearse_as(
        environment,
        &declared,
        Back::ByDowns,
        |upgrade, environment| {
            let faults = kinds.iter().fold(Faults::none(), |faults, kind| {
                faults.with(*kind, 0.3).unwrap()
            });
            let upgrade = upgrade.with_faults(faults);
            drawn(upgrade, environment, Scenario::Rolling, |injected| {
                let found: BTreeSet<FaultKind> = injected.iter().map(|fault| fault.kind).collect();
                injected.len() <= 5 && found == kinds
            })
        },
    )
    .await;
    assert!(report.passed, "{report}");
    let injections: Vec<_> = report
        .steps
        .iter()
        .filter(|step| step.title.contains("inject"))
        .collect();
    assert!(injections.len() >= 3, "{report}");
    for step in &injections {
        let mut traffic = report.traffic.iter();
        assert!(traffic.any(|seen| seen.step == step.id && seen.requests > 0));
    }
    let lost = report.findings_of(Severity::Note);
    let by_faults = lost.filter(|found| found.finding.id == "traffic/lost");
    assert!(
        by_faults
            .filter_map(|found| found.finding.help.as_deref())
            .any(|help| help.contains("was injected during these requests")),
        "{report}"
    );
    fixture.assert_nothing_is_left().await;
}

/// A service that takes what a killed predecessor has left for one that runs.
fn locked(release: &str, place: &str) -> Stack {
    let mut stack = shop(release, "select 1", place);
    let shop = stack.services.get_mut("shop").unwrap();
    let line = "test ! -e /tmp/pid || { echo already running; exit 1; }; \
                echo $$ > /tmp/pid; exec perl -e \"$SHOP\"";
    shop.entrypoint = Some(vec!["sh".into(), "-c".into(), line.into()]);
    shop.environment.insert("SHOP".into(), SHOP.into());
    stack
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_service_that_does_not_come_back_is_named() {
    let fixture = Fixture::new();
    let environment = system(&fixture, locked("1", OLD), locked("2", NEW))
        .with_ready_within(std::time::Duration::from_secs(20));
    let report = rehearse_as(
        environment,
        EXPAND,
        Back::ByDowns,
        |upgrade, environment| {
            let upgrade = upgrade.with_faults(Faults::none().with(FaultKind::Kill, 0.6).unwrap());
            drawn(upgrade, environment, Scenario::Rolling, |injected| {
                injected
                    .first()
                    .is_some_and(|fault| fault.service == "shop")
            })
        },
    )
    .await;
    let found = failures(&report);
    assert!(found.contains("service/not-recovered"), "{report}");
    let finding = report
        .findings
        .iter()
        .map(|found| &found.finding)
        .find(|finding| finding.id == "service/not-recovered")
        .unwrap();
    assert!(finding.subject.as_str().starts_with("shop."), "{report}");
    let evidence = finding.evidence.clone().unwrap_or_default();
    assert!(evidence.contains("already running"), "{report}");
    // The attempts after it began with all services.
    assert!(report.steps.iter().all(|step| step.attempt == 0
        || !matches!(step.outcome, upgrade_core::report::StepOutcome::Error(_))));
    fixture.assert_nothing_is_left().await;
}
