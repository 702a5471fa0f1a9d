//! What was promised to users, and what the older release could do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Row as _;
use tokio::time::Instant;
use upgrade_core::{Error, ErrorKind, Finding, Result, UpgradeContext, Verdict};

use crate::api::{Call, Client};
use crate::area::{self, Area, Item, User};

/// What is remembered of all calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    state: Mutex<State>,
}

/// What was promised, and seen.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) users: Vec<User>,
    pub(crate) promised: BTreeSet<Item>,
    /// The calls that the older release has answered.
    pub(crate) answered: BTreeSet<Call>,
    /// The tables in which there are rows because of an area.
    pub(crate) filled: BTreeMap<Area, BTreeSet<String>>,
    pub(crate) seeding: Duration,
}

impl Known {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        let state = &self.0.state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Fills the older release through its API: `users` users, each with `items` items in each
    /// area.
    pub(crate) async fn seed(&self, cx: &UpgradeContext, users: usize, items: usize) -> Result<()> {
        let began = Instant::now();
        let client = Client::of(cx)?;
        let mut before = tables(cx).await?;
        for index in 0..users {
            let (answer, user) = area::register(&client, &format!("user-{index}")).await?;
            let user = user.ok_or_else(|| refused("POST /register", &answer))?;
            let number = self.next();
            let mut state = self.lock();
            state.users.push(user);
            state.promised.insert(Item {
                area: Area::Accounts,
                user: index,
                number,
                attempt: 0,
            });
        }
        before = self.note_filled(cx, Area::Accounts, before).await?;
        for area in [Area::History, Area::Records] {
            for user in (0..users).flat_map(|user| std::iter::repeat_n(user, items)) {
                let known = self.lock().users[user].clone();
                let number = self.next();
                let (call, answer) = area::act(&client, area, &known, number).await?;
                if !answer.is_good() {
                    return Err(refused(&call.to_string(), &answer));
                }
                let mut state = self.lock();
                state.answered.insert(call);
                state.promised.insert(Item {
                    area,
                    user,
                    number,
                    attempt: 0,
                });
            }
            before = self.note_filled(cx, area, before).await?;
        }
        self.lock().seeding = began.elapsed();
        Ok(())
    }

    /// Which tables have more rows than before, and how many all have now.
    async fn note_filled(&self, cx: &UpgradeContext, area: Area, before: Tables) -> Result<Tables> {
        let now = tables(cx).await?;
        let grown = now
            .iter()
            .filter(|(name, rows)| before.get(*name) < Some(rows));
        let grown = grown.map(|(name, _)| name.clone()).collect();
        self.lock().filled.insert(area, grown);
        Ok(now)
    }

    /// One request of a user.
    pub(crate) async fn request(&self, cx: &UpgradeContext, area: Area) -> Result<Verdict> {
        let client = Client::of(cx)?;
        let number = self.next();
        let (index, user) = {
            let state = self.lock();
            let index = usize::try_from(number).unwrap_or(0) % state.users.len();
            (index, state.users[index].clone())
        };
        let (call, answer) = area::act(&client, area, &user, number).await?;
        if answer.is_good() {
            if area != Area::Accounts {
                self.lock().promised.insert(Item {
                    area,
                    user: index,
                    number,
                    attempt: cx.attempt(),
                });
            }
            return Ok(Verdict::Pass);
        }
        if answer.is_gone() {
            let message = format!("{call} answers {}", answer.status);
            return Ok(Verdict::Fail(vec![Finding::error(
                "call-gone",
                area.name(),
                message,
            )]));
        }
        Err(refused(&call.to_string(), &answer))
    }
}

/// How many rows each table has.
type Tables = BTreeMap<String, i64>;

/// How many rows each table of the server has.
pub(crate) async fn tables(cx: &UpgradeContext) -> Result<Tables> {
    const SQL: &str = "select relname::text, (xpath('/row/n/text()', query_to_xml(format(
            'select count(*) as n from %s', oid::regclass), false, true, '')))[1]::text::bigint
        from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace";
    let mut connection = cx.connect().await?;
    let rows = sqlx::query(SQL).fetch_all(&mut connection).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

pub(crate) fn refused(call: &str, answer: &crate::api::Answer) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{call} answers {answer}"))
}
