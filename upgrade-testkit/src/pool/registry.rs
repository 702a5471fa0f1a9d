//! The servers that the tests of this process share.
//!
//! The one piece of process-wide state: tests run on threads that know nothing of each other, and
//! a server for each would cost each its start. A registry keeps nothing alive; the last handle
//! that is dropped stops the server, so that a run that passes has no leftovers.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::OnceCell;

use super::worker::lock;

/// Servers by everything that tells one from another.
pub(super) struct Registry<T>(Mutex<BTreeMap<String, Weak<OnceCell<T>>>>);

/// A started server; the last one dropped stops it.
pub(super) struct Handle<T>(Arc<OnceCell<T>>);

impl<T> Registry<T> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The server of that key, if it is of use still; else it is started, by one thread at a time.
    pub(super) async fn get<E, Fut>(
        &self,
        key: String,
        is_of_use: impl Fn(&T) -> bool,
        start: impl FnOnce() -> Fut,
    ) -> Result<Handle<T>, E>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let cell = {
            let mut cells = lock(&self.0);
            cells.retain(|_, cell| cell.strong_count() > 0);
            let found = cells.get(&key).and_then(Weak::upgrade);
            let found = found.filter(|cell| cell.get().is_none_or(is_of_use));
            found.unwrap_or_else(|| {
                let cell = Arc::new(OnceCell::new());
                cells.insert(key, Arc::downgrade(&cell));
                cell
            })
        };
        cell.get_or_try_init(start).await?;
        Ok(Handle(cell))
    }
}

impl<T> Deref for Handle<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.get().expect("a handle is made after the start")
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(registry: &Registry<u32>, value: u32) -> Handle<u32> {
        let start = || async move { Ok::<_, ()>(value) };
        registry
            .get("a".to_owned(), |value| *value != 13, start)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn one_is_shared_until_the_last_handle_is_gone_or_it_is_of_no_use() {
        let registry = Registry::new();
        let first = get(&registry, 1).await;
        assert_eq!(*get(&registry, 2).await, 1);
        drop(first);
        let dead = get(&registry, 13).await;
        assert_eq!((*dead, *get(&registry, 4).await), (13, 4));
    }

    #[tokio::test]
    async fn a_failed_start_is_tried_again() {
        let registry = Registry::<u32>::new();
        let fail = || async { Err("no") };
        let failed = registry.get("a".to_owned(), |_| true, fail).await;
        assert_eq!(failed.err(), Some("no"));
        assert_eq!(*get(&registry, 5).await, 5);
    }
}
