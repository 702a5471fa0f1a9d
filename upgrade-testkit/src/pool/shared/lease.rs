//! Advisory locks of this process on a shared server: leases of databases, and slots.
//!
//! They are held by one session that belongs to the process, so they end with it, however it
//! ends. Advisory locks are counted within a session and local to a database: what this process
//! holds already is remembered here, and every process connects to the same maintenance database.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;

use super::super::error::PoolError;
use super::super::worker::lock;
use super::budget::BudgetFacts;

/// The first half of the lock of a slot: "upgr".
const SLOT_CLASS: i32 = 0x7570_6772;

/// The first half of the lock of a process: "upgp".
const PROCESS_CLASS: i32 = 0x7570_6770;

/// Lets a process use the server, for as long as `session` lives, if fewer than `processes` do.
pub(super) async fn admit(session: &mut PgConnection, processes: u32) -> Result<bool, PoolError> {
    let free: Option<i32> = sqlx::query_scalar(
        "select n from generate_series(0, $1 - 1) n where pg_try_advisory_lock($2, n) limit 1",
    )
    .bind(processes.cast_signed())
    .bind(PROCESS_CLASS)
    .fetch_optional(session)
    .await
    .map_err(PoolError::database("ask for the place of a process"))?;
    Ok(free.is_some())
}

/// The advisory lock that stands for a name.
pub(in crate::pool) fn lease_key(name: &str) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"upgrade lease ").update(name.as_bytes());
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    i64::from_le_bytes(bytes)
}

/// The session that holds the locks.
#[derive(Debug)]
pub(super) struct Owner {
    place: String,
    session: tokio::sync::Mutex<PgConnection>,
    slots: Mutex<BTreeSet<u32>>,
    lost: AtomicBool,
}

impl Owner {
    pub(super) fn new(place: String, session: PgConnection) -> Self {
        Self {
            place,
            session: tokio::sync::Mutex::new(session),
            slots: Mutex::default(),
            lost: AtomicBool::new(false),
        }
    }

    /// Whether the session ended, and all leases with it.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    fn lost(&self, source: sqlx::Error) -> PoolError {
        self.lost.store(true, Ordering::Release);
        PoolError::LeaseLost {
            place: self.place.clone(),
            source: source.into(),
        }
    }

    /// Takes the lease of a name; `false` when another process has it.
    pub(super) async fn lease(&self, name: &str) -> Result<bool, PoolError> {
        let mut session = self.session.lock().await;
        sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(lease_key(name))
            .fetch_one(&mut *session)
            .await
            .map_err(|source| self.lost(source))
    }

    /// Gives a lease back.
    pub(super) async fn end_lease(&self, name: &str) -> Result<(), PoolError> {
        let mut session = self.session.lock().await;
        sqlx::query("select pg_advisory_unlock($1)")
            .bind(lease_key(name))
            .execute(&mut *session)
            .await
            .map(drop)
            .map_err(|source| self.lost(source))
    }

    /// Waits for a free slot.
    pub(super) async fn slot(
        &self,
        facts: &BudgetFacts,
        within: Duration,
    ) -> Result<u32, PoolError> {
        let start = Instant::now();
        loop {
            if let Some(slot) = self.try_slot(facts.slots).await? {
                return Ok(slot);
            }
            if facts.slots == 0 || start.elapsed() >= within {
                return Err(PoolError::NoSlot {
                    place: self.place.clone(),
                    waited: start.elapsed(),
                    facts: *facts,
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // poll
        }
    }

    async fn try_slot(&self, slots: u32) -> Result<Option<u32>, PoolError> {
        let mut session = self.session.lock().await;
        let held: Vec<i32> = lock(&self.slots).iter().map(|&n| n.cast_signed()).collect();
        // `case` fixes the order: the lock is not asked for on what this session holds.
        let slot: Option<i32> = sqlx::query_scalar(
            "select n from generate_series(0, $1 - 1) n where case when n = any($2) then false \
             else pg_try_advisory_lock($3, n) end limit 1",
        )
        .bind(slots.cast_signed())
        .bind(held)
        .bind(SLOT_CLASS)
        .fetch_optional(&mut *session)
        .await
        .map_err(|source| self.lost(source))?;
        let slot = slot.map(i32::cast_unsigned);
        lock(&self.slots).extend(slot);
        Ok(slot)
    }

    /// Gives a slot back.
    pub(super) async fn end_slot(&self, slot: u32) -> Result<(), PoolError> {
        let mut session = self.session.lock().await;
        sqlx::query("select pg_advisory_unlock($1, $2)")
            .bind(SLOT_CLASS)
            .bind(slot.cast_signed())
            .execute(&mut *session)
            .await
            .map_err(|source| self.lost(source))?;
        lock(&self.slots).remove(&slot);
        Ok(())
    }
}
