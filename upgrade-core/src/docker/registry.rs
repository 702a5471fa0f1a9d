//! What of an engine has a live owner: a folder with one locked file for each environment or server.
//!
//! A thing is registered before it is made, so that one whose owner was killed in between is found
//! as well. The lock is the kernel's and dies with the owner, however it dies. Whoever gets the lock
//! of an entry may remove what it names, and then the entry; unless the owner has left it to be kept
//! for a while.
//!
//! An entry is a file of JSON lines that only grows. A last line that was cut off names nothing that
//! was made.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::error::{DockerError, Result};
use crate::lease::{FileLease, Mode, kept_seconds, kept_until};

const ID_FILE: &str = "registry.id";
const ENTRY_SUFFIX: &str = ".jsonl";

/// How long a sweep or a list may hold an entry that is being registered.
const REGISTER_WITHIN: Duration = Duration::from_secs(10);

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

/// A thing of the engine that this library makes, in the order in which such things go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resource {
    /// A container, by name.
    Container(String),
    /// A network, by name.
    Network(String),
    /// A volume, by name.
    Volume(String),
}

impl Resource {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Container(name) | Self::Network(name) | Self::Volume(name) => name,
        }
    }

    /// What kind of thing it is, for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Container(_) => "container",
            Self::Network(_) => "network",
            Self::Volume(_) => "volume",
        }
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}`", self.kind(), self.name())
    }
}

/// Who owns what an entry names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// The run that it belongs to.
    pub(crate) run: String,
    /// The process that owns it; for people, since the lock tells whether it lives.
    pub(crate) pid: u32,
    /// The engine that has it: another one would say that there is no such thing.
    pub(crate) engine: String,
}

/// A line of an entry.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The first one.
    Owner(Owner),
    /// This is about to be made.
    Makes(Resource),
    /// Without an owner it stays until then, in seconds since 1970; the last such line counts.
    KeptUntil(u64),
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The entry's name.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) owner: Owner,
    /// What was made, or was about to be.
    pub(crate) resources: BTreeSet<Resource>,
    /// Until when it stays without an owner.
    pub(crate) kept_until: Option<SystemTime>,
}

impl Record {
    fn read(name: &str, text: &str) -> Option<Self> {
        let mut lines = text
            .lines()
            .map_while(|line| serde_json::from_str(line).ok());
        let Some(Line::Owner(owner)) = lines.next() else {
            return None;
        };
        let mut record = Self {
            name: name.to_owned(),
            owner,
            resources: BTreeSet::new(),
            kept_until: None,
        };
        for line in lines {
            match line {
                Line::Owner(owner) => record.owner = owner,
                Line::Makes(resource) => {
                    record.resources.insert(resource);
                }
                Line::KeptUntil(seconds) => {
                    record.kept_until = kept_until(seconds);
                }
            }
        }
        Some(record)
    }

    fn is_kept(&self) -> bool {
        self.kept_until
            .is_some_and(|until| until > SystemTime::now())
    }
}

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    dir: PathBuf,
    id: String,
}

impl Registry {
    /// Opens the folder and makes it if it is not there.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
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

    /// A random name of this folder. What is made bears it as a label, so that two machines that
    /// share an engine do not take each other's containers for orphans.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether there is an entry of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.path_of(name).exists()
    }

    /// Registers an owner of things that do not exist yet. The entry is held until it is released
    /// or its owner ends.
    /// One that is `shared` is held together with those who [join](Self::join).
    pub(crate) async fn register(&self, name: &str, owner: &Owner, shared: bool) -> Result<Entry> {
        let path = self.path_of(name);
        let mode = match shared {
            true => Mode::Shared,
            false => Mode::Exclusive,
        };
        let lease = FileLease::take(&path, mode, REGISTER_WITHIN).await;
        let mut entry = Entry {
            lease: lease.map_err(failed("lock", &path))?,
            record: None,
        };
        entry.write(&Line::Owner(owner.clone()))?;
        entry.record = Some(Record {
            name: name.to_owned(),
            owner: owner.clone(),
            resources: BTreeSet::new(),
            kept_until: None,
        });
        Ok(entry)
    }

    /// The entries whose owner has ended and that nobody keeps, in the order of their names; they
    /// are ours while held.
    pub(crate) fn abandoned(&self) -> Result<Vec<Entry>> {
        let mut abandoned = Vec::new();
        for name in self.names()? {
            // A kept entry is not locked even for a moment: somebody may be about to join it.
            if self.read(&name)?.is_some_and(|record| record.is_kept()) {
                continue;
            }
            let entry = self.take(&name)?;
            abandoned
                .extend(entry.filter(|entry| !entry.record.as_ref().is_some_and(Record::is_kept)));
        }
        Ok(abandoned)
    }

    /// The names of all entries, in order.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for item in fs::read_dir(&self.dir).map_err(failed("read", &self.dir))? {
            let name = item.map_err(failed("read", &self.dir))?.file_name();
            if let Some(name) = name
                .to_str()
                .and_then(|name| name.strip_suffix(ENTRY_SUFFIX))
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Takes an entry over; `None` if it is missing or its owner lives.
    pub(crate) fn take(&self, name: &str) -> Result<Option<Entry>> {
        self.hold(name, Mode::Exclusive)
    }

    /// Holds a shared entry together with its owners; `None` if it is missing or about to be
    /// removed.
    pub(crate) fn join(&self, name: &str) -> Result<Option<Entry>> {
        self.hold(name, Mode::Shared)
    }

    fn hold(&self, name: &str, mode: Mode) -> Result<Option<Entry>> {
        let path = self.path_of(name);
        let lease = FileLease::try_existing(&path, mode).map_err(failed("lock", &path))?;
        let Some(mut lease) = lease else {
            return Ok(None);
        };
        let bytes = lease.read().map_err(failed("read", &path))?;
        Ok(Some(Entry {
            record: Record::read(name, &String::from_utf8_lossy(&bytes)),
            lease,
        }))
    }

    /// What an entry says, whoever holds it; `None` if it is missing.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Record>> {
        let path = self.path_of(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Record::read(name, &text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}{ENTRY_SUFFIX}"))
    }
}

/// A locked entry. Dropped without [`Entry::release`] it stays behind, unlocked, for the next sweep.
#[derive(Debug)]
pub(crate) struct Entry {
    lease: FileLease,
    record: Option<Record>,
}

impl Entry {
    /// What the entry says; nothing if its owner was killed before it wrote, hence before it made
    /// anything.
    pub(crate) fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// Names a thing that is about to be made.
    pub(crate) fn add(&mut self, resource: &Resource) -> Result<()> {
        let known = |record: &Record| record.resources.contains(resource);
        if self.record.as_ref().is_some_and(known) {
            return Ok(());
        }
        self.write(&Line::Makes(resource.clone()))?;
        if let Some(record) = &mut self.record {
            record.resources.insert(resource.clone());
        }
        Ok(())
    }

    /// Has what it names stay until then, although its owner ends.
    pub(crate) fn keep_until(&mut self, until: SystemTime) -> Result<()> {
        self.write(&Line::KeptUntil(kept_seconds(until)))?;
        if let Some(record) = &mut self.record {
            record.kept_until = Some(until);
        }
        Ok(())
    }

    /// Removes the entry: what it named no longer exists.
    pub(crate) fn release(self) -> Result<()> {
        let failed = failed("remove", self.lease.path());
        self.lease.remove().map_err(failed)
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line).expect("a line of strings and numbers is JSON");
        text.push(b'\n');
        let file = self.lease.file();
        file.write_all(&text)
            .and_then(|()| file.sync_data())
            .map_err(failed("write", self.lease.path()))
    }
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
pub(crate) fn random_hex(path: &Path) -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(failed("find a random name for", path))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> DockerError + use<> {
    let path = path.to_owned();
    move |source| DockerError::Registry {
        action,
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            run: "r".into(),
            pid: 7,
            engine: "e".into(),
        }
    }

    fn open(dir: &tempfile::TempDir) -> Registry {
        Registry::open(&dir.path().join("containers")).unwrap()
    }

    fn container(name: &str) -> Resource {
        Resource::Container(name.into())
    }

    #[tokio::test]
    async fn a_held_entry_is_not_abandoned_and_a_dropped_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&dir);
        let held = registry.register("a", &owner(), false).await.unwrap();
        let mut dropped = registry.register("b", &owner(), false).await.unwrap();
        let network = Resource::Network("n".into());
        dropped.add(&network).unwrap();
        dropped.add(&container("c")).unwrap();
        dropped.add(&container("c")).unwrap();
        drop(dropped);
        let abandoned = registry.abandoned().unwrap();
        let [entry] = abandoned.as_slice() else {
            panic!("{abandoned:?}")
        };
        let record = entry.record().unwrap();
        assert_eq!((&*record.name, &record.owner), ("b", &owner()));
        // Containers first: a network that is in use cannot go.
        assert!(record.resources.iter().eq([&container("c"), &network]));
        assert!(
            registry.abandoned().unwrap().is_empty(),
            "it is held by the first sweep"
        );
        assert_eq!(registry.names().unwrap(), ["a", "b"]);
        held.release().unwrap();
        for entry in abandoned {
            entry.release().unwrap();
        }
        assert!(!registry.has("a") && !registry.has("b"));
    }

    #[tokio::test]
    async fn what_is_kept_is_abandoned_only_when_its_time_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&dir);
        let hour = Duration::from_secs(3600);
        let mut entry = registry.register("a", &owner(), false).await.unwrap();
        entry.keep_until(SystemTime::now() + hour).unwrap();
        drop(entry);
        assert!(registry.abandoned().unwrap().is_empty());
        let mut entry = registry.take("a").unwrap().unwrap();
        assert!(entry.record().unwrap().kept_until.is_some());
        entry.keep_until(SystemTime::now() - hour).unwrap();
        drop(entry);
        assert_eq!(registry.abandoned().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_is_kept_can_be_joined_while_others_sweep() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&dir);
        let mut entry = registry.register("a", &owner(), true).await.unwrap();
        let hour = Duration::from_secs(3600);
        entry.keep_until(SystemTime::now() + hour).unwrap();
        drop(entry);
        let sweeper = registry.clone();
        let sweeps = std::thread::spawn(move || {
            for _ in 0..2_000 {
                assert!(sweeper.abandoned().unwrap().is_empty());
            }
        });
        while !sweeps.is_finished() {
            assert!(registry.join("a").unwrap().is_some());
        }
        sweeps.join().unwrap();
    }

    #[tokio::test]
    async fn a_line_that_was_cut_off_names_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&dir);
        let mut entry = registry.register("a", &owner(), false).await.unwrap();
        entry.add(&container("c")).unwrap();
        entry
            .lease
            .file()
            .write_all(br#"{"makes":{"contai"#)
            .unwrap();
        drop(entry);
        let record = registry.read("a").unwrap().unwrap();
        assert!(record.resources.iter().eq([&container("c")]));
    }

    #[test]
    fn an_entry_without_content_is_abandoned_and_names_nothing() {
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
        let runtime = tokio::runtime::Runtime::new().unwrap();
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
                let entry = runtime
                    .block_on(registry.register("contended", &owner(), false))
                    .unwrap();
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
                DockerError::Registry {
                    action: "create",
                    ..
                }
            ),
            "{error}"
        );
    }
}
