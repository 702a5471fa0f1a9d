//! The way to another server and back, for databases of somebody else.

use upgrade_core::postgres::Database;
use upgrade_core::postgres::major::{LogicalCopy, Tools};
use upgrade_core::{ErrorKind, UpgradeContext};

use super::support::{another_server, ask, polled, run, server, shop, until};

const READ_ONLY: &str = "default_transaction_read_only";

/// What the owner has set.
async fn setting(database: &Database) -> Vec<String> {
    let name = database.name();
    ask(&format!(
        "select unnest(setconfig) from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase \
         where datname = '{name}' and setrole = 0"
    ))
    .await
}

/// Whether it takes writes.
async fn takes_writes(database: &Database) -> bool {
    let mut session = database.connect().await.unwrap();
    sqlx::query_scalar("select current_setting('default_transaction_read_only') = 'off'")
        .fetch_one(&mut session)
        .await
        .unwrap()
}

/// A database that was copied to another server, as `run` leaves both.
async fn copied() -> (Database, Database) {
    let old = shop().await;
    let name = old.name().to_owned();
    let superuser = Database::new(&another_server().connect_options(), "postgres");
    run(&superuser, &format!("create database {name}")).await;
    let new = superuser.sibling(&name);
    run(
        &new,
        "create table orders (id int primary key, v text); alter table orders owner to owner; \
         grant all on schema public to owner; insert into orders values (1, 'a'), (2, 'b'), (3, 'c')",
    )
    .await;
    (old, new)
}

fn copy(old: &Database) -> LogicalCopy {
    let tools = Tools::local(server().binaries());
    LogicalCopy::new(old.clone(), &another_server().connect_options(), tools)
}

#[tokio::test]
async fn what_was_refused_is_not_touched() {
    let (old, new) = copied().await;
    // An owner who wants it so.
    let own = format!("alter database {} set {READ_ONLY} = on", old.name());
    run(&old, &own).await;
    let cx = UpgradeContext::new("1", "2");
    for error in [
        copy(&old).go_back(&cx).await.unwrap_err(),
        copy(&old).go_back_with_losses(&cx).await.unwrap_err(),
        copy(&old).run(&cx).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    }
    assert_eq!(setting(&old).await, [format!("{READ_ONLY}=on")]);
    assert!(takes_writes(&new).await);
}

#[tokio::test]
async fn a_way_back_dropped_at_any_point_leaves_one_of_the_two_open() {
    let cx = UpgradeContext::new("1", "2");
    let mut points = 0;
    for limit in 0.. {
        let (old, new) = copied().await;
        let closed = format!("alter database {} set {READ_ONLY} = on", old.name());
        run(&old, &closed).await;
        let old = old.clone().adopted(old.name()).unwrap();
        let ended = polled(copy(&old).go_back(&cx), limit).await;
        until("an open database", || async {
            takes_writes(&old).await != takes_writes(&new).await
        })
        .await;
        if let Some(ended) = ended {
            ended.unwrap();
            assert!(takes_writes(&old).await);
            break;
        }
        points += 1;
    }
    assert!(points > 5, "only {points} points");
    println!("{points} points of a rollback");
}

#[tokio::test]
async fn an_owners_own_setting_comes_back() {
    let cx = UpgradeContext::new("1", "2");
    let (old, new) = copied().await;
    for database in [&old, &new] {
        let own = format!("alter database {} set {READ_ONLY} = off", database.name());
        run(database, &own).await;
    }
    // The older one has lost a row since: the rollback is refused, and the newer one as it was.
    run(&old, "delete from orders where id = 3").await;
    let old = old.clone().adopted(old.name()).unwrap();
    let error = copy(&old).go_back(&cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    let mut session = new.connect().await.unwrap();
    let kept: Vec<String> = sqlx::query_scalar(
        "select unnest(setconfig) from pg_db_role_setting where setrole = 0 \
             and setdatabase = (select oid from pg_database where datname = current_database())",
    )
    .fetch_all(&mut session)
    .await
    .unwrap();
    assert_eq!(kept, [format!("{READ_ONLY}=off")]);
    drop(session);
    copy(&old).go_back_with_losses(&cx).await.unwrap();
    assert_eq!(setting(&old).await, [format!("{READ_ONLY}=off")]);
}
