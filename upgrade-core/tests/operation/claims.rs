//! To whom a system belongs while no process works on it.

use upgrade_core::journal::{MemoryStore, State};
use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::{Layout, MigrationFolder};
use upgrade_core::operation::Act;
use upgrade_core::plan::PlannedStep;
use upgrade_core::postgres::Database;
use upgrade_core::{ErrorKind, Plan, Runner};

use super::journal::{REVERT, SWAP, environment, observe, upgrade};
use super::life::{anns, claims, proposed, state, tool};
use super::support::{as_role, run, shop};

#[tokio::test]
async fn a_system_belongs_to_one_operation_also_while_no_process_runs() {
    let mut refused = 0;
    for strategy in [SWAP, REVERT] {
        let database = shop().await;
        let (anns, store) = anns(&database, strategy).await;
        let proposal = proposed(&anns).await;
        // Others with another journal, on another machine, plan at the same time. They have the other
        // strategy, and other migrations.
        let mut others = Vec::new();
        for other in [SWAP, REVERT] {
            let foreign = "create table theirs (id int primary key)";
            let theirs = tempfile::tempdir().unwrap();
            std::fs::write(theirs.path().join("9_theirs.up.sql"), foreign).unwrap();
            std::fs::write(theirs.path().join("9_theirs.down.sql"), "drop table theirs").unwrap();
            let folder = MigrationFolder::read_as(theirs.path(), Layout::Sqlx);
            let all = SqlMigration::all(&folder.unwrap()).unwrap();
            let upgrade = upgrade(&database, other, false).with_migrations(all);
            let bobs = tool("bob", &database, upgrade, MemoryStore::new());
            let bobs = bobs.await.unwrap();
            let proposal = proposed(&bobs).await;
            others.push((bobs, proposal));
        }
        anns.apply(&proposal).await.unwrap();
        anns.close().await.unwrap();
        assert_eq!(claims(&database).await, 1);

        for (bobs, proposal) in others {
            let error = bobs.apply(&proposal).await.unwrap_err();
            let said = format!("{error:?}");
            assert!(error.kind() == ErrorKind::Refused, "{said}");
            assert!(said.contains("begun by ann on"), "{said}");
            assert_eq!(
                state(&bobs).await,
                (State::Nothing, vec![Act::Apply, Act::Abort])
            );
            // Nor does it plan, or see what the other one needs for its rollback.
            for error in [
                bobs.plan().await.map(drop).unwrap_err(),
                bobs.leftovers().await.map(drop).unwrap_err(),
            ] {
                let said = format!("{error:?}");
                assert!(said.contains("begun by ann on"), "{said}");
            }
            refused += 1;
        }
        // And a run that has no journal at all.
        let upgrade = upgrade(&database, strategy, false)
            .without_applied(&environment(&database))
            .await
            .unwrap();
        let outline = upgrade.outline_in(&environment(&database)).unwrap();
        let plan = Plan::from_steps(&outline, Vec::<PlannedStep>::new(), 0);
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
async fn a_role_that_may_not_write_a_claim_is_told_so() {
    let database = shop().await;
    let superuser = Database::new(&as_role("postgres"), database.name());
    let owner = Database::new(&as_role("owner"), database.name());
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
