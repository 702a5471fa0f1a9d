//! What a rollback loses is told before anything moves, and somebody has to agree.

use upgrade_core::environment::{Existing, PostgresEnvironment};
use upgrade_core::journal::{Actor, Entry, Journal, MemoryStore, State};
use upgrade_core::operation::{Act, Attestation, Consent, Fate, Operation, Proposal, WRITES};
use upgrade_core::postgres::Database;
use upgrade_core::{ErrorKind, Report, Result, TableRef};

use super::journal::{REVERT, SWAP, environment, observe, upgrade};
use super::life::{proposed, state};
use super::support::{run, shop};

async fn operation(database: &Database, strategy: &str, store: &MemoryStore) -> Operation {
    let journal = Journal::open(store.clone(), database.name(), Actor::new("ann"));
    let reached = database.clone();
    let upgrade = upgrade(database, strategy, false);
    Operation::new(journal.await.unwrap(), upgrade, move || {
        environment(&reached)
    })
}

fn refused<T>(result: Result<T>, parts: &[&str]) {
    let Err(error) = result else {
        panic!("it was not refused");
    };
    let text = format!("{error:?}");
    assert_eq!(error.kind(), ErrorKind::Refused, "{text}");
    for part in parts {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_copy_is_taken_only_where_somebody_agrees_to_lose_what_is_written_later() {
    let database = shop().await;
    let store = MemoryStore::new();
    let first = operation(&database, SWAP, &store).await;
    let proposal = proposed(&first).await;
    println!("{proposal}\n");
    let orders = TableRef::new("public.orders");
    assert!(
        matches!(proposal.contract.fate(orders.clone()), Fate::Lost(loss) if loss.subject == WRITES)
    );
    let before = observe(&database).await;
    refused(first.apply(&proposal).await, &["agree to it: `writes`"]);
    assert_eq!(observe(&database).await, before);
    assert_eq!(state(&first).await, (State::Nothing, vec![Act::Apply]));

    let first = first.with_consent(Consent::to([WRITES]));
    assert!(first.apply(&proposal).await.unwrap().passed);
    run(&database, "insert into orders (id, v) values (4, 'd')").await;
    first.close().await.unwrap();
    // At night nobody has to agree again: who agreed, and to what, is in the journal.
    let second = operation(&database, SWAP, &store).await;
    let report = second.rollback().await.unwrap();
    assert!(report.passed && report.rollbacks[0].confirmed, "{report}");
    assert_eq!(observe(&database).await, before);
    let history = second.history().await;
    let consents = history
        .iter()
        .filter(|record| matches!(record.entry, Entry::Consented { .. }));
    assert_eq!(consents.count(), 1);
    // It was about that upgrade, and not about the next one.
    refused(second.apply(&proposed(&second).await).await, &["`writes`"]);
}

#[tokio::test]
async fn a_rollback_that_loses_what_nobody_agreed_to_is_refused_and_changes_nothing() {
    let database = shop().await;
    let store = MemoryStore::new();
    let tool = operation(&database, REVERT, &store).await;
    let proposal = proposed(&tool).await;
    assert!(!proposal.contract.rehearsed && proposal.contract.losses.is_empty());
    tool.apply(&proposal).await.unwrap();
    // As long as nobody has used what is new, nothing is lost.
    run(
        &database,
        "update orders set note = 'call first' where id = 1",
    )
    .await;
    run(&database, "insert into parcels values (1, 1), (2, 1)").await;
    let before = observe(&database).await;
    let parts = [
        "`column public.orders.note`",
        "`table public.parcels`",
        "the 2 rows of public.parcels",
    ];
    refused(tool.rollback().await, &parts);
    assert_eq!(observe(&database).await, before);
    assert_eq!(
        state(&tool).await,
        (State::Soaking, vec![Act::RollBack, Act::Finalize])
    );

    let tool = tool.with_consent(Consent::to(["table public.parcels"]));
    refused(
        tool.rollback().await,
        &["agree to it: `column public.orders.note`"],
    );
    // What was agreed to once counts.
    let tool = tool.with_consent(Consent::to(["column public.orders.note"]));
    assert!(tool.rollback().await.unwrap().passed);
    assert_eq!(state(&tool).await.0, State::RolledBack);
}

#[tokio::test]
async fn a_schema_that_somebody_has_changed_since_is_not_rolled_back_blindly() {
    let database = shop().await;
    let tool = operation(&database, REVERT, &MemoryStore::new()).await;
    tool.apply(&proposed(&tool).await).await.unwrap();
    run(&database, "create table audit (id int)").await;
    refused(
        tool.rollback().await,
        &["not the one that the upgrade has left"],
    );
    assert_eq!(state(&tool).await.0, State::Soaking);
    run(&database, "drop table audit").await;
    assert!(tool.rollback().await.unwrap().passed);
    // It can be wanted, too; the proof then says what stays.
    tool.apply(&proposed(&tool).await).await.unwrap();
    run(&database, "create index orders_by_both on orders (v, id)").await;
    let tool = tool.with_consent(Consent::to(["schema"]));
    let report = tool.rollback().await.unwrap();
    assert!(format!("{report}").contains("orders_by_both"), "{report}");
}

#[tokio::test]
async fn what_was_agreed_to_for_an_attempt_that_changed_nothing_counts_no_more() {
    let database = shop().await;
    let store = MemoryStore::new();
    let first = operation(&database, REVERT, &store).await;
    let proposal = proposed(&first).await;
    let first = first.with_consent(Consent::Everything);
    run(&database, "create table interim (id int)").await;
    refused(first.apply(&proposal).await, &["the schema is another"]);
    first.close().await.unwrap();
    run(&database, "drop table interim").await;

    let second = operation(&database, REVERT, &store).await;
    second.apply(&proposed(&second).await).await.unwrap();
    run(&database, "insert into parcels values (1, 1)").await;
    refused(second.rollback().await, &["`table public.parcels`"]);
}

#[tokio::test]
async fn a_rollback_that_is_proven_and_late_has_arrived() {
    let database = shop().await;
    let journal = Journal::open(MemoryStore::new(), database.name(), Actor::new("ann"));
    let upgrade =
        upgrade(&database, REVERT, false).with_rollback_within(std::time::Duration::from_millis(1));
    let reached = database.clone();
    let tool = Operation::new(journal.await.unwrap(), upgrade, move || {
        environment(&reached)
    });
    tool.apply(&proposed(&tool).await).await.unwrap();
    let report = tool.rollback().await.unwrap();
    let late = report
        .findings
        .iter()
        .any(|found| found.finding.id == "rollback/over-budget");
    assert!(late && report.rollbacks[0].confirmed, "{report}");
    assert_eq!(state(&tool).await.0, State::RolledBack);
}

/// A rehearsal of the rollback, with this many megabytes beside the three orders.
async fn rehearsed(strategy: &str, megabytes: u32) -> Vec<Report> {
    let database = shop().await;
    let ballast = format!(
        "create table ballast as select i, repeat(md5(i::text), 30) as t from generate_series(1, {megabytes} * 1000) i"
    );
    run(&database, &ballast).await;
    let tool = operation(&database, strategy, &MemoryStore::new())
        .await
        .with_consent(Consent::Everything);
    let applied = tool.apply(&proposed(&tool).await).await.unwrap();
    let write = "update orders set note = 'x'; insert into parcels values (1, 1)";
    run(&database, write).await;
    vec![applied, tool.rollback().await.unwrap()]
}

#[tokio::test]
async fn rehearsals_tell_what_is_lost_and_how_long_a_rollback_takes() {
    let mut reports = Vec::new();
    for megabytes in [1, 15, 45] {
        reports.extend(rehearsed(REVERT, megabytes).await);
    }
    let attestation = Attestation::of(&reports).unwrap();
    let database = shop().await;
    let tool = operation(&database, REVERT, &MemoryStore::new()).await;
    let tool = tool.with_attestation(attestation.clone(), []);
    let proposal = proposed(&tool).await;
    println!("{proposal}\n");
    assert_eq!(Proposal::from_json(&proposal.to_json()).unwrap(), proposal);
    let orders = TableRef::new("public.orders");
    let contract = &proposal.contract;
    assert_eq!(contract.fate(orders.clone()), Fate::Kept);
    assert!(matches!(
        contract.fate(orders.column("note")),
        Fate::Lost(_)
    ));
    assert!(matches!(
        contract.fate(TableRef::new("public.parcels")),
        Fate::Lost(_)
    ));
    let estimate = contract.estimate.as_ref().unwrap();
    assert!(estimate.fits() && estimate.act_ms > 0, "{estimate}");
    refused(
        tool.apply(&proposal).await,
        &["`column public.orders.note`, `table public.parcels`"],
    );
    tool.close().await.unwrap();

    // Where the predicted time is over the budget, nothing begins.
    let journal = Journal::open(MemoryStore::new(), database.name(), Actor::new("ann"));
    let upgrade =
        upgrade(&database, REVERT, false).with_rollback_within(std::time::Duration::from_millis(1));
    let reached = database.clone();
    let tool = Operation::new(journal.await.unwrap(), upgrade, move || {
        PostgresEnvironment::new("shop", Existing::new(reached.clone()))
    });
    let tool = tool.with_attestation(attestation, []);
    refused(tool.plan().await, &["longer than its budget", "predicted"]);
}
