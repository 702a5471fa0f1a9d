//! A set of configuration files as data: everything but the content, of which it has the hash.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use blake3::{Hash, Hasher};
use rustix::fs::FileType;
use tokio_util::sync::CancellationToken;

use super::Digest;
use super::attributes::Attributes;
use super::faults::{io, shown, still_wanted};
use super::place::At;
use crate::error::{Error, ErrorKind, Result};

/// How much a set may hold, in bytes.
const MOST: u64 = 64 << 20;

/// What an entry counts beside its content, in bytes: a set may have fewer than 131,072 entries.
const BESIDE: u64 = 512;

/// The first part of what a digest is made of: another way to make them has another one.
const FORMAT: &[u8] = b"upgrade configuration 1";

/// A file, a folder with all that is in it, or a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) attributes: Attributes,
    pub(super) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    File(Hash),
    Folder(BTreeMap<OsString, Entry>),
    Link(OsString),
}

impl Entry {
    /// Reads a set.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a special file and for a set that is too large.
    pub(super) fn read(at: &At<'_>, stop: &CancellationToken) -> Result<Self> {
        let mut reader = Reader {
            stop,
            whole: &at.path,
            room: MOST,
            buffer: vec![0; 64 << 10],
        };
        reader.entry(at)
    }

    pub(super) fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        field(&mut hasher, FORMAT);
        field(&mut hasher, self.hash().as_bytes());
        hasher.finalize().into()
    }

    fn hash(&self) -> Hash {
        let mut hasher = Hasher::new();
        let Attributes {
            uid,
            gid,
            mode,
            extended,
        } = &self.attributes;
        for number in [*uid, *gid, *mode] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&(extended.len() as u64).to_le_bytes());
        for (name, value) in extended {
            field(&mut hasher, name.as_bytes());
            field(&mut hasher, value);
        }
        match &self.content {
            Content::File(hash) => {
                field(&mut hasher, b"file");
                field(&mut hasher, hash.as_bytes());
            }
            Content::Link(target) => {
                field(&mut hasher, b"link");
                field(&mut hasher, target.as_bytes());
            }
            Content::Folder(entries) => {
                field(&mut hasher, b"folder");
                for (name, entry) in entries {
                    field(&mut hasher, name.as_bytes());
                    field(&mut hasher, entry.hash().as_bytes());
                }
            }
        }
        hasher.finalize()
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.content {
            Content::File(_) => "a file",
            Content::Folder(_) => "a folder",
            Content::Link(_) => "a link",
        }
    }

    /// The set of a new release as it takes the place of the live one: owner, group, mode and extended
    /// attributes are those of the live entry of that kind with the same path. Where there is none, the
    /// mode is its own, and all else is that of the root of the live set.
    pub(super) fn in_place_of(self, live: &Self) -> Self {
        self.placed(Some(live), &live.attributes)
    }

    fn placed(self, live: Option<&Self>, root: &Attributes) -> Self {
        let live = live.filter(|live| live.kind() == self.kind());
        let attributes = match (live, &self.content) {
            (Some(live), _) => live.attributes.clone(),
            (None, Content::Link(_)) => self.attributes.of_owner(root),
            (None, _) => self.attributes.of_owner(root).with_label(root),
        };
        let content = match self.content {
            Content::Folder(entries) => {
                let of_live = |name: &OsStr| match live.map(|live| &live.content) {
                    Some(Content::Folder(entries)) => entries.get(name),
                    _ => None,
                };
                let entries = entries.into_iter().map(|(name, entry)| {
                    let entry = entry.placed(of_live(&name), root);
                    (name, entry)
                });
                Content::Folder(entries.collect())
            }
            other => other,
        };
        Self {
            attributes,
            content,
        }
    }
}

/// Length first, so that no two sequences of fields are the same bytes.
fn field(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

struct Reader<'s> {
    stop: &'s CancellationToken,
    /// The root of the set.
    whole: &'s Path,
    /// How many bytes more the set may have.
    room: u64,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    fn entry(&mut self, at: &At<'_>) -> Result<Entry> {
        still_wanted(self.stop)?;
        self.take(BESIDE)?;
        let stat = at.stat()?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(at),
            FileType::Directory => self.folder(at),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(at.folder, at.name, Vec::new())
                    .map_err(io("read", &at.path))?;
                Ok(Entry {
                    attributes: Attributes::of_link(&stat),
                    content: Content::Link(OsString::from_vec(target.into_bytes())),
                })
            }
            _ => Err(special(at)),
        }
    }

    fn folder(&mut self, at: &At<'_>) -> Result<Entry> {
        let folder = at.open_folder()?;
        let attributes = Attributes::read(&folder, &folder.stat()?, &at.path)?;
        let mut entries = BTreeMap::new();
        for name in folder.names()? {
            let entry = self.entry(&folder.at(&name))?;
            entries.insert(name, entry);
        }
        let content = Content::Folder(entries);
        Ok(Entry {
            attributes,
            content,
        })
    }

    fn file(&mut self, at: &At<'_>) -> Result<Entry> {
        let mut file = at.open_file()?;
        let stat = rustix::fs::fstat(&file).map_err(io("read", &at.path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(special(at));
        }
        let attributes = Attributes::read(&file, &stat, &at.path)?;
        let mut hasher = Hasher::new();
        loop {
            still_wanted(self.stop)?;
            let read = file.read(&mut self.buffer).map_err(io("read", &at.path))?;
            if read == 0 {
                break;
            }
            self.take(read as u64)?;
            hasher.update(&self.buffer[..read]);
        }
        let content = Content::File(hasher.finalize());
        Ok(Entry {
            attributes,
            content,
        })
    }

    fn take(&mut self, bytes: u64) -> Result<()> {
        if let Some(room) = self.room.checked_sub(bytes) {
            self.room = room;
            return Ok(());
        }
        let message = format!(
            "`{}` holds more than {} MiB, which is too much for configuration",
            shown(self.whole),
            MOST >> 20
        );
        Err(Error::new(ErrorKind::InvalidInput, message)
            .with_hint("name the folder that has nothing but configuration files"))
    }
}

fn special(at: &At<'_>) -> Error {
    let message = format!(
        "`{}` is neither a file nor a folder nor a symbolic link, and cannot be kept",
        shown(&at.path)
    );
    Error::new(ErrorKind::InvalidInput, message)
        .with_hint("pipes, sockets and devices do not belong among configuration files")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::configuration::place::resolve;

    fn read(path: &Path) -> Result<Entry> {
        let (folder, name) = resolve(path).unwrap();
        Entry::read(&folder.at(&name), &CancellationToken::new())
    }

    fn attributes(uid: u32, mode: u32, extended: &[&str]) -> Attributes {
        let name = |name: &&str| (std::ffi::CString::new(*name).unwrap(), b"x".to_vec());
        Attributes {
            uid,
            gid: uid + 1,
            mode,
            extended: extended.iter().map(name).collect(),
        }
    }

    fn file(attributes: Attributes, text: &str) -> Entry {
        let content = Content::File(blake3::hash(text.as_bytes()));
        Entry {
            attributes,
            content,
        }
    }

    fn folder<const N: usize>(attributes: Attributes, entries: [(&str, Entry); N]) -> Entry {
        let entries = entries.map(|(name, entry)| (name.into(), entry));
        let content = Content::Folder(entries.into());
        Entry {
            attributes,
            content,
        }
    }

    #[test]
    fn a_new_set_has_the_owners_and_modes_of_the_live_one() {
        let own = |mode| attributes(7, mode, &["user.own"]);
        let live = folder(
            attributes(1, 0o750, &["security.selinux", "user.root"]),
            [
                ("both", file(attributes(2, 0o600, &["user.both"]), "old")),
                ("other-kind", folder(attributes(3, 0o700, &[]), [])),
            ],
        );
        let new = folder(
            own(0o777),
            [
                ("added", file(own(0o4644), "a")),
                ("both", file(own(0o666), "new")),
                ("deep", folder(own(0o711), [("er", file(own(0o400), "e"))])),
                ("other-kind", file(own(0o640), "k")),
            ],
        );
        let added = |mode| attributes(1, mode, &["security.selinux"]);
        let expected = folder(
            attributes(1, 0o750, &["security.selinux", "user.root"]),
            [
                ("added", file(added(0o4644), "a")),
                ("both", file(attributes(2, 0o600, &["user.both"]), "new")),
                (
                    "deep",
                    folder(added(0o711), [("er", file(added(0o400), "e"))]),
                ),
                ("other-kind", file(added(0o640), "k")),
            ],
        );
        let placed = new.clone().in_place_of(&live);
        assert_eq!(placed, expected);
        // The same once it is live.
        assert_eq!(new.in_place_of(&placed), placed);
    }

    #[test]
    fn a_set_that_is_too_large_is_refused_however_it_is_large() {
        let place = tempfile::tempdir().unwrap();
        let large = fs::File::create(place.path().join("large")).unwrap();
        large.set_len(MOST - 3 * BESIDE).unwrap();
        symlink("large", place.path().join("link")).unwrap();
        read(place.path()).unwrap();
        symlink("large", place.path().join("one more")).unwrap();
        let error = read(place.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("more than 64 MiB"), "{error}");
        assert!(error.to_string().contains(&shown(place.path())), "{error}");
    }

    #[test]
    fn work_that_nobody_waits_for_ends() {
        let place = tempfile::tempdir().unwrap();
        let (folder, name) = resolve(place.path()).unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        let error = Entry::read(&folder.at(&name), &stop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}
