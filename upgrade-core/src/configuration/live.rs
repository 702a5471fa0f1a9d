//! The live configuration, and how another one takes its place.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, RenameFlags};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::copy::Temporary;
use super::difference::Difference;
use super::faults::{io, shown, still_wanted};
use super::place::{At, Folder, resolve};
use super::tree::Entry;
use crate::error::{Error, ErrorKind, Result};

/// How long the exchanged folder is kept: a reader that has found the folder and not yet the file in it
/// has that long to open the file.
const GRACE: Duration = Duration::from_millis(10);

/// The live configuration.
#[derive(Debug)]
pub(super) struct Live {
    folder: Folder,
    name: OsString,
    /// For what is made next to it.
    temporary: OsString,
    is_folder: bool,
}

impl Live {
    /// Opens it. `store` is the path of its store, without links: two stores use two temporary names.
    pub(super) fn open(path: &Path, store: &Path) -> Result<Self> {
        let (folder, name) = resolve(path)?;
        let id = blake3::hash(store.as_os_str().as_encoded_bytes()).to_hex();
        let mut temporary = OsString::from(".");
        temporary.push(&name);
        temporary.push(format!(".upgrade-{}", &id[..16]));
        let stat = folder.at(&name).stat()?;
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if let Some(inside) = mount_in(&folder.at(&name).path)? {
            return Err(mount_point(&inside));
        }
        let live = Self {
            folder,
            name,
            temporary,
            is_folder,
        };
        Ok(live)
    }

    pub(super) fn at(&self) -> At<'_> {
        self.folder.at(&self.name)
    }

    /// A place next to it, which is free.
    pub(super) fn beside(&self) -> Result<Temporary<'_>> {
        Temporary::new(self.folder.at(&self.temporary))
    }

    /// What was renamed so far outlasts a crash of the machine.
    pub(super) fn sync(&self) -> Result<()> {
        self.folder.sync()
    }

    /// Refuses a place where a switch is not possible, before anything is changed.
    pub(super) fn check_switch(&self) -> Result<()> {
        let temporary = self.beside()?;
        let path = &temporary.at().path;
        fs::create_dir(path).map_err(io("made", path))?;
        if self.is_folder {
            let (one, other) = (OsStr::new("one"), OsStr::new("other"));
            for name in [one, other] {
                fs::create_dir(path.join(name)).map_err(io("made", path))?;
            }
            let folder = temporary.at().open_folder()?;
            exchange(&folder.at(one), &folder.at(other))
                .map_err(|error| not_exchanged(&self.at().path, error))?;
        }
        temporary.remove()
    }

    /// Puts a complete set into the place of the live one, which is `from`. Answers with the difference
    /// where the live one was changed in the last moment; it is live again then.
    pub(super) fn replace(
        &self,
        by: Temporary<'_>,
        from: &Entry,
        stop: &CancellationToken,
    ) -> Result<Option<Difference>> {
        match self.is_folder {
            true => self.replace_folder(by, from, stop),
            false => self.replace_file(by, from, stop),
        }
    }

    fn replace_folder(
        &self,
        by: Temporary<'_>,
        from: &Entry,
        stop: &CancellationToken,
    ) -> Result<Option<Difference>> {
        let live = self.at();
        still_wanted(stop)?;
        exchange(by.at(), &live).map_err(|error| not_exchanged(&live.path, error))?;
        // From here to the end, whoever waits for it or not.
        match Entry::read(by.at(), &CancellationToken::new()) {
            Ok(old) if old == *from => {}
            other => {
                exchange(by.at(), &live).map_err(|error| not_exchanged(&live.path, error))?;
                self.sync()?;
                return other.map(|old| Some(Difference::between(from, &old, &live.path)));
            }
        }
        self.sync()?;
        std::thread::sleep(GRACE);
        by.remove().map_err(|error| {
            error.with_hint("the new configuration is live: remove that folder of the old one")
        })?;
        self.sync()?;
        Ok(None)
    }

    fn replace_file(
        &self,
        by: Temporary<'_>,
        from: &Entry,
        stop: &CancellationToken,
    ) -> Result<Option<Difference>> {
        let live = self.at();
        let now = Entry::read(&live, stop)?;
        if now != *from {
            return Ok(Some(Difference::between(from, &now, &live.path)));
        }
        still_wanted(stop)?;
        let at = by.at();
        rustix::fs::renameat(at.folder, at.name, live.folder, live.name)
            .map_err(|error| not_exchanged(&live.path, error))?;
        self.sync()?;
        Ok(None)
    }
}

fn exchange(one: &At<'_>, other: &At<'_>) -> Result<(), Errno> {
    let flags = RenameFlags::EXCHANGE;
    rustix::fs::renameat_with(one.folder, one.name, other.folder, other.name, flags)
}

/// A mount point at a path or below it. What is mounted there would be removed with the old folder.
fn mount_in(path: &Path) -> Result<Option<PathBuf>> {
    const MOUNTS: &str = "/proc/self/mountinfo";
    match fs::read(MOUNTS) {
        Ok(mounts) => Ok(mount_points(&mounts).find(|point| point.starts_with(path))),
        // Other systems have no such file.
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && !cfg!(target_os = "linux") =>
        {
            Ok(None)
        }
        Err(error) => Err(io("read", Path::new(MOUNTS))(error)),
    }
}

/// The fifth field of each line, in which blanks and the like are octal numbers.
fn mount_points(mounts: &[u8]) -> impl Iterator<Item = PathBuf> {
    mounts.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut escaped = line.split(|byte| *byte == b' ').nth(4)?;
        let mut path = Vec::new();
        while let Some((first, rest)) = escaped.split_first() {
            let octal = rest.get(..3).filter(|_| *first == b'\\');
            let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
            let octal = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
            path.push(octal.unwrap_or(*first));
            escaped = &rest[if octal.is_some() { 3 } else { 0 }..];
        }
        Some(PathBuf::from(OsString::from_vec(path)))
    })
}

fn mount_point(path: &Path) -> Error {
    let message = format!(
        "`{}` is a mount point, and nothing can take its place",
        shown(path)
    );
    Error::new(ErrorKind::Unsupported, message)
        .with_hint("mount the folder that the configuration is in, not a part of it")
}

fn not_exchanged(path: &Path, error: Errno) -> Error {
    let unsupported = |why: &str| {
        let message = format!("`{}` cannot be switched as a whole: {why}", shown(path));
        Error::new(ErrorKind::Unsupported, message)
            .with_hint("ext4, XFS, Btrfs and tmpfs can exchange folders")
    };
    match error {
        Errno::BUSY => mount_point(path),
        Errno::XDEV => unsupported("it belongs to a lower layer of its file system"),
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => {
            unsupported("its file system cannot exchange two folders")
        }
        other => return io("replaced", path)(other),
    }
    .with_source(std::io::Error::from(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_edited_in_the_moment_of_a_switch_is_live_again() {
        let place = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let old_file = place.path().join("old/app.conf");
        for name in ["old", "new"] {
            fs::create_dir(place.path().join(name)).unwrap();
            fs::write(place.path().join(name).join("app.conf"), name).unwrap();
        }
        for path in ["old", "old/app.conf"] {
            let live = Live::open(&place.path().join(path), Path::new("/store")).unwrap();
            let new = path.replace("old", "new");
            let (folder, name) = resolve(&place.path().join(new)).unwrap();
            let from = Entry::read(&live.at(), &stop).unwrap();
            let copy = live.beside().unwrap();
            let to = Entry::read(&folder.at(&name), &stop).unwrap();
            copy.fill(&to, &folder.at(&name), &stop).unwrap();
            let temporary = copy.at().path.clone();

            let text = format!("edited: {path}");
            fs::write(&old_file, &text).unwrap();
            let difference = live.replace(copy, &from, &stop).unwrap().unwrap();
            let edited = format!("edited `{}`", shown(&old_file));
            assert_eq!(difference.to_string(), edited);
            assert_eq!(fs::read_to_string(&old_file).unwrap(), text);
            assert!(!temporary.exists());
        }
    }

    #[test]
    fn mount_points_are_read_with_blanks_and_backslashes() {
        let mounts = b"22 1 0:20 / /proc rw - proc proc rw\n\
            35 1 8:1 /a\\040b /mnt/a\\040b\\134c\\ rw,relatime shared:1 - ext4 /dev/a rw\n";
        let points: Vec<PathBuf> = mount_points(mounts).collect();
        assert_eq!(points, [Path::new("/proc"), Path::new(r"/mnt/a b\c\")]);
    }

    #[test]
    fn a_file_system_without_exchange_is_named_with_those_that_have_it() {
        for (errno, why) in [
            (Errno::INVAL, "cannot exchange two folders"),
            (Errno::NOSYS, "cannot exchange two folders"),
            (Errno::XDEV, "a lower layer"),
            (Errno::BUSY, "is a mount point"),
        ] {
            let error = not_exchanged(Path::new("/etc/app"), errno);
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let text = error.to_string();
            assert!(text.contains("`/etc/app`") && text.contains(why), "{text}");
        }
        let error = not_exchanged(Path::new("/etc/app"), Errno::ACCESS);
        assert_eq!(error.kind(), ErrorKind::Io);
    }
}
