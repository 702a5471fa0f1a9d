//! An environment that several processes use: where they find it, and who may use it when.
//!
//! Three files for each environment, beside the registry: a gate through which everybody goes one
//! by one, a lock that the users hold, and a note of where the environment is. The locks are the
//! kernel's, so they go with a process that is killed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{DockerError, Result};
use crate::lease::{FileLease, Mode};

/// How an environment is shared between processes, and how this one uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharing {
    pub(crate) key: String,
    pub(crate) alone: bool,
    pub(crate) linger: Duration,
}

impl Sharing {
    /// Uses the environment of that key together with others: each sees what the others write.
    pub fn together(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            alone: false,
            linger: Duration::ZERO,
        }
    }

    /// Uses the environment of that key alone, with the data that it began with: waits until the
    /// others have left, and those who come wait until this use is over.
    pub fn alone(key: impl Into<String>) -> Self {
        Self {
            alone: true,
            ..Self::together(key)
        }
    }

    /// Leaves the environment running for so long when its last user leaves, for one that comes
    /// later: where each test is a process, and they run one after the other, it would be started
    /// anew for each. When that time is over, the next sweep removes it. Without it the last user
    /// ends it.
    #[must_use]
    pub fn lingering(mut self, time: Duration) -> Self {
        self.linger = time;
        self
    }
}

/// Where a shared environment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Whereabouts {
    /// Its entry in the registry.
    pub(crate) entry: String,
    /// Its containers by service.
    pub(crate) containers: BTreeMap<String, Vec<String>>,
    /// The database that keeps what it began with.
    pub(crate) kept: Option<String>,
}

/// The files of one shared environment.
#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
    name: String,
}

impl Files {
    /// The files of an environment with this key and this content.
    pub(crate) fn open(registry: &Path, key: &str, content: &blake3::Hash) -> Result<Self> {
        let dir = registry.join("shared");
        fs::create_dir_all(&dir).map_err(failed("create", &dir))?;
        // A key may be any text.
        let mut hasher = blake3::Hasher::new();
        hasher.update(key.as_bytes()).update(content.as_bytes());
        let name = hasher.finalize().to_hex()[..20].to_owned();
        Ok(Self { dir, name })
    }

    /// Goes through the gate, where one process is at a time, until the lease is dropped.
    pub(crate) async fn gate(&self) -> Result<FileLease> {
        self.lock("gate", Mode::Exclusive).await
    }

    /// Takes the lock of the users; only behind the gate.
    pub(crate) async fn take(&self, mode: Mode) -> Result<FileLease> {
        self.lock("users", mode).await
    }

    /// Lets others use it as well from now on.
    pub(crate) fn share(&self, used: FileLease, gate: &FileLease) -> Result<FileLease> {
        let path = used.path().to_owned();
        used.share(gate).map_err(failed("lock", &path))
    }

    /// Where the environment is, if there was one.
    pub(crate) fn whereabouts(&self) -> Result<Option<Whereabouts>> {
        let path = self.path("json");
        match fs::read(&path) {
            // One that cannot be read is of no use: a new one is started.
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// Notes where the environment is; all of it or nothing.
    pub(crate) fn note(&self, whereabouts: &Whereabouts) -> Result<()> {
        let path = self.path("json");
        let text = serde_json::to_string(whereabouts).expect("its keys are texts");
        let mut file =
            tempfile::NamedTempFile::new_in(&self.dir).map_err(failed("write", &path))?;
        file.write_all(text.as_bytes())
            .map_err(failed("write", &path))?;
        let kept = file.persist(&path);
        kept.map(drop)
            .map_err(|error| failed("write", &path)(error.error))
    }

    /// Whether somebody who had it alone has changed what is in it.
    pub(crate) fn is_changed(&self) -> bool {
        self.path("changed").exists()
    }

    /// Says whether what is in it may have been changed.
    pub(crate) fn set_changed(&self, changed: bool) -> Result<()> {
        let path = self.path("changed");
        let done = match changed {
            true => File::create(&path).map(drop),
            false => fs::remove_file(&path),
        };
        match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("write", &path)(error))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, suffix: &str) -> PathBuf {
        self.dir.join(format!("{}.{suffix}", self.name))
    }

    /// Waits for as long as the caller does.
    async fn lock(&self, suffix: &str, mode: Mode) -> Result<FileLease> {
        let path = self.path(suffix);
        let lease = FileLease::take(&path, mode, Duration::MAX).await;
        lease.map_err(failed("lock", &path))
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DockerError {
    let path = path.to_owned();
    move |source| DockerError::Registry {
        action,
        path,
        source,
    }
}
