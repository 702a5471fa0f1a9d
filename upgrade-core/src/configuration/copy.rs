//! Copies of sets, and their removal.

use std::fs;
use std::io::{self as std_io, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use blake3::Hasher;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use tokio_util::sync::CancellationToken;

use super::attributes::Attributes;
use super::faults::{changing, io, still_wanted};
use super::place::At;
use super::tree::{Content, Entry};
use crate::error::Result;
use crate::lease::CAREFUL;

/// A name in a folder for something that is removed again, unless it was given another name.
#[derive(Debug)]
pub(super) struct Temporary<'f> {
    at: At<'f>,
}

impl<'f> Temporary<'f> {
    /// The name is free afterwards: what a killed process had there is removed.
    pub(super) fn new(at: At<'f>) -> Result<Self> {
        remove(&at.path)?;
        Ok(Self { at })
    }

    pub(super) fn at(&self) -> &At<'f> {
        &self.at
    }

    /// Writes a set there, on disk, with the content of `from`, and reads it again.
    pub(super) fn fill(&self, set: &Entry, from: &At<'_>, stop: &CancellationToken) -> Result<()> {
        copy(set, from, &self.at, stop)?;
        if Entry::read(&self.at, stop)? == *set {
            return Ok(());
        }
        let error = std_io::Error::other("the file system does not keep it as it was written");
        Err(io("copied", &from.path)(error))
    }

    /// Removes what is there.
    pub(super) fn remove(self) -> Result<()> {
        remove(&self.at.path)
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // The next call does it, where this fails.
        let _ = remove(&self.at.path);
    }
}

fn copy(entry: &Entry, from: &At<'_>, to: &At<'_>, stop: &CancellationToken) -> Result<()> {
    still_wanted(stop)?;
    match &entry.content {
        Content::File(hash) => {
            let mut source = from.open_file()?;
            let flags = CAREFUL | OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
            let made = rustix::fs::openat(to.folder, to.name, flags, Mode::RUSR | Mode::WUSR)
                .map_err(io("made", &to.path))?;
            let mut made = fs::File::from(made);
            let mut hasher = Hasher::new();
            let mut buffer = vec![0; 64 << 10];
            loop {
                still_wanted(stop)?;
                let read = source.read(&mut buffer).map_err(io("read", &from.path))?;
                if read == 0 {
                    break;
                }
                hasher.update(&buffer[..read]);
                made.write_all(&buffer[..read])
                    .map_err(io("written", &to.path))?;
            }
            if hasher.finalize() != *hash {
                return Err(changing(&from.path));
            }
            entry.attributes.apply(&made, &from.path)?;
            made.sync_all().map_err(io("written to disk", &to.path))
        }
        Content::Folder(entries) => {
            let source = from.open_folder()?;
            rustix::fs::mkdirat(to.folder, to.name, Mode::RWXU).map_err(io("made", &to.path))?;
            let made = to.open_folder()?;
            for (name, entry) in entries {
                copy(entry, &source.at(name), &made.at(name), stop)?;
            }
            // After its entries: until then nobody else may enter it.
            entry.attributes.apply(&made, &from.path)?;
            made.sync()
        }
        Content::Link(target) => {
            rustix::fs::symlinkat(target, to.folder, to.name).map_err(io("made", &to.path))?;
            let Attributes { uid, gid, .. } = entry.attributes;
            let stat = to.stat()?;
            if (stat.st_uid, stat.st_gid) == (uid, gid) {
                return Ok(());
            }
            let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(to.folder, to.name, owner.0, owner.1, flags)
                .map_err(|error| entry.attributes.not_owner(&from.path, error))
        }
    }
}

/// Removes a file, a folder with all that is in it, or a link; what is missing is no error.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = match try_remove(path) {
        // Its user may not write into some of its folders, and may change that.
        Err(error) if error.kind() == std_io::ErrorKind::PermissionDenied => {
            unlock(path).and_then(|()| try_remove(path))
        }
        other => other,
    };
    match removed {
        Err(error) if error.kind() != std_io::ErrorKind::NotFound => {
            Err(io("removed", path)(error))
        }
        _ => Ok(()),
    }
}

fn try_remove(path: &Path) -> std_io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

fn unlock(folder: &Path) -> std_io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            unlock(&entry.path())?;
        }
    }
    Ok(())
}
