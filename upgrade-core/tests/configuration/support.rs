//! A live configuration, a new one and a store in a folder of a test; and what is in a folder, read
//! without the library.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use upgrade_core::configuration::{ConfigFiles, Configuration, Digest};
use upgrade_core::migration::Outcome;
use upgrade_core::{ErrorKind, Failure, Result, UpgradeContext};

/// A folder of a test with `live`, `new`, and a place for the store.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// On a disk.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    /// In memory, where there is such a file system: for tests that switch often.
    pub(crate) fn in_memory() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.unwrap();
        Self { folder }
    }

    /// With a folder of two files in each configuration.
    pub(crate) fn with_folders() -> Self {
        let place = Self::new();
        place.write("live/app.conf", "old");
        place.write("live/tls/key.pem", "old key");
        place.write("new/app.conf", "new");
        place.write("new/added.conf", "added");
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn live(&self) -> PathBuf {
        self.path("live")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn files(&self) -> ConfigFiles {
        ConfigFiles::new("orders", self.live(), self.path("store"), self.path("new"))
    }

    /// All names of what the library makes and has to remove again.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let of = |folder: &Path| {
            let entries = fs::read_dir(folder).into_iter().flatten();
            let names = entries.map(|entry| entry.unwrap().file_name());
            let names = names.map(|name| name.to_string_lossy().into_owned());
            names
                .filter(|name| name.contains(".upgrade-"))
                .collect::<Vec<_>>()
        };
        [of(self.folder.path()), of(&self.path("store"))].concat()
    }
}

pub(crate) fn cx() -> UpgradeContext {
    UpgradeContext::new("1.4", "1.5")
}

/// The digests of the old and of the new configuration.
pub(crate) async fn keep(files: &ConfigFiles) -> (Digest, Digest) {
    let old = files.keep_live(&cx()).await.unwrap();
    (old, files.keep_new(&cx()).await.unwrap())
}

/// Whether anything was switched.
pub(crate) async fn switch(files: &ConfigFiles, from: &Digest, to: &Digest) -> Result<bool> {
    files.switch(&cx(), from, to).await?.into_result()
}

pub(crate) fn failure(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => *failure,
        other => panic!("it did not fail: {other:?}"),
    }
}

/// An error of this kind, with these parts in what it prints.
pub(crate) fn assert_error<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, parts: &[&str]) {
    let error = result.unwrap_err();
    let text = format!("{error:?}");
    assert_eq!(error.kind(), kind, "{text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What there is at a path: mode with kind, owner, group, content or target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) content: Vec<u8>,
}

/// All that is below a path and at it, by its path from there.
pub(crate) fn seen(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut found = BTreeMap::new();
    let mut paths = vec![root.to_owned()];
    while let Some(path) = paths.pop() {
        let facts = fs::symlink_metadata(&path).unwrap();
        let content = if facts.is_dir() {
            paths.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            Vec::new()
        } else if facts.is_symlink() {
            fs::read_link(&path)
                .unwrap()
                .as_os_str()
                .as_bytes()
                .to_vec()
        } else {
            fs::read(&path).unwrap()
        };
        let seen = Seen {
            mode: facts.mode(),
            owner: (facts.uid(), facts.gid()),
            content,
        };
        found.insert(path.strip_prefix(root).unwrap().to_owned(), seen);
    }
    found
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
