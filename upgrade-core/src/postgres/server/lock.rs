//! File locks with a deadline.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::error::ServerError;
use super::files;

/// Opens the lock file and makes it if needed; it is never written to. A link is not followed.
pub(super) fn open(path: &Path) -> Result<File, ServerError> {
    let mut options = OpenOptions::new();
    options
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600);
    files::open(path, &mut options).map_err(ServerError::io("open lock file", path))
}

/// Takes the lock if nobody has it.
pub(super) fn try_take(file: &File, path: &Path) -> Result<bool, ServerError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(ServerError::io("lock", path)(source)),
    }
}

/// Opens and takes the lock; it is free again when the file is dropped or the process dies.
pub(super) fn take(path: &Path, within: Duration) -> Result<File, ServerError> {
    let start = Instant::now();
    let file = open(path)?;
    while !try_take(&file, path)? {
        if start.elapsed() >= within {
            return Err(ServerError::Timeout {
                what: format!("the holder of lock `{}`", path.display()),
                within,
            });
        }
        std::thread::sleep(Duration::from_millis(5)); // poll
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_ends_in_a_timeout_and_a_dropped_one_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = take(&path, Duration::ZERO).unwrap();
        let error = take(&path, Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, ServerError::Timeout { .. }), "{error}");
        drop(held);
        take(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_link_in_the_place_of_a_lock_makes_no_file_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (folder.path().join("lock"), folder.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        open(&path).unwrap_err();
        assert!(!elsewhere.exists());
    }
}
