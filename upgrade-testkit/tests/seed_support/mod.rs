//! A throw-away server for the seeder's tests.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// Neither root nor anyone: Postgres refuses to run as root.
const NOBODY: u32 = 65534;

/// A schema with every kind of constraint that a shop has.
pub(crate) const SHOP: &str = include_str!("shop.sql");

pub(crate) struct Server {
    process: Child,
    dir: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with_locks(64).await
    }

    /// A server with room for so many locks in each of a hundred transactions.
    pub(crate) async fn start_with_locks(locks: u32) -> Self {
        let root = if Path::new("/dev/shm").is_dir() {
            "/dev/shm".into()
        } else {
            std::env::temp_dir()
        };
        let dir = tempfile::Builder::new()
            .prefix("seed-")
            .tempdir_in(root)
            .unwrap();
        std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let data = dir.path().join("data");
        let made = command(dir.path(), "initdb")
            .args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "-N",
                "-D",
            ])
            .arg(&data)
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        let process = command(dir.path(), "postgres")
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "full_page_writes=off",
                "-c",
                &format!("max_locks_per_transaction={locks}"),
                "-k",
            ])
            .arg(dir.path())
            .arg("-D")
            .arg(&data)
            .spawn()
            .unwrap();
        let server = Self { process, dir };
        let deadline = Instant::now() + Duration::from_secs(30);
        while PgConnection::connect(&server.url("postgres"))
            .await
            .is_err()
        {
            assert!(Instant::now() < deadline, "the server does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await; // poll
        }
        server
    }

    fn url(&self, database: &str) -> String {
        let socket = self.dir.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://postgres@{socket}/{database}")
    }

    /// A new database with a schema.
    pub(crate) async fn database(&self, name: &str, schema: &str) -> PgConnection {
        let mut admin = PgConnection::connect(&self.url("postgres")).await.unwrap();
        admin
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await
            .unwrap();
        let mut conn = PgConnection::connect(&self.url(name)).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(schema.to_owned()))
            .execute(&mut conn)
            .await
            .unwrap();
        conn
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked to stop, not killed: a killed server leaves its shared memory behind.
        let stopped = command(self.dir.path(), "pg_ctl")
            .args(["stop", "-m", "immediate", "-D"])
            .arg(self.dir.path().join("data"))
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// A program of the server, as an unprivileged user.
fn command(dir: &Path, name: &str) -> Command {
    let bin = std::env::var("PG_BIN").unwrap_or("/usr/lib/postgresql/15/bin".to_owned());
    let mut command = Command::new(format!("{bin}/{name}"));
    command.uid(NOBODY).gid(NOBODY).current_dir(dir);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
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
