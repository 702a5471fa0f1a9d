//! The directory of one server: registered before anything runs in it, swept when its owner died.
//!
//! ```text
//! /dev/shm/upgrade-0/          one home for each user of the machine
//! ├── .lock                    held while a directory is made, adopted or removed
//! └── 4k1-0/                   one server
//!     ├── lock                 held by the owner for as long as it lives
//!     ├── keep                 until when the directory stays without an owner
//!     ├── log                  what the server prints
//!     ├── s/.s.PGSQL.5432      the socket
//!     └── data/                the data directory
//! ```
//!
//! Only `s` and `data` belong to the server's user. The rest is ours: a server that runs as
//! somebody else can put nothing in its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::directories::{Directories, check_ours, check_socket_path, make_passable};
use super::error::ServerError;
use super::user::RunUser;
use super::{files, processes};
use crate::lease::{FileLease, kept_seconds, kept_until};

/// How long a process may wait for another that makes or adopts a directory.
const HOME_DEADLINE: Duration = Duration::from_secs(30);

/// The file that the owner holds locked.
const LOCK: &str = "lock";

/// The directory of the socket: short, since the path of a socket has a limit.
const SOCKET: &str = "s";

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
            // A link is not followed: it would lead the sweep out of this folder.
            .filter(|path| fs::symlink_metadata(path).is_ok_and(|facts| facts.is_dir()))
            .collect();
        paths.sort();
        let mut adopted = Vec::new();
        for path in paths {
            match ServerDirectory::adopt(&home, &path) {
                Ok(Some(_)) if is_kept(&path, now) => swept.kept.push(path),
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

fn lock_home(home: &Path) -> Result<FileLease, ServerError> {
    files::lock(&home.join(".lock"), HOME_DEADLINE)
}

fn is_kept(directory: &Path, now: SystemTime) -> bool {
    let text = files::read_text(&directory.join(KEEP)).ok();
    let seconds = text.and_then(|text| text.trim().parse().ok());
    seconds
        .and_then(kept_until)
        .is_some_and(|until| until > now)
}

/// A server's directory that this process owns; removed when dropped.
#[derive(Debug)]
pub(super) struct ServerDirectory {
    home: PathBuf,
    path: PathBuf,
    /// Held for as long as the directory is ours; never read.
    _lock: FileLease,
    /// Who runs the server; unknown where we did not start it.
    user: Option<RunUser>,
    /// Whether dropping removes the directory.
    ours_to_remove: AtomicBool,
}

impl ServerDirectory {
    /// Makes a new directory below `home` for a server, and finds a user for that.
    pub(super) fn create(home: &Path) -> Result<Self, ServerError> {
        make_passable(home)?;
        check_ours(home)?;
        // The kernel knows processes by the real path of their working directory.
        let home = home
            .canonicalize()
            .map_err(ServerError::io("resolve", home))?;
        // A sweep that ran between making the directory and locking it would take it away.
        let _guard = lock_home(&home)?;
        let path = make_numbered(&home)?;
        let made = (|| {
            check_socket_path(&path.join(SOCKET))?;
            let lock_path = path.join(LOCK);
            let lock = files::try_lock(&lock_path)?.ok_or_else(|| {
                ServerError::io("lock", &lock_path)(io::ErrorKind::WouldBlock.into())
            })?;
            let user = RunUser::for_server(&path)?;
            user.check_reach(
                &home,
                "set `TMPDIR` to a directory that every user can enter",
            )?;
            if user.is_other() {
                // To be passed, not listed: inside only its own two folders are open to it.
                fs::set_permissions(&path, fs::Permissions::from_mode(0o711))
                    .map_err(ServerError::io("set the mode of", &path))?;
            }
            let socket = path.join(SOCKET);
            fs::DirBuilder::new()
                .mode(0o700)
                .create(&socket)
                .map_err(ServerError::io("create", &socket))?;
            user.give(&socket)
                .map_err(ServerError::io("give away", &socket))?;
            Ok((lock, user))
        })();
        match made {
            Ok((lock, user)) => Ok(Self {
                home,
                path,
                _lock: lock,
                user: Some(user),
                ours_to_remove: AtomicBool::new(true),
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
        Ok(files::try_lock(&path.join(LOCK))?.map(|lock| Self {
            home: home.to_owned(),
            path: path.to_owned(),
            _lock: lock,
            user: None,
            ours_to_remove: AtomicBool::new(false),
        }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The directory of the socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// Opens what the server prints, to add to it or to read it.
    pub(super) fn log(&self, options: &mut OpenOptions) -> Result<File, ServerError> {
        let path = self.path.join("log");
        files::open(&path, options.mode(0o600)).map_err(ServerError::io("open", &path))
    }

    /// Who runs the server of a directory that was [created](Self::create) here.
    pub(super) fn user(&self) -> RunUser {
        self.user.clone().unwrap_or_else(RunUser::ourselves)
    }

    /// Leaves the directory in place until then, even when it has no owner any more.
    pub(super) fn keep(&self, until: SystemTime) -> Result<PathBuf, ServerError> {
        let path = self.path.join(KEEP);
        let seconds = kept_seconds(until);
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        files::open(&path, &mut options)
            .and_then(|mut file| file.write_all(format!("{seconds}\n").as_bytes()))
            .map_err(ServerError::io("write", &path))?;
        self.ours_to_remove.store(false, Ordering::Relaxed);
        Ok(self.path.clone())
    }

    /// Ends what still runs here and removes the directory.
    pub(super) fn remove(&mut self) -> Result<(), ServerError> {
        self.ours_to_remove.store(false, Ordering::Relaxed);
        let data = self.data();
        let user = match self.user.take() {
            Some(user) => user,
            None => RunUser::of_abandoned(&self.path, &data)?,
        };
        processes::end_all(&data, &user)?;
        gone(fs::remove_dir_all(&data)).map_err(ServerError::io("remove", &data))?;
        // The lock goes last, and with the home locked: nobody sees a directory without one and
        // takes it for abandoned.
        let _guard = lock_home(&self.home)?;
        gone(fs::remove_dir_all(&self.path)).map_err(ServerError::io("remove", &self.path))
    }
}

impl Drop for ServerDirectory {
    fn drop(&mut self) {
        let ended = if self.ours_to_remove.load(Ordering::Relaxed) {
            self.remove()
        } else if let Some(user) = &self.user {
            processes::end_all(&self.data(), user)
        } else {
            Ok(())
        };
        if let Err(error) = ended {
            tracing::warn!(directory = %self.path.display(), %error, "something of a server stays behind");
        }
    }
}

/// Removing something that is missing already succeeds.
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

    fn place() -> (tempfile::TempDir, Directories, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let directories = Directories::below(folder.path());
        let home = directories.homes().remove(0);
        (folder, directories, home)
    }

    #[test]
    fn a_sweep_leaves_what_has_an_owner_and_removes_what_has_none() {
        let (_folder, directories, home) = place();
        let owned = ServerDirectory::create(&home).unwrap();
        let abandoned = ServerDirectory::create(&home).unwrap();
        abandoned.ours_to_remove.store(false, Ordering::Relaxed);
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
        let (_folder, directories, home) = place();
        drop(ServerDirectory::create(&home).unwrap());
        let path = make_numbered(&home.canonicalize().unwrap()).unwrap();
        assert_eq!(sweep(&directories).removed, [path]);
    }

    #[test]
    fn a_kept_directory_stays_until_its_time_is_over_or_it_is_cleaned() {
        let (_folder, directories, home) = place();
        let make = || ServerDirectory::create(&home).unwrap();
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
        let (_folder, _directories, home) = place();
        let (a, b) = (
            ServerDirectory::create(&home).unwrap(),
            ServerDirectory::create(&home).unwrap(),
        );
        assert_ne!(a.path(), b.path());
    }

    #[test]
    fn a_sweep_follows_no_link() {
        let (folder, directories, home) = place();
        drop(ServerDirectory::create(&home).unwrap());
        let outside = folder.path().join("outside");
        fs::create_dir_all(outside.join("data")).unwrap();
        std::os::unix::fs::symlink(&outside, home.join("planted")).unwrap();
        let inside = make_numbered(&home.canonicalize().unwrap()).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("data")).unwrap();
        std::os::unix::fs::symlink(outside.join("made"), inside.join(KEEP)).unwrap();
        assert_eq!(clean(&directories).removed, [inside]);
        assert!(outside.join("data").is_dir());
        assert!(!outside.join("made").exists() && !outside.join(LOCK).exists());
    }
}
