//! What an upgrade of a real system intended and what it did: on disk before the next side effect, in
//! the order in which it happened, and chained so that nobody changes it unnoticed.
//!
//! The journal outlasts a process that is killed. The next one reads from it, and from nothing
//! else, where the upgrade stands. It is the audit trail as well, so the two cannot contradict one
//! another.
//!
//! - A [`JournalStore`] keeps bytes: [`FileStore`] in a file, [`MemoryStore`] for tests. Another one (an
//!   object store, a database that is not upgraded) implements four methods.
//! - A [`Journal`] appends [`Entry`]s to a store and makes [`Record`]s of them: numbered, with the time,
//!   who did it and where, and with the hash of the record before.
//! - [`Runner::with_journal`](crate::Runner::with_journal) has a run write what it intends and does.
//! - [`Standing`] is where an upgrade stands, told from the records alone.
//! - [`verify`] checks a journal that somebody has sent, and answers with its [`Chain`].
//!
//! # The file
//!
//! One JSON object in each line. Its last field, `hash`, is the BLAKE3 hash of the line without that
//! field; `prev` is the hash of the line before, 64 zeros in the first. So a changed, removed, moved or
//! added line shows. Lines that are missing at the end do not: a chain is as long as the file. Whoever
//! has seen a later [`Head`], in a notification for instance, can tell ([`Chain::contains`]).
//!
//! A last line that was cut off was never acknowledged, so nothing has been done because of it. It is
//! removed when the journal is opened, and its text is in an [`Entry::Repaired`]. Anything else that is
//! wrong is refused, with the number of the line.

mod chain;
mod file;
mod memory;
mod record;
mod standing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};

use crate::environment::Claim;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::RunId;
use crate::redact::Secrets;
use crate::secret::Secret;

pub use self::chain::{Chain, Head, verify};
pub use self::file::FileStore;
pub use self::memory::MemoryStore;
pub use self::record::{Actor, Ended, Entry, FORMAT, Record};
pub use self::standing::{Standing, State};

/// Keeps the bytes of a journal.
///
/// # Behavior
/// One process at a time has a store open for writing, as long as the store lives; the second one gets
/// an error. The lock ends with the process, however it ends.
#[async_trait]
pub trait JournalStore: fmt::Debug + Send + Sync + 'static {
    /// Where it is, for messages: a path, an address.
    fn place(&self) -> String;

    /// All bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Unavailable`].
    async fn read(&self) -> Result<Vec<u8>>;

    /// Appends bytes. When it returns they outlast a crash of the machine.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Unavailable`]: the bytes are then not there, or the store accepts
    /// no more until it is reopened.
    async fn append(&self, bytes: &[u8]) -> Result<()>;

    /// Removes all bytes behind the first `length`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Unavailable`].
    async fn cut(&self, length: u64) -> Result<()>;
}

/// A journal that is open for writing.
///
/// Clones write into the same journal. A call that is dropped before it ends has written its record as a
/// whole, or nothing of it.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Box<dyn JournalStore>,
    actor: Actor,
    secrets: Secrets,
    /// The record of the process that had it open before and did not close it.
    died: Option<Record>,
    chain: Mutex<Chain>,
    /// The number of the last record, for who waits for the next one.
    appended: watch::Sender<u64>,
}

impl Journal {
    /// Opens a journal about a target, such as `orders on db1.example.org`; an empty store becomes one.
    /// It writes who opens it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] names the line that is not as it was written;
    /// [`ErrorKind::Unsupported`] for a newer format; [`ErrorKind::Refused`] for the journal of
    /// another target; and the errors of the store.
    pub async fn open(store: impl JournalStore, target: &str, actor: Actor) -> Result<Self> {
        let place = store.place();
        let bytes = store.read().await?;
        let (mut chain, torn) = Chain::read(&bytes, &place)?;
        if let Some(other) = chain.target()
            && other != target
        {
            let message = format!("`{place}` is the journal of `{other}`, not of `{target}`");
            return Err(Error::new(ErrorKind::Refused, message)
                .with_hint("each target needs its own journal: name another file"));
        }
        let died = chain.left_open().cloned();
        if torn.is_some() {
            store.cut(chain.length()).await?;
        } else if chain.lacks_newline() {
            store.append(b"\n").await?;
        }
        chain.end_line();
        let journal = Self(Arc::new(Inner {
            store: Box::new(store),
            actor,
            secrets: Secrets::default(),
            died,
            appended: watch::Sender::new(chain.head().seq),
            chain: Mutex::new(chain),
        }));
        let target = target.to_owned();
        journal.append(None, Entry::Opened { target }).await?;
        if let Some(torn) = torn {
            let cut_off = String::from_utf8_lossy(torn).into_owned();
            journal.append(None, Entry::Repaired { cut_off }).await?;
        }
        Ok(journal)
    }

    /// Keeps a value out of everything that is written from now on. Passwords in URLs are left out in any
    /// case.
    pub fn hide(&self, secret: &Secret) {
        self.0.secrets.add(secret);
    }

    /// Where it is.
    pub fn place(&self) -> String {
        self.0.store.place()
    }

    /// The system that it is about, as [`open`](Self::open) was told.
    pub async fn target(&self) -> String {
        let chain = self.0.chain.lock().await;
        chain.target().unwrap_or_default().to_owned()
    }

    /// What tells it from every other journal, also as a copy in another place: the first 16 digits of the
    /// hash of its first record.
    pub async fn id(&self) -> String {
        self.0.chain.lock().await.id()
    }

    /// The claim of its operation on a system, since now.
    pub async fn claim(&self) -> Claim {
        let (actor, host) = (self.0.actor.name(), self.0.actor.host());
        Claim::new(self.id().await, self.place(), actor, host)
    }

    /// Who writes it.
    pub fn actor(&self) -> &Actor {
        &self.0.actor
    }

    /// Who had it open before and was killed, or crashed: the record of the opening, which no closing
    /// follows.
    pub fn died(&self) -> Option<&Record> {
        self.0.died.as_ref()
    }

    /// Appends an entry, and answers with its record once that outlasts a crash of the machine.
    ///
    /// # Errors
    /// Those of the store. The entry is then not in the journal, so what it is about may not be done.
    pub async fn append(&self, run: Option<&RunId>, entry: Entry) -> Result<Record> {
        let inner = Arc::clone(&self.0);
        let run = run.cloned();
        // It goes on when the caller drops the call: half a record would be the end of the journal.
        let writing = tokio::spawn(async move {
            let mut chain = inner.chain.lock().await;
            // What a rollback keeps is a schema, in which `password = x` is an expression. Secrets that are
            // known are refused there, too.
            let keeps = matches!(entry, Entry::Kept { .. });
            let (record, line) = chain.next(&inner.actor, run, &entry, &|text| match keeps {
                true => inner.secrets.redact_known(text),
                false => inner.secrets.redact(text),
            })?;
            inner
                .store
                .append(line.as_bytes())
                .await
                .map_err(|error| error.with_context("journal", inner.store.place()))?;
            chain.push(record.clone(), &line);
            inner.appended.send_replace(record.seq);
            Ok(record)
        });
        match writing.await {
            Ok(result) => result,
            Err(error) => Err(
                Error::new(ErrorKind::Internal, "the journal was not written").with_source(error),
            ),
        }
    }

    /// All records, the oldest first.
    pub async fn records(&self) -> Vec<Record> {
        self.0.chain.lock().await.records().to_vec()
    }

    /// The number and the hash of the last record, for receivers that can then witness it.
    pub async fn head(&self) -> Head {
        self.0.chain.lock().await.head().clone()
    }

    /// Reads the records with their hashes. Nothing is appended until the reader returns.
    pub(crate) async fn read<T>(&self, reader: impl FnOnce(&Chain) -> T) -> T {
        reader(&*self.0.chain.lock().await)
    }

    /// The number of the last record, and of each that is appended.
    pub(crate) fn appended(&self) -> watch::Receiver<u64> {
        self.0.appended.subscribe()
    }

    /// Writes that this process is done with it. Without that, the next one takes it for killed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn close(self) -> Result<Head> {
        self.append(None, Entry::Closed).await?;
        Ok(self.head().await)
    }
}
