//! The folder of an environment of programs or containers: their logs, and the lease that tells whether its owner
//! lives.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Error, ErrorKind, Result};
use crate::lease::{FileLease, Mode};

/// The variable that names the folder to every process of a program, and to what these start.
pub(super) const MARK: &str = "UPGRADE_PROGRAMS";
const LOCK: &str = "lock";

/// A folder that is removed with its owner, or by the next process after its owner was killed.
#[derive(Debug)]
pub(in crate::environment) struct Folder {
    path: PathBuf,
    lease: Option<FileLease>,
}

impl Folder {
    /// Makes a folder, after it has removed those whose owners were killed, with what still runs of them. The
    /// file that tells so is made first.
    pub(in crate::environment) fn make() -> Result<Self> {
        let root = root();
        let made = (|| {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&root)?;
            sweep(&root);
            for number in 0.. {
                let name = format!("{}-{number}", std::process::id());
                let lock = root.join(format!("{name}.{LOCK}"));
                if lock.exists() {
                    continue;
                }
                if let Some(lease) = FileLease::try_take(&lock, Mode::Exclusive)? {
                    let path = root.join(name);
                    fs::DirBuilder::new().mode(0o700).create(&path)?;
                    let lease = Some(lease);
                    return Ok(Self { path, lease });
                }
            }
            Err(std::io::ErrorKind::AlreadyExists.into())
        })();
        made.map_err(|source: std::io::Error| {
            let message = format!("no folder for logs could be made in {}", root.display());
            Error::new(ErrorKind::Io, message).with_source(source)
        })
    }

    pub(in crate::environment) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        remove(&self.path, lease);
    }
}

/// Removes a folder, then the file that tells of it. What cannot be removed stays for the next sweep.
fn remove(folder: &Path, lease: FileLease) {
    let removed = match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    if let Err(error) = removed.and_then(|()| lease.remove()) {
        tracing::warn!(%error, folder = %folder.display(), "a folder of programs stays");
    }
}

/// Where folders of programs are, for this user alone.
fn root() -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("upgrade-programs-{user}"))
}

/// Ends what runs for owners that have ended, and removes their folders.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let lock = entry.path();
        if lock.extension().is_none_or(|extension| extension != LOCK) {
            continue;
        }
        let Ok(Some(lease)) = FileLease::try_existing(&lock, Mode::Exclusive) else {
            continue;
        };
        let folder = lock.with_extension("");
        for pid in marked(&folder) {
            // An error here means that it has ended already.
            let _ = kill_process(pid, Signal::KILL);
        }
        remove(&folder, lease);
    }
}

/// The processes that were started for a folder, found through their environment.
pub(super) fn marked(folder: &Path) -> Vec<Pid> {
    let mark = [MARK.as_bytes(), b"=", folder.as_os_str().as_bytes()].concat();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable == mark).then_some(pid)
        })
        .collect()
}

/// The last lines of a log.
pub(super) fn tail(log: &Path, lines: usize) -> Vec<String> {
    /// How much of a log is read, from its end, in bytes.
    const READ: usize = 64 * 1024;
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(READ)..]);
    let all: Vec<&str> = text.lines().collect();
    let last = &all[all.len().saturating_sub(lines)..];
    last.iter().map(|line| (*line).to_owned()).collect()
}
