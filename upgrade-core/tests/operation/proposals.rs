//! What an operation carries out: what was planned for this system, and rehearsed.

use upgrade_core::environment::{Existing, PostgresEnvironment};
use upgrade_core::journal::{MemoryStore, State};
use upgrade_core::operation::{Act, Attestation, Proposal};
use upgrade_core::{ErrorKind, Plan, Report, Runner, Scenario, Upgrade};

use super::journal::{REVERT, SWAP, observe, upgrade};
use super::life::{anns, claims, proposed, state, tool};
use super::support::{run, shop};

#[tokio::test]
async fn a_proposal_is_carried_out_on_the_system_that_it_was_made_for() {
    type Change = (&'static str, &'static str);
    let changes: [Change; 2] = [
        (
            "create index by_hand on orders (v)",
            "the schema is another",
        ),
        (
            "create table _sqlx_migrations (version bigint primary key, description text not null, \
             installed_on timestamptz not null default now(), success boolean not null, \
             checksum bytea not null, execution_time bigint not null); \
             alter table orders add note text; \
             insert into _sqlx_migrations values (1, 'note', now(), true, '\\x00', 0)",
            "migration `1_note` was applied",
        ),
    ];
    for (sql, said) in changes {
        let database = shop().await;
        let (operation, _) = anns(&database, REVERT).await;
        let proposal = proposed(&operation).await;
        run(&database, sql).await;
        let before = observe(&database).await;
        let error = operation.apply(&proposal).await.unwrap_err();
        let text = format!("{error:?}");
        assert!(
            error.kind() == ErrorKind::Refused && text.contains(said),
            "{text}"
        );
        assert_eq!(observe(&database).await, before);
        // The plan is of another system: there is nothing to go on with.
        let acts = vec![Act::Apply, Act::Abort];
        assert_eq!(state(&operation).await, (State::Nothing, acts));
        assert!(operation.resume().await.unwrap().is_none());
        assert_eq!(claims(&database).await, 0);
        // Planned again, it is that of the system as it is now.
        if said.contains("schema") {
            let proposal = proposed(&operation).await;
            assert!(operation.apply(&proposal).await.unwrap().passed);
        }
    }

    // One that was edited, and one of another journal.
    let database = shop().await;
    let (operation, _) = anns(&database, REVERT).await;
    let proposal = proposed(&operation).await;
    let edited = proposal.to_json().replace("\"to\": \"2\"", "\"to\": \"3\"");
    let error = Proposal::from_json(&edited).unwrap_err();
    assert!(error.to_string().contains("was changed"), "{error:?}");
    for no_proposal in ["", "{}", "{\"format\": 9}"] {
        let error = Proposal::from_json(no_proposal).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    }
    let (another, _) = anns(&database, REVERT).await;
    let error = another.apply(&proposal).await.unwrap_err();
    assert!(error.to_string().contains("another journal"), "{error:?}");
}

#[tokio::test]
async fn a_release_with_other_files_does_not_go_on_with_what_was_begun() {
    let database = shop().await;
    let (operation, store) = anns(&database, REVERT).await;
    let proposal = proposed(&operation).await;
    operation.apply(&proposal).await.unwrap();
    let after = observe(&database).await;
    // `slow` ones have other contents.
    let other = upgrade(&database, REVERT, true);
    let other = tool("bob", &database, other, store.clone()).await.unwrap();
    let error = other.rollback().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Divergent, "{error:?}");
    let none = Upgrade::new("shop", "1", "2");
    let none = tool("bob", &database, none, store.clone()).await.unwrap();
    let error = none.rollback().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert_eq!(observe(&database).await, after);
    let own = upgrade(&database, REVERT, false);
    let own = tool("bob", &database, own, store).await.unwrap();
    assert!(own.rollback().await.unwrap().passed);
}

/// The reports of a rehearsal of the same upgrade, in a copy that may be thrown away.
async fn rehearsed(scenarios: &[Scenario]) -> Vec<Report> {
    let mut reports = Vec::new();
    for scenario in scenarios {
        let copy = shop().await;
        let name = copy.name().to_owned();
        let copy = copy.adopted(&name).unwrap();
        let upgrade = upgrade(&copy, REVERT, false);
        let environment = PostgresEnvironment::new("staging", Existing::disposable(copy.clone()));
        let outline = upgrade.outline_in(&environment).unwrap();
        let plan = Plan::new(&outline, *scenario, 7).unwrap();
        let report = Runner::new(upgrade, environment).run(&plan).await.unwrap();
        assert!(report.passed, "{report}");
        reports.push(report);
    }
    reports
}

#[tokio::test]
async fn only_what_was_rehearsed_is_applied() {
    let scenarios = [Scenario::RoundTrip, Scenario::Rollback];
    let reports = rehearsed(&scenarios).await;
    let whole = Attestation::of(&reports).unwrap();
    let whole = Attestation::from_json(&whole.to_json()).unwrap();
    let half = Attestation::of(&reports[..1]).unwrap();
    let mut failed = reports[0].clone();
    failed.passed = false;
    assert_eq!(
        Attestation::of([&failed]).unwrap_err().kind(),
        ErrorKind::Failed
    );
    assert!(Attestation::of([]).is_err() && Attestation::from_json("{}").is_err());
    // One that passed and has not carried out a migration says nothing about it.
    let mut idle = reports[0].clone();
    idle.migrations[1].reverted = 0;
    let idle = Attestation::of([&idle, &reports[1]]).unwrap();
    let lacking = idle.migrations.iter().filter(|one| one.scenarios.len() < 2);
    assert_eq!(lacking.count(), 1);

    let database = shop().await;
    let before = observe(&database).await;
    type Case = (
        &'static str,
        Attestation,
        bool,
        &'static str,
        Option<&'static str>,
    );
    let cases: [Case; 4] = [
        (
            "a scenario is missing",
            half,
            false,
            REVERT,
            Some("`1_note` did not pass `rollback`"),
        ),
        (
            "other contents",
            whole.clone(),
            true,
            REVERT,
            Some("was rehearsed with another content"),
        ),
        (
            "another strategy",
            whole.clone(),
            false,
            SWAP,
            Some("by snapshot swap was not verified"),
        ),
        ("all of it", whole, false, REVERT, None),
    ];
    for (case, attestation, slow, strategy, said) in cases {
        let upgrade = upgrade(&database, strategy, slow);
        let operation = tool("ann", &database, upgrade, MemoryStore::new())
            .await
            .unwrap();
        let operation = operation.with_attestation(attestation, scenarios);
        let proposal = proposed(&operation).await;
        match said {
            Some(said) => {
                let error = operation.apply(&proposal).await.unwrap_err();
                let text = format!("{error:?}");
                assert!(
                    error.kind() == ErrorKind::Refused && text.contains(said),
                    "{case}: {text}"
                );
                assert_eq!(observe(&database).await, before, "{case}");
            }
            None => {
                let report = operation.apply(&proposal).await.unwrap();
                assert!(report.passed, "{case}: {report}");
            }
        }
    }
}
