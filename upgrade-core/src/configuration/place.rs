//! Places in the file system that are named by a folder which is held open: nobody can lead them elsewhere
//! by a link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat};

use super::faults::io;
use crate::error::{Error, ErrorKind, Result};
use crate::lease::CAREFUL;

/// A folder that is held open.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder by a path without links.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let fd = rustix::fs::open(path, CAREFUL | OFlags::DIRECTORY, Mode::empty())
            .map_err(io("opened", path))?;
        let path = path.to_owned();
        Ok(Self { fd, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn at<'f>(&'f self, name: &'f OsStr) -> At<'f> {
        let (folder, path) = (self.fd.as_fd(), self.path.join(name));
        At { folder, name, path }
    }

    pub(super) fn stat(&self) -> Result<Stat> {
        rustix::fs::fstat(&self.fd).map_err(io("read", &self.path))
    }

    /// The names in it, sorted.
    pub(super) fn names(&self) -> Result<Vec<OsString>> {
        let failed = || io("listed", &self.path);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        names.sort();
        Ok(names)
    }

    /// What was made, renamed and removed in it outlasts a crash of the machine.
    pub(super) fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&self.fd).map_err(io("written to disk", &self.path))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A name in an open folder.
#[derive(Debug)]
pub(super) struct At<'f> {
    pub(super) folder: BorrowedFd<'f>,
    pub(super) name: &'f OsStr,
    /// For messages.
    pub(super) path: PathBuf,
}

impl At<'_> {
    pub(super) fn stat(&self) -> Result<Stat> {
        rustix::fs::statat(self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(io("read", &self.path))
    }

    pub(super) fn open_file(&self) -> Result<File> {
        let fd = rustix::fs::openat(self.folder, self.name, CAREFUL, Mode::empty())
            .map_err(io("opened", &self.path))?;
        Ok(File::from(fd))
    }

    pub(super) fn open_folder(&self) -> Result<Folder> {
        let flags = CAREFUL | OFlags::DIRECTORY;
        let fd = rustix::fs::openat(self.folder, self.name, flags, Mode::empty())
            .map_err(io("opened", &self.path))?;
        let path = self.path.clone();
        Ok(Folder { fd, path })
    }
}

/// A path of a user, to which no links lead any more: its folder and its last name.
pub(super) fn resolve(path: &Path) -> Result<(Folder, OsString)> {
    let real = path.canonicalize().map_err(io("found", path))?;
    match (real.parent(), real.file_name()) {
        (Some(parent), Some(name)) => Ok((Folder::open(parent)?, name.to_owned())),
        _ => {
            let message = "the root folder cannot be configuration";
            Err(Error::new(ErrorKind::InvalidInput, message))
        }
    }
}

/// A path that may be missing yet, without links: the part that exists, and the rest.
pub(super) fn resolve_existing(path: &Path) -> Result<(PathBuf, PathBuf)> {
    let path = std::path::absolute(path).map_err(io("found", path))?;
    let mut existing = path.as_path();
    loop {
        match (existing.canonicalize(), existing.parent()) {
            (Ok(real), _) => {
                let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
                return Ok((real, rest.to_owned()));
            }
            (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
                existing = parent;
            }
            (Err(error), _) => return Err(io("found", existing)(error)),
        }
    }
}
