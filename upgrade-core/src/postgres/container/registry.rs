//! Which containers have a live owner: a folder with one locked file for each.
//!
//! A container is registered before it is made, so that one whose owner was killed in between is
//! found as well. The lock is the kernel's and dies with the owner, however it dies. Whoever gets
//! the lock of an entry may remove its container, and then the entry.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{ContainerError, Result};

const ID_FILE: &str = "registry.id";
const ENTRY_SUFFIX: &str = ".json";

/// Where containers are registered unless another folder is given: below `XDG_RUNTIME_DIR`, else
/// below the temporary folder, for this user alone.
pub fn default_registry_dir() -> PathBuf {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    match runtime.filter(|dir| dir.is_dir()) {
        Some(dir) => dir.join("upgrade/containers"),
        // A single level: nobody else can own a folder above it but the sticky one.
        None => {
            let user = rustix::process::getuid().as_raw();
            env::temp_dir().join(format!("upgrade-containers-{user}"))
        }
    }
}

/// What an entry says about its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The container's name, chosen before it is made.
    pub(super) container: String,
    /// The run that it belongs to.
    pub(super) run: String,
    /// The process that owns it; for people, since the lock tells whether it lives.
    pub(super) owner_pid: u32,
    /// The engine that has it: another one would say that there is no such container.
    pub(super) engine: String,
}

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    dir: PathBuf,
    id: String,
}

impl Registry {
    /// Opens the folder and makes it if it is not there.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed("create", dir))?;
        let owner = fs::symlink_metadata(dir).map_err(failed("read", dir))?;
        // In a shared temporary folder somebody else could have made it first.
        if !owner.is_dir() || owner.uid() != rustix::process::getuid().as_raw() {
            return Err(failed("use", dir)(io::Error::from(
                io::ErrorKind::PermissionDenied,
            )));
        }
        let id = registry_id(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            id,
        })
    }

    /// A random name of this folder. Containers bear it as a label, so that two machines that share
    /// an engine do not take each other's containers for orphans.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether the container has an entry.
    pub(super) fn has(&self, container: &str) -> bool {
        self.path_of(container).exists()
    }

    /// Registers a container that does not exist yet. The entry is held until it is released or its
    /// owner ends.
    pub(super) fn register(&self, record: &Record) -> Result<Entry> {
        let path = self.path_of(&record.container);
        loop {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(failed("create", &path))?;
            file.lock().map_err(failed("lock", &path))?;
            // A sweep between the two calls above took the empty entry for an abandoned one and
            // unlinked it: a lock on a file without a name protects nothing.
            if file.metadata().map_err(failed("read", &path))?.nlink() == 0 {
                continue;
            }
            let text = serde_json::to_vec(record).expect("a record of strings and numbers is JSON");
            file.write_all(&text)
                .and_then(|()| file.sync_all())
                .map_err(failed("write", &path))?;
            return Ok(Entry {
                path,
                _file: file,
                record: Some(record.clone()),
            });
        }
    }

    /// The entries whose owner is gone, in the order of their names; they are ours while held.
    pub(super) fn abandoned(&self) -> Result<Vec<Entry>> {
        let mut paths = Vec::new();
        for item in fs::read_dir(&self.dir).map_err(failed("read", &self.dir))? {
            let path = item.map_err(failed("read", &self.dir))?.path();
            if path
                .to_str()
                .is_some_and(|path| path.ends_with(ENTRY_SUFFIX))
            {
                paths.push(path);
            }
        }
        paths.sort();
        let entries = paths
            .into_iter()
            .map(take_if_abandoned)
            .collect::<Result<Vec<_>>>()?;
        Ok(entries.into_iter().flatten().collect())
    }

    fn path_of(&self, container: &str) -> PathBuf {
        self.dir.join(format!("{container}{ENTRY_SUFFIX}"))
    }
}

/// A locked entry. Dropped without [`Entry::release`] it stays behind, unlocked, for the next sweep.
#[derive(Debug)]
pub(super) struct Entry {
    path: PathBuf,
    /// Held for its lock.
    _file: File,
    record: Option<Record>,
}

impl Entry {
    /// What the entry says; nothing if its owner was killed before it wrote, hence before it made
    /// the container.
    pub(super) fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// Removes the entry: its container is gone.
    pub(super) fn release(self) -> Result<()> {
        // The lock goes with the file at the end: nobody takes an entry that is about to go.
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn take_if_abandoned(path: PathBuf) -> Result<Option<Entry>> {
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", &path)(error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
    }
    if file.metadata().map_err(failed("read", &path))?.nlink() == 0 {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(failed("read", &path))?;
    Ok(Some(Entry {
        path,
        _file: file,
        record: serde_json::from_slice(&text).ok(),
    }))
}

/// Reads the folder's random name; the first process to come writes it.
fn registry_id(dir: &Path) -> Result<String> {
    let path = dir.join(ID_FILE);
    if !path.exists() {
        // Written aside and linked, so that nobody reads half of it and the first one stays.
        let draft = dir.join(format!("{ID_FILE}.{}", random_hex(&path)?));
        fs::write(&draft, random_hex(&path)?).map_err(failed("write", &draft))?;
        let linked = fs::hard_link(&draft, &path);
        fs::remove_file(&draft).map_err(failed("remove", &draft))?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("create", &path)(error));
            }
            _ => {}
        }
    }
    fs::read_to_string(&path).map_err(failed("read", &path))
}

/// 128 random bits as 32 hexadecimal digits; `path` is what they are for, should it fail.
pub(super) fn random_hex(path: &Path) -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(failed("find a random name for", path))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> ContainerError + use<> {
    let path = path.to_owned();
    move |source| ContainerError::Registry {
        action,
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(container: &str) -> Record {
        Record {
            container: container.into(),
            run: "r".into(),
            owner_pid: 7,
            engine: "e".into(),
        }
    }

    fn open(dir: &tempfile::TempDir) -> Registry {
        Registry::open(&dir.path().join("containers")).unwrap()
    }

    #[test]
    fn a_held_entry_is_not_abandoned_and_a_dropped_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&dir);
        let held = registry.register(&record("a")).unwrap();
        drop(registry.register(&record("b")).unwrap());
        let abandoned = registry.abandoned().unwrap();
        assert_eq!(
            abandoned.iter().map(Entry::record).collect::<Vec<_>>(),
            [Some(&record("b"))]
        );
        assert!(
            registry.abandoned().unwrap().is_empty(),
            "it is held by the first sweep"
        );
        assert!(registry.has("a") && registry.has("b"));
        held.release().unwrap();
        for entry in abandoned {
            entry.release().unwrap();
        }
        assert!(!registry.has("a") && !registry.has("b"));
    }

    #[test]
    fn an_entry_without_content_is_abandoned_and_names_no_container() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&dir);
        fs::write(registry.path_of("half"), "").unwrap();
        let abandoned = registry.abandoned().unwrap();
        assert_eq!(abandoned.len(), 1);
        assert_eq!(abandoned[0].record(), None);
    }

    #[test]
    fn the_name_of_a_folder_is_random_and_stays() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(open(&one).id(), open(&one).id());
        assert_ne!(open(&one).id(), open(&two).id());
        assert_eq!(open(&one).id().len(), 32);
    }

    #[test]
    fn registering_survives_sweeps_that_unlink_empty_entries() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&dir);
        std::thread::scope(|scope| {
            let sweeper = scope.spawn(|| {
                for _ in 0..2_000 {
                    for entry in registry.abandoned().unwrap() {
                        assert_eq!(
                            entry.record(),
                            None,
                            "a written entry was held by its owner"
                        );
                        entry.release().unwrap();
                    }
                }
            });
            while !sweeper.is_finished() {
                let entry = registry.register(&record("contended")).unwrap();
                assert!(registry.has("contended"));
                entry.release().unwrap();
            }
        });
    }

    #[test]
    fn a_folder_that_is_a_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Registry::open(file.path()).unwrap_err();
        assert!(
            matches!(
                error,
                ContainerError::Registry {
                    action: "create",
                    ..
                }
            ),
            "{error}"
        );
    }
}
