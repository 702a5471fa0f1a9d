//! A separate place for each test, in which all its leftovers can be found.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use upgrade_core::postgres::server::{Directories, Fetch, Found, ServerBinaries};
use upgrade_core::postgres::server::{ProviderOptions, ServerRequirement, discover};
use upgrade_core::{Error, ErrorKind};
use upgrade_testkit::Rehearsal;
use upgrade_testkit::pool::PoolOptions;

/// The password of every test: it must be in no message.
pub(crate) const PASSWORD: &str = "hunter2";

/// A folder with its own cache, running servers and migrations.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("bad-input-")
            .tempdir()
            .unwrap();
        // A server of root's runs as somebody else, who has to get in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes files, and answers with their folder.
    pub(crate) fn files(&self, folder: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        folder
    }

    /// The servers of this machine, in this place.
    pub(crate) fn pool(&self) -> PoolOptions {
        self.pool_in(Directories::below(self.path()))
    }

    pub(crate) fn pool_in(&self, directories: Directories) -> PoolOptions {
        let mut provider = ProviderOptions::from_env().unwrap();
        provider.url = None;
        provider.directories = directories;
        PoolOptions::new(provider)
    }

    /// Options that know only one folder with binaries.
    pub(crate) fn only_binaries(&self, folder: PathBuf) -> PoolOptions {
        let mut provider = ProviderOptions::new(Directories::below(self.path()));
        provider.named = vec![folder];
        provider.fetch = Fetch::Off;
        PoolOptions::new(provider)
    }

    /// A rehearsal of these migrations.
    pub(crate) fn rehearsal(&self, files: &[(&str, &str)]) -> Rehearsal {
        let folder = self.files("migrations", files);
        self.rehearsal_of(&folder)
    }

    pub(crate) fn rehearsal_of(&self, folder: &Path) -> Rehearsal {
        Rehearsal::new("shop")
            .unwrap()
            .rows(5)
            .migrations(folder)
            .pool(self.pool())
    }

    /// Fails if a process, a server's directory, a template or half of one is left.
    #[track_caller]
    pub(crate) fn is_clean(&self) {
        // A server that was just stopped is removed from the list a moment later.
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.left().is_empty() {
            let left = self.left();
            assert!(Instant::now() < deadline, "leftovers: {left:#?}");
            std::thread::sleep(Duration::from_millis(20)); // poll
        }
    }

    fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = Vec::new();
        let entries = |folder: &Path| -> Vec<PathBuf> {
            fs::read_dir(folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .collect()
        };
        for home in entries(&self.path().join("run")) {
            let servers = entries(&home).into_iter().filter(|path| path.is_dir());
            left.extend(servers.map(|path| path.display().to_string()));
        }
        for folder in ["cache/templates", "cache/initdb"] {
            let folders = entries(&self.path().join(folder));
            let unfinished = folders.into_iter().filter(|path| {
                path.is_dir()
                    && (folder.ends_with("templates")
                        || path.extension().is_some_and(|ending| ending == "new"))
            });
            left.extend(unfinished.map(|path| path.display().to_string()));
        }
        for process in entries(Path::new("/proc")) {
            let works_here = fs::read_link(process.join("cwd"))
                .is_ok_and(|folder| folder.starts_with(self.path()));
            if works_here {
                let command = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
                left.push(format!("{} {command}", process.display()));
            }
        }
        left
    }
}

/// Binaries for servers that a test starts itself.
pub(crate) fn binaries() -> ServerBinaries {
    let mut options = ProviderOptions::from_env().unwrap();
    options.url = None;
    match discover(&ServerRequirement::any(), &options).unwrap() {
        Found::Binaries(binaries) => binaries,
        other => panic!("no binaries but {other:?}"),
    }
}

/// That an error is of a kind, says everything that it has to, and tells no password.
#[track_caller]
pub(crate) fn says(error: &Error, kind: ErrorKind, parts: &[&str]) {
    let text = format!("{error:?}");
    assert_eq!(error.kind(), kind, "{text}");
    for part in parts {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    assert!(
        !format!("{error:#?} {text}").contains(PASSWORD),
        "a password is told"
    );
}
