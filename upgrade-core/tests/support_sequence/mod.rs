//! A throw-away server for one test: in memory, Unix socket only, gone when it is dropped.

#![expect(
    clippy::unwrap_used,
    reason = "a test helper: what fails here fails the test"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};

/// `initdb` and `postgres` refuse to run as root.
const NOBODY: u32 = 65534;

pub(crate) struct Server {
    process: Child,
    folder: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let parent = if Path::new("/dev/shm").is_dir() {
            "/dev/shm"
        } else {
            "/tmp"
        };
        let folder = tempfile::tempdir_in(parent).unwrap();
        let root = fs::metadata("/proc/self").unwrap().uid() == 0;
        if root {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let command = |program: &str| {
            let mut command = Command::new(binaries().join(program));
            command
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            if root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command
        };
        let made = command("initdb")
            .args([
                "-D",
                "data",
                "-U",
                "postgres",
                "-A",
                "trust",
                "-N",
                "--no-locale",
                "-E",
                "UTF8",
            ])
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        let process = command("postgres")
            .args(["-D", "data", "-F", "-k"])
            .arg(folder.path())
            .args(["-c", "listen_addresses="])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, folder };
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = server.connect("postgres").await {
            assert!(
                Instant::now() < deadline,
                "the server does not answer: {error}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await; // poll
        }
        server
    }

    async fn connect(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(self.folder.path())
            .username("postgres")
            .database(database);
        PgConnection::connect_with(&options).await
    }

    /// A connection to a new database.
    pub(crate) async fn database(&self, name: &str) -> PgConnection {
        let mut conn = self.connect("postgres").await.unwrap();
        let sql = format!("create database \"{name}\"");
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut conn)
            .await
            .unwrap();
        self.connect(name).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing of it is kept, so it need not stop in good order.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn binaries() -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").is_file())
        .collect();
    found.sort();
    found
        .pop()
        .expect("these tests need the server binaries of Postgres in /usr/lib/postgresql")
}
