//! Leases: locks of the kernel on files, which end with their holder, however it ends.
//!
//! A lease is exclusive, or shared with others. Its file is opened without following a link, and
//! only if it is a plain file. Whoever removes what a lease protects removes the file as well, so
//! a lock counts only if its file still has its path once it is locked.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;

/// How often a waiting process tries again.
const POLL_EVERY: Duration = Duration::from_millis(5);

/// Who may hold a lease at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Any number of holders.
    Shared,
    /// One holder.
    Exclusive,
}

/// A held lock on a file; released when dropped or when the process ends.
#[derive(Debug)]
pub struct FileLease {
    file: File,
    path: PathBuf,
}

impl FileLease {
    /// Takes the lease if it is free. The file is made if it is missing.
    ///
    /// # Errors
    /// Those of the system, and [`ErrorKind::InvalidData`] for what is no plain file.
    pub fn try_take(path: &Path, mode: Mode) -> io::Result<Option<Self>> {
        Self::attempt(path, mode, true)
    }

    /// Takes the lease if it is free and its file exists.
    ///
    /// # Errors
    /// As [`try_take`](Self::try_take).
    pub fn try_existing(path: &Path, mode: Mode) -> io::Result<Option<Self>> {
        match Self::attempt(path, mode, false) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            other => other,
        }
    }

    /// Waits until the lease is free, and takes it. Does not block the thread.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] when others hold it for longer than `within`; else as
    /// [`try_take`](Self::try_take).
    pub async fn take(path: &Path, mode: Mode, within: Duration) -> io::Result<Self> {
        let start = Instant::now();
        loop {
            match Self::try_take(path, mode)? {
                Some(lease) => return Ok(lease),
                None if start.elapsed() >= within => return Err(ErrorKind::TimedOut.into()),
                None => tokio::time::sleep(POLL_EVERY).await, // poll
            }
        }
    }

    /// As [`take`](Self::take), on a thread that may block.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_blocking(path: &Path, mode: Mode, within: Duration) -> io::Result<Self> {
        let start = Instant::now();
        loop {
            match Self::try_take(path, mode)? {
                Some(lease) => return Ok(lease),
                None if start.elapsed() >= within => return Err(ErrorKind::TimedOut.into()),
                None => std::thread::sleep(POLL_EVERY), // poll
            }
        }
    }

    fn attempt(path: &Path, mode: Mode, create: bool) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(create).mode(0o600);
        loop {
            let file = open(path, &mut options)?;
            if !try_lock(&file, mode)? {
                return Ok(None);
            }
            if is_at(&file, path)? {
                let path = path.to_owned();
                return Ok(Some(Self { file, path }));
            }
        }
    }

    /// Makes an exclusive lease a shared one, and nobody else holds it exclusively in between.
    ///
    /// The kernel may release the one lock before it takes the other, so nobody may take such a lease
    /// exclusively without its `gate`, which is held exclusively here.
    ///
    /// # Errors
    /// Those of the system, and [`ErrorKind::WouldBlock`] when somebody took it without the gate.
    pub fn share(self, _gate: &Self) -> io::Result<Self> {
        match try_lock(&self.file, Mode::Shared)? {
            true => Ok(self),
            false => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// The path of its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All that its file holds.
    ///
    /// # Errors
    /// Those of the system.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The locked file; what is written is appended.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Removes the file, then releases the lease: nobody gets a lease on a file that is about to be
    /// removed. The caller must be alone, with an exclusive lease: others would go on with a lease
    /// on a file that no longer exists.
    ///
    /// # Errors
    /// Those of the system; a missing file is none.
    pub fn remove(self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for FileLease {
    /// A lock belongs to all copies of an open file, and a process that another thread starts at this moment
    /// has one until it runs its program: closing ours would not release it.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::debug!(path = %self.path.display(), %error, "a lease is released when its file is closed");
        }
    }
}

/// What a file is opened with, whatever is done with it: no link is followed, and nobody waits for the
/// other end of a pipe.
pub(crate) const CAREFUL: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Opens a plain file, without following a link and without waiting for the other end of a pipe.
///
/// # Errors
/// Those of the system; [`ErrorKind::InvalidData`] for a pipe, a device or a directory.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let options = options.custom_flags(CAREFUL.bits().cast_signed());
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(
        ErrorKind::InvalidData,
        "it is not a plain file",
    ))
}

fn try_lock(file: &File, mode: Mode) -> io::Result<bool> {
    let locked = match mode {
        Mode::Shared => file.try_lock_shared(),
        Mode::Exclusive => file.try_lock(),
    };
    match locked {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether the path still names this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    let same = |named: fs::Metadata| (named.dev(), named.ino()) == (open.dev(), open.ino());
    Ok(fs::symlink_metadata(path).is_ok_and(same))
}

/// A time until which something is kept without a holder, in seconds since 1970, as it is written
/// down.
pub fn kept_seconds(until: SystemTime) -> u64 {
    until
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// The time that [`kept_seconds`] wrote down; `None` for one that no clock reaches.
pub fn kept_until(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        (folder, path)
    }

    #[tokio::test]
    async fn a_held_lease_ends_in_a_timeout_and_a_dropped_one_is_free() {
        let (_folder, path) = place();
        let held = FileLease::try_take(&path, Mode::Exclusive)
            .unwrap()
            .unwrap();
        let blocking = FileLease::take_blocking(&path, Mode::Exclusive, SHORT).unwrap_err();
        let waiting = FileLease::take(&path, Mode::Shared, SHORT)
            .await
            .unwrap_err();
        assert_eq!(
            (blocking.kind(), waiting.kind()),
            (ErrorKind::TimedOut, ErrorKind::TimedOut)
        );
        drop(held);
        FileLease::take(&path, Mode::Shared, Duration::MAX)
            .await
            .unwrap();
    }

    #[test]
    fn a_dropped_lease_is_free_although_a_starting_process_has_a_copy_of_its_file() {
        let (_folder, path) = place();
        let mut held = FileLease::try_take(&path, Mode::Exclusive)
            .unwrap()
            .unwrap();
        let _copy = held.file().try_clone().unwrap();
        drop(held);
        assert!(
            FileLease::try_take(&path, Mode::Exclusive)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn a_link_or_a_folder_is_no_lease_and_makes_no_file_elsewhere() {
        let (folder, path) = place();
        let elsewhere = folder.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        FileLease::try_take(&path, Mode::Exclusive).unwrap_err();
        assert!(!elsewhere.exists());
        FileLease::try_take(folder.path(), Mode::Exclusive).unwrap_err();
    }

    #[test]
    fn a_missing_file_is_made_only_where_that_is_wanted() {
        let (_folder, path) = place();
        assert!(
            FileLease::try_existing(&path, Mode::Shared)
                .unwrap()
                .is_none()
        );
        assert!(!path.exists());
        let lease = FileLease::try_take(&path, Mode::Shared).unwrap().unwrap();
        assert!(
            FileLease::try_existing(&path, Mode::Shared)
                .unwrap()
                .is_some()
        );
        lease.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn one_holder_at_a_time_although_each_removes_the_file() {
        let (_folder, path) = place();
        let holders = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let Some(lease) = FileLease::try_take(&path, Mode::Exclusive).unwrap()
                        else {
                            continue;
                        };
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        holders.fetch_sub(1, Ordering::SeqCst);
                        lease.remove().unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn nobody_has_it_exclusively_while_it_becomes_shared() {
        let (folder, path) = place();
        let gate = folder.path().join("gate");
        let exclusive =
            |path: &Path| FileLease::take_blocking(path, Mode::Exclusive, Duration::MAX).unwrap();
        // How often somebody had it exclusively.
        let turns = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let held_gate = exclusive(&gate);
                        let lease = exclusive(&path);
                        let turn = turns.fetch_add(1, Ordering::SeqCst) + 1;
                        let _shared = lease.share(&held_gate).unwrap();
                        assert_eq!(turns.load(Ordering::SeqCst), turn);
                        drop(held_gate);
                        assert_eq!(turns.load(Ordering::SeqCst), turn);
                        let other = FileLease::try_take(&path, Mode::Exclusive).unwrap();
                        assert!(other.is_none(), "it is still shared");
                    }
                });
            }
        });
        assert_eq!(turns.into_inner(), 300);
    }

    #[test]
    fn a_time_is_written_down_in_seconds_and_read_back() {
        let until = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(kept_until(kept_seconds(until)), Some(until));
        assert_eq!(kept_seconds(UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(kept_until(u64::MAX), None);
    }
}
