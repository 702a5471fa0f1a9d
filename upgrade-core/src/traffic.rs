//! Requests that users make all the time, also while an upgrade is under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::validator::Validator;

/// Requests of users that go on while services are replaced and during a rollback, each
/// judged when it is answered.
///
/// One request is one call of a [`Validator`]: [`Pass`](crate::Verdict::Pass) is a good answer,
/// [`Fail`](crate::Verdict::Fail) is a wrong one, and an error, or no answer in time, is a request
/// that was lost. A request may read, and it may add rows; rows that it changes would be taken for a
/// loss of the upgrade, but in tables that it [names](Self::with_changes), and so would rows that it
/// deletes. What it needs to remember, such as the writes that were acknowledged, the validator keeps
/// itself.
///
/// ```
/// use std::time::Duration;
/// use upgrade_core::{Traffic, Verdict, validator_fn};
///
/// let requests = validator_fn("orders are placed", |_cx| async { Ok(Verdict::Pass) });
/// let traffic = Traffic::new(requests)
///     .with_users(8)
///     .with_slow_after(Duration::from_millis(500))
///     .with_most_lost(3);
/// assert_eq!(traffic.name(), "orders are placed");
/// ```
#[derive(Debug, Clone)]
pub struct Traffic {
    pub(crate) request: Arc<dyn Validator>,
    pub(crate) users: u32,
    pub(crate) pause: Duration,
    pub(crate) slow_after: Duration,
    pub(crate) lost_after: Duration,
    pub(crate) most_lost: u64,
    /// The tables in which rows change, each with the reason.
    pub(crate) changes: BTreeMap<String, String>,
}

impl Traffic {
    /// Requests of four users, each of whom waits for an answer and 10 ms before the next one. A
    /// request is slow after 1 s and lost after 10 s; none may be lost.
    pub fn new(request: impl Validator) -> Self {
        Self {
            request: Arc::new(request),
            users: 4,
            pause: Duration::from_millis(10),
            slow_after: Duration::from_secs(1),
            lost_after: Duration::from_secs(10),
            most_lost: 0,
            changes: BTreeMap::new(),
        }
    }

    /// Sets the number of concurrent users, at least 1. Default: 1.
    #[must_use]
    pub fn with_users(mut self, users: u32) -> Self {
        self.users = users.max(1);
        self
    }

    /// Sets how long each user waits between an answer and the next request.
    #[must_use]
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// A request that takes longer is slow.
    #[must_use]
    pub fn with_slow_after(mut self, limit: Duration) -> Self {
        self.slow_after = limit;
        self
    }

    /// A request that is not answered in this time is lost.
    #[must_use]
    pub fn with_lost_after(mut self, limit: Duration) -> Self {
        self.lost_after = limit;
        self
    }

    /// Sets how many requests may be lost in one step; more fail the upgrade.
    #[must_use]
    pub fn with_most_lost(mut self, count: u64) -> Self {
        self.most_lost = count;
        self
    }

    /// Rows of a table (`public.totals`) change by its requests, such as counts that a trigger
    /// keeps, and why. A row of it with other values is then no finding while users go on; a
    /// missing row still is.
    #[must_use]
    pub fn with_changes(mut self, table: impl Into<String>, reason: impl Into<String>) -> Self {
        self.changes.insert(table.into(), reason.into());
        self
    }

    /// The name of its requests, as reports give it.
    pub fn name(&self) -> &str {
        self.request.name()
    }
}
