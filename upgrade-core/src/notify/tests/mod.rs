//! Which records reach people, and that they do, whatever fails.

mod delivery;
#[cfg(feature = "notify")]
mod formats;
#[cfg(feature = "notify")]
mod http;
mod lines;
mod meaning;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::journal::{Actor, Entry, Journal, MemoryStore, verify};

const TARGET: &str = "orders on db1";

async fn open(store: &MemoryStore) -> Journal {
    let actor = Actor::new("ann").on("host1");
    Journal::open(store.clone(), TARGET, actor).await.unwrap()
}

async fn note(journal: &Journal, message: impl ToString) -> u64 {
    let message = message.to_string();
    let written = journal.append(None, Entry::Note { message }).await;
    written.unwrap().seq
}

/// All notifications of a journal.
fn all(store: &MemoryStore) -> Vec<Notification> {
    let chain = verify(&store.bytes()).unwrap();
    let records = chain.records().iter();
    records
        .filter_map(|record| Notification::of(&chain, record.seq))
        .collect()
}

/// What the journal says about a channel: up to which record, and why not.
fn notified(store: &MemoryStore, name: &str) -> Vec<(u64, Option<String>)> {
    let chain = verify(&store.bytes()).unwrap();
    let records = chain.records().iter();
    let of_channel = records.filter_map(|one| match &one.entry {
        Entry::Notified {
            channel,
            record,
            failed,
        } if channel == name => Some((*record, failed.clone())),
        _ => None,
    });
    of_channel.collect()
}

/// A channel that remembers what it got. Clones are the same channel.
#[derive(Debug, Clone)]
struct Fake {
    name: &'static str,
    got: watch::Sender<Vec<Notification>>,
    tries: Arc<Mutex<Vec<Instant>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

/// What a channel does with the next try.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Takes,
    /// It takes the notification, and its answer is lost.
    TakesAnd(ErrorKind),
    Fails(ErrorKind),
    Hangs,
}

impl Fake {
    fn new(name: &'static str, answers: impl IntoIterator<Item = Answer>) -> Self {
        Self {
            name,
            got: watch::Sender::default(),
            tries: Arc::default(),
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
        }
    }

    fn got(&self) -> Vec<Notification> {
        self.got.borrow().clone()
    }

    fn seqs(&self) -> Vec<u64> {
        self.got.borrow().iter().map(|one| one.seq).collect()
    }

    async fn has_got(&self, count: usize) {
        let mut got = self.got.subscribe();
        let waiting = got.wait_for(|all| all.len() >= count);
        tokio::time::timeout(Duration::from_secs(600), waiting)
            .await
            .unwrap_or_else(|_| panic!("{:?} has got {:?}", self.name, self.seqs()))
            .unwrap();
    }

    fn tries(&self) -> Vec<Instant> {
        self.tries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[async_trait]
impl Channel for Fake {
    fn name(&self) -> &str {
        self.name
    }

    async fn deliver(&self, notification: &Notification) -> Result<()> {
        self.tries.lock().unwrap().push(Instant::now());
        let answer = self.answers.lock().unwrap().pop_front();
        match answer.unwrap_or(Answer::Takes) {
            Answer::Takes => {}
            Answer::TakesAnd(kind) => {
                self.got.send_modify(|got| got.push(notification.clone()));
                return Err(Error::new(kind, "the answer was lost"));
            }
            Answer::Fails(kind) => return Err(Error::new(kind, "the receiver is down")),
            Answer::Hangs => std::future::pending().await,
        }
        self.got.send_modify(|got| got.push(notification.clone()));
        Ok(())
    }
}
