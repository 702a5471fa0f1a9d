//! A server for each clause, and what the fixtures ask it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use upgrade_core::environment::{DATABASE, Endpoints};
use upgrade_core::postgres::BOOKKEEPING;
use upgrade_core::postgres::database::{Database, Marker, MarkerKind};
use upgrade_core::postgres::server::{
    Found, LocalServer, Profile, ProviderOptions, ServerOptions, ServerRequirement, discover,
};
use upgrade_core::{Error, ErrorKind, Result, UpgradeContext};
use upgrade_testkit::conformance::Hold;

const ROWS: &str = "create table orders (id int primary key generated always as identity, v text);
    insert into orders (v) values ('a'), ('b');";

#[derive(Debug, Clone)]
pub(crate) struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    server: LocalServer,
    next: AtomicU32,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_as(Profile::ThrowAway).await
    }

    /// One that keeps what was committed when it is killed.
    pub(crate) async fn start_killable() -> Self {
        Self::start_as(Profile::Killable).await
    }

    async fn start_as(profile: Profile) -> Self {
        let options = ProviderOptions::from_env().unwrap();
        let Found::Binaries(binaries) = discover(&ServerRequirement::any(), &options).unwrap()
        else {
            panic!("these tests start their own server: unset UPGRADE_PG_URL");
        };
        let options = ServerOptions::new(profile);
        let server = LocalServer::start(&binaries, options).await.unwrap();
        Self(Arc::new(Inner {
            server,
            next: AtomicU32::new(0),
        }))
    }

    /// Kills the server with all its processes, and starts it again on the same data.
    pub(crate) async fn kill(&self) -> Result<()> {
        let died = |source| {
            Error::new(ErrorKind::Unavailable, "the server did not come back").with_source(source)
        };
        self.0.server.kill().await.map_err(died)?;
        self.0.server.restart().await.map_err(died)
    }

    /// The program of the server's own client.
    pub(crate) fn psql(&self) -> String {
        self.0
            .server
            .binaries()
            .program("psql")
            .display()
            .to_string()
    }

    /// A name that no other database has.
    pub(crate) fn unused(&self) -> Database {
        let number = self.0.next.fetch_add(1, Ordering::SeqCst);
        Database::new(&self.0.server.connect_options(), format!("db{number}"))
    }

    /// A database with two orders, made by this library or by somebody else.
    pub(crate) async fn database(&self, marked: bool) -> Result<Database> {
        let database = self.unused();
        let mut admin = database.connect_maintenance().await?;
        if marked {
            database
                .create(&mut admin, &Marker::new(MarkerKind::Test, "conformance"))
                .await?;
        } else {
            let sql = format!("create database {}", database.name());
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut admin)
                .await?;
        }
        let mut connection = database.connect().await?;
        sqlx::raw_sql(ROWS).execute(&mut connection).await?;
        connection.close().await?;
        Ok(database)
    }

    /// The context of a database with two orders.
    pub(crate) async fn context(&self) -> Result<UpgradeContext> {
        Ok(reaching(&self.database(true).await?))
    }

    /// Every database of the server but those that are always there.
    pub(crate) async fn databases(&self) -> Result<Vec<String>> {
        let mut admin = self.unused().connect_maintenance().await?;
        Ok(sqlx::query_scalar(
            "select datname::text from pg_database \
             where datname not in ('postgres', 'template0', 'template1') order by 1",
        )
        .fetch_all(&mut admin)
        .await?)
    }
}

pub(crate) fn reaching(database: &Database) -> UpgradeContext {
    UpgradeContext::new("1", "2")
        .with_endpoints(Endpoints::default().with(DATABASE, database.endpoint()))
}

pub(crate) async fn connect(cx: &UpgradeContext) -> Result<PgConnection> {
    Database::from_url(cx.endpoint(DATABASE)?.url())?
        .connect()
        .await
}

pub(crate) async fn execute(cx: &UpgradeContext, sql: &str) -> Result<()> {
    let mut connection = connect(cx).await?;
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}

/// All rows of all tables; of the tools' own record, or of all others.
pub(crate) async fn dump(cx: &UpgradeContext, record: bool) -> Result<String> {
    let mut connection = connect(cx).await?;
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c \
         where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace order by 1",
    )
    .fetch_all(&mut connection)
    .await?;
    let mut text = String::new();
    for table in tables
        .iter()
        .filter(|table| BOOKKEEPING.contains(&table.as_str()) == record)
    {
        let sql = format!("select t::text from {table} t order by 1");
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await?;
        text.push_str(&format!("{table}: {}\n", rows.join(" ")));
    }
    connection.close().await?;
    Ok(text)
}

/// A lock that every reader and writer of the orders waits for.
pub(crate) async fn hold(cx: &UpgradeContext) -> Result<Hold> {
    let mut connection = connect(cx).await?;
    sqlx::raw_sql("begin; lock table orders in access exclusive mode")
        .execute(&mut connection)
        .await?;
    Ok(Box::new(connection))
}
