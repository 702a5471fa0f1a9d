//! What an attempt that was refused, interrupted or given up leaves to the next one.

use upgrade_core::Upgrade;
use upgrade_core::journal::{MemoryStore, State};
use upgrade_core::operation::{Act, Operation};
use upgrade_core::postgres::Database;
use upgrade_core::rollback::RevertMigrations;

use super::journal::{REVERT, SWAP, migrations, observe, upgrade};
use super::life::{anns, proposed, state, tool};
use super::support::{as_role, beside, run, shop};

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
    let nowhere = Database::new(&as_role("nobody"), database.name());
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
    let fewer = migrations(false).into_iter().take(2);
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
