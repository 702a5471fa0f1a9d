//! The server of this process, with a database for each test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::sync::Mutex;
use upgrade_core::postgres::server::{
    Found, LocalServer, Profile, ProviderOptions, ServerOptions, ServerRequirement, discover,
};

/// A schema with every kind of constraint that a shop has.
pub(crate) const SHOP: &str = include_str!("shop.sql");

/// The server that the tests of this process share, for as long as one of them needs it.
static SHARED: Mutex<Weak<LocalServer>> = Mutex::const_new(Weak::new());

/// Counts databases, so that two tests may choose the same name.
static DATABASES: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Server(Arc<LocalServer>);

impl Server {
    /// The server of this process.
    pub(crate) async fn start() -> Self {
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return Self(server);
        }
        // Room for the tests that fill thousands of tables in one transaction.
        let server = Self::start_with_locks(512).await;
        *shared = Arc::downgrade(&server.0);
        server
    }

    /// A separate server, with room for `locks` locks in each of a hundred transactions.
    pub(crate) async fn start_with_locks(locks: u32) -> Self {
        let provider = ProviderOptions::from_env().unwrap();
        let Found::Binaries(binaries) = discover(&ServerRequirement::any(), &provider).unwrap()
        else {
            panic!("these tests start their own server: unset UPGRADE_PG_URL");
        };
        let options = ServerOptions::new(Profile::ThrowAway)
            .with_setting("max_locks_per_transaction", locks.to_string())
            .unwrap();
        Self(Arc::new(
            LocalServer::start(&binaries, options).await.unwrap(),
        ))
    }

    /// A new database with a schema.
    pub(crate) async fn database(&self, name: &str, schema: &str) -> PgConnection {
        let options = self.0.connect_options();
        let number = DATABASES.fetch_add(1, Ordering::SeqCst);
        let name = format!("{name}_{number}");
        let mut admin = PgConnection::connect_with(&options.clone().database("postgres"))
            .await
            .unwrap();
        admin
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await
            .unwrap();
        let mut conn = PgConnection::connect_with(&options.database(&name))
            .await
            .unwrap();
        run(&mut conn, schema).await;
        conn
    }
}

pub(crate) async fn number(conn: &mut PgConnection, query: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
        .persistent(false)
        .fetch_one(conn)
        .await
        .unwrap()
}

pub(crate) async fn texts(conn: &mut PgConnection, query: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
        .persistent(false)
        .fetch_all(conn)
        .await
        .unwrap()
}

pub(crate) async fn run(conn: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(conn)
        .await
        .unwrap();
}
