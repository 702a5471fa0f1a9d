//! Delivers what a journal holds, in the background.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Channel, Notification};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Chain, Entry, Journal};

/// Delivers the [notifications](Notification) of a journal to channels, while the operation goes on.
///
/// - Each channel is served by its own task: one that is slow or dead delays neither the others nor the
///   operation.
/// - A channel that is new to the journal begins with the record after its first start. A channel that
///   the journal knows begins where the process before ended, also where that process was killed.
/// - A delivery that fails is tried again after 1 s, then after twice the time of the wait before, at
///   most 60 s. After 10 tries, or when the channel refuses, the notification is given up.
/// - What was delivered and what was given up is in the journal ([`Entry::Notified`]). Where several
///   are delivered without a wait, only the last one is.
///
/// ```
/// use std::time::Duration;
///
/// use upgrade_core::journal::{Actor, Entry, Journal, MemoryStore};
/// use upgrade_core::notify::{JsonLines, Outbox};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let journal = Journal::open(MemoryStore::new(), "orders on db1", Actor::new("ann")).await?;
/// let outbox = Outbox::new(journal.clone())
///     .with_channel(JsonLines::new(Vec::new()))
///     .start()
///     .await?;
/// let message = "the window is open until 23:00".to_owned();
/// journal.append(None, Entry::Note { message }).await?;
/// let remaining = outbox.close(Duration::from_secs(30)).await;
/// assert_eq!(remaining["json-lines"], 0);
/// # Ok::<(), upgrade_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Outbox {
    journal: Journal,
    channels: Vec<Arc<dyn Channel>>,
    pub(super) patience: Patience,
}

/// How long a delivery is tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The wait before the second try; each further wait is twice as long.
    pub(super) first: Duration,
    /// The longest wait.
    pub(super) longest: Duration,
    /// After how many tries a notification is given up.
    pub(super) tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            tries: 10,
        }
    }
}

impl Outbox {
    /// An outbox of a journal, without channels.
    pub fn new(journal: Journal) -> Self {
        Self {
            journal,
            channels: Vec::new(),
            patience: Patience::default(),
        }
    }

    /// Adds a channel.
    #[must_use]
    pub fn with_channel(mut self, channel: impl Channel) -> Self {
        self.channels.push(Arc::new(channel));
        self
    }

    /// Begins to deliver, first what an earlier process has not delivered. What is appended after this
    /// call is delivered to every channel.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for two channels of one name; the errors of the journal's store.
    pub async fn start(self) -> Result<OutboxHandle> {
        let mut names = BTreeSet::new();
        for channel in &self.channels {
            let name = channel.name();
            if !names.insert(name.to_owned()) {
                let message = format!("two channels have the name `{name}`");
                return Err(Error::new(ErrorKind::InvalidInput, message)
                    .with_hint("the journal tells channels apart by their names: rename one"));
            }
        }
        let mut handle = OutboxHandle {
            journal: self.journal,
            names,
            tasks: JoinSet::new(),
            closing: CancellationToken::new(),
            stopping: CancellationToken::new(),
        };
        for channel in self.channels {
            let mut courier = Courier {
                journal: handle.journal.clone(),
                channel,
                patience: self.patience,
                closing: handle.closing.clone(),
                stopping: handle.stopping.clone(),
                read: 0,
                settled: 0,
                written: 0,
            };
            courier.begin().await?;
            handle.tasks.spawn(courier.run());
        }
        Ok(handle)
    }
}

/// The tasks of an [`Outbox`] that was started. Dropped, it ends them; the next process then delivers the
/// rest. They hold the journal open, so the outbox is closed before the journal.
#[derive(Debug)]
#[must_use = "nothing is delivered once the handle is dropped"]
pub struct OutboxHandle {
    journal: Journal,
    names: BTreeSet<String>,
    tasks: JoinSet<()>,
    closing: CancellationToken,
    stopping: CancellationToken,
}

impl OutboxHandle {
    /// Waits until everything is delivered or given up, at most for a time; then stops. Answers with the
    /// number of notifications that remain, for each channel by its name: the next process delivers them.
    pub async fn close(mut self, within: Duration) -> BTreeMap<String, usize> {
        self.closing.cancel();
        if timeout(within, self.join()).await.is_err() {
            self.stopping.cancel();
            self.join().await;
        }
        let remaining = |chain: &Chain| {
            let of = |name: &String| {
                let settled = settled(chain, name).unwrap_or_default();
                (name.clone(), since(chain, settled).count())
            };
            self.names.iter().map(of).collect()
        };
        self.journal.read(remaining).await
    }

    async fn join(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::warn!(%error, "a channel of notifications has failed");
            }
        }
    }
}

/// Up to which record a channel has delivered or given up all; `None` where the journal does not know it.
fn settled(chain: &Chain, channel: &str) -> Option<u64> {
    let of_channel = chain.records().iter().filter_map(|one| match &one.entry {
        Entry::Notified {
            channel: name,
            record,
            ..
        } if name == channel => Some(*record),
        _ => None,
    });
    of_channel.max()
}

/// The notifications of the records after one.
fn since(chain: &Chain, seq: u64) -> impl Iterator<Item = Notification> {
    (seq + 1..=chain.head().seq).filter_map(|seq| Notification::of(chain, seq))
}

/// Serves one channel.
struct Courier {
    journal: Journal,
    channel: Arc<dyn Channel>,
    patience: Patience,
    /// Ends it once nothing is pending.
    closing: CancellationToken,
    /// Ends it now.
    stopping: CancellationToken,
    /// The last record that was read.
    read: u64,
    /// The last record whose notification was delivered or given up.
    settled: u64,
    /// The same, as the journal has it.
    written: u64,
}

/// What became of a notification.
enum Fate {
    Delivered,
    GivenUp(String),
    /// Nothing yet: the outbox stops.
    Stopped,
}

impl Courier {
    /// Finds out where it begins.
    async fn begin(&mut self) -> Result<()> {
        let name = self.channel.name();
        let known = self.journal.read(|chain| settled(chain, name)).await;
        let from = match known {
            Some(settled) => settled,
            None => {
                let head = self.journal.head().await.seq;
                self.write(head, None).await?;
                head
            }
        };
        (self.read, self.settled, self.written) = (from, from, from);
        Ok(())
    }

    async fn run(mut self) {
        let mut appended = self.journal.appended();
        loop {
            let closing = self.closing.is_cancelled();
            appended.borrow_and_update();
            if let Err(error) = self.deliver_pending().await {
                // What is not in the journal is delivered by the next process.
                let channel = self.channel.name();
                tracing::warn!(
                    channel,
                    ?error,
                    "notifications end: the journal was not written"
                );
                return;
            }
            if closing && !appended.has_changed().unwrap_or(false) {
                return;
            }
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                changed = appended.changed() => if changed.is_err() {
                    return;
                },
                () = self.closing.cancelled(), if !closing => {}
            }
        }
    }

    /// Delivers everything that the journal holds.
    async fn deliver_pending(&mut self) -> Result<()> {
        let read = self.read;
        let unread = |chain: &Chain| (chain.head().seq, since(chain, read).collect::<Vec<_>>());
        let (head, pending) = self.journal.read(unread).await;
        for notification in pending {
            match self.deliver(&notification).await? {
                Fate::Delivered => {}
                Fate::GivenUp(why) => {
                    self.write_settled().await?;
                    let (channel, id) = (self.channel.name(), &notification.id);
                    tracing::warn!(channel, id, why, "a notification was given up");
                    self.write(notification.seq, Some(why)).await?;
                    self.written = notification.seq;
                }
                Fate::Stopped => return self.write_settled().await,
            }
            (self.read, self.settled) = (notification.seq, notification.seq);
        }
        self.read = head;
        self.write_settled().await
    }

    async fn deliver(&mut self, notification: &Notification) -> Result<Fate> {
        let Patience {
            first,
            longest,
            tries,
        } = self.patience;
        let mut wait = first;
        for tried in 1.. {
            let delivered = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Ok(Fate::Stopped),
                delivered = self.channel.deliver(notification) => delivered,
            };
            let Err(error) = delivered else {
                break;
            };
            if !may_pass(error.kind()) || tried >= tries {
                return Ok(Fate::GivenUp(in_one_line(&error)));
            }
            // A wait can be long, and what was delivered would be delivered again after a kill.
            self.write_settled().await?;
            tokio::select! {
                () = self.stopping.cancelled() => return Ok(Fate::Stopped),
                () = sleep(wait) => wait = (wait * 2).min(longest),
            }
        }
        Ok(Fate::Delivered)
    }

    async fn write_settled(&mut self) -> Result<()> {
        if self.settled > self.written {
            self.write(self.settled, None).await?;
            self.written = self.settled;
        }
        Ok(())
    }

    async fn write(&self, record: u64, failed: Option<String>) -> Result<()> {
        let channel = self.channel.name().to_owned();
        let entry = Entry::Notified {
            channel,
            record,
            failed,
        };
        self.journal.append(None, entry).await.map(drop)
    }
}

/// Whether a delivery may succeed when it is tried again.
fn may_pass(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Io
    )
}

/// An error with its causes.
fn in_one_line(error: &Error) -> String {
    let first: &dyn StdError = error;
    let chain = iter::successors(Some(first), |error| (*error).source());
    chain
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
