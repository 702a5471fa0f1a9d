//! What the watch tells of sessions, its own role's and those of others.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use upgrade_core::environment::SessionMonitor as _;
use upgrade_core::environment::{Existing, PostgresEnvironment};
use upgrade_core::postgres::Database;
use upgrade_core::{Environment, Finding, Severity, UpgradeContext};

use crate::support::Shop;

async fn run(connection: &mut PgConnection, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

/// What is told of a session of each role that locks a table and takes an advisory lock under the
/// watch of a role that owns nothing.
async fn told(shop: &Shop, grant: &str) -> Vec<Finding> {
    let owner = Database::new(&shop.connect_options(), "postgres");
    let mut admin = owner.connect().await.unwrap();
    run(
        &mut admin,
        "create role tests login; create table if not exists t (a int); grant select on t to tests",
    )
    .await;
    run(&mut admin, grant).await;
    let options = shop.connect_options().username("tests");
    let database = Database::new(&options, "postgres");

    let cx = UpgradeContext::new("1", "2");
    let environment = PostgresEnvironment::new("watched", Existing::disposable(database.clone()));
    environment.prepare(&cx).await.unwrap();
    environment.begin(&cx).await.unwrap();
    let taken =
        "begin; lock table t in access share mode; select pg_advisory_lock(hashtext(current_user))";
    let mut sessions = Vec::new();
    for database in [&owner, &database] {
        let mut session = database.connect().await.unwrap();
        run(&mut session, taken).await;
        sessions.push(session);
    }
    let told = environment.end(&cx).await.unwrap();
    for session in sessions {
        session.close().await.unwrap();
    }
    told
}

fn count(told: &[Finding], id: &str) -> usize {
    told.iter().filter(|finding| finding.id == id).count()
}

#[tokio::test]
async fn a_role_that_sees_all_sessions_is_told_of_all() {
    let shop = Shop::start().await;
    let told = told(&shop, "grant pg_read_all_stats to tests").await;
    assert_eq!(count(&told, "session/transaction-open"), 2, "{told:#?}");
    assert_eq!(count(&told, "session/lock-leaked"), 2, "{told:#?}");
    assert_eq!(told.len(), 4, "{told:#?}");
}

#[tokio::test]
async fn a_role_that_sees_its_own_sessions_only_is_told_that_there_are_others() {
    let shop = Shop::start().await;
    let told = told(&shop, "select 1").await;
    // Its own; the advisory locks of all can be seen.
    assert_eq!(count(&told, "session/transaction-open"), 1, "{told:#?}");
    assert_eq!(count(&told, "session/lock-leaked"), 2, "{told:#?}");
    let [note] = &told
        .iter()
        .filter(|finding| finding.severity == Severity::Note)
        .collect::<Vec<_>>()[..]
    else {
        panic!("{told:#?}")
    };
    assert_eq!(note.id, "session/not-seen");
    // The one that administers, and the one with the transaction.
    assert!(note.message.contains("2 sessions of other roles"), "{note}");
    assert!(note.message.contains("`tests` may not see"), "{note}");
    assert_eq!(told.len(), 4, "{told:#?}");
}

#[tokio::test]
async fn transactions_of_users_who_go_on_are_not_left_behind() {
    let shop = Shop::start().await;
    let database = Database::new(&shop.connect_options(), "postgres");
    let cx = UpgradeContext::new("1", "2");
    let environment = PostgresEnvironment::new("watched", Existing::disposable(database.clone()));
    environment.prepare(&cx).await.unwrap();
    environment.begin(&cx).await.unwrap();
    // They come after the watch has begun, and are in a transaction at nearly every look.
    let mut users = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut session = database.connect().await.unwrap();
        run(&mut session, "begin").await;
        users.spawn(async move {
            loop {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                run(&mut session, "commit; begin").await;
            }
        });
    }
    let told = environment.end(&cx).await.unwrap();
    assert_eq!(count(&told, "session/transaction-open"), 0, "{told:#?}");
    users.shutdown().await;
}
