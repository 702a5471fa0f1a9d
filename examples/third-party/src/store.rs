//! The store: a directory with one JSON file for each collection, a lock, and a journal.
//!
//! File operations are plain and short, and are not awaited: one that is dropped in its middle
//! would go on in another thread. What waits is the lock, and it waits under the deadline.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use upgrade_core::{Error, ErrorKind, Result, UpgradeContext};

/// The name of the endpoint at which a store is found: `file://` and the path of its directory.
pub const STORE: &str = "store";

/// The text of every file of a store, by name.
pub type Image = BTreeMap<String, String>;

/// The rows of a collection, by key.
pub(crate) type Rows = BTreeMap<String, Map<String, Value>>;

/// Which migrations are applied. Names with an underscore are no collections.
pub(crate) const RECORD: &str = "_migrations.json";
const LOCK: &str = ".lock";
const JOURNAL: &str = ".journal";

/// A store, by its directory.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

/// What a reader sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The files.
    pub files: Image,
    /// Who began to write and neither committed nor undid it.
    pub unfinished: Option<String>,
}

/// The only session that may write: all of it, or nothing.
///
/// The state before is in the journal until [`commit`](Self::commit). A session that is dropped,
/// or killed, leaves the journal there, and the next one undoes it.
#[derive(Debug)]
pub struct Session {
    store: Store,
    lock: Lock,
    by: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    by: String,
    /// The files before the first change.
    before: Image,
}

impl Store {
    /// The store of a context.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] without the endpoint, [`ErrorKind::Unavailable`] when no store is
    /// there.
    pub fn of(cx: &UpgradeContext) -> Result<Self> {
        let path = cx.endpoint(STORE)?.url().expose().strip_prefix("file://");
        let directory = path.map(PathBuf::from).filter(|path| path.is_dir());
        let store = directory.map(|directory| Self { directory });
        store.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the store does not answer"))
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Everything that is there, as of one moment: it waits for whoever writes.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`], [`ErrorKind::Cancelled`], [`ErrorKind::Io`].
    pub async fn read(&self, cx: &UpgradeContext) -> Result<View> {
        let lock = Lock::take(cx, &self.directory.join(LOCK), File::try_lock_shared).await?;
        let view = View {
            files: files(&self.directory)?,
            unfinished: self.journal()?.map(|journal| journal.by),
        };
        lock.still_held()?;
        Ok(view)
    }

    /// Begins to write in the name of `by`, after undoing what another one left unfinished.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`], [`ErrorKind::Cancelled`], [`ErrorKind::Io`].
    pub async fn begin(&self, cx: &UpgradeContext, by: impl Into<String>) -> Result<Session> {
        let mut session = Session {
            store: self.clone(),
            lock: Lock::take(cx, &self.directory.join(LOCK), File::try_lock).await?,
            by: by.into(),
        };
        session.undo()?;
        Ok(session)
    }

    /// Ends every session: whoever holds the lock file of before holds nothing any more, and finds
    /// that out at its next write.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn terminate_sessions(&self) -> Result<()> {
        put(&self.directory.join(LOCK), Some(""))
    }

    fn journal(&self) -> Result<Option<Journal>> {
        let text = text(&self.directory.join(JOURNAL))?;
        text.map(|text| parse(JOURNAL, &text)).transpose()
    }
}

impl View {
    /// The files, if nobody left anything unfinished in them.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`], naming who did.
    pub fn complete(self) -> Result<Image> {
        let Some(by) = self.unfinished else {
            return Ok(self.files);
        };
        let message = format!("`{by}` was interrupted, and the store holds a half of it");
        Err(Error::new(ErrorKind::Environment, message)
            .with_hint("run it again, or roll back first"))
    }
}

impl Session {
    /// The files as this session sees them.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn files(&self) -> Result<Image> {
        files(&self.store.directory)
    }

    /// Writes a file, or removes it. Before the first one, all of them go into the journal.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the session was terminated, [`ErrorKind::Io`].
    pub fn write(&mut self, name: &str, new: Option<&str>) -> Result<()> {
        self.lock.still_held()?;
        let journal = self.store.directory.join(JOURNAL);
        if !journal.exists() {
            let (by, before) = (self.by.clone(), self.files()?);
            put(&journal, Some(&to_json(&Journal { by, before })?))?;
        }
        put(&self.store.directory.join(name), new)
    }

    /// Makes the files those of an image.
    ///
    /// # Errors
    /// Those of [`write`](Self::write), [`ErrorKind::Timeout`], [`ErrorKind::Cancelled`].
    pub async fn replace(&mut self, cx: &UpgradeContext, image: &Image) -> Result<()> {
        for (name, new) in differences(&self.files()?, image) {
            self.write(&name, new.as_deref())?;
            // So that it can be cancelled between two files.
            cx.bounded("replace the files", tokio::task::yield_now())
                .await?;
        }
        Ok(())
    }

    /// Commits all that the session wrote, and ends it. The commit is the removal of the journal.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the session was terminated, [`ErrorKind::Io`].
    pub fn commit(self) -> Result<()> {
        self.lock.still_held()?;
        put(&self.store.directory.join(JOURNAL), None)
    }

    /// Puts back what is in the journal.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the session was terminated, [`ErrorKind::Io`].
    pub fn undo(&mut self) -> Result<()> {
        self.lock.still_held()?;
        if let Some(journal) = self.store.journal()? {
            for (name, before) in differences(&self.files()?, &journal.before) {
                put(&self.store.directory.join(name), before.as_deref())?;
            }
            put(&self.store.directory.join(JOURNAL), None)?;
        }
        Ok(())
    }
}

/// The files that differ between two images, by name, as they are in the second.
pub(crate) fn differences(from: &Image, to: &Image) -> BTreeMap<String, Option<String>> {
    let names = from.keys().chain(to.keys());
    names
        .filter(|name| from.get(*name) != to.get(*name))
        .map(|name| (name.clone(), to.get(name).cloned()))
        .collect()
}

/// A lock of the kernel, which dies with its owner.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits for it. The kernel does not tell when it is free, so it is asked again and again.
    pub(crate) async fn take(
        cx: &UpgradeContext,
        path: &Path,
        kind: fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Self> {
        let taken = async {
            loop {
                match Self::try_take(path, kind)? {
                    Some(lock) if lock.still_held().is_ok() => return Ok(lock),
                    // It was replaced between the opening and the locking.
                    Some(_) => {}
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        cx.bounded("the lock of the store", taken).await?
    }

    /// Takes it if nobody has it.
    pub(crate) fn try_take(
        path: &Path,
        kind: fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Option<Self>> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(path);
        let file = file.map_err(at(path))?;
        match kind(&file) {
            Ok(()) => Ok(Some(Self {
                file,
                path: path.to_owned(),
            })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(at(path)(source)),
        }
    }

    fn still_held(&self) -> Result<()> {
        let ours = self.file.metadata().map_err(at(&self.path))?.ino();
        match fs::metadata(&self.path) {
            Ok(there) if there.ino() == ours => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Unavailable,
                "the session was terminated",
            )),
        }
    }
}

/// The files of a directory that are part of what it stores.
pub(crate) fn files(directory: &Path) -> Result<Image> {
    let mut image = Image::new();
    for entry in fs::read_dir(directory).map_err(at(directory))? {
        let name = entry.map_err(at(directory))?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".json") && !name.starts_with('.') {
            let file = text(&directory.join(&*name))?;
            image.extend(file.map(|text| (name.into_owned(), text)));
        }
    }
    Ok(image)
}

/// What a file holds; nothing if it is not there.
pub(crate) fn text(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).map_err(at(path)),
    }
}

/// Writes a file so that it is there as a whole or not at all, also after a power cut; or removes
/// it.
pub(crate) fn put(path: &Path, text: Option<&str>) -> Result<()> {
    let done = match text {
        Some(text) => {
            let new = path.with_extension("new");
            File::create(&new).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                fs::rename(&new, path)
            })
        }
        None => match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        },
    };
    done.map_err(at(path))
}

pub(crate) fn parse<T: for<'a> Deserialize<'a>>(name: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| {
        Error::new(ErrorKind::Database, format!("file `{name}` cannot be read")).with_source(source)
    })
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|source| {
        Error::new(ErrorKind::Internal, "a value has no JSON").with_source(source)
    })
}

/// An error that names the file.
pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| {
        let message = format!("`{}` could not be read or written", path.display());
        Error::new(ErrorKind::Io, message).with_source(source)
    }
}
