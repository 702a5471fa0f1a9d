//! Throw-away Postgres servers for the tests of this crate.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use upgrade_core::postgres::server::{
    LocalServer, Profile, ProviderOptions, ServerBinaries, ServerOptions, available_majors,
};

/// A running server, which lives as long as this process.
pub(crate) struct Server {
    local: LocalServer,
    databases: AtomicU32,
    pub(crate) major: u16,
}

/// One server for each major version whose binaries are on this machine, oldest first. With
/// feature `fetch`, those that are pinned are among them.
pub(crate) fn servers() -> &'static [Server] {
    static SERVERS: OnceLock<Vec<Server>> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let options = ProviderOptions::from_env().unwrap();
        #[cfg(feature = "fetch")]
        fetch_pinned(&options);
        let found = available_majors(&options).unwrap();
        assert!(
            !found.is_empty(),
            "there are no server binaries (install PostgreSQL, or use feature `fetch`)"
        );
        // The caller may be inside a runtime, which must not be blocked by another one.
        std::thread::scope(|scope| {
            let starts: Vec<_> = found
                .iter()
                .map(|(_, binaries)| scope.spawn(|| Server::start(binaries)))
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap())
                .collect()
        })
    })
}

/// Whatever is missing and can be had; what cannot is not tested.
#[cfg(feature = "fetch")]
fn fetch_pinned(options: &ProviderOptions) {
    use upgrade_core::postgres::server::{Fetch, ServerRequirement, discover};
    if options.fetch == Fetch::Allowed {
        for major in 16..=18 {
            let _ = discover(&ServerRequirement::major(major), options);
        }
    }
}

impl Server {
    fn start(binaries: &ServerBinaries) -> Self {
        let options = ServerOptions::new(Profile::ThrowAway)
            .with_setting("wal_level", "logical")
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let local = runtime.block_on(async {
            let local = LocalServer::start(binaries, options).await.unwrap();
            let mut admin = local.connect_options().connect().await.unwrap();
            run(&mut admin, "CREATE ROLE app LOGIN; CREATE ROLE auditor").await;
            admin.close().await.unwrap();
            local
        });
        Self {
            major: local.version().major(),
            local,
            databases: AtomicU32::new(0),
        }
    }

    pub(crate) fn options(&self, database: &str) -> PgConnectOptions {
        self.local.connect_options().database(database)
    }

    /// A connection to a new, empty database.
    pub(crate) async fn database(&self) -> PgConnection {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut admin = self.options("postgres").connect().await.unwrap();
        run(
            &mut admin,
            &format!("CREATE DATABASE {name} TEMPLATE template0"),
        )
        .await;
        admin.close().await.unwrap();
        self.options(&name).connect().await.unwrap()
    }

    /// Another session in the database of a connection, as this role.
    pub(crate) async fn as_role(&self, conn: &mut PgConnection, role: &str) -> PgConnection {
        let database: String = sqlx::query_scalar("SELECT current_database()::text")
            .fetch_one(conn)
            .await
            .unwrap();
        let options = self.options(&database).username(role);
        options.connect().await.unwrap()
    }
}

/// Runs a script; shows it if it fails.
pub(crate) async fn run(conn: &mut PgConnection, script: &str) {
    if let Err(error) = sqlx::raw_sql(sqlx::AssertSqlSafe(script.to_owned()))
        .execute(conn)
        .await
    {
        panic!("{error}\n{script}");
    }
}
