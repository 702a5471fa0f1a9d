//! Files in places where somebody else may write: opened without following a link, without
//! waiting for the other end of a pipe, and only if they are plain files.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, Gid, OFlags, Uid};

use super::error::ServerError;
use super::user::RunUser;
pub(super) use crate::lease::open;
use crate::lease::{CAREFUL, FileLease, Mode};

/// Takes the lock of a file, and waits until it is free.
///
/// # Errors
/// [`ServerError::Timeout`] when another process holds it for longer than `within`,
/// [`ServerError::Io`].
pub(super) fn lock(path: &Path, within: Duration) -> Result<FileLease, ServerError> {
    FileLease::take_blocking(path, Mode::Exclusive, within).map_err(|error| match error.kind() {
        ErrorKind::TimedOut => ServerError::Timeout {
            what: format!("the holder of lock `{}`", path.display()),
            within,
        },
        _ => ServerError::io("lock", path)(error),
    })
}

/// Takes the lock of a file if it is free.
///
/// # Errors
/// [`ServerError::Io`].
pub(super) fn try_lock(path: &Path) -> Result<Option<FileLease>, ServerError> {
    FileLease::try_take(path, Mode::Exclusive).map_err(ServerError::io("lock", path))
}

/// Reads a small text: what a server or this library wrote about itself.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    const MOST: u64 = 1 << 20;
    let mut text = String::new();
    open(path, OpenOptions::new().read(true))?
        .take(MOST)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// Copies a data directory for `owner`, file by file and without following links. Where the file
/// system can, the blocks are shared.
///
/// # Errors
/// [`ServerError::Io`], also when there is something else than plain files and directories: a
/// link in a data directory leads out of it.
pub(super) fn copy_tree(from: &Path, to: &Path, owner: &RunUser) -> Result<(), ServerError> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(to)
        .map_err(ServerError::io("create", to))?;
    owner.give(to).map_err(ServerError::io("give away", to))?;
    let folder = open_folder(from)?;
    each(folder.as_fd(), from, &mut |entry| {
        let (source, target) = (from.join(entry.name), to.join(entry.name));
        if entry.kind == FileType::Directory {
            return copy_tree(&source, &target, owner);
        }
        let mut file = entry.open_plain(OFlags::RDONLY, &source)?;
        let mode = file
            .metadata()
            .map_err(ServerError::io("read", &source))?
            .mode();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode & 0o700);
        let mut copy = open(&target, &mut options).map_err(ServerError::io("create", &target))?;
        io::copy(&mut file, &mut copy).map_err(ServerError::io("copy to", &target))?;
        owner
            .give_open(copy.as_fd())
            .map_err(ServerError::io("give away", &target))
    })
}

/// Makes a tree belong to this process, so that nobody else can change it any more. From the top:
/// who may not enter a directory reaches nothing below it.
///
/// # Errors
/// As [`copy_tree`].
pub(super) fn take_tree(path: &Path) -> Result<(), ServerError> {
    let ours = (
        Some(rustix::process::geteuid()),
        Some(rustix::process::getegid()),
    );
    let folder = open_folder(path)?;
    take(folder.as_fd(), path, ours)
}

fn take(
    folder: BorrowedFd<'_>,
    path: &Path,
    ours: (Option<Uid>, Option<Gid>),
) -> Result<(), ServerError> {
    let failed = |error: rustix::io::Errno| ServerError::io("take", path)(error.into());
    rustix::fs::fchown(folder, ours.0, ours.1).map_err(failed)?;
    each(folder, path, &mut |entry| {
        let below = path.join(entry.name);
        if entry.kind == FileType::Directory {
            let folder = rustix::fs::openat(
                entry.folder,
                entry.name,
                CAREFUL | OFlags::DIRECTORY,
                rustix::fs::Mode::empty(),
            )
            .map_err(|error| ServerError::io("open", &below)(error.into()))?;
            return take(folder.as_fd(), &below, ours);
        }
        let file = entry.open_plain(OFlags::RDONLY, &below)?;
        rustix::fs::fchown(&file, ours.0, ours.1)
            .map_err(|error| ServerError::io("take", &below)(error.into()))
    })
}

/// Something in a directory that is held open.
struct Entry<'a> {
    folder: BorrowedFd<'a>,
    name: &'a Path,
    kind: FileType,
}

impl Entry<'_> {
    /// Opens it, if it is a plain file with one name: a second name may be that of somebody else's
    /// file.
    fn open_plain(&self, flags: OFlags, path: &Path) -> Result<File, ServerError> {
        let refused = |what: &str| {
            ServerError::io("copy or take", path)(io::Error::new(
                ErrorKind::InvalidData,
                format!(
                    "it is {what}, and links and special files of a data directory are not followed"
                ),
            ))
        };
        match self.kind {
            FileType::RegularFile => {}
            FileType::Symlink => return Err(refused("a symbolic link")),
            _ => return Err(refused("no plain file")),
        }
        let file = rustix::fs::openat(
            self.folder,
            self.name,
            CAREFUL | flags,
            rustix::fs::Mode::empty(),
        )
        .map(File::from)
        .map_err(|error| ServerError::io("open", path)(error.into()))?;
        let facts = file.metadata().map_err(ServerError::io("read", path))?;
        if !facts.is_file() {
            return Err(refused("no plain file"));
        }
        if facts.nlink() != 1 {
            return Err(refused("a file with a second name"));
        }
        Ok(file)
    }
}

fn open_folder(path: &Path) -> Result<std::os::fd::OwnedFd, ServerError> {
    rustix::fs::open(path, CAREFUL | OFlags::DIRECTORY, rustix::fs::Mode::empty())
        .map_err(|error| ServerError::io("open", path)(error.into()))
}

fn each(
    folder: BorrowedFd<'_>,
    path: &Path,
    act: &mut dyn FnMut(&Entry<'_>) -> Result<(), ServerError>,
) -> Result<(), ServerError> {
    let failed = |error: rustix::io::Errno| ServerError::io("list", path)(error.into());
    for entry in Dir::read_from(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let bytes = entry.file_name().to_bytes();
        if matches!(bytes, b"." | b"..") {
            continue;
        }
        let name = Path::new(std::ffi::OsStr::from_bytes(bytes));
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        act(&Entry { folder, name, kind })?;
    }
    Ok(())
}

/// Notes beside a data directory what is in it, so that a garbled or shortened one is not used.
///
/// # Errors
/// [`ServerError::Io`].
pub(super) fn seal(data: &Path) -> Result<(), ServerError> {
    let files = listed(data)?;
    let text = format!("{}\n{}\n", facts_hash(&files), content_hash(data, &files)?);
    let path = seal_path(data);
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    open(&path, &mut options)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(ServerError::io("write", &path))
}

/// Whether a data directory is as it was when it was [sealed](seal). Its files are read only where
/// their times have changed, as they do when a cache is moved.
pub(super) fn is_sealed(data: &Path) -> bool {
    let Ok(text) = read_text(&seal_path(data)) else {
        return false;
    };
    let Ok(files) = listed(data) else {
        return false;
    };
    let mut lines = text.lines();
    let (facts, content) = (lines.next(), lines.next());
    facts == Some(&facts_hash(&files))
        || content_hash(data, &files).is_ok_and(|hash| content == Some(&hash))
}

pub(super) fn seal_path(data: &Path) -> PathBuf {
    let mut path = data.as_os_str().to_owned();
    path.push(".seal");
    path.into()
}

/// Everything below a directory by its path from there, with length and time of change; those of a
/// directory are 0.
fn listed(data: &Path) -> Result<BTreeMap<PathBuf, (u64, i64)>, ServerError> {
    let mut found = BTreeMap::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = || ServerError::io("list", &folder);
        for entry in fs::read_dir(&folder).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            let facts = fs::symlink_metadata(&path).map_err(ServerError::io("read", &path))?;
            let of_file = if facts.is_dir() {
                folders.push(path.clone());
                (0, 0)
            } else {
                let time = facts.mtime().wrapping_mul(1_000_000_000);
                (facts.len(), time.wrapping_add(facts.mtime_nsec()))
            };
            let name = path.strip_prefix(data).unwrap_or(&path);
            found.insert(name.to_owned(), of_file);
        }
    }
    Ok(found)
}

fn facts_hash(files: &BTreeMap<PathBuf, (u64, i64)>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (path, (length, time)) in files {
        hasher.update(path.as_os_str().as_bytes());
        hasher
            .update(&length.to_le_bytes())
            .update(&time.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn content_hash(data: &Path, files: &BTreeMap<PathBuf, (u64, i64)>) -> Result<String, ServerError> {
    let mut hasher = blake3::Hasher::new();
    for (name, (length, _)) in files {
        hasher.update(name.as_os_str().as_bytes());
        hasher.update(&length.to_le_bytes());
        let path = data.join(name);
        if path.is_dir() {
            continue;
        }
        let file = open(&path, OpenOptions::new().read(true));
        file.and_then(|file| hasher.update_reader(file).map(drop))
            .map_err(ServerError::io("read", &path))?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    use super::*;

    fn tree() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("base/1")).unwrap();
        fs::write(from.join("base/1/112"), "rows").unwrap();
        fs::set_permissions(from.join("base/1/112"), fs::Permissions::from_mode(0o600)).unwrap();
        (folder, from, to)
    }

    #[test]
    fn a_copy_has_the_same_files_and_modes() {
        let (_folder, from, to) = tree();
        copy_tree(&from, &to, &RunUser::ourselves()).unwrap();
        take_tree(&to).unwrap();
        assert_eq!(fs::read_to_string(to.join("base/1/112")).unwrap(), "rows");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (
                mode(&to),
                mode(&to.join("base")),
                mode(&to.join("base/1/112"))
            ),
            (0o700, 0o700, 0o600)
        );
    }

    #[test]
    fn a_sealed_directory_is_known_by_its_content() {
        type Change = fn(&Path);
        let change: [(&str, Change); 5] = [
            ("nothing", |_| {}),
            ("times, as a moved cache has them", |file| {
                let opened = File::options().write(true).open(file).unwrap();
                opened
                    .set_modified(std::time::SystemTime::UNIX_EPOCH)
                    .unwrap();
            }),
            ("cut short", |file| fs::write(file, "row").unwrap()),
            ("garbled", |file| fs::write(file, "rowz").unwrap()),
            ("missing", |file| fs::remove_file(file).unwrap()),
        ];
        for (index, (what, change)) in change.into_iter().enumerate() {
            let (_folder, from, _) = tree();
            assert!(!is_sealed(&from));
            seal(&from).unwrap();
            change(&from.join("base/1/112"));
            assert_eq!(is_sealed(&from), index < 2, "{what}");
        }
    }

    #[test]
    fn links_and_special_files_are_neither_copied_nor_taken_nor_read() {
        type Plant = fn(&Path, &Path);
        let plant: [(&str, Plant); 4] = [
            ("a symbolic link", |secret, at| symlink(secret, at).unwrap()),
            ("a symbolic link", |secret, at| {
                symlink(secret.parent().unwrap(), at).unwrap();
            }),
            ("a file with a second name", |secret, at| {
                fs::hard_link(secret, at).unwrap();
            }),
            ("no plain file", |_, at| {
                assert!(Command::new("mkfifo").arg(at).status().unwrap().success());
            }),
        ];
        for (what, plant) in plant {
            let (folder, from, to) = tree();
            let secret = folder.path().join("secret");
            fs::write(&secret, "canary").unwrap();
            let planted = from.join("base/planted");
            plant(&secret, &planted);
            for error in [
                copy_tree(&from, &to, &RunUser::ourselves()).unwrap_err(),
                take_tree(&from).unwrap_err(),
            ] {
                let ServerError::Io { path, source, .. } = &error else {
                    panic!("{error}")
                };
                assert_eq!(path, &planted);
                assert!(source.to_string().contains(what), "{what}: {source}");
            }
            assert!(!to.join("base/planted").exists(), "{what}");
            if what != "a file with a second name" {
                read_text(&planted).unwrap_err();
            }
            assert_eq!(fs::read_to_string(&secret).unwrap(), "canary");
        }
    }
}
