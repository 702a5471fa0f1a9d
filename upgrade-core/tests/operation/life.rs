//! An operation from its plan to its end, and what it refuses on the way.

use sqlx::Connection as _;
use upgrade_core::environment::{Existing, PostgresEnvironment};
use upgrade_core::journal::{Actor, Journal, MemoryStore, State};
use upgrade_core::operation::{Act, Attestation, Operation, Proposal};
use upgrade_core::postgres::Database;
use upgrade_core::rollback::RevertMigrations;
use upgrade_core::{ErrorKind, Plan, Report, Runner, Scenario, Upgrade};

use super::journal::{REVERT, SWAP, environment, observe, upgrade};
use super::support::{beside, run, shop};

/// A tool of somebody, who knows the bytes of a journal.
pub(super) async fn tool(
    who: &str,
    database: &Database,
    upgrade: Upgrade,
    store: MemoryStore,
) -> upgrade_core::Result<Operation> {
    let journal = Journal::open(store, database.name(), Actor::new(who)).await?;
    let database = database.clone();
    Ok(Operation::new(journal, upgrade, move || {
        environment(&database)
    }))
}

async fn anns(database: &Database, strategy: &str) -> (Operation, MemoryStore) {
    let store = MemoryStore::new();
    let upgrade = upgrade(database, strategy, false);
    let operation = tool("ann", database, upgrade, store.clone()).await.unwrap();
    (operation, store)
}

async fn proposed(operation: &Operation) -> Proposal {
    operation.plan().await.unwrap().unwrap()
}

async fn state(operation: &Operation) -> (State, Vec<Act>) {
    let status = operation.status().await;
    (status.standing.state, status.acts)
}

#[tokio::test]
async fn an_upgrade_is_applied_rolled_back_applied_again_and_made_final_by_different_processes() {
    use Act::{Apply, Finalize, RollBack};
    for strategy in [SWAP, REVERT] {
        let database = shop().await;
        let before = observe(&database).await;
        let (operation, store) = anns(&database, strategy).await;
        assert_eq!(state(&operation).await, (State::Nothing, vec![Apply]));
        let proposal = proposed(&operation).await;
        println!("{proposal}\n");
        let saved = Proposal::from_json(&proposal.to_json()).unwrap();
        let report = operation.apply(&saved).await.unwrap();
        assert!(report.passed, "{report}");
        let soaking = (State::Soaking, vec![RollBack, Finalize]);
        assert_eq!(state(&operation).await, soaking);
        operation.close().await.unwrap();

        // Bob, on another day.
        let bobs = || {
            tool(
                "bob",
                &database,
                upgrade(&database, strategy, false),
                store.clone(),
            )
        };
        let operation = bobs().await.unwrap();
        assert_eq!(state(&operation).await, soaking);
        for (act, refused) in [
            ("apply", operation.apply(&proposal).await.map(drop)),
            ("apply", operation.plan().await.map(drop)),
            ("abort", operation.abort("I think").await.map(drop)),
        ] {
            let error = refused.unwrap_err();
            let said = format!("{error:?}");
            assert!(
                error.kind() == ErrorKind::Refused && said.contains(act),
                "{said}"
            );
            assert!(
                said.contains("possible now: `rollback`, `finalize`"),
                "{said}"
            );
        }
        let own = operation.leftovers().await.unwrap();
        assert!(own.is_empty(), "{own:?}");
        let report = operation.rollback().await.unwrap();
        assert!(report.passed && report.rollbacks[0].confirmed, "{report}");
        assert_eq!(state(&operation).await, (State::RolledBack, vec![Apply]));
        assert_eq!(observe(&database).await, before, "{strategy}");
        assert_eq!(
            beside(&database).await,
            [format!("{} open", database.name())]
        );
        assert!(operation.resume().await.unwrap().is_none());
        operation.close().await.unwrap();

        let operation = bobs().await.unwrap();
        let proposal = proposed(&operation).await;
        operation.apply(&proposal).await.unwrap();
        let report = operation.finalize().await.unwrap();
        assert!(report.passed, "{report}");
        assert_eq!(state(&operation).await, (State::Finalized, vec![Apply]));
        assert!(operation.plan().await.unwrap().is_none());
        for refused in [operation.rollback().await, operation.finalize().await] {
            let said = refused.unwrap_err().to_string();
            assert!(said.contains("the upgrade is final"), "{said}");
        }
        assert_eq!(
            beside(&database).await,
            [format!("{} open", database.name())]
        );
        assert_eq!(claims(&database).await, 0);
        let history = operation.history().await;
        assert!(history.iter().any(|record| record.actor == "bob"));
        for record in history {
            println!("{record}");
        }
    }
}

/// How many claims the database bears.
async fn claims(database: &Database) -> i64 {
    let mut session = database.connect().await.unwrap();
    let sql = "select count(*) from pg_namespace where nspname = '_upgrade_operation'";
    let count = sqlx::query_scalar(sql).fetch_one(&mut session).await;
    session.close().await.unwrap();
    count.unwrap()
}

#[tokio::test]
async fn a_system_belongs_to_one_operation_also_while_no_process_runs() {
    let mut refused = 0;
    for strategy in [SWAP, REVERT] {
        let database = shop().await;
        let (anns, store) = anns(&database, strategy).await;
        let proposal = proposed(&anns).await;
        anns.apply(&proposal).await.unwrap();
        anns.close().await.unwrap();
        assert_eq!(claims(&database).await, 1);

        // Another journal, on another machine. It has the other strategy, and other migrations.
        for other in [SWAP, REVERT] {
            let foreign = "create table theirs (id int primary key)";
            let theirs = tempfile::tempdir().unwrap();
            std::fs::write(theirs.path().join("9_theirs.up.sql"), foreign).unwrap();
            std::fs::write(theirs.path().join("9_theirs.down.sql"), "drop table theirs").unwrap();
            let folder = upgrade_core::migration::folder::MigrationFolder::read_as(
                theirs.path(),
                upgrade_core::migration::folder::Layout::Sqlx,
            );
            let all = upgrade_core::migration::SqlMigration::all(&folder.unwrap()).unwrap();
            let upgrade = upgrade(&database, other, false).with_migrations(all);
            let bobs = tool("bob", &database, upgrade, MemoryStore::new())
                .await
                .unwrap();
            let proposal = proposed(&bobs).await;
            let error = bobs.apply(&proposal).await.unwrap_err();
            let said = format!("{error:?}");
            assert!(error.kind() == ErrorKind::Refused, "{said}");
            assert!(said.contains("begun by ann on"), "{said}");
            assert_eq!(
                state(&bobs).await,
                (State::Nothing, vec![Act::Apply, Act::Abort])
            );
            // Nor does it see what the other one needs for its rollback.
            let error = bobs.leftovers().await.unwrap_err();
            assert!(
                format!("{error:?}").contains("begun by ann on"),
                "{error:?}"
            );
            refused += 1;
        }
        // And a run that has no journal at all.
        let upgrade = upgrade(&database, strategy, false)
            .without_applied(&environment(&database))
            .await
            .unwrap();
        let outline = upgrade.outline_in(&environment(&database)).unwrap();
        let plan = Plan::from_steps(&outline, Vec::<upgrade_core::plan::PlannedStep>::new(), 0);
        let run = Runner::new(upgrade, environment(&database))
            .run(&plan.unwrap())
            .await;
        assert!(run.unwrap_err().to_string().contains("another operation"));
        refused += 1;

        // With its own journal it goes on, and is free again when it is over.
        let own = super::journal::upgrade(&database, strategy, false);
        let carla = tool("carla", &database, own, store).await.unwrap();
        assert!(carla.rollback().await.unwrap().passed);
        assert_eq!(claims(&database).await, 0);
    }
    println!("refused with the owner: {refused} of 6");
}

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

#[tokio::test]
async fn an_upgrade_that_fails_is_rolled_back_and_frees_the_system() {
    for strategy in [SWAP, REVERT] {
        let database = shop().await;
        // The third migration makes an index of that name.
        run(&database, "create table orders_v (id int)").await;
        let before = observe(&database).await;
        let (operation, _) = anns(&database, strategy).await;
        let proposal = proposed(&operation).await;
        let report = operation.apply(&proposal).await.unwrap();
        assert!(!report.passed && report.rollbacks[0].confirmed, "{report}");
        assert_eq!(observe(&database).await, before, "{strategy}");
        assert_eq!(state(&operation).await.0, State::RolledBack);
        assert_eq!(claims(&database).await, 0, "{strategy}");
        // What the strategy still keeps is given up by `resume`, or by the next attempt.
        operation.resume().await.unwrap();
        assert_eq!(
            beside(&database).await,
            [format!("{} open", database.name())]
        );
        run(&database, "drop table orders_v").await;
        let proposal = proposed(&operation).await;
        assert!(operation.apply(&proposal).await.unwrap().passed);
    }
}

#[tokio::test]
async fn a_rollback_that_fails_pauses_the_operation_until_a_person_decides() {
    use Act::{Abort, Apply, RollBack};
    for by_hand in [false, true] {
        let database = shop().await;
        let before = observe(&database).await;
        let (operation, _) = anns(&database, REVERT).await;
        let proposal = proposed(&operation).await;
        operation.apply(&proposal).await.unwrap();
        // A view that nobody planned stands on the new column: its down is refused.
        run(&database, "create view notes as select note from orders").await;
        let report = operation.rollback().await.unwrap();
        assert!(!report.passed, "{report}");
        let (now, acts) = state(&operation).await;
        assert_eq!((now, acts), (State::Paused, vec![RollBack, Abort]));
        let error = operation.resume().await.unwrap_err();
        assert!(format!("{error:?}").contains("possible now: `rollback`, `abort`"));
        assert_eq!(claims(&database).await, 1);

        run(&database, "drop view notes").await;
        if by_hand {
            let downs = "drop table if exists parcels; drop index if exists orders_v; \
                 alter table orders drop column if exists note; delete from _sqlx_migrations";
            run(&database, downs).await;
            operation
                .abort("restored by hand, ticket 17")
                .await
                .unwrap();
            assert_eq!(state(&operation).await, (State::Aborted, vec![Apply]));
            let history = operation.history().await;
            assert!(
                history
                    .iter()
                    .any(|one| one.to_string().contains("ticket 17"))
            );
        } else {
            assert!(operation.rollback().await.unwrap().passed);
            assert_eq!(state(&operation).await.0, State::RolledBack);
        }
        assert_eq!(observe(&database).await, before);
        assert_eq!(claims(&database).await, 0);
        // Either way the next upgrade begins anew.
        let proposal = proposed(&operation).await;
        assert!(operation.apply(&proposal).await.unwrap().passed);
    }
}

#[tokio::test]
async fn a_role_that_may_not_write_a_claim_is_told_so() {
    let database = shop().await;
    let superuser = Database::new(&super::support::as_role("postgres"), database.name());
    let owner = Database::new(&super::support::as_role("owner"), database.name());
    let name = database.name();
    run(
        &superuser,
        &format!("alter database \"{name}\" owner to postgres; revoke create on database \"{name}\" from owner; grant create on schema public to owner"),
    )
    .await;
    let (operation, store) = anns(&owner, REVERT).await;
    let proposal = proposed(&operation).await;
    let error = operation.apply(&proposal).await.unwrap_err();
    assert!(format!("{error:?}").contains("without_claim"), "{error:?}");
    operation.close().await.unwrap();
    let operation = tool("ann", &owner, upgrade(&owner, REVERT, false), store)
        .await
        .unwrap();
    let operation = operation.without_claim();
    let report = operation.apply(&proposal).await.unwrap();
    assert!(report.passed, "{report}");
    assert_eq!(claims(&database).await, 0);
    assert!(operation.rollback().await.unwrap().passed);
}

#[tokio::test]
async fn what_users_inserted_changed_and_deleted_since_is_kept_and_proven() {
    let database = shop().await;
    let schema = observe(&database).await.objects;
    let (operation, _) = anns(&database, REVERT).await;
    let proposal = proposed(&operation).await;
    operation.apply(&proposal).await.unwrap();
    let sql = "insert into orders (id, v) values (4, 'd'); update orders set v = 'A' where id = 1; \
         delete from orders where id = 2";
    run(&database, sql).await;
    let report = operation.rollback().await.unwrap();
    assert!(report.passed && report.rollbacks[0].confirmed, "{report}");
    // What is lost is announced; that the rest is there is not taken on trust.
    let found: Vec<&str> = report
        .findings
        .iter()
        .map(|found| found.finding.id.as_str())
        .collect();
    assert_eq!(found, ["rollback/loses"], "{report}");
    assert_eq!(observe(&database).await.objects, schema);
    let mut session = database.connect().await.unwrap();
    let sql = "select string_agg(id || v, ' ' order by id) from orders";
    let rows: String = sqlx::query_scalar(sql)
        .fetch_one(&mut session)
        .await
        .unwrap();
    session.close().await.unwrap();
    assert_eq!(rows, "1A 3c 4d");
}

/// The journal until this record, as of a process that was killed then.
async fn cut(
    operation: &Operation,
    store: &MemoryStore,
    last: impl Fn(&str) -> bool,
) -> MemoryStore {
    let history = operation.history().await;
    let at = history
        .iter()
        .position(|record| last(&record.to_string()))
        .unwrap();
    let bytes = store.bytes();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    MemoryStore::with(lines[..=at].concat())
}

#[tokio::test]
async fn an_interrupted_rollback_stays_one_whatever_is_refused_before_it_is_gone_on_with() {
    let database = shop().await;
    let before = observe(&database).await;
    let (operation, store) = anns(&database, REVERT).await;
    let proposal = proposed(&operation).await;
    operation.apply(&proposal).await.unwrap();
    operation.rollback().await.unwrap();
    let killed = cut(&operation, &store, |said| said.contains("roll back by")).await;
    // The server cannot be reached, and another operation is under way.
    let nowhere = Database::new(&super::support::as_role("nobody"), database.name());
    let unreachable = upgrade(&database, REVERT, false);
    let bobs = tool("bob", &nowhere, unreachable, killed.clone())
        .await
        .unwrap();
    bobs.resume().await.unwrap_err();
    bobs.close().await.unwrap();
    let again = tool("bob", &database, upgrade(&database, REVERT, false), killed)
        .await
        .unwrap();
    let acts = vec![Act::Resume, Act::RollBack];
    assert_eq!(state(&again).await, (State::Soaking, acts));
    again.finalize().await.unwrap_err();
    // The cut journal and the system differ here: the claim was given up. A real kill leaves it.
    let again = again.without_claim();
    assert!(again.resume().await.unwrap().unwrap().passed);
    assert_eq!(state(&again).await.0, State::RolledBack);
    assert_eq!(observe(&database).await, before);
}

#[tokio::test]
async fn an_attempt_that_was_refused_leaves_nothing_that_the_next_one_has_to_have() {
    let database = shop().await;
    let store = MemoryStore::new();
    let whole = upgrade(&database, REVERT, false);
    let operation = tool("ann", &database, whole, store.clone()).await.unwrap();
    let proposal = proposed(&operation).await;
    run(&database, "create table by_hand (id int)").await;
    operation.apply(&proposal).await.unwrap_err();
    // The next release of the tool has one migration less.
    let fewer = super::journal::migrations(false).into_iter().take(2);
    let fewer: Vec<_> = fewer.collect();
    let next = Upgrade::new("shop", "1", "2")
        .with_rollback(RevertMigrations::new(fewer.clone()).adopted(database.name()))
        .with_migrations(fewer);
    let operation = tool("ann", &database, next, store).await.unwrap();
    let proposal = proposed(&operation).await;
    assert!(operation.apply(&proposal).await.unwrap().passed);
    assert!(operation.rollback().await.unwrap().passed);
}

#[tokio::test]
async fn what_another_strategy_has_kept_is_given_up_by_that_one_before_the_next_attempt() {
    let database = shop().await;
    run(&database, "create table orders_v (id int)").await;
    let (operation, store) = anns(&database, SWAP).await;
    let proposal = proposed(&operation).await;
    assert!(!operation.apply(&proposal).await.unwrap().passed);
    run(&database, "drop table orders_v").await;
    operation.close().await.unwrap();
    let other = upgrade(&database, REVERT, false);
    let bobs = tool("bob", &database, other, store.clone()).await.unwrap();
    let proposal = proposed(&bobs).await;
    let error = bobs.apply(&proposal).await.unwrap_err();
    assert!(
        format!("{error:?}").contains("kept something by snapshot swap"),
        "{error:?}"
    );
    bobs.close().await.unwrap();
    let own = upgrade(&database, SWAP, false);
    let anns = tool("ann", &database, own, store.clone()).await.unwrap();
    anns.resume().await.unwrap();
    anns.close().await.unwrap();
    let other = upgrade(&database, REVERT, false);
    let bobs = tool("bob", &database, other, store).await.unwrap();
    let proposal = proposed(&bobs).await;
    assert!(bobs.apply(&proposal).await.unwrap().passed);
    assert!(bobs.finalize().await.unwrap().passed);
}

#[tokio::test]
async fn another_system_of_the_same_name_is_not_rolled_back() {
    let database = shop().await;
    let (operation, _) = anns(&database, REVERT).await;
    let proposal = proposed(&operation).await;
    operation.apply(&proposal).await.unwrap();
    // As after a restored backup: the database is there, and does not belong to the operation.
    run(&database, "drop schema _upgrade_operation").await;
    let seen = observe(&database).await;
    for refused in [operation.rollback().await, operation.finalize().await] {
        let error = refused.unwrap_err();
        let said = format!("{error:?}");
        assert!(
            error.kind() == ErrorKind::Refused && said.contains("without_claim"),
            "{said}"
        );
    }
    assert_eq!(observe(&database).await, seen);
    assert_eq!(state(&operation).await.0, State::Soaking);
    assert!(operation.without_claim().rollback().await.unwrap().passed);
}

#[tokio::test]
async fn a_schema_that_speaks_of_passwords_can_be_upgraded() {
    for strategy in [SWAP, REVERT] {
        let database = shop().await;
        let sql = "create view open_accounts as select v from orders where v = 'password = none'; \
             create function check_it(p text) returns boolean language sql \
             as $$ select exists (select from orders where v = p and 'token = t' <> p) $$; \
             comment on table orders is 'password=secret of nobody'";
        run(&database, sql).await;
        let before = observe(&database).await;
        let (operation, _) = anns(&database, strategy).await;
        let proposal = proposed(&operation).await;
        assert!(operation.apply(&proposal).await.unwrap().passed);
        assert!(operation.rollback().await.unwrap().passed);
        assert_eq!(observe(&database).await, before);
    }
}

#[tokio::test]
async fn the_copy_of_an_aborted_upgrade_outlasts_the_next_one() {
    let database = shop().await;
    let (operation, _) = anns(&database, SWAP).await;
    let proposal = proposed(&operation).await;
    operation.apply(&proposal).await.unwrap();
    // The rollback fails: a prepared transaction is in its way.
    run(
        &database,
        "begin; insert into orders values (9, 'x'); prepare transaction 'held'",
    )
    .await;
    let failed = operation.rollback().await;
    assert!(failed.is_err() || !failed.unwrap().passed);
    assert_eq!(state(&operation).await.0, State::Paused);
    run(&database, "rollback prepared 'held'").await;
    operation.abort("kept as it is").await.unwrap();
    let kept: Vec<String> = beside(&database).await;
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert_eq!(operation.leftovers().await.unwrap().len(), 1);
    run(
        &database,
        "drop index orders_v; delete from _sqlx_migrations where version = 3",
    )
    .await;
    let proposal = proposed(&operation).await;
    assert!(operation.apply(&proposal).await.unwrap().passed);
    assert!(operation.finalize().await.unwrap().passed);
    assert_eq!(beside(&database).await, kept);
}

#[tokio::test]
async fn a_claim_that_cannot_be_released_is_an_error_and_can_be_released_later() {
    let database = shop().await;
    let (operation, _) = anns(&database, REVERT).await;
    let proposal = proposed(&operation).await;
    operation.apply(&proposal).await.unwrap();
    run(&database, "create table _upgrade_operation.mine (id int)").await;
    let error = operation.finalize().await.unwrap_err();
    assert!(format!("{error:?}").contains("still claimed"), "{error:?}");
    assert_eq!(state(&operation).await.0, State::Finalized);
    run(&database, "drop table _upgrade_operation.mine").await;
    operation.resume().await.unwrap();
    assert_eq!(claims(&database).await, 0);
}
