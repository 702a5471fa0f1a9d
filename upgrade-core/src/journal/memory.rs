//! A store for tests.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::JournalStore;
use crate::error::{Error, ErrorKind, Result};

/// A store in memory, for tests. Clones share the bytes, so that one outlasts the journal.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Bytes>>);

#[derive(Debug, Default)]
struct Bytes {
    bytes: Vec<u8>,
    /// How many appends succeed before one fails half-way.
    fails_after: Option<u32>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// One with these bytes.
    pub fn with(bytes: impl Into<Vec<u8>>) -> Self {
        let store = Self::new();
        store.locked(|it| it.bytes = bytes.into());
        store
    }

    /// Has an append fail after `appends` more that succeed; half of its bytes stay, as after a crash.
    pub fn fail_after(&self, appends: u32) {
        self.locked(|it| it.fails_after = Some(appends));
    }

    /// What it holds.
    pub fn bytes(&self) -> Vec<u8> {
        self.locked(|it| it.bytes.clone())
    }

    fn locked<T>(&self, act: impl FnOnce(&mut Bytes) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl JournalStore for MemoryStore {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    async fn read(&self) -> Result<Vec<u8>> {
        Ok(self.bytes())
    }

    async fn append(&self, bytes: &[u8]) -> Result<()> {
        // As a store elsewhere would: the caller may have dropped the call when it goes on.
        tokio::task::yield_now().await;
        self.locked(|it| match &mut it.fails_after {
            Some(0) => {
                it.bytes.extend(&bytes[..bytes.len() / 2]);
                Err(Error::new(ErrorKind::Io, "the store has failed, as asked"))
            }
            left => {
                if let Some(left) = left {
                    *left -= 1;
                }
                it.bytes.extend(bytes);
                Ok(())
            }
        })
    }

    async fn cut(&self, length: u64) -> Result<()> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.locked(|it| it.bytes.truncate(length));
        Ok(())
    }
}
