//! The folder of templates in the user's cache.
//!
//! ```text
//! CACHE/
//! ├── CACHEDIR.TAG             says that the folder is ours; backup programs skip it as well
//! └── templates/
//!     ├── HASH.gate            held by whoever may build or remove HASH
//!     ├── HASH.lock            held while HASH is built or removed, shared while it is in use
//!     ├── HASH.new/            being built, or being removed
//!     └── HASH/
//!         ├── data/            a stopped data directory with the template database
//!         ├── data.seal        what is in `data`, so that a damaged one is built again
//!         ├── template.json    version, size, strategy
//!         └── used             its modification time is that of the last use
//! ```

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use upgrade_core::lease::{FileLease, Mode};

use super::error::PoolError;
use super::strategy::StrategyChoice;

const TAG: &str = "CACHEDIR.TAG";

/// The first line is that of the Cache Directory Tagging Specification; the second makes it ours.
const TAG_TEXT: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # Server binaries, data directories and templates of upgrade-core and upgrade-testkit.\n\
    # Everything in here can be made again.\n";

/// What this library and `upgrade-core` put into the cache: a folder with nothing else is ours,
/// even if nobody has tagged it yet.
const OUR_NAMES: [&str; 4] = [TAG, "initdb", "servers", "templates"];

const INFO: &str = "template.json";
const USED: &str = "used";

/// The format of [`TemplateInfo`].
const FORMAT: u32 = 1;

/// What is known about a template in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TemplateInfo {
    pub(super) format: u32,
    /// What the server that made it says about itself.
    pub(super) server: String,
    /// The size of the folder.
    pub(super) bytes: u64,
    pub(super) strategy: StrategyChoice,
}

impl TemplateInfo {
    pub(super) fn new(server: &str, strategy: StrategyChoice) -> Self {
        Self {
            format: FORMAT,
            server: server.to_owned(),
            bytes: 0,
            strategy,
        }
    }
}

/// The templates below one cache folder.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Opens the cache, and tags the folder if it is new or empty. Refuses a folder with other
    /// things in it, since this cache removes what is old.
    pub(super) fn open(root: &Path) -> Result<Self, PoolError> {
        let folder = root.join("templates");
        let tag = root.join(TAG);
        let ours = match fs::read_to_string(&tag) {
            Ok(text) => text == TAG_TEXT,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(PoolError::io("read", &tag)(error)),
        };
        if !ours {
            if let Some(found) = foreign_entry(root)? {
                return Err(PoolError::NotOurCache {
                    path: root.to_owned(),
                    found,
                });
            }
            make(root)?;
            // Whole or not at all: another process may be reading it.
            // Tests of one process begin at once.
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let temporary = root.join(format!("{TAG}.{}.{number}", std::process::id()));
            fs::write(&temporary, TAG_TEXT).map_err(PoolError::io("write", &temporary))?;
            fs::rename(&temporary, &tag).map_err(PoolError::io("rename", &temporary))?;
        }
        make(&folder)?;
        Ok(Self { folder })
    }

    /// The folder of all templates.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The data directory of a template.
    pub(super) fn data(&self, hash: &str) -> PathBuf {
        self.folder.join(hash).join("data")
    }

    /// What is known about a template, and `None` if there is none. One that cannot be read counts
    /// as none: it is built again.
    pub(super) fn read(&self, hash: &str) -> Option<TemplateInfo> {
        let text = fs::read_to_string(self.folder.join(hash).join(INFO)).ok()?;
        serde_json::from_str(&text)
            .ok()
            .filter(|info: &TemplateInfo| info.format == FORMAT)
    }

    /// Notes that a template is used now.
    pub(super) fn touch(&self, hash: &str) {
        let path = self.folder.join(hash).join(USED);
        let touched = File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            // It may go earlier than it should; nothing else depends on it.
            tracing::debug!(path = %path.display(), %error, "cannot note the use of a template");
        }
    }

    /// Waits for the gate of a template: only behind it may a template be built or removed, and its
    /// lock be taken exclusively.
    pub(super) async fn gate(&self, hash: &str, within: Duration) -> Result<FileLease, PoolError> {
        take(&self.gate_path(hash), Mode::Exclusive, within).await
    }

    /// Takes the lock of a template.
    pub(super) async fn lock(
        &self,
        hash: &str,
        mode: Mode,
        within: Duration,
    ) -> Result<FileLease, PoolError> {
        take(&self.lock_path(hash), mode, within).await
    }

    fn gate_path(&self, hash: &str) -> PathBuf {
        self.folder.join(format!("{hash}.gate"))
    }

    fn lock_path(&self, hash: &str) -> PathBuf {
        self.folder.join(format!("{hash}.lock"))
    }

    /// Begins to build a template, whose lock the caller holds. What a process left that died in
    /// the middle is removed.
    pub(super) fn begin(&self, hash: &str) -> Result<Unfinished, PoolError> {
        self.set_aside(hash)?;
        let path = self.folder.join(format!("{hash}.new"));
        fs::create_dir(&path).map_err(PoolError::io("create", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
            .map_err(PoolError::io("set the mode of", &path))?;
        Ok(Unfinished {
            target: self.folder.join(hash),
            path,
        })
    }

    /// Removes a template whose lock the caller holds. It loses its name first, so that no half of
    /// it is ever taken for the whole.
    fn set_aside(&self, hash: &str) -> Result<(), PoolError> {
        let (path, aside) = (
            self.folder.join(hash),
            self.folder.join(format!("{hash}.new")),
        );
        gone(fs::remove_dir_all(&aside)).map_err(PoolError::io("remove", &aside))?;
        gone(fs::rename(&path, &aside)).map_err(PoolError::io("rename", &path))?;
        gone(fs::remove_dir_all(&aside)).map_err(PoolError::io("remove", &aside))
    }

    /// Removes templates, least recently used first, until all together take at most `limit`
    /// bytes. Those that somebody builds or copies stay, and the one of `but` stays. What dead
    /// builds left goes in any case. Answers with the hashes that were removed.
    pub(super) fn enforce(&self, limit: u64, but: Option<&str>) -> Result<Vec<String>, PoolError> {
        let mut entries = self.entries()?;
        let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        entries.sort_by(|a, b| (a.used, &a.hash).cmp(&(b.used, &b.hash)));
        let mut removed = Vec::new();
        for entry in entries {
            let too_much = total > limit && but != Some(entry.hash.as_str());
            if entry.complete && !too_much {
                continue;
            }
            let Some(gate) = try_take(&self.gate_path(&entry.hash))? else {
                continue;
            };
            let Some(lock) = try_take(&self.lock_path(&entry.hash))? else {
                continue;
            };
            // Between the listing and the lock another process may have completed or removed it.
            if !entry.complete && self.read(&entry.hash).is_some() {
                continue;
            }
            self.set_aside(&entry.hash)?;
            for lease in [lock, gate] {
                let path = lease.path().to_owned();
                lease.remove().map_err(PoolError::io("remove", &path))?;
            }
            total = total.saturating_sub(entry.bytes);
            if entry.complete {
                tracing::info!(
                    template = entry.hash,
                    bytes = entry.bytes,
                    "removed a template from the cache"
                );
                removed.push(entry.hash);
            }
        }
        if total > limit {
            tracing::warn!(
                total,
                limit,
                "the templates in use take more than the limit"
            );
        }
        Ok(removed)
    }

    fn entries(&self) -> Result<Vec<Entry>, PoolError> {
        let mut entries = Vec::new();
        let listed = fs::read_dir(&self.folder).map_err(PoolError::io("list", &self.folder))?;
        for item in listed.flatten() {
            let name = item.file_name();
            let Some(name) = name.to_str() else { continue };
            let (hash, complete) = match name.strip_suffix(".new") {
                Some(hash) => (hash, false),
                None => (name, true),
            };
            // Whatever else lies here is not ours to remove.
            if !is_hash(hash) {
                continue;
            }
            let info = self.read(hash).filter(|_| complete);
            let used = fs::metadata(item.path().join(USED)).and_then(|facts| facts.modified());
            entries.push(Entry {
                hash: hash.to_owned(),
                complete: info.is_some(),
                bytes: info.map_or(0, |info| info.bytes),
                used: used.unwrap_or(SystemTime::UNIX_EPOCH),
            });
        }
        Ok(entries)
    }
}

/// One template in the cache.
#[derive(Debug)]
struct Entry {
    hash: String,
    complete: bool,
    bytes: u64,
    used: SystemTime,
}

/// A template that is being built; removed when dropped.
#[derive(Debug)]
pub(super) struct Unfinished {
    path: PathBuf,
    target: PathBuf,
}

impl Unfinished {
    /// Where its data directory belongs.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Gives the finished template its name.
    pub(super) fn publish(self, mut info: TemplateInfo) -> Result<TemplateInfo, PoolError> {
        let write = |name: &str, text: &str| {
            let path = self.path.join(name);
            fs::write(&path, text).map_err(PoolError::io("write", &path))
        };
        write(USED, "")?;
        info.bytes = size_of(&self.path).map_err(PoolError::io("measure", &self.path))?;
        let json = serde_json::to_string_pretty(&info).expect("the facts have only string keys");
        write(INFO, &json)?;
        fs::rename(&self.path, &self.target).map_err(PoolError::io("rename", &self.path))?;
        Ok(info)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Err(error) = gone(fs::remove_dir_all(&self.path)) {
            tracing::debug!(path = %self.path.display(), %error, "half a template is left to the next build");
        }
    }
}

/// The name of something in a folder that this library did not put there.
fn foreign_entry(root: &Path) -> Result<Option<String>, PoolError> {
    let listed = match fs::read_dir(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(PoolError::io("list", root))?,
    };
    let mut foreign: Vec<String> = listed
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        // Another process may be writing the tag just now.
        .filter(|name| !OUR_NAMES.contains(&name.as_str()) && !name.starts_with("CACHEDIR.TAG."))
        .collect();
    foreign.sort_unstable();
    Ok(foreign.into_iter().next())
}

/// Makes a folder that other users may pass: a server may run as one of them.
fn make(folder: &Path) -> Result<(), PoolError> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(PoolError::io("create", folder))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .map_err(PoolError::io("set the mode of", folder))
}

fn is_hash(name: &str) -> bool {
    name.len() == 64
        && name
            .bytes()
            .all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

async fn take(path: &Path, mode: Mode, within: Duration) -> Result<FileLease, PoolError> {
    let lease = FileLease::take(path, mode, within).await;
    lease.map_err(|error| match error.kind() {
        ErrorKind::TimedOut => PoolError::LockTimeout {
            what: format!("lock `{}`", path.display()),
            within,
        },
        _ => PoolError::io("lock", path)(error),
    })
}

fn try_take(path: &Path) -> Result<Option<FileLease>, PoolError> {
    FileLease::try_take(path, Mode::Exclusive).map_err(PoolError::io("lock", path))
}

/// The bytes that the files of a folder take.
fn size_of(folder: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let facts = entry.metadata()?;
        total += if facts.is_dir() {
            size_of(&entry.path())?
        } else {
            facts.blocks() * 512
        };
    }
    Ok(total)
}

/// Removing something that is missing already succeeds.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
