//! A separate place for each test, so that one test's sweep does not see another's servers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use upgrade_core::postgres::server::{
    Directories, Found, LocalServer, Profile, ProviderOptions, ServerBinaries, ServerOptions,
    ServerRequirement, discover,
};

/// The newest server of this machine.
pub(crate) fn binaries() -> ServerBinaries {
    let mut options = ProviderOptions::from_env().unwrap();
    options.url = None;
    match discover(&ServerRequirement::any(), &options).unwrap() {
        Found::Binaries(binaries) => binaries,
        other => panic!("binaries were expected, not {other:?}"),
    }
}

/// Folders for the servers of one test, in memory where the machine has a place for that; the
/// cache is the machine's.
pub(crate) struct Place {
    _memory: tempfile::TempDir,
    _disk: tempfile::TempDir,
    pub(crate) directories: Directories,
}

impl Place {
    pub(crate) fn new() -> Self {
        let mut directories = Directories::from_env().unwrap();
        let memory = open_folder(directories.memory.as_deref().unwrap_or(&directories.disk));
        let disk = open_folder(&directories.disk);
        directories.memory = Some(memory.path().to_owned());
        directories.disk = disk.path().to_owned();
        Self {
            _memory: memory,
            _disk: disk,
            directories,
        }
    }

    pub(crate) fn options(&self, profile: Profile) -> ServerOptions {
        ServerOptions::new(profile).with_directories(self.directories.clone())
    }

    /// The directories of servers that exist now.
    pub(crate) fn servers(&self) -> Vec<PathBuf> {
        servers_in(&self.directories)
    }
}

pub(crate) fn servers_in(directories: &Directories) -> Vec<PathBuf> {
    let places = directories.memory.iter().chain([&directories.disk]);
    let homes = places.flat_map(|place| folders(place));
    homes.flat_map(|home| folders(&home)).collect()
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// A folder that every user can enter.
pub(crate) fn open_folder(parent: &Path) -> tempfile::TempDir {
    let folder = tempfile::Builder::new()
        .prefix("t")
        .rand_bytes(5)
        .tempdir_in(parent)
        .unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

pub(crate) async fn text(server: &LocalServer, query: &str) -> String {
    let mut connection = PgConnection::connect_with(&server.connect_options())
        .await
        .unwrap();
    let value = sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    value
}

pub(crate) async fn execute(server: &LocalServer, statements: &str) {
    let mut connection = PgConnection::connect_with(&server.connect_options())
        .await
        .unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// Processes that work in or below a folder.
pub(crate) fn processes_below(folder: &Path) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            fs::read_link(entry.path().join("cwd"))
                .ok()?
                .starts_with(folder)
                .then_some(pid)
        })
        .collect()
}

/// Waits until a condition holds; panics with `what` at the deadline.
pub(crate) fn eventually(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> bool,
) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(2)); // poll
    }
    start.elapsed()
}
