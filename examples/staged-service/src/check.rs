//! What must hold at every stop: each order that was acknowledged is there, and its job is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::{Row as _, raw_sql};
use tokio::time::{Instant, sleep};
use upgrade_core::{Error, ErrorKind, Finding, Phase, Result, UpgradeContext, Verdict};

use crate::client::{Client, Order};
use crate::load::Load;

/// How long the worker may lag behind.
const LAGS: Duration = Duration::from_secs(20);
/// How often it is asked which release answers; both replicas take turns.
const ASKED: usize = 8;

/// What was found at all stops together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Losses(Arc<Mutex<Lost>>);

/// What was lost, by ids of orders, and what was done twice.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lost {
    pub(crate) orders: BTreeSet<String>,
    pub(crate) jobs: BTreeSet<String>,
    pub(crate) twice: BTreeSet<String>,
}

impl Losses {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Lost> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The release whose services run in a phase of the plan.
fn services_of(cx: &UpgradeContext) -> &str {
    match cx.phase() {
        Phase::Soak | Phase::Verify => cx.to().as_str(),
        _ => cx.from().as_str(),
    }
}

/// Whether all replicas are of the release that should run.
pub(crate) async fn release_answers(cx: UpgradeContext) -> Result<Verdict> {
    let (client, expected) = (client(&cx)?, services_of(&cx));
    for _ in 0..ASKED {
        let found = client.release().await.map_err(unreachable)?;
        if found != expected {
            let message = format!("release {found} answers, not {expected}");
            let finding = Finding::error("other-release-answers", "service api", message);
            return Ok(Verdict::Fail(vec![finding]));
        }
    }
    Ok(Verdict::Pass)
}

/// Whether every acknowledged order is there: in the database, and by each API that answers.
pub(crate) async fn orders_are_there(
    cx: UpgradeContext,
    load: Load,
    losses: Losses,
) -> Result<Verdict> {
    // At the last stop nobody writes any more, so that really all of it is counted.
    if cx.phase() == Phase::Verify {
        load.end().await;
    }
    let acknowledged = load.acknowledged();
    if acknowledged.is_empty() {
        return Ok(Verdict::Inconclusive("no order was placed".to_owned()));
    }
    let client = client(&cx)?;
    let mut seen = vec![
        ("the database", orders_in_database(&cx).await?),
        ("API v1", client.all_v1().await.map_err(unreachable)?),
    ];
    if services_of(&cx) == cx.to().as_str() {
        seen.push(("API v2", client.all_v2().await.map_err(unreachable)?));
    }
    let mut findings = Vec::new();
    for (place, orders) in seen {
        let differs = |order: &&Order| orders.get(&order.id) != Some(order);
        let lost: Vec<&Order> = acknowledged.iter().filter(differs).collect();
        if let Some(first) = lost.first() {
            let (count, all) = (lost.len(), acknowledged.len());
            let found = orders.get(&first.id);
            findings.push(
                Finding::error(
                    "acknowledged-order-lost",
                    place,
                    format!("{count} of {all} acknowledged orders are not there as they were sent"),
                )
                .with_evidence(format!("sent {first:?}\nfound {found:?}\n")),
            );
        }
        let ids = lost.iter().map(|order| order.id.clone());
        losses.lock().orders.extend(ids);
    }
    Ok(Verdict::from_findings(findings))
}

/// Whether the job of every acknowledged order is done, once.
pub(crate) async fn jobs_are_done(
    cx: UpgradeContext,
    load: Load,
    losses: Losses,
) -> Result<Verdict> {
    let acknowledged = load.acknowledged();
    let deadline = Instant::now() + LAGS;
    let (missing, twice) = loop {
        let done = receipts(&cx).await?;
        let mut missing = acknowledged.iter().map(|order| &order.id);
        let missing: Vec<String> = missing
            .by_ref()
            .filter(|id| !done.contains_key(*id))
            .cloned()
            .collect();
        if missing.is_empty() || Instant::now() >= deadline {
            let twice = done.into_iter().filter(|(_, times)| *times > 1);
            break (missing, twice.map(|(id, _)| id).collect::<Vec<_>>());
        }
        sleep(Duration::from_millis(50)).await; // poll
    };
    let mut findings = Vec::new();
    if let Some(first) = missing.first() {
        let message = format!("{} are not done, that of {first} among them", missing.len());
        findings.push(Finding::error("job-lost", "jobs", message));
    }
    if let Some(first) = twice.first() {
        let message = format!(
            "{} were done twice, that of {first} among them",
            twice.len()
        );
        findings.push(Finding::error("job-done-twice", "jobs", message));
    }
    let mut lost = losses.lock();
    lost.jobs.extend(missing);
    lost.twice.extend(twice);
    Ok(Verdict::from_findings(findings))
}

/// The orders, in the columns that both releases have.
async fn orders_in_database(cx: &UpgradeContext) -> Result<BTreeMap<String, Order>> {
    let mut connection = cx.connect().await?;
    let rows = raw_sql(
        "select id, customer, round(total * 100)::int8, coalesce(labels ->> 'channel', '') from orders",
    );
    let rows = rows.fetch_all(&mut connection).await?;
    let order = |row: &sqlx::postgres::PgRow| {
        Ok(Order {
            id: row.try_get(0)?,
            customer: row.try_get(1)?,
            cents: row.try_get(2)?,
            channel: row.try_get(3)?,
        })
    };
    rows.iter()
        .map(|row| order(row).map(|order| (order.id.clone(), order)))
        .collect()
}

/// How often each job was done, by the order.
async fn receipts(cx: &UpgradeContext) -> Result<BTreeMap<String, i32>> {
    let mut connection = cx.connect().await?;
    let rows = sqlx::query_as("select order_id, times from receipts");
    let rows: Vec<(String, i32)> = rows.fetch_all(&mut connection).await?;
    Ok(rows.into_iter().collect())
}

fn client(cx: &UpgradeContext) -> Result<Client> {
    Client::new(cx.endpoint("proxy")?.url().expose()).map_err(unreachable)
}

fn unreachable(why: String) -> Error {
    Error::new(ErrorKind::Environment, why)
}
