//! The life of a browser's processes: each has a folder and a guard, which outlives its owner by the moment
//! that cleaning takes.
//!
//! ```text
//! /tmp/upgrade-browser-0/      one place for each user of the machine
//! ├── .lock                    held while a folder is made or adopted
//! └── 3fXa1b/                  one browser
//!     ├── lock                 held by the owner for as long as it lives
//!     ├── log                  what the driver prints
//!     ├── t/                   the browser's temporary folder and home
//!     └── p/                   its profile
//! ```
//!
//! The guard is a shell that reads a pipe from its owner. However the owner ends, the pipe does, too. A guard
//! that was killed as well is replaced by the next start of a browser: a folder whose lock is free has no owner.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::lease::{FileLease, Mode};

const GUARD: &str = include_str!("guard.sh");

/// How long another process may make or adopt a folder.
const GATE: Duration = Duration::from_secs(30);

/// How long the end of a browser is waited for; its guard goes on after that.
const END: Duration = Duration::from_secs(10);

/// How often a start may meet a port that was taken.
const STARTS: usize = 5;

const POLL_EVERY: Duration = Duration::from_millis(10);

/// A driver that runs; it ends with its browsers when dropped.
#[derive(Debug)]
pub(super) struct Driver {
    guard: Child,
    folder: PathBuf,
    port: u16,
    /// Never read: held for as long as the folder is ours.
    _lock: FileLease,
}

impl Driver {
    /// Starts a driver on a free port, which it chooses. Another process may take the port before it does.
    pub(super) async fn start(program: &Path, within: Duration) -> Result<Self> {
        for _ in 1..STARTS {
            match Self::start_once(program, within).await {
                Err(error) if is_taken(&error) => {}
                started => return started,
            }
        }
        Self::start_once(program, within).await
    }

    async fn start_once(program: &Path, within: Duration) -> Result<Self> {
        let place = std::env::temp_dir();
        let place = place.join(format!(
            "upgrade-browser-{}",
            rustix::process::geteuid().as_raw()
        ));
        let failed = |source: io::Error| {
            let message = format!(
                "a folder for the browser could not be made in `{}`",
                place.display()
            );
            Error::new(ErrorKind::Io, message).with_source(source)
        };
        let (folder, lock) = make_folder(&place).map_err(failed)?;
        let guard = guard(&folder)
            .arg(program)
            .arg("--port=0")
            .stdin(Stdio::piped())
            .spawn();
        let guard = guard.map_err(|source| {
            // Nothing runs in it.
            let _ = fs::remove_dir_all(&folder);
            Error::new(ErrorKind::Io, "the shell `/bin/sh` could not be started")
                .with_source(source)
        })?;
        let mut driver = Self {
            guard,
            folder,
            port: 0,
            _lock: lock,
        };
        driver.port = driver.wait_for_port(program, within).await?;
        Ok(driver)
    }

    async fn wait_for_port(&self, program: &Path, within: Duration) -> Result<u16> {
        let start = Instant::now();
        loop {
            let log = self.log();
            if let Some(port) = port_in(&log) {
                return Ok(port);
            }
            let ended = log.contains("the driver ended with");
            if ended || start.elapsed() >= within {
                let what = if ended {
                    "ended at once"
                } else {
                    "opens no port"
                };
                let message = format!("the driver of the browser `{}` {what}", program.display());
                return Err(Error::new(ErrorKind::Unavailable, message)
                    .with_context("output", log.trim().to_owned()));
            }
            tokio::time::sleep(POLL_EVERY).await; // poll
        }
    }

    /// What it has printed.
    pub(super) fn log(&self) -> String {
        // Missing until the guard has run its first line.
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The folder of the browser's profile.
    pub(super) fn profile(&self) -> PathBuf {
        self.folder.join("p")
    }

    /// Ends all processes and removes the folder.
    fn end(&mut self) {
        drop(self.guard.stdin.take());
        let start = Instant::now();
        while matches!(self.guard.try_wait(), Ok(None)) {
            if start.elapsed() >= END {
                tracing::warn!(folder = %self.folder.display(), "a browser takes long to end");
                return;
            }
            std::thread::sleep(POLL_EVERY); // poll
        }
        // It was killed before it could clean.
        if self.folder.exists() {
            clean(&self.folder);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.end();
    }
}

/// A guard in a folder, in a separate process group: a signal for ours does not reach it.
fn guard(folder: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", GUARD, "upgrade-browser-guard"])
        .current_dir(folder)
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Ends what runs in a folder, and removes it.
fn clean(folder: &Path) {
    let status = guard(folder).stdin(Stdio::null()).status();
    if let Err(error) = status {
        tracing::warn!(folder = %folder.display(), %error, "a browser cannot be cleaned up");
    }
}

/// Whether the driver found its port taken.
fn is_taken(error: &Error) -> bool {
    let mut facts = error.context();
    facts.any(|(_, output)| output.contains("Address already in use"))
}

/// The port in the driver's message that it has started.
fn port_in(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("started successfully on port ")?;
    // The line may be incomplete.
    let (port, _) = rest.split_once('.')?;
    port.parse().ok()
}

/// A new folder, locked. Folders without an owner are removed before.
fn make_folder(place: &Path) -> io::Result<(PathBuf, FileLease)> {
    match DirBuilder::new().mode(0o700).create(place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => check_ours(place)?,
    }
    // The kernel knows processes by real paths.
    let place = place.canonicalize()?;
    let gate = FileLease::take_blocking(&place.join(".lock"), Mode::Exclusive, GATE)?;
    let abandoned = abandoned(&place)?;
    let folder = tempfile::Builder::new().prefix("").tempdir_in(&place)?;
    let made = (|| -> io::Result<FileLease> {
        DirBuilder::new()
            .mode(0o700)
            .create(folder.path().join("t"))?;
        FileLease::try_take(&folder.path().join("lock"), Mode::Exclusive)?
            .ok_or_else(|| io::ErrorKind::WouldBlock.into())
    })();
    let lock = made?;
    drop(gate);
    for (folder, _lock) in abandoned {
        clean(&folder);
    }
    Ok((folder.keep(), lock))
}

/// The folders that nobody owns, locked. Only with the gate.
fn abandoned(place: &Path) -> io::Result<Vec<(PathBuf, FileLease)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        // A link is not followed: it would lead out of this place.
        if fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_dir())
            && let Ok(Some(lock)) = FileLease::try_take(&path.join("lock"), Mode::Exclusive)
        {
            found.push((path, lock));
        }
    }
    Ok(found)
}

/// Another user may have made a place of that name before us.
fn check_ours(place: &Path) -> io::Result<()> {
    let facts = fs::symlink_metadata(place)?;
    let ours = facts.uid() == rustix::process::geteuid().as_raw();
    if facts.is_dir() && ours && facts.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "it belongs to another user, or others can write into it",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_read_from_a_complete_line_only() {
        assert_eq!(
            port_in("Starting\nChromeDriver was started successfully on port 4711.\n"),
            Some(4711)
        );
        assert_eq!(
            port_in("ChromeDriver was started successfully on port 47"),
            None
        );
        assert_eq!(port_in("the driver ended with 127"), None);
    }

    #[test]
    fn a_folder_without_an_owner_is_removed_with_what_runs_in_it() {
        let temp = tempfile::tempdir().unwrap();
        let place = temp.path().join("place");
        let (owned, _lock) = make_folder(&place).unwrap();
        let (abandoned, lock) = make_folder(&place).unwrap();
        let mut process = Command::new("sleep")
            .arg("60")
            .env("X", abandoned.join("t"))
            .spawn()
            .unwrap();
        drop(lock);
        let (third, _lock) = make_folder(&place).unwrap();
        assert!(!process.wait().unwrap().success());
        assert!(owned.is_dir() && third.is_dir() && !abandoned.exists());
    }

    #[test]
    fn a_place_that_others_can_write_into_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;

        let temp = tempfile::tempdir().unwrap();
        let place = temp.path().join("place");
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
        let error = make_folder(&place).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
