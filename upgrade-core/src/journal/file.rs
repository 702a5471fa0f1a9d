//! A journal in a file.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::{Chain, JournalStore};
use crate::error::{Error, ErrorKind, Result};
use crate::lease::{FileLease, Mode};

/// A journal in a file, which this process alone may write while the store lives: the kernel's lock on
/// it ends with the process. It is made for its user alone (mode 0600).
///
/// The file has to be on a local disk, outside of the database that is upgraded.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    lease: FileLease,
    /// Bytes that outlast a crash.
    length: u64,
    /// Why nothing may be appended any more: what is on disk is not known.
    broken: bool,
}

impl FileStore {
    /// Opens a file, or makes it; its folder has to exist.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] while another process has it open, with who that is;
    /// [`ErrorKind::Io`] for a file that cannot be made, read or written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |doing: &str, source: io::Error| {
            let message = format!("the journal `{}` cannot be {doing}", path.display());
            Error::new(ErrorKind::Io, message).with_source(source)
        };
        let lease = FileLease::try_take(path, Mode::Exclusive)
            .map_err(|source| failed("opened", source))?;
        let Some(mut lease) = lease else {
            return Err(held(path));
        };
        let length = lease
            .file()
            .metadata()
            .map_err(|source| failed("read", source))?
            .len();
        if length == 0 {
            // Its name has to outlast a crash, too.
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))
                .and_then(|folder| folder.sync_all())
                .map_err(|source| failed("made", source))?;
        }
        Ok(Self {
            path: path.to_owned(),
            open: Mutex::new(Open {
                lease,
                length,
                broken: false,
            }),
        })
    }

    fn failed(&self, doing: &str, source: io::Error) -> Error {
        let message = format!("the journal `{}` cannot be {doing}", self.path.display());
        Error::new(ErrorKind::Io, message).with_source(source)
    }

    fn locked<T>(&self, act: impl FnOnce(&mut Open) -> T) -> T {
        act(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The error of a second process, which names the first.
fn held(path: &Path) -> Error {
    let place = path.display().to_string();
    let message = format!("the journal `{place}` is in use by another process");
    let error = Error::new(ErrorKind::Refused, message)
        .with_hint("wait until that process has ended, or end it; then run this again");
    let Ok(bytes) = std::fs::read(path) else {
        return error;
    };
    match Chain::read(&bytes, &place) {
        Ok((chain, _)) => match chain.left_open() {
            Some(record) => error
                .with_context("who", &record.actor)
                .with_context("host", &record.host)
                .with_context("process", record.pid)
                .with_context("since", &record.at),
            None => error,
        },
        Err(_) => error,
    }
}

#[async_trait]
impl JournalStore for FileStore {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    async fn read(&self) -> Result<Vec<u8>> {
        self.locked(|open| open.lease.read())
            .map_err(|source| self.failed("read", source))
    }

    async fn append(&self, bytes: &[u8]) -> Result<()> {
        self.locked(|open| {
            if open.broken {
                let error = io::Error::other("an earlier record did not reach the disk");
                return Err(self.failed("written", error).with_hint(
                    "look after the disk, then open the journal again: it says what is on it",
                ));
            }
            let file = open.lease.file();
            if let Err(source) = file.write_all(bytes) {
                // Half a line is cut off again, where the disk permits that.
                open.broken = file.set_len(open.length).is_err();
                return Err(self.failed("written", source));
            }
            if let Err(source) = file.sync_data() {
                // What the kernel has dropped it does not report a second time.
                open.broken = true;
                return Err(self.failed("written", source));
            }
            open.length += bytes.len() as u64;
            Ok(())
        })
    }

    async fn cut(&self, length: u64) -> Result<()> {
        self.locked(|open| {
            let file = open.lease.file();
            file.set_len(length).and_then(|()| file.sync_data())?;
            open.length = length;
            Ok(())
        })
        .map_err(|source| self.failed("repaired", source))
    }
}
