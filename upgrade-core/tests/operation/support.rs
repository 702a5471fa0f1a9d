//! A server for all of these tests, and what they ask it.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::time::Instant;
use upgrade_core::UpgradeContext;
use upgrade_core::environment::{DATABASE, Endpoints};
use upgrade_core::postgres::Database;
use upgrade_core::postgres::server::{
    Found, LocalServer, Profile, ProviderOptions, ServerOptions, ServerRequirement, discover,
};

pub(crate) fn server() -> &'static LocalServer {
    static SERVER: OnceLock<LocalServer> = OnceLock::new();
    // The caller may be inside a runtime, which must not be blocked by another one.
    SERVER.get_or_init(|| std::thread::scope(|scope| scope.spawn(start).join().unwrap()))
}

/// A second cluster.
pub(crate) fn another_server() -> &'static LocalServer {
    static SERVER: OnceLock<LocalServer> = OnceLock::new();
    SERVER.get_or_init(|| std::thread::scope(|scope| scope.spawn(start).join().unwrap()))
}

fn start() -> LocalServer {
    let options = ProviderOptions::from_env().unwrap();
    let Found::Binaries(binaries) = discover(&ServerRequirement::any(), &options).unwrap() else {
        panic!("these tests start their own server: unset UPGRADE_PG_URL");
    };
    let options = ServerOptions::new(Profile::ThrowAway)
        .with_setting("wal_level", "logical")
        .unwrap()
        .with_setting("max_prepared_transactions", "5")
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = LocalServer::start(&binaries, options).await.unwrap();
        let database = Database::new(&server.connect_options(), "postgres");
        // A role as teams have it: it owns databases and makes them, and is no superuser.
        run(&database, "create role owner login createdb").await;
        server
    })
}

/// How to connect as a role, `postgres` among them.
pub(crate) fn as_role(role: &str) -> PgConnectOptions {
    server().connect_options().username(role)
}

/// A name that no other database has.
pub(crate) fn unused() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // None begins as another one does.
    format!("shop{}x", NEXT.fetch_add(1, Ordering::SeqCst))
}

/// A database of somebody else, owned by `owner`, with three orders.
pub(crate) async fn shop() -> Database {
    shop_named(&unused()).await
}

pub(crate) async fn shop_named(name: &str) -> Database {
    let superuser = Database::new(&server().connect_options(), "postgres");
    let quoted = name.replace('"', "\"\"");
    run(
        &superuser,
        &format!("create database \"{quoted}\" owner owner"),
    )
    .await;
    let database = Database::new(&as_role("owner"), name);
    run(
        &superuser.sibling(name),
        "create table orders (id int primary key, v text); alter table orders owner to owner; \
         grant all on schema public to owner; insert into orders values (1, 'a'), (2, 'b'), (3, 'c')",
    )
    .await;
    // The owner may not end a session of the superuser, and one that was closed is there a moment longer.
    until("the end of the superuser's session", || async {
        let name = name.replace('\'', "''");
        let sessions = format!("select pid::text from pg_stat_activity where datname = '{name}'");
        ask(&sessions).await.is_empty()
    })
    .await;
    database
}

/// A context that reaches a database.
pub(crate) fn reaching(database: &Database) -> UpgradeContext {
    UpgradeContext::new("1", "2")
        .with_endpoints(Endpoints::default().with(DATABASE, database.endpoint()))
}

pub(crate) async fn run(database: &Database, sql: &str) {
    let mut connection = database.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// One value, as a superuser sees it in the maintenance database.
pub(crate) async fn ask(sql: &str) -> Vec<String> {
    let database = Database::new(&server().connect_options(), "postgres");
    let mut connection = database.connect().await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_all(&mut connection)
        .await
        .unwrap()
}

/// Every database whose name begins as this one's, with whether it lets anybody in.
pub(crate) async fn beside(database: &Database) -> Vec<String> {
    let name = database.name().replace('\'', "''");
    ask(&format!(
        "select datname || case when datallowconn then ' open' else ' closed' end \
         from pg_database where starts_with(datname, '{name}') order by 1"
    ))
    .await
}

/// Whether a session lives.
pub(crate) async fn lives(session: &mut PgConnection) -> bool {
    session.ping().await.is_ok()
}

/// Polls a future at most `limit` times and then drops it; `None` where it has not ended by then.
pub(crate) async fn polled<F: Future>(future: F, limit: usize) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut polls = 0;
    std::future::poll_fn(move |cx| {
        if polls == limit {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls == limit => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Waits until this holds, which it does within seconds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await; // poll
    }
}
