//! Users who place orders and read them again, all the time, and remember what they were promised.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use upgrade_core::event::{Event, EventRecord};
use upgrade_core::plan::StepId;
use upgrade_core::{Error, ErrorKind, Result, UpgradeContext};

use crate::client::{Client, Knows, Order};

/// How many users there are; every other one knows the API of release 2.
const USERS: usize = 6;
/// How long a user thinks between two requests.
const THINKS: Duration = Duration::from_millis(10);
/// How many of the failures are told in words.
const TOLD: usize = 5;

/// The users, and what they know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Load(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    users: tokio::sync::Mutex<JoinSet<()>>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    /// What was acknowledged: the proof, on the side of the clients.
    acknowledged: Vec<Order>,
    /// The step of the plan that is under way.
    step: Option<StepId>,
    tallies: BTreeMap<StepId, Tally>,
    told: Vec<String>,
}

/// The requests while one step was under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) title: String,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) slowest: Duration,
}

impl Load {
    /// Places orders before anything else happens, as fast as it goes.
    pub(crate) async fn seed(&self, cx: &UpgradeContext, orders: usize) -> Result<()> {
        let client = client(cx)?;
        let mut users = JoinSet::new();
        for user in 0..USERS {
            let (load, client) = (self.clone(), client.clone());
            users.spawn(async move {
                for number in (user..orders).step_by(USERS) {
                    let order = order("seed", number);
                    client.place(&order, Knows::First).await?;
                    load.state().acknowledged.push(order);
                }
                Ok::<_, String>(())
            });
        }
        while let Some(user) = users.join_next().await {
            let placed = user.unwrap_or_else(|panic| Err(panic.to_string()));
            placed.map_err(|error| Error::new(ErrorKind::Environment, error))?;
        }
        Ok(())
    }

    /// Starts users, who stay until the [end](Self::end), and waits until `orders` more orders are
    /// acknowledged.
    pub(crate) async fn flow(&self, cx: &UpgradeContext, orders: usize) -> Result<()> {
        {
            let mut users = self.0.users.lock().await;
            if users.is_empty() {
                let client = client(cx)?;
                for user in 0..USERS {
                    users.spawn(self.clone().user(client.clone(), user));
                }
            }
        }
        let wanted = self.state().acknowledged.len() + orders;
        while self.state().acknowledged.len() < wanted {
            sleep(THINKS).await; // poll, within the deadline of the step
        }
        Ok(())
    }

    /// Waits until every user has had the last answer.
    pub(crate) async fn end(&self) {
        self.0.stop.cancel();
        let mut users = self.0.users.lock().await;
        while users.join_next().await.is_some() {}
    }

    /// What was acknowledged until now.
    pub(crate) fn acknowledged(&self) -> Vec<Order> {
        self.state().acknowledged.clone()
    }

    /// The requests by steps, in order.
    pub(crate) fn tallies(&self) -> Vec<Tally> {
        self.state().tallies.values().cloned().collect()
    }

    /// The first failures, in words.
    pub(crate) fn told(&self) -> Vec<String> {
        self.state().told.clone()
    }

    /// Notes which step is under way.
    pub(crate) fn record(&self, record: &EventRecord) {
        if let Event::StepStarted { step, title, .. } = &record.event {
            let mut state = self.state();
            state.step = Some(*step);
            state.tallies.entry(*step).or_default().title = title.clone();
        }
    }

    async fn user(self, client: Client, user: usize) {
        let knows = if user.is_multiple_of(2) {
            Knows::First
        } else {
            Knows::Both
        };
        let name = format!("user{user}");
        let mut number = 0;
        let mut order_now = order(&name, number);
        while !self.0.stop.is_cancelled() {
            let began = Instant::now();
            let placed = client.place(&order_now, knows).await;
            // One that fails is sent again: its id makes sure that it is placed once.
            if self.count(began, placed.map_err(|error| format!("a write: {error}"))) {
                self.state().acknowledged.push(order_now);
                number += 1;
                order_now = order(&name, number);
            }
            sleep(THINKS).await;
            let Some(known) = self.earlier(number * USERS + user) else {
                continue;
            };
            let began = Instant::now();
            let read = match client.read(&known.id, knows).await {
                Ok(found) if found == known => Ok(()),
                Ok(found) => Err(format!("a read: {found:?} is not {known:?}")),
                Err(error) => Err(format!("a read: {error}")),
            };
            self.count(began, read);
            sleep(THINKS).await;
        }
    }

    /// One of the orders that were acknowledged, from everywhere among them.
    fn earlier(&self, number: usize) -> Option<Order> {
        let state = self.state();
        let count = state.acknowledged.len().max(1);
        // A step that no small count divides walks through all of them.
        let index = number.wrapping_mul(7919) % count;
        state.acknowledged.get(index).cloned()
    }

    /// Counts a request; whether it was answered well.
    fn count(&self, began: Instant, answer: std::result::Result<(), String>) -> bool {
        let mut state = self.state();
        let step = state.step.unwrap_or(StepId(0));
        let tally = state.tallies.entry(step).or_default();
        tally.requests += 1;
        tally.slowest = tally.slowest.max(began.elapsed());
        match answer {
            Ok(()) => true,
            Err(error) => {
                tally.failed += 1;
                let told = format!("during `{}`: {error}", tally.title);
                if state.told.len() < TOLD {
                    state.told.push(told);
                }
                false
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn client(cx: &UpgradeContext) -> Result<Client> {
    let url = cx.endpoint("proxy")?.url().expose();
    Client::new(url).map_err(|error| Error::new(ErrorKind::Environment, error))
}

fn order(user: &str, number: usize) -> Order {
    const CHANNELS: [&str; 3] = ["web", "phone", "shop"];
    Order {
        id: format!("{user}-{number:06}"),
        customer: format!("customer {} of {user}", number % 97),
        cents: i64::try_from(number % 99_991).unwrap_or(0) * 13 + 5,
        channel: CHANNELS[number % CHANNELS.len()].to_owned(),
    }
}
