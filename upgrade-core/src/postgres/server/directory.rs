//! The directory of one server: registered before anything runs in it, swept when its owner died.
//!
//! ```text
//! /dev/shm/upgrade-0/          one home for each user of the machine
//! ├── .lock                    held while a directory is made, adopted or removed
//! └── 4k1-0/                   one server
//!     ├── lock                 held by the owner for as long as it lives
//!     ├── keep                 until when the directory stays without an owner
//!     ├── log                  what the server prints
//!     ├── .s.PGSQL.5432        the socket
//!     └── data/                the data directory
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::directories::{Directories, check_ours, check_socket_path, make_passable};
use super::error::ServerError;
use super::lock;
use super::processes;
use super::user::RunUser;

/// How long a process may wait for another that makes or adopts a directory.
const HOME_DEADLINE: Duration = Duration::from_secs(30);

/// The file that the owner holds locked.
const LOCK: &str = "lock";

/// The file that says until when a directory stays without an owner, in seconds since 1970.
const KEEP: &str = "keep";

/// What a sweep did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Swept {
    /// Directories that were removed.
    pub removed: Vec<PathBuf>,
    /// Directories without an owner that stay for a while, because they are kept.
    pub kept: Vec<PathBuf>,
    /// Directories that could not be removed, and why.
    pub failed: Vec<(PathBuf, ServerError)>,
}

/// Removes the servers that no live process owns, kept ones only when their time is over.
///
/// A server that still runs in such a directory is ended first. Every start of a server does this.
pub fn sweep(directories: &Directories) -> Swept {
    remove_abandoned(directories, SystemTime::now())
}

/// Removes the servers that no live process owns, kept ones too.
pub fn clean(directories: &Directories) -> Swept {
    // After the end of time nothing is kept any more.
    remove_abandoned(
        directories,
        UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) << 4),
    )
}

fn remove_abandoned(directories: &Directories, now: SystemTime) -> Swept {
    let mut swept = Swept::default();
    for home in directories.homes() {
        if !home.is_dir() {
            continue;
        }
        if let Err(error) = adopt_all(&home, now, &mut swept) {
            tracing::warn!(home = %home.display(), %error, "cannot look for abandoned servers");
            swept.failed.push((home, error));
        }
    }
    swept
}

fn adopt_all(home: &Path, now: SystemTime, swept: &mut Swept) -> Result<(), ServerError> {
    check_ours(home)?;
    let home = home
        .canonicalize()
        .map_err(ServerError::io("resolve", home))?;
    let adopted = {
        let _guard = lock_home(&home)?;
        let entries = fs::read_dir(&home).map_err(ServerError::io("list", &home))?;
        let mut paths: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        paths.sort();
        let mut adopted = Vec::new();
        for path in paths {
            match ServerDirectory::adopt(&home, &path) {
                Ok(Some(_)) if kept_until(&path).is_some_and(|until| until > now) => {
                    swept.kept.push(path)
                }
                Ok(Some(directory)) => adopted.push(directory),
                Ok(None) => {}
                Err(error) => swept.failed.push((path, error)),
            }
        }
        adopted
    };
    // Removing may take a while; the locks of the directories, not that of the home, protect it.
    for mut directory in adopted {
        let path = directory.path.clone();
        match directory.remove() {
            Ok(()) => swept.removed.push(path),
            Err(error) => {
                tracing::warn!(directory = %path.display(), %error, "cannot remove an abandoned server");
                swept.failed.push((path, error));
            }
        }
    }
    Ok(())
}

fn lock_home(home: &Path) -> Result<File, ServerError> {
    lock::take(&home.join(".lock"), HOME_DEADLINE)
}

fn kept_until(directory: &Path) -> Option<SystemTime> {
    let seconds = fs::read_to_string(directory.join(KEEP))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// A server's directory that this process owns; removed when dropped.
#[derive(Debug)]
pub(super) struct ServerDirectory {
    home: PathBuf,
    path: PathBuf,
    /// Held for as long as the directory is ours; never read.
    _lock: File,
    /// Whether dropping removes the directory.
    ours_to_remove: bool,
}

impl ServerDirectory {
    /// Makes a new directory below `home`, which only this process and `user` can enter.
    pub(super) fn create(home: &Path, user: &RunUser) -> Result<Self, ServerError> {
        make_passable(home)?;
        check_ours(home)?;
        user.check_reach(
            home,
            "set `TMPDIR` to a directory that every user can enter",
        )?;
        // The kernel knows processes by the real path of their working directory.
        let home = home
            .canonicalize()
            .map_err(ServerError::io("resolve", home))?;
        // A sweep that ran between making the directory and locking it would take it away.
        let _guard = lock_home(&home)?;
        let path = make_numbered(&home)?;
        let made = (|| {
            check_socket_path(&path)?;
            let lock_path = path.join(LOCK);
            let lock = lock::open(&lock_path)?;
            if !lock::try_take(&lock, &lock_path)? {
                return Err(ServerError::io("lock", &lock_path)(
                    io::ErrorKind::WouldBlock.into(),
                ));
            }
            user.give(&path)
                .map_err(ServerError::io("give away", &path))?;
            Ok(lock)
        })();
        match made {
            Ok(lock) => Ok(Self {
                home,
                path,
                _lock: lock,
                ours_to_remove: true,
            }),
            Err(error) => {
                // What cannot be removed here has no owner and goes with the next sweep.
                let _ = fs::remove_dir_all(&path);
                Err(error)
            }
        }
    }

    /// Takes over a directory that nobody owns. The home must be locked.
    fn adopt(home: &Path, path: &Path) -> Result<Option<Self>, ServerError> {
        let lock_path = path.join(LOCK);
        let lock = lock::open(&lock_path)?;
        Ok(lock::try_take(&lock, &lock_path)?.then(|| Self {
            home: home.to_owned(),
            path: path.to_owned(),
            _lock: lock,
            ours_to_remove: false,
        }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Leaves the directory in place, without an owner, until then.
    pub(super) fn keep(mut self, until: SystemTime) -> Result<PathBuf, ServerError> {
        let path = self.path.join(KEEP);
        let seconds = until
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        fs::write(&path, format!("{seconds}\n")).map_err(ServerError::io("write", &path))?;
        self.ours_to_remove = false;
        Ok(self.path.clone())
    }

    /// Ends what still runs here and removes the directory.
    pub(super) fn remove(&mut self) -> Result<(), ServerError> {
        self.ours_to_remove = false;
        let data = self.data();
        processes::end_all(&data)?;
        gone(fs::remove_dir_all(&data)).map_err(ServerError::io("remove", &data))?;
        // The lock goes last, and with the home locked: nobody sees a directory without one and
        // takes it for abandoned.
        let _guard = lock_home(&self.home)?;
        gone(fs::remove_dir_all(&self.path)).map_err(ServerError::io("remove", &self.path))
    }
}

impl Drop for ServerDirectory {
    fn drop(&mut self) {
        if self.ours_to_remove
            && let Err(error) = self.remove()
        {
            tracing::warn!(directory = %self.path.display(), %error, "a server's directory stays behind");
        }
    }
}

/// That something is gone already is as good as removing it.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes `PROCESS-N` with the first free N. Short, since the path of the socket has a limit; and
/// free of clashes, since the home is locked.
fn make_numbered(home: &Path) -> Result<PathBuf, ServerError> {
    let process = std::process::id();
    let mut number = 0_u32;
    loop {
        let path = home.join(format!("{process:x}-{number:x}"));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(ServerError::io("create", &path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Directories, PathBuf, RunUser) {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(
            folder.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let directories = Directories::below(folder.path());
        let home = directories.homes().remove(0);
        (
            folder,
            directories,
            home,
            RunUser::of_this_process().unwrap(),
        )
    }

    #[test]
    fn a_sweep_leaves_what_has_an_owner_and_removes_what_has_none() {
        let (_folder, directories, home, user) = place();
        let owned = ServerDirectory::create(&home, &user).unwrap();
        let mut abandoned = ServerDirectory::create(&home, &user).unwrap();
        abandoned.ours_to_remove = false;
        let path = abandoned.path().to_owned();
        fs::create_dir(abandoned.data()).unwrap();
        drop(abandoned);
        let swept = sweep(&directories);
        assert_eq!(swept.removed, std::slice::from_ref(&path));
        assert!(swept.failed.is_empty(), "{swept:?}");
        assert!(owned.path().is_dir() && !path.exists());
        let path = owned.path().to_owned();
        drop(owned);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_whose_maker_died_before_the_lock_is_swept() {
        let (_folder, directories, home, user) = place();
        drop(ServerDirectory::create(&home, &user).unwrap());
        let path = make_numbered(&home.canonicalize().unwrap()).unwrap();
        assert_eq!(sweep(&directories).removed, [path]);
    }

    #[test]
    fn a_kept_directory_stays_until_its_time_is_over_or_it_is_cleaned() {
        let (_folder, directories, home, user) = place();
        let make = || ServerDirectory::create(&home, &user).unwrap();
        let later = make()
            .keep(SystemTime::now() + Duration::from_secs(3600))
            .unwrap();
        let over = make()
            .keep(SystemTime::now() - Duration::from_secs(5))
            .unwrap();
        let swept = sweep(&directories);
        assert_eq!(
            (swept.kept, swept.removed),
            (vec![later.clone()], vec![over])
        );
        assert_eq!(clean(&directories).removed, [later]);
    }

    #[test]
    fn names_never_clash() {
        let (_folder, _directories, home, user) = place();
        let (a, b) = (
            ServerDirectory::create(&home, &user).unwrap(),
            ServerDirectory::create(&home, &user).unwrap(),
        );
        assert_ne!(a.path(), b.path());
    }
}
