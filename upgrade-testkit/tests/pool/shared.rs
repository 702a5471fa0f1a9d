//! A server that is there already.

use std::fs;
use std::process::Command;
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::PgConnection;
use upgrade_core::environment::Snapshots as _;
use upgrade_core::environment::{Environment as _, Existing, PostgresEnvironment};
use upgrade_core::postgres::database::{Database, Marker, MarkerKind};
use upgrade_core::postgres::server::{LocalServer, Profile, ServerOptions};
use upgrade_core::{RunId, Secret, UpgradeContext};
use upgrade_testkit::pool::{Keep, Outcome, Pool, PoolError, PoolOptions};

use crate::support::{Place, binaries, content, eventually, fresh, hand_out, key, names, run, url};

fn options(place: &Place, server: &LocalServer) -> PoolOptions {
    place.options().with_url(url(server))
}

async fn admin(server: &LocalServer) -> PgConnection {
    PgConnection::connect_with(&server.connect_options())
        .await
        .unwrap()
}

#[tokio::test]
async fn databases_are_copies_and_are_gone_at_the_end() {
    let place = Place::new();
    let server = place.server(&[]).await;
    let pool = Pool::connect(options(&place, &server)).await.unwrap();
    let template = place.template(&pool, 1).await.unwrap();
    let (first, second) = (hand_out(&template).await, hand_out(&template).await);
    run(&first, "delete from orders").await;
    assert_eq!(content(&first).await.0, 0);
    assert_eq!(content(&second).await, fresh());
    let empty = pool.empty_database(&RunId::generate()).await.unwrap();
    run(&empty, "create table orders ()").await;
    let mut admin = admin(&server).await;
    assert_eq!(names(&mut admin, "upgrade\\_test\\_%").await.len(), 3);
    first.release(Outcome::Failed).await.unwrap();
    drop((second, empty, template, pool));
    // No sweep: the end of the last handle did it.
    assert!(names(&mut admin, "upgrade\\_test\\_%").await.is_empty());
    assert_eq!(names(&mut admin, "upgrade\\_tpl\\_%").await.len(), 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_failed_build_leaves_nothing_on_the_server() {
    let place = Place::new();
    let server = place.server(&[]).await;
    let pool = Pool::connect(options(&place, &server)).await.unwrap();
    let failed = pool
        .template(&key(1), async |_| Err::<(), _>("no such file"))
        .await
        .unwrap_err();
    assert!(matches!(failed, PoolError::BuildFailed { .. }), "{failed}");
    let mut admin = admin(&server).await;
    assert!(names(&mut admin, "upgrade\\_%").await.is_empty());
}

#[tokio::test]
async fn more_tests_than_the_server_has_connections_for_wait_and_are_refused() {
    let place = Place::new();
    let server = place.server(&[("max_connections", "20")]).await;
    let here = options(&place, &server).with_slot_deadline(Duration::from_millis(300));
    // Another deadline makes other connections, as those of another process are.
    let there = options(&place, &server).with_slot_deadline(Duration::from_secs(20));
    let here = Pool::connect(here).await.unwrap();
    let there = Pool::connect(there).await.unwrap();
    let held = there.empty_database(&RunId::generate()).await.unwrap();
    for pool in [&here, &here] {
        let error = pool.empty_database(&RunId::generate()).await.unwrap_err();
        let text = error.to_string();
        let expected = "max_connections 20 - 3 reserved - 4 left to others = 13, \
                        13 / 10 for each test = 1 slots, all of them taken";
        assert!(text.contains(expected), "{text}");
    }
    // Who waits gets the slot when it is given back.
    let run_id = RunId::generate();
    let waiting = there.empty_database(&run_id);
    let (next, ()) = tokio::join!(waiting, async {
        tokio::task::yield_now().await;
        held.release(Outcome::Passed).await.unwrap();
    });
    next.unwrap().release(Outcome::Passed).await.unwrap();
    let never = options(&place, &server).with_connections_per_test(14);
    let never = Pool::connect(never).await.unwrap();
    let error = never.empty_database(&RunId::generate()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("13 / 14 for each test = 0 slots"),
        "{error}"
    );
}

#[tokio::test]
async fn the_database_of_a_failed_test_is_kept_until_everything_goes() {
    let place = Place::new();
    let server = place.server(&[]).await;
    let keep = options(&place, &server).with_keep(Keep::OnFailure, Duration::from_secs(600));
    let pool = Pool::connect(keep).await.unwrap();
    let template = place.template(&pool, 1).await.unwrap();
    let database = hand_out(&template).await;
    let name = database.name().to_owned();
    run(&database, "delete from orders where id <= 490").await;
    let kept = database.release(Outcome::Failed).await.unwrap().unwrap();
    drop(template);
    let command = format!("{} -Atc 'select count(*) from orders'", kept.enter);
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("sh")
        .args(["-c", &command])
        .env(
            "PATH",
            format!("{}:{path}", server.binaries().bin_dir().display()),
        )
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "10",
        "{command}: {output:?}"
    );
    let mut admin = admin(&server).await;
    pool.sweep(100).await.unwrap();
    assert_eq!(names(&mut admin, &name).await.len(), 1);
    // Its lease ends in the background.
    eventually("a kept database outlives the cleaning", async || {
        pool.clean().await.unwrap();
        names(&mut admin, "upgrade\\_%").await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn lost_leases_are_noticed() {
    let place = Place::new();
    let server = place.server(&[]).await;
    let pool = Pool::connect(options(&place, &server)).await.unwrap();
    let mut admin = admin(&server).await;
    sqlx::raw_sql(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'upgrade lease'",
    )
    .execute(&mut admin)
    .await
    .unwrap();
    let error = pool.empty_database(&RunId::generate()).await.unwrap_err();
    assert!(matches!(error, PoolError::LeaseLost { .. }), "{error}");
    let pool = Pool::connect(options(&place, &server)).await.unwrap();
    pool.empty_database(&RunId::generate()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_refused_with_the_reason() {
    let place = Place::new();
    let server = place.server(&[]).await;
    let major = server.version().major();
    let wrong = options(&place, &server).with_major(Some(major + 1));
    let error = Pool::connect(wrong).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("{} was asked for", major + 1)),
        "{error}"
    );

    let mut admin = admin(&server).await;
    sqlx::raw_sql("create role humble login")
        .execute(&mut admin)
        .await
        .unwrap();
    let humble = server.connect_options().username("humble");
    let humble = sqlx::ConnectOptions::to_url_lossy(&humble).to_string();
    let options = place.options().with_url(Secret::new(humble));
    let error = Pool::connect(options).await.unwrap_err();
    assert!(
        error.to_string().contains("ALTER ROLE humble CREATEDB"),
        "{error}"
    );
    admin.close().await.unwrap();

    let data = place.templates().with_file_name("standby");
    server.hand_over(&data).await.unwrap();
    fs::write(data.join("standby.signal"), "").unwrap();
    let options = ServerOptions::new(Profile::ThrowAway).with_directories(place.directories());
    let standby = LocalServer::start_on_copy(&binaries(None), &data, options)
        .await
        .unwrap();
    let options = place.options().with_url(url(&standby));
    let error = Pool::connect(options).await.unwrap_err();
    assert!(matches!(error, PoolError::InRecovery { .. }), "{error}");
}

#[tokio::test]
async fn a_database_with_the_name_of_a_template_is_not_touched() {
    let place = Place::new();
    let server = place.server(&[]).await;
    let pool = Pool::connect(options(&place, &server)).await.unwrap();
    let template = place.template(&pool, 1).await.unwrap();
    let mut admin = admin(&server).await;
    let name = names(&mut admin, "upgrade\\_tpl\\_%").await.remove(0);
    drop(template);
    pool.clean().await.unwrap();
    let sql = format!("create database {name}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&mut admin)
        .await
        .unwrap();
    let error = place.template(&pool, 1).await.unwrap_err();
    assert!(matches!(error, PoolError::Unmarked { .. }), "{error}");
    assert_eq!(names(&mut admin, &name).await, [name]);
}

/// A database as a killed process leaves it: marked, and leased by nobody.
async fn leave(admin: &mut PgConnection, name: &str) {
    let marker = Marker::new(MarkerKind::Test, "r1").to_comment();
    for sql in [
        format!("create database {name} strategy file_copy"),
        format!("comment on database {name} is '{marker}'"),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut *admin)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn whatever_dead_processes_left_is_gone_after_one_start() {
    let place = Place::new();
    let server = place.server(&[]).await;
    let mut admin = admin(&server).await;
    for n in 0..41 {
        leave(&mut admin, &format!("upgrade_test_dead{n}")).await;
    }
    let pool = Pool::connect(options(&place, &server)).await.unwrap();
    // The sweep is in nobody's way.
    let database = pool.empty_database(&RunId::generate()).await.unwrap();
    eventually("databases of dead processes stay", async || {
        names(&mut admin, "upgrade\\_test\\_dead%").await.is_empty()
    })
    .await;
    assert_eq!(
        names(&mut admin, "upgrade\\_test\\_%").await,
        [database.name()]
    );
    drop((database, pool));
    server.stop().await.unwrap();
}

/// Other options make other connections, as those of another process are.
#[tokio::test]
async fn thirty_processes_leave_connections_to_others_and_all_get_their_database() {
    const PROCESSES: u64 = 30;
    let place = Place::new();
    let server = place.server(&[("max_connections", "100")]).await;
    let mut admin = admin(&server).await;
    sqlx::raw_sql("create role app login")
        .execute(&mut admin)
        .await
        .unwrap();
    let as_process = async |n: u64| {
        let options = options(&place, &server)
            .with_slot_deadline(Duration::from_secs(300) + Duration::from_millis(n));
        let pool = Pool::connect(options).await.unwrap();
        let database = pool.empty_database(&RunId::generate()).await.unwrap();
        // As many sessions as a test may have.
        let mut sessions = Vec::new();
        for _ in 0..10 {
            sessions.push(database.connect().await.unwrap());
        }
        drop(sessions);
        database.release(Outcome::Passed).await.unwrap();
    };
    let all = futures_util::future::join_all((0..PROCESSES).map(as_process));
    let app = server.connect_options().username("app");
    let mut most = 0_i64;
    let look = async {
        loop {
            let sessions: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity where backend_type = 'client backend'",
            )
            .fetch_one(&mut admin)
            .await
            .unwrap();
            most = most.max(sessions);
            // Somebody else, with no right to what is reserved.
            PgConnection::connect_with(&app)
                .await
                .unwrap()
                .close()
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await; // poll
        }
    };
    tokio::select! {
        done = all => assert_eq!(done.len(), 30),
        () = look => unreachable!("it looks without an end"),
    }
    println!("{most} sessions at most");
    assert!(most < 97, "{most}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_comment_of_a_migration_does_not_make_a_database_somebody_else_s() {
    let place = Place::new();
    let server = place.server(&[]).await;
    let pool = Pool::connect(options(&place, &server)).await.unwrap();
    let database = pool.empty_database(&RunId::generate()).await.unwrap();
    let name = database.name().to_owned();
    let marker = |comment: String| Marker::from_comment(&comment).map(|marker| marker.kind);
    let mut admin = admin(&server).await;
    let comment = async |admin: &mut PgConnection| -> String {
        sqlx::query_scalar(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = $1",
        )
        .bind(&name)
        .fetch_one(admin)
        .await
        .unwrap()
    };
    assert_eq!(marker(comment(&mut admin).await), Some(MarkerKind::Test));

    let cx = UpgradeContext::new("1", "2");
    let source = Existing::disposable(database.database().clone());
    let environment = PostgresEnvironment::new("commented", source);
    environment.prepare(&cx).await.unwrap();
    environment.take(&cx, "before").await.unwrap();
    run(
        &database,
        &format!("comment on database {name} is 'orders'"),
    )
    .await;
    assert_eq!(comment(&mut admin).await, "orders");
    environment.restore(&cx, "before").await.unwrap();
    assert_eq!(marker(comment(&mut admin).await), Some(MarkerKind::Test));
    run(&database, &format!("comment on database {name} is null")).await;
    environment.teardown(&cx).await.unwrap();
    database.release(Outcome::Passed).await.unwrap();
    drop(pool);
    assert!(names(&mut admin, "upgrade\\_test\\_%").await.is_empty());
    // A database of somebody else's, with a comment or without, is refused as before.
    run(
        &Database::new(&server.connect_options(), "postgres"),
        "create database orders",
    )
    .await;
    let orders = Database::new(&server.connect_options(), "orders");
    assert!(orders.drop(&mut admin).await.is_err());
    assert_eq!(names(&mut admin, "orders").await, ["orders"]);
    server.stop().await.unwrap();
}
