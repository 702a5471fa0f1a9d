//! An operation from its plan to its end, and what it refuses on the way.

use sqlx::Connection as _;
use upgrade_core::journal::{Actor, Journal, MemoryStore, State};
use upgrade_core::operation::{Act, Consent, Named, Operation, Proposal};
use upgrade_core::postgres::Database;
use upgrade_core::{ErrorKind, Upgrade};

use super::journal::{REVERT, SWAP, observe, release_of, upgrade, with_service};
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
    Ok(
        Operation::new(journal, upgrade, move || with_service(&database))
            .with_consent(Consent::Everything),
    )
}

pub(super) async fn anns(database: &Database, strategy: &str) -> (Operation, MemoryStore) {
    let store = MemoryStore::new();
    let upgrade = upgrade(database, strategy, false);
    let operation = tool("ann", database, upgrade, store.clone()).await.unwrap();
    (operation, store)
}

pub(super) async fn proposed(operation: &Operation) -> Proposal {
    operation.plan().await.unwrap().unwrap()
}

pub(super) async fn state(operation: &Operation) -> (State, Vec<Act>) {
    let status = operation.status().await;
    (status.standing.state, status.acts)
}

/// How many claims the database bears.
pub(super) async fn claims(database: &Database) -> i64 {
    let mut session = database.connect().await.unwrap();
    let sql = "select count(*) from pg_namespace where nspname = '_upgrade_operation'";
    let count = sqlx::query_scalar(sql).fetch_one(&mut session).await;
    session.close().await.unwrap();
    count.unwrap()
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
        assert_eq!(release_of(&database), "2");
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
        assert_eq!(release_of(&database), "1");
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
async fn what_users_inserted_changed_and_deleted_since_is_kept_and_proven() {
    let database = shop().await;
    let schema = observe(&database).await.objects;
    let (operation, _) = anns(&database, REVERT).await;
    let proposal = proposed(&operation).await;
    operation.apply(&proposal).await.unwrap();
    let sql = "insert into orders (id, v) values (4, 'd'); update orders set v = 'A' where id = 1; \
         delete from orders where id = 2; \
         update orders set note = 'x' where id = 3";
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
async fn nothing_is_done_without_a_yes_where_somebody_is_asked() {
    let database = shop().await;
    let before = observe(&database).await;
    let (operation, _) = anns(&database, REVERT).await;
    let proposal = proposed(&operation).await;
    let operation = operation.with_confirmation(Named::new("another"));
    let error = operation.apply(&proposal).await.unwrap_err();
    let said = format!("`another` is not `{}`", database.name());
    assert!(
        error.kind() == ErrorKind::Refused && error.to_string().contains(&said),
        "{error}"
    );
    assert_eq!(observe(&database).await, before);
    let operation = operation.with_confirmation(Named::new(database.name()));
    operation.apply(&proposal).await.unwrap();
    let operation = operation.with_confirmation(Named::new("another"));
    for refused in [operation.rollback().await, operation.finalize().await] {
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("nothing was done")
        );
    }
    assert_eq!(state(&operation).await.0, State::Soaking);
}
