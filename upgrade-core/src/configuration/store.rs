//! The folder in which sets are kept.

use std::fs::{self, DirBuilder};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Digest;
use super::copy::{Temporary, remove};
use super::faults::{io, shown, still_wanted};
use super::place::{At, Folder, resolve};
use super::tree::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::lease::{FileLease, Mode};

/// The file that one call at a time has locked. It holds the path of the live configuration.
const LOCK: &str = "lock";

/// A set that is not complete yet, or not any more.
const TEMPORARY: &str = ".set.upgrade-incomplete";

/// How long the lock is waited for until somebody looks whether that is still wanted.
const TURN: Duration = Duration::from_millis(50);

/// The store, locked for one call.
#[derive(Debug)]
pub(super) struct Store {
    folder: Folder,
    _lock: FileLease,
}

impl Store {
    /// Opens the store of a live configuration, whose path is as its user wrote it; makes it where it is
    /// missing. Waits while another call uses it.
    pub(super) fn open(path: &Path, live: &Path, stop: &CancellationToken) -> Result<Self> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(io("made", path)(error));
            }
            _ => {}
        }
        let (parent, name) = resolve(path)?;
        parent.sync()?;
        let at = parent.at(&name);
        private(&at)?;
        let folder = at.open_folder()?;
        let lock = lock(&folder.path().join(LOCK), live, stop)?;
        let store = Self {
            folder,
            _lock: lock,
        };
        remove(&store.folder.path().join(TEMPORARY))?;
        Ok(store)
    }

    /// The place of a set.
    pub(super) fn at<'s>(&'s self, digest: &'s Digest) -> At<'s> {
        self.folder.at(digest.as_str().as_ref())
    }

    /// Keeps a set whose content is at `from`. A copy of it that is damaged is made anew.
    pub(super) fn keep(
        &self,
        set: &Entry,
        from: &At<'_>,
        stop: &CancellationToken,
    ) -> Result<Digest> {
        let digest = set.digest();
        match self.read(&digest, stop) {
            Ok(_) => return Ok(digest),
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            Err(_) => self.give_up(&digest)?,
        }
        let temporary = Temporary::new(self.folder.at(TEMPORARY.as_ref()))?;
        temporary.fill(set, from, stop)?;
        let to = self.at(&digest).path;
        fs::rename(&temporary.at().path, &to).map_err(io("made", &to))?;
        self.folder.sync()?;
        Ok(digest)
    }

    /// Reads a set that was kept.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where it was not; [`ErrorKind::InvalidInput`] where the copy is damaged.
    pub(super) fn read(&self, digest: &Digest, stop: &CancellationToken) -> Result<Entry> {
        let at = self.at(digest);
        let missing = at
            .stat()
            .is_err_and(|error| error.kind() == ErrorKind::NotFound);
        if missing {
            let message = format!(
                "no configuration `{digest}` was kept in `{}`",
                shown(self.folder.path())
            );
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let set = Entry::read(&at, stop)?;
        if set.digest() == *digest {
            return Ok(set);
        }
        let message = format!("the kept configuration `{}` is damaged", shown(&at.path));
        Err(Error::new(ErrorKind::InvalidInput, message)
            .with_hint("somebody has changed this copy, or the disk has: restore it from a backup"))
    }

    /// Removes all sets but one.
    pub(super) fn forget_all_but(&self, live: &Digest, stop: &CancellationToken) -> Result<()> {
        for name in self.folder.names()? {
            still_wanted(stop)?;
            let digest = name.to_str().and_then(|name| name.parse::<Digest>().ok());
            if let Some(digest) = digest.filter(|digest| digest != live) {
                self.give_up(&digest)?;
            }
        }
        self.folder.sync()
    }

    /// Removes a set. It loses its name first: half of a set must not have one.
    fn give_up(&self, digest: &Digest) -> Result<()> {
        let temporary = Temporary::new(self.folder.at(TEMPORARY.as_ref()))?;
        let from = self.at(digest).path;
        match fs::rename(&from, &temporary.at().path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io("removed", &from)(error))
            }
            _ => temporary.remove(),
        }
    }
}

/// Refuses a store that others can read or write.
fn private(at: &At<'_>) -> Result<()> {
    let stat = at.stat()?;
    let own = rustix::process::geteuid().as_raw();
    if stat.st_uid == own && stat.st_mode & 0o077 == 0 {
        return Ok(());
    }
    let path = shown(&at.path);
    let message = format!("the store `{path}` is not private to this user");
    Err(Error::new(ErrorKind::Refused, message)
        .with_context("owner", stat.st_uid)
        .with_context("mode", format!("{:o}", stat.st_mode & 0o7777))
        .with_context("this user", own)
        .with_hint("name a folder that does not exist yet, or give this one the mode 0700"))
}

fn lock(path: &Path, live: &Path, stop: &CancellationToken) -> Result<FileLease> {
    let mut lease = loop {
        still_wanted(stop)?;
        match FileLease::take_blocking(path, Mode::Exclusive, TURN) {
            Ok(lease) => break lease,
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {}
            Err(error) => return Err(io("locked", path)(error)),
        }
    };
    let wanted = [live.as_os_str().as_bytes(), b"\n"].concat();
    let written = lease.read().map_err(io("read", path))?;
    if written == wanted {
        return Ok(lease);
    }
    if written.ends_with(b"\n") {
        let other = Path::new(std::ffi::OsStr::from_bytes(&written[..written.len() - 1]));
        let store = path.parent().unwrap_or(path);
        let message = format!(
            "`{}` is the store of `{}`, not of `{}`",
            shown(store),
            shown(other),
            shown(live)
        );
        return Err(Error::new(ErrorKind::Refused, message)
            .with_hint("each configuration needs its own store: name another folder"));
    }
    let file = lease.file();
    file.set_len(0)
        .and_then(|()| std::io::Write::write_all(file, &wanted))
        .and_then(|()| file.sync_all())
        .map_err(io("written", path))?;
    Ok(lease)
}

/// On which file system a path is, or will be.
pub(super) fn device(existing: &Path) -> Result<u64> {
    let facts = fs::metadata(existing).map_err(io("read", existing))?;
    Ok(facts.dev())
}
