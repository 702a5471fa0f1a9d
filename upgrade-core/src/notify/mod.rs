//! What happens in an operation reaches people: in a chat, an event receiver, a log.
//!
//! A [`Notification`] follows from one record of the [journal](crate::journal), so the journal is the
//! outbox: a process that is killed loses none, and the next process delivers the rest.
//!
//! - A [`Channel`] delivers notifications to one place. [`JsonLines`] writes them to a file or a pipe;
//!   `Webhook`, behind the feature `notify`, sends them by HTTP.
//! - An [`Outbox`] watches a journal and has each of its channels deliver. A run never waits for it.
//!
//! Each notification has the hash of its record ([`Notification::head`]). Whoever keeps it is a witness:
//! it shows later whether records are missing from the journal.

#[cfg(feature = "notify")]
mod format;
mod lines;
mod notification;
mod outbox;
#[cfg(feature = "notify")]
mod signature;
#[cfg(test)]
mod tests;
#[cfg(feature = "notify")]
mod webhook;

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;

#[cfg(feature = "notify")]
pub use self::format::Format;
pub use self::lines::JsonLines;
pub use self::notification::{Kind, Notification, Severity};
pub use self::outbox::{Outbox, OutboxHandle};
#[cfg(feature = "notify")]
pub use self::webhook::Webhook;

/// Delivers notifications to one place: a chat, an event receiver, a file.
///
/// # Behavior
/// - Notifications are delivered in the order of their records, one at a time.
/// - A notification can be delivered more than once, also by different processes. It then has the same
///   [id](Notification::id): a receiver that must not act twice remembers the ids.
/// - A delivery ends within a time limit of the channel, also where the receiver does not answer. The
///   outbox has no time limit.
/// - A delivery can be dropped before it ends. The notification is then delivered again later.
///
/// ```
/// use upgrade_core::Result;
/// use upgrade_core::notify::{Channel, Notification};
///
/// #[derive(Debug)]
/// struct Pager;
///
/// #[async_trait::async_trait]
/// impl Channel for Pager {
///     fn name(&self) -> &str {
///         "pager"
///     }
///
///     async fn deliver(&self, notification: &Notification) -> Result<()> {
///         eprintln!("{}", notification.title);
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Channel: fmt::Debug + Send + Sync + 'static {
    /// The name of the channel in the journal. It is unique in an [`Outbox`] and stays the same in every
    /// process: under another name the channel is a new one.
    fn name(&self) -> &str;

    /// Delivers a notification.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable), [`Timeout`](crate::ErrorKind::Timeout) and
    /// [`Io`](crate::ErrorKind::Io): the delivery is tried again. Any other kind: the receiver refuses the
    /// notification, which is given up. The text of the error is written into the journal, so it must hold
    /// no secret.
    async fn deliver(&self, notification: &Notification) -> Result<()>;
}
