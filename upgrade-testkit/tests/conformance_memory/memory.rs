//! A server of databases in memory: what the reference implementations stand on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{RwLock, oneshot};
use tokio::task::AbortHandle;
use upgrade_core::environment::{DATABASE, Endpoint, Endpoints};
use upgrade_core::{Error, ErrorKind, Result, UpgradeContext, Version};
use upgrade_testkit::conformance::Hold;

/// Rows by key, tables by name.
pub(crate) type Tables = BTreeMap<String, BTreeMap<String, String>>;

/// A server of this process; databases are found by URL.
#[derive(Debug, Default)]
pub(crate) struct Server {
    databases: Mutex<BTreeMap<String, Arc<Database>>>,
    made: Mutex<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Database {
    tables: Arc<RwLock<Tables>>,
    holders: Mutex<Vec<AbortHandle>>,
    /// Users write one at a time.
    pub(crate) writer: Arc<tokio::sync::Mutex<()>>,
    /// What runs on behalf of a migration.
    pub(crate) running: Mutex<Vec<String>>,
    /// Of each instance of the service.
    pub(crate) releases: Mutex<Vec<Version>>,
    pub(crate) log: Mutex<Vec<String>>,
    pub(crate) crashed: Mutex<bool>,
}

/// A mutex in a test has no state that a panic could break.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Orders and the lines of them.
pub(crate) fn populated() -> Tables {
    let rows = |rows: &[(&str, &str)]| {
        rows.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    BTreeMap::from([
        ("lines".to_owned(), rows(&[("l1", "o1"), ("l2", "o2")])),
        ("orders".to_owned(), rows(&[("o1", "new"), ("o2", "paid")])),
    ])
}

/// A table with one row, to be inserted.
pub(crate) fn row(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

impl Server {
    /// A new database; answers with its URL.
    pub(crate) fn create(&self, suffix: &str, tables: Tables) -> String {
        let number = {
            let mut made = lock(&self.made);
            *made += 1;
            *made
        };
        let url = format!("memory://{number}{suffix}");
        self.put(&url, tables);
        url
    }

    pub(crate) fn put(&self, url: &str, tables: Tables) {
        let database = Database {
            tables: Arc::new(RwLock::new(tables)),
            ..Database::default()
        };
        lock(&self.databases).insert(url.to_owned(), Arc::new(database));
    }

    pub(crate) fn get(&self, url: &str) -> Result<Arc<Database>> {
        lock(&self.databases)
            .get(url)
            .cloned()
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "there is no database at the URL"))
    }

    /// The database of one URL answers at another one.
    pub(crate) fn move_to(&self, url: &str, other: &str) {
        let mut databases = lock(&self.databases);
        if let Some(database) = databases.remove(url) {
            databases.insert(other.to_owned(), database);
        }
    }

    pub(crate) fn remove(&self, url: &str) {
        lock(&self.databases).remove(url);
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        lock(&self.databases).keys().cloned().collect()
    }

    /// The database of a context.
    pub(crate) fn open(&self, cx: &UpgradeContext) -> Result<Arc<Database>> {
        self.get(cx.endpoint(DATABASE)?.url().expose())
    }

    /// The database of a context, or whichever there is: what nobody may do.
    pub(crate) fn open_any(&self, cx: &UpgradeContext) -> Result<Arc<Database>> {
        self.open(cx).or_else(|error| {
            let first = self.urls().into_iter().next().ok_or(error)?;
            self.get(&first)
        })
    }
}

impl Database {
    pub(crate) async fn read(&self, cx: &UpgradeContext) -> Result<Tables> {
        let guard = cx.bounded("reading", self.tables.read()).await?;
        Ok(guard.clone())
    }

    pub(crate) async fn write(
        &self,
        cx: &UpgradeContext,
        change: impl FnOnce(&mut Tables),
    ) -> Result<()> {
        let mut guard = cx.bounded("writing", self.tables.write()).await?;
        change(&mut guard);
        Ok(())
    }

    /// A session that holds everything until it is terminated, or its client goes.
    pub(crate) async fn hold(&self) -> Hold {
        let tables = Arc::clone(&self.tables);
        let (held, holds) = oneshot::channel();
        let session = tokio::spawn(async move {
            let _guard = tables.write_owned().await;
            held.send(()).ok();
            std::future::pending::<()>().await;
        });
        holds.await.expect("the session takes what is free");
        lock(&self.holders).push(session.abort_handle());
        Box::new(Client(session.abort_handle()))
    }

    pub(crate) fn terminate_sessions(&self) {
        for session in lock(&self.holders).drain(..) {
            session.abort();
        }
    }

    /// The sessions that hold something.
    pub(crate) fn holding(&self) -> BTreeSet<String> {
        let holders = lock(&self.holders);
        let alive = holders.iter().filter(|session| !session.is_finished());
        alive.map(|session| session.id().to_string()).collect()
    }

    /// What a user can see.
    pub(crate) async fn state(&self) -> String {
        let mut tables = self.tables.read().await.clone();
        tables.remove(RECORD);
        format!("{tables:?}")
    }

    pub(crate) async fn record(&self) -> String {
        format!("{:?}", self.tables.read().await.get(RECORD))
    }

    /// One more row in `orders`, as a user adds it.
    pub(crate) async fn disturb(&self) {
        let _one_at_a_time = self.writer.lock().await;
        let mut tables = self.tables.write().await;
        let orders = tables.entry("orders".to_owned()).or_default();
        orders.insert(format!("o{}", orders.len() + 1), "added".to_owned());
    }
}

/// The table in which the migrations in memory are recorded.
pub(crate) const RECORD: &str = "_migrations";

#[derive(Debug)]
struct Client(AbortHandle);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A context at a database.
pub(crate) fn at(url: &str) -> UpgradeContext {
    UpgradeContext::new("1", "2")
        .with_endpoints(Endpoints::default().with(DATABASE, Endpoint::new(url)))
}

/// The same context without a deadline or without a cancellation: what an implementation makes
/// that ignores one of them.
pub(crate) fn deaf(cx: &UpgradeContext, deadline: bool, cancellation: bool) -> UpgradeContext {
    let mut other = UpgradeContext::new(cx.from().clone(), cx.to().clone())
        .with_endpoints(cx.endpoints().clone());
    if let (false, Some(at)) = (deadline, cx.deadline()) {
        other = other.with_deadline(at);
    }
    if !cancellation {
        other = other.with_cancellation(cx.cancellation().clone());
    }
    other
}
