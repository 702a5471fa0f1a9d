//! Servers that are too old, built for another machine, not there, or closed to us.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use upgrade_core::postgres::Database;
use upgrade_core::{ErrorKind, Secret};
use upgrade_testkit::pool::Pool;

use crate::support::{PASSWORD, Place, binaries, says};

/// A folder with a program `postgres` of these bytes.
fn program(place: &Place, bytes: &[u8]) -> PathBuf {
    let folder = place.files("bin", &[("initdb", "#!/bin/sh\nexit 1\n")]);
    let program = folder.join("postgres");
    fs::write(&program, bytes).unwrap();
    for name in ["postgres", "initdb"] {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused() {
    let place = Place::new();
    let folder = program(&place, b"#!/bin/sh\necho 'postgres (PostgreSQL) 13.9'\n");
    let error = place
        .rehearsal(&[("0001_a.sql", "select 1")])
        .pool(place.only_binaries(folder.clone()))
        .rehearse()
        .await
        .unwrap_err();
    let named = folder.join("postgres").display().to_string();
    says(
        &error,
        ErrorKind::Unavailable,
        &["UPGRADE_PG_BIN", &named, "is 13.9, and 14 is the oldest"],
    );
    place.is_clean();
}

#[tokio::test]
async fn a_binary_of_another_architecture_is_refused() {
    let place = Place::new();
    let foreign: u8 = if cfg!(target_arch = "s390x") { 62 } else { 22 };
    let mut elf = b"\x7fELF\x02\x02\x01".to_vec();
    elf.resize(18, 0);
    elf.extend([0, foreign]);
    elf.resize(64, 0);
    let folder = program(&place, &elf);
    let pool = Pool::connect(place.only_binaries(folder)).await;
    says(
        &pool.unwrap_err().into(),
        ErrorKind::Unavailable,
        &["is built for", "this machine is", "name folders that hold"],
    );
}

#[tokio::test]
async fn a_major_version_that_is_nowhere_is_refused_with_all_that_was_tried() {
    let place = Place::new();
    let mut options = place.pool();
    options.provider.fetch = upgrade_core::postgres::server::Fetch::Off;
    // Whether an engine answers on this machine is another question.
    options.provider.containers = upgrade_core::postgres::server::Containers::Off;
    let error = Pool::connect(options.with_major(Some(14 + 80))).await;
    says(
        &error.unwrap_err().into(),
        ErrorKind::Unavailable,
        &["no Postgres 94 server was found", "tried:", "installed"],
    );
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let place = Place::new();
    // Bound and given back: nobody listens there now.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let url = format!("postgres://me:{PASSWORD}@127.0.0.1:{port}/postgres");
    let error = Pool::connect(place.pool().with_url(Secret::new(url))).await;
    let named = format!("127.0.0.1:{port}");
    says(
        &error.unwrap_err().into(),
        ErrorKind::Unavailable,
        &[&named, "is the server up"],
    );
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_without_being_told() {
    let place = Place::new();
    for url in [
        format!("mysql://me:{PASSWORD}@127.0.0.1/shop"),
        format!("postgres://me:{PASSWORD}@127.0.0.1:none/shop"),
        format!("postgres://me:{PASSWORD}@127.0.0.1"),
    ] {
        let error = Pool::connect(place.pool().with_url(Secret::new(url))).await;
        says(
            &error.unwrap_err().into(),
            ErrorKind::InvalidInput,
            &["the database URL", "postgres://user"],
        );
    }
}

/// Root cannot run a server, and hands it to somebody else.
fn is_root() -> bool {
    // The folder belongs to whoever made it.
    let ours = tempfile::tempdir().unwrap();
    ours.path().metadata().unwrap().uid() == 0
}

/// A server with TCP and passwords, as `UPGRADE_PG_URL` may name one.
struct Guarded {
    process: Child,
    port: u16,
}

impl Guarded {
    async fn start(place: &Place) -> Self {
        let binaries = binaries();
        let data = place.path().join("guarded");
        let as_other = |name: &str| {
            let mut command = Command::new(binaries.program(name));
            command.current_dir(place.path()).env("LC_ALL", "C");
            if is_root() {
                command.uid(65534).gid(65534);
            }
            command
        };
        let password = place.files("secret", &[("password", PASSWORD)]);
        fs::create_dir(&data).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&data, Some(65534), Some(65534)).unwrap();
        }
        let made = as_other("initdb")
            .args(["-U", "me", "-N", "-A", "scram-sha-256", "--pwfile"])
            .arg(password.join("password"))
            .arg("-D")
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        // Bound and given back a moment before the server takes it.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let log = fs::File::create(place.path().join("guarded.log")).unwrap();
        let process = as_other("postgres")
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
            .args(["-c", "unix_socket_directories="])
            .args(["-p", &port.to_string()])
            .arg("-D")
            .arg(&data)
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let guarded = Self { process, port };
        let database = Database::from_url(&guarded.url(PASSWORD)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = database.connect().await {
            let log = fs::read_to_string(place.path().join("guarded.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{error:?}\n{log}");
            tokio::time::sleep(Duration::from_millis(50)).await; // poll
        }
        guarded
    }

    fn url(&self, password: &str) -> Secret {
        let port = self.port;
        Secret::new(format!(
            "postgres://me:{password}@127.0.0.1:{port}/postgres"
        ))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Asked first, so that it gives its shared memory back.
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-QUIT", &pid]).status();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_told() {
    let place = Place::new();
    let server = Guarded::start(&place).await;
    let wrong = Secret::new(server.url(&format!("{PASSWORD}x")).expose());
    let rehearsal = place.rehearsal(&[("0001_a.sql", "create table a (id int)")]);
    let error = rehearsal
        .pool(place.pool().with_url(wrong))
        .rehearse()
        .await
        .unwrap_err();
    let named = format!("127.0.0.1:{}", server.port);
    says(
        &error,
        ErrorKind::Unavailable,
        &[
            &named,
            "password authentication failed",
            "28P01",
            "are user and password right?",
        ],
    );
    // With the right one the same works, and leaves only a template.
    let options = place.pool().with_url(server.url(PASSWORD));
    let files = [
        ("0001_a.sql", "create table a (id int)"),
        ("0002_b.sql", "create table b (id int)"),
    ];
    let rehearsal = place.rehearsal(&files).from("0001").pool(options);
    rehearsal.rehearse().await.unwrap();
    assert_eq!(left(&server.url(PASSWORD)).await, Vec::<String>::new());
    assert!(Path::new(&place.path().join("guarded")).is_dir());
}

/// The test databases on a server, once those that are being dropped no longer exist.
async fn left(url: &Secret) -> Vec<String> {
    let mut admin = Database::from_url(url).unwrap().connect().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left: Vec<String> = sqlx::query_scalar(
            "select datname::text from pg_database where datname like 'upgrade%' and not datistemplate",
        )
        .fetch_all(&mut admin)
        .await
        .unwrap();
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(20)).await; // poll
    }
}
