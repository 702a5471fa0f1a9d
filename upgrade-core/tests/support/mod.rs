//! Throw-away Postgres servers for the tests of this crate.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

/// An unprivileged user, because the server refuses to run as root.
const NOBODY: u32 = 65534;

/// A running server.
pub(crate) struct Server {
    dir: PathBuf,
    /// Its standard input is the server's life line: it closes when this process ends, however
    /// that happens.
    _child: Child,
    databases: AtomicU32,
    pub(crate) major: u32,
}

/// One server for each folder of binaries that `UPGRADE_TEST_PG_BINS` lists, separated by colons,
/// or for the newest that is installed.
pub(crate) fn servers() -> &'static [Server] {
    static SERVERS: OnceLock<Vec<Server>> = OnceLock::new();
    SERVERS.get_or_init(|| match std::env::var("UPGRADE_TEST_PG_BINS") {
        Ok(folders) => folders
            .split(':')
            .map(|folder| Server::start(Path::new(folder)))
            .collect(),
        Err(_) => vec![Server::start(&installed())],
    })
}

fn installed() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let mut majors: Vec<u32> = versions
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .collect();
    majors.sort_unstable();
    format!(
        "/usr/lib/postgresql/{}/bin",
        majors.last().expect("PostgreSQL is installed")
    )
    .into()
}

impl Server {
    fn start(bin: &Path) -> Self {
        let base = if Path::new("/dev/shm").is_dir() {
            "/dev/shm".into()
        } else {
            std::env::temp_dir()
        };
        let dir = tempfile::Builder::new()
            .prefix("upgrade-test-")
            .tempdir_in(base)
            .unwrap()
            .keep();
        // Removes the data when the life line is cut, after the server has stopped.
        let script = r#"
            "$1/initdb" -D "$2/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$2/log" 2>&1 || exit 1
            "$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=off \
                -c dynamic_shared_memory_type=mmap >>"$2/log" 2>&1 &
            cat >/dev/null
            kill -INT $!
            wait
            rm -rf "$2"/* "$2"
        "#;
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh"])
            .arg(bin)
            .arg(&dir)
            .stdin(Stdio::piped())
            .current_dir(&dir);
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            std::os::unix::fs::chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut child = command.spawn().unwrap();
        child.stdin.as_mut().unwrap().flush().unwrap();
        let server = Self {
            dir,
            _child: child,
            databases: AtomicU32::new(0),
            major: major(bin),
        };
        server.wait();
        server
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        // The caller may be inside a runtime, which must not be blocked by another one.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                runtime.unwrap().block_on(async {
                    let mut admin = loop {
                        match self.options("postgres").connect().await {
                            Ok(conn) => break conn,
                            Err(error) => {
                                let log = || {
                                    std::fs::read_to_string(self.dir.join("log"))
                                        .unwrap_or_default()
                                };
                                assert!(Instant::now() < deadline, "no server: {error}\n{}", log());
                                // poll
                                tokio::time::sleep(Duration::from_millis(10)).await;
                            }
                        }
                    };
                    run(&mut admin, "CREATE ROLE app; CREATE ROLE auditor").await;
                });
            });
        });
    }

    pub(crate) fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new()
            .socket(&self.dir)
            .username("postgres")
            .database(database)
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
}

fn major(bin: &Path) -> u32 {
    let output = Command::new(bin.join("postgres"))
        .arg("--version")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text
        .split_whitespace()
        .nth(2)
        .expect("`postgres (PostgreSQL) 15.1`");
    version.split('.').next().unwrap().parse().unwrap()
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
