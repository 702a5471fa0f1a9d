//! What an upgrade needs of a configuration.

use std::fmt;

use async_trait::async_trait;

use super::Digest;
use crate::context::UpgradeContext;
use crate::error::Result;
use crate::outcome::Outcome;

/// The configuration of a system: files that are switched together.
///
/// The order of the calls is: [`keep_live`](Self::keep_live) and [`keep_new`](Self::keep_new) before the
/// first change of an upgrade, [`switch`](Self::switch) with the services, `switch` with the two digests
/// exchanged in a rollback, [`forget`](Self::forget) when no rollback is possible any more.
///
/// Any of the calls may be killed at any moment, and is then called again, by another process. Every wait
/// ends at the deadline and on the cancellation of the context. A call that ended so may still do its
/// work for a moment, or not; the next call waits until that is over.
#[async_trait]
pub trait Configuration: fmt::Debug + Send + Sync + 'static {
    /// The name that a person reads in plans and reports.
    fn name(&self) -> &str;

    /// What is live now: keeps a copy of it, so that it can be switched to later, and answers with its
    /// digest.
    ///
    /// # Behavior
    /// - The live files stay as they are.
    /// - Called again it answers with the same digest, and keeps one copy, as long as nobody changes the
    ///   live files.
    /// - When it returns, the copy outlasts a crash of the machine.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) where nothing is live;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for what cannot be kept, with its path;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where this system cannot switch as a whole;
    /// [`Refused`](crate::ErrorKind::Refused) where this process could not restore the files as they are;
    /// and [`Io`](crate::ErrorKind::Io), also where somebody changes the files at this moment.
    async fn keep_live(&self, cx: &UpgradeContext) -> Result<Digest>;

    /// The configuration of the new release: keeps a copy of it and answers with its digest.
    ///
    /// # Behavior
    /// - As [`keep_live`](Self::keep_live), also when the new release is live already.
    /// - What the new release does not say about its files is taken from the live ones.
    ///
    /// # Errors
    /// As [`keep_live`](Self::keep_live).
    async fn keep_new(&self, cx: &UpgradeContext) -> Result<Digest>;

    /// Switches from one to the other, both of which were kept.
    ///
    /// # Behavior
    /// - After it was killed, the live configuration is exactly the one or exactly the other. Called again
    ///   it completes the switch.
    /// - [`Outcome::Done`]: `from` was live, and `to` is now, also after a crash of the machine.
    /// - [`Outcome::NothingToDo`]: `to` was live already.
    /// - [`Outcome::Failed`]: neither is live. It names the files that somebody edited, added or removed
    ///   since, never their content, and nothing is changed.
    /// - `from` is still kept afterwards.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for a digest that was not kept;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a copy that is damaged, with its place; and
    /// those of [`keep_live`](Self::keep_live). After [`Timeout`](crate::ErrorKind::Timeout),
    /// [`Cancelled`](crate::ErrorKind::Cancelled) and [`Io`](crate::ErrorKind::Io) either may be live, as a
    /// whole: a second call tells. After any other error nothing was changed.
    async fn switch(&self, cx: &UpgradeContext, from: &Digest, to: &Digest) -> Result<Outcome>;

    /// Gives up what was kept, but for what is live.
    ///
    /// # Behavior
    /// - The live files stay as they are.
    /// - Called again, or where nothing was kept, it does nothing.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) where nothing is live: everything is still kept then. Any
    /// other kind: some of it may still be kept.
    async fn forget(&self, cx: &UpgradeContext) -> Result<()>;
}
