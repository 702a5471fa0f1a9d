//! A swap that is refused, cut off or given up.

use std::time::Duration;

use sqlx::Connection as _;
use tokio::time::Instant;
use upgrade_core::migration::Outcome;
use upgrade_core::postgres::Database;
use upgrade_core::rollback::{Prepared, RollbackRequest, RollbackScope, SnapshotSwap};
use upgrade_core::{ErrorKind, Rollback as _, UpgradeContext};

use super::support::{as_role, ask, beside, lives, polled, reaching, run, server, shop, until};

/// A strategy, and what it has kept.
type Ready = (SnapshotSwap, Prepared);

async fn prepare(rollback: &SnapshotSwap, cx: &UpgradeContext) -> upgrade_core::Result<()> {
    let kept = rollback.prepare(cx, &RollbackScope::default()).await;
    kept.map(drop)
}

async fn execute((rollback, kept): &Ready, cx: &UpgradeContext) -> upgrade_core::Result<Outcome> {
    rollback
        .execute(cx, kept, &RollbackRequest::default())
        .await
}

/// A database with a kept copy, upgraded since.
async fn upgraded() -> (Database, UpgradeContext, Ready) {
    let database = shop().await;
    let cx = reaching(&database);
    let rollback = SnapshotSwap::new().adopted(database.name());
    let kept = rollback.prepare(&cx, &RollbackScope::default()).await;
    run(&database, "alter table orders add note text").await;
    (database, cx, (rollback, kept.unwrap()))
}

/// That users get in, and that what stands beside the database is closed. Answers whether the
/// database is the old one.
async fn is_open(database: &Database) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    let old = loop {
        match is_old(database).await {
            Ok(old) => break old,
            // Whoever waited while the names changed is turned away once, and a swap that goes on
            // after its call was dropped ends sessions.
            Err(error)
                if matches!(error.sqlstate(), Some("3D000" | "57P01"))
                    && Instant::now() < deadline => {}
            Err(error) => panic!("users do not get in: {error:?}"),
        }
    };
    for entry in beside(database).await {
        let open = entry == format!("{} open", database.name());
        assert!(open || entry.ends_with(" closed"), "{entry}");
    }
    old
}

async fn is_old(database: &Database) -> upgrade_core::Result<bool> {
    let mut session = database.connect().await?;
    let old = sqlx::query_scalar(
        "select not exists (select from pg_attribute \
         where attrelid = 'orders'::regclass and attname = 'note')",
    )
    .fetch_one(&mut session)
    .await?;
    session.close().await?;
    Ok(old)
}

/// It can be called again, and arrives.
async fn arrives(database: &Database, cx: &UpgradeContext, ready: &Ready) {
    let (rollback, kept) = ready;
    execute(ready, cx).await.unwrap().into_result().unwrap();
    assert!(rollback.confirm(cx, kept).await.unwrap().is_pass());
    assert!(is_open(database).await);
    rollback.finalize(cx, kept).await.unwrap();
    assert_eq!(
        beside(database).await,
        [format!("{} open", database.name())]
    );
}

#[tokio::test]
async fn a_swap_dropped_at_any_point_leaves_no_database_closed() {
    let mut points = 0;
    for limit in 0.. {
        let (database, cx, rollback) = upgraded().await;
        // A service that does not disconnect unless it is made to.
        let _service = database.connect().await.unwrap();
        let ended = polled(execute(&rollback, &cx), limit).await;
        is_open(&database).await;
        arrives(&database, &cx, &rollback).await;
        if let Some(ended) = ended {
            ended.unwrap().into_result().unwrap();
            break;
        }
        points += 1;
    }
    // How often it waits depends on how fast the server answers; an idle machine shows 14 and more.
    assert!(points > 4, "only {points} points");
    println!("{points} points of a swap, 0 databases left closed");
}

#[tokio::test]
async fn a_swap_cut_off_by_its_deadline_leaves_no_database_closed() {
    let mut late = 0;
    let mut deadlines = 0;
    for after in (0..80).step_by(2) {
        let (database, cx, rollback) = upgraded().await;
        let _service = database.connect().await.unwrap();
        let within = cx
            .clone()
            .with_deadline(Instant::now() + Duration::from_millis(after));
        let result = execute(&rollback, &within).await;
        deadlines += 1;
        late += usize::from(result.is_err());
        is_open(&database).await;
        arrives(&database, &cx, &rollback).await;
    }
    assert!(late > 0, "at least the deadline that has passed already");
    println!("{deadlines} deadlines of a swap, {late} of them too early, 0 databases left closed");
}

#[tokio::test]
async fn a_preparation_dropped_at_any_point_leaves_no_half_copy() {
    let mut points = 0;
    for limit in 0.. {
        let database = shop().await;
        let cx = reaching(&database);
        let rollback = SnapshotSwap::new().adopted(database.name());
        let ended = polled(rollback.prepare(&cx, &RollbackScope::default()), limit).await;
        if let Some(ended) = ended {
            ended.unwrap();
            assert!(is_open(&database).await);
            assert_eq!(beside(&database).await.len(), 2);
            break;
        }
        points += 1;
        let only = [format!("{} open", database.name())];
        until("the end of the copy", || async {
            beside(&database).await == only
        })
        .await;
        // The same strategy is of use afterwards.
        let kept = rollback.prepare(&cx, &RollbackScope::default()).await;
        run(&database, "alter table orders add note text").await;
        arrives(&database, &cx, &(rollback, kept.unwrap())).await;
    }
    // How often it waits depends on how fast the server answers; an idle machine shows 14 and more.
    assert!(points > 4, "only {points} points");
    println!("{points} points of a preparation, 0 copies left");
}

#[tokio::test]
async fn a_preparation_cut_off_by_its_deadline_leaves_no_half_copy() {
    for after in (0..120).step_by(6) {
        let database = shop().await;
        let cx = reaching(&database);
        let rollback = SnapshotSwap::new().adopted(database.name());
        let within = cx
            .clone()
            .with_deadline(Instant::now() + Duration::from_millis(after));
        let copies = usize::from(prepare(&rollback, &within).await.is_ok());
        // When the call has ended, nothing of it goes on.
        assert_eq!(beside(&database).await.len(), 1 + copies, "{after} ms");
        assert!(is_open(&database).await);
    }
}

/// A call that is refused: why, with nothing changed and no session ended.
async fn is_refused(database: &Database, result: upgrade_core::Result<()>, why: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    let text = error.to_string();
    for part in why {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        text.contains("nothing was changed and no session was ended"),
        "{text}"
    );
    is_open(database).await;
}

#[tokio::test]
async fn what_the_server_would_refuse_is_refused_before_a_session_is_ended() {
    let superuser =
        |database: &Database| Database::new(&server().connect_options(), database.name());
    // Before a copy is made, and again before the swap: what is in the way may come in between.
    for prepared in [false, true] {
        let begin = async || {
            if prepared {
                let (database, cx, ready) = upgraded().await;
                return (database, cx, Ok(ready));
            }
            let database = shop().await;
            let cx = reaching(&database);
            let rollback = SnapshotSwap::new().adopted(database.name());
            (database, cx, Err(rollback))
        };
        let call =
            async |cx: &UpgradeContext, rollback: &Result<Ready, SnapshotSwap>| match rollback {
                Ok(ready) => {
                    let executed = execute(ready, cx).await;
                    executed.and_then(Outcome::into_result).map(drop)
                }
                Err(rollback) => prepare(rollback, cx).await,
            };

        let (database, cx, rollback) = begin().await;
        let mut service = database.connect().await.unwrap();
        let mut foreign = superuser(&database).connect().await.unwrap();
        let result = call(&cx, &rollback).await;
        is_refused(
            &database,
            result,
            &["may not end the session of role postgres"],
        )
        .await;
        assert!(lives(&mut service).await && lives(&mut foreign).await);
        foreign.close().await.unwrap();
        call(&cx, &rollback).await.unwrap();

        let (database, cx, rollback) = begin().await;
        run(
            &database,
            "begin; insert into orders (id) values (4); prepare transaction 'half'",
        )
        .await;
        let result = call(&cx, &rollback).await;
        is_refused(
            &database,
            result,
            &["prepared transaction 'half'", "commit prepared"],
        )
        .await;
        run(&database, "rollback prepared 'half'").await;
        call(&cx, &rollback).await.unwrap();

        let (database, cx, rollback) = begin().await;
        run(
            &superuser(&database),
            "create subscription s connection 'dbname=postgres' publication p \
             with (connect = false, slot_name = none)",
        )
        .await;
        let result = call(&cx, &rollback).await;
        is_refused(&database, result, &["subscription s belongs to it"]).await;
        run(&superuser(&database), "drop subscription s").await;
        call(&cx, &rollback).await.unwrap();
    }

    let database = shop().await;
    let slot = format!("slot_{}", database.name());
    run(
        &superuser(&database),
        &format!("select pg_create_logical_replication_slot('{slot}', 'test_decoding')"),
    )
    .await;
    let rollback = SnapshotSwap::new().adopted(database.name());
    let result = prepare(&rollback, &reaching(&database)).await;
    is_refused(&database, result, &["replication slot", &slot]).await;
    ask(&format!("select pg_drop_replication_slot('{slot}')::text")).await;

    run(
        &superuser(&database).sibling("postgres"),
        "create role guest login",
    )
    .await;
    let guest = Database::new(&as_role("guest"), database.name());
    let rollback = SnapshotSwap::new().adopted(guest.name());
    let result = prepare(&rollback, &reaching(&guest)).await;
    is_refused(
        &database,
        result,
        &[
            "role guest may neither make nor rename",
            "role guest does not own it",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_copy_that_cannot_be_completed_is_dropped() {
    let database = shop().await;
    let superuser = Database::new(&server().connect_options(), "postgres");
    let name = database.name();
    // Only a superuser may set it, so the owner cannot give it to the copy.
    run(
        &superuser,
        &format!("alter database {name} set log_statement = 'ddl'"),
    )
    .await;
    let rollback = SnapshotSwap::new().adopted(name);
    let error = prepare(&rollback, &reaching(&database)).await.unwrap_err();
    assert!(format!("{error:?}").contains("log_statement"), "{error:?}");
    assert_eq!(beside(&database).await, [format!("{name} open")]);
}

#[tokio::test]
async fn a_swap_goes_through_a_storm_of_connections() {
    let (database, cx, rollback) = upgraded().await;
    let services: Vec<_> = (0..8)
        .map(|_| {
            let database = database.clone();
            tokio::spawn(async move {
                // A pool that connects again as soon as it is put out.
                loop {
                    if let Ok(mut session) = database.connect().await {
                        while sqlx::query("select 1").execute(&mut session).await.is_ok() {}
                    }
                }
            })
        })
        .collect();
    execute(&rollback, &cx)
        .await
        .unwrap()
        .into_result()
        .unwrap();
    for service in services {
        service.abort();
    }
    assert!(is_open(&database).await);
    let (rollback, kept) = rollback;
    assert!(rollback.confirm(&cx, &kept).await.unwrap().is_pass());
}
