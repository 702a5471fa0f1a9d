//! The life of an operation, rehearsed: on copies of the previous release that the operation takes for a
//! real system, with tools that die.

use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use upgrade_core::environment::{
    At, Capabilities, DATABASE, DatabaseSource as _, Endpoints, Existing, PostgresEnvironment,
};
use upgrade_core::finding::FindingKind;
use upgrade_core::journal::{Actor, Journal, MemoryStore, Standing, State};
use upgrade_core::observation::{Observation, Scope};
use upgrade_core::operation::{Act, Consent, Operation};
use upgrade_core::postgres::Database;
use upgrade_core::{
    Environment as _, Error, ErrorKind, Finding, Phase, Plan, Report, Result, Scenario,
    UpgradeContext,
};

use super::populated::Populated;
use super::ready::Ready;
use crate::polls::for_polls;

/// At about how many records of the journal, and at about how many waits, a tool dies; and where every crash
/// is asked for.
const DEATHS: (usize, usize) = (6, 60);

/// How many calls a life may take. One without a death takes four.
const CALLS: usize = 40;

/// How long sessions of a tool that died may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// When a tool dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    Never,
    /// When its journal has that many records.
    Record(usize),
    /// When it has waited that often.
    Wait(usize),
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("the tool did not die"),
            Self::Record(record) => write!(f, "the tool died after record {record} of its journal"),
            Self::Wait(wait) => write!(f, "the tool died at its wait number {wait}"),
        }
    }
}

/// What a life came to.
struct Life {
    report: Report,
    plan: Plan,
    /// How many records the journal has, and how often the tool has waited.
    records: usize,
    waits: usize,
    end: Observation,
    /// Why it did not come to its end.
    stuck: Option<String>,
}

/// Rehearses the operation; the report of all runs of a life without a death, with what the other lives
/// found, and the plan of its first run.
pub(super) async fn rehearse(ready: &Ready) -> Result<(Report, Plan)> {
    let Life {
        mut report, plan, ..
    } = life(ready, Death::Never, true).await?;
    report.scenario = Scenario::Operation;
    if !report.passed {
        return Ok((report, plan));
    }
    // What users write is drawn, so it is left out where two lives are compared.
    let whole = life(ready, Death::Never, false).await?;
    let upgrade = ready.rehearsal().upgrade(ready.releases());
    let every = upgrade.outline(Capabilities::none()).every_crash;
    let known = upgrade.known().iter();
    let known: Vec<_> = known
        .filter(|known| known.is_of(Scenario::Operation))
        .collect();
    let deaths = if every { DEATHS.1 } else { DEATHS.0 };
    let stride = |all: usize| (all / deaths).max(1);
    let records = (1..whole.records).step_by(stride(whole.records));
    let waits = (1..whole.waits).step_by(stride(whole.waits));
    for death in records.map(Death::Record).chain(waits.map(Death::Wait)) {
        let life = life(ready, death, false).await?;
        report.elapsed_ms += life.report.elapsed_ms;
        let found = |id: &str, what: String| {
            Finding::error(id, "the operation", format!("{death}: {what}"))
        };
        let finding = match life.stuck {
            Some(why) => Some(found("operation/stuck", why)),
            None => {
                difference(&whole.end, &life.end).map(|what| found("operation/end-differs", what))
            }
        };
        if let Some(mut finding) = finding {
            let meant = known.iter().find(|known| known.matches(&finding));
            finding.known = meant.map(|known| known.reason.clone());
            let mend = FindingKind::of(&finding.id).map_or("", |kind| kind.mend);
            report.add("the life of an operation", finding.with_help(mend));
        }
    }
    Ok((report, plan))
}

/// One life, on a separate database.
async fn life(ready: &Ready, death: Death, writes: bool) -> Result<Life> {
    let Some(pool) = ready.pool() else {
        let message = "scenario `operation` needs databases of the test kit, and this rehearsal has custom environments";
        return Err(Error::new(ErrorKind::Unsupported, message)
            .with_hint("rehearse it without `environment`"));
    };
    let failed = Arc::new(AtomicBool::new(false));
    let source = Populated::new(pool.clone(), ready.rehearsal(), ready.releases(), failed);
    let cx = context(ready);
    let database = source.provision(&cx).await?;
    let lived = Box::pin(Calls::new(ready, &database, writes).life(death)).await;
    let removed = remove_copies(&database).await;
    source.release(&cx, Some(database)).await?;
    let life = lived?;
    removed?;
    Ok(life)
}

fn context(ready: &Ready) -> UpgradeContext {
    let upgrade = &ready.releases().upgrade;
    UpgradeContext::new(upgrade.from().clone(), upgrade.to().clone())
        .with_seed(ready.rehearsal().drawn_from().0)
}

/// The calls of one life, by one tool or by two.
struct Calls<'a> {
    ready: &'a Ready,
    database: &'a Database,
    writes: bool,
    report: Option<Report>,
    plan: Option<Plan>,
}

impl<'a> Calls<'a> {
    fn new(ready: &'a Ready, database: &'a Database, writes: bool) -> Self {
        Self {
            ready,
            database,
            writes,
            report: None,
            plan: None,
        }
    }

    async fn life(mut self, death: Death) -> Result<Life> {
        let store = match death {
            Death::Never => MemoryStore::new(),
            _ => self.until_death(death).await?,
        };
        let tool = self.tool(store).await?;
        let (lived, waits) = counted(Box::pin(self.live(&tool))).await;
        let stuck = match (lived, death) {
            (Err(error), Death::Never) => return Err(error),
            (Err(error), _) => Some(error.to_string()),
            (Ok(()), Death::Never) => None,
            (Ok(()), _) => {
                let state = tool.status().await.standing.state;
                (state != State::Finalized).then(|| state.to_string())
            }
        };
        let records = tool.history().await.len();
        tool.close().await?;
        let end = observe(self.database, self.ready).await?;
        let (Some(report), Some(plan)) = (self.report, self.plan) else {
            let message = "nothing is pending, so there is no operation";
            return Err(Error::new(ErrorKind::InvalidInput, message)
                .with_hint("name an earlier release with `from`"));
        };
        Ok(Life {
            report,
            plan,
            records,
            waits,
            end,
            stuck,
        })
    }

    /// The life of a tool that dies; what it has written.
    async fn until_death(&mut self, death: Death) -> Result<MemoryStore> {
        let store = MemoryStore::new();
        if let Death::Record(records) = death {
            store.fail_after(u32::try_from(records).unwrap_or(u32::MAX));
        }
        if let Ok(tool) = self.tool(store.clone()).await {
            let waits = match death {
                Death::Wait(waits) => waits,
                _ => usize::MAX,
            };
            // Whatever it says: the next one begins with what it has written.
            drop(for_polls(waits, Box::pin(self.live(&tool))).await);
        }
        let store = MemoryStore::with(store.bytes());
        until_free(self.database, &context(self.ready)).await?;
        Ok(store)
    }

    async fn tool(&self, store: MemoryStore) -> Result<Operation> {
        let rehearsal = self.ready.rehearsal();
        let journal = Journal::open(store, "the rehearsal", Actor::new("rehearsal")).await?;
        let upgrade = rehearsal.upgrade(self.ready.releases());
        let (database, observer) = (self.database.clone(), rehearsal.observer.clone());
        let connect = move || environment(&database).with_observer(observer.clone());
        Ok(Operation::new(journal, upgrade, connect).with_consent(Consent::Everything))
    }

    /// Calls the operation until it is final, rolled back once on the way, or until a run does not pass.
    async fn live(&mut self, tool: &Operation) -> Result<()> {
        for _ in 0..CALLS {
            let status = tool.status().await;
            let report = if status.acts.contains(&Act::Resume) {
                tool.resume().await?
            } else {
                match status.standing.state {
                    State::Finalized => return Ok(()),
                    State::Soaking if has_rolled_back(tool).await => Some(tool.finalize().await?),
                    State::Soaking => {
                        self.write().await?;
                        Some(tool.rollback().await?)
                    }
                    State::Applying | State::Paused => Some(tool.rollback().await?),
                    _ => match tool.plan().await? {
                        Some(proposal) => {
                            self.plan.get_or_insert_with(|| proposal.plan.clone());
                            Some(tool.apply(&proposal).await?)
                        }
                        None => return Ok(()),
                    },
                }
            };
            let Some(report) = report else { continue };
            let passed = report.passed;
            match &mut self.report {
                Some(all) => all.append(report),
                none => *none = Some(report),
            }
            if !passed {
                return Ok(());
            }
        }
        let message = format!("it has not come to its end after {CALLS} calls");
        Err(Error::new(ErrorKind::Failed, message))
    }

    /// What users write while the new release is live.
    async fn write(&self) -> Result<()> {
        if !self.writes {
            return Ok(());
        }
        let endpoints = Endpoints::default().with(DATABASE, self.database.endpoint());
        let cx = context(self.ready).with_endpoints(endpoints);
        let cx = cx.with_phase(Phase::Soak).with_upgraded(true);
        let upgrade = self.ready.rehearsal().upgrade(self.ready.releases());
        for writes in upgrade.writes() {
            writes.write(&cx).await?;
        }
        Ok(())
    }
}

/// A real system, as far as the operation knows.
fn environment(database: &Database) -> PostgresEnvironment {
    PostgresEnvironment::new("rehearsal", Existing::new(database.clone()))
}

/// Whether the upgrade was rolled back once.
async fn has_rolled_back(tool: &Operation) -> bool {
    let history = tool.history().await;
    (1..=history.len()).any(|end| Standing::of(&history[..end]).state == State::RolledBack)
}

/// A future's output, and how often it was polled.
async fn counted<F: Future>(future: F) -> (F::Output, usize) {
    let (mut future, mut polls) = (pin!(future), 0);
    let output = poll_fn(|task| {
        polls += 1;
        future.as_mut().poll(task)
    });
    (output.await, polls)
}

async fn observe(database: &Database, ready: &Ready) -> Result<Observation> {
    let cx = context(ready);
    let environment = environment(database).with_observer(ready.rehearsal().observer.clone());
    environment.prepare(&cx).await?;
    let seen = environment.observe(&cx, &At::Live, &Scope::All).await;
    environment.teardown(&cx).await?;
    seen
}

/// The first differences of two ends, in the objects of the schema and the numbers of rows.
fn difference(whole: &Observation, end: &Observation) -> Option<String> {
    let objects = whole.objects.keys().chain(end.objects.keys());
    let mut names: BTreeSet<String> = objects
        .filter(|name| whole.objects.get(*name) != end.objects.get(*name))
        .cloned()
        .collect();
    for (name, table) in &whole.tables {
        let rows = end.tables.get(name).map(|table| table.rows);
        if let Some(rows) = rows.filter(|rows| *rows != table.rows) {
            names.insert(format!(
                "table {name} has {rows} rows instead of {}",
                table.rows
            ));
        }
    }
    let first: Vec<String> = names.into_iter().take(5).collect();
    (!first.is_empty()).then(|| first.join("; "))
}

/// Waits until the server has noticed that the sessions of a dead tool are over.
async fn until_free(database: &Database, cx: &UpgradeContext) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let environment = environment(database);
        match environment.prepare(cx).await {
            Ok(()) => return environment.teardown(cx).await,
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => sleep(Duration::from_millis(10)).await, // poll
        }
    }
}

/// Removes the copies that tools have made and not written down before they died.
async fn remove_copies(database: &Database) -> Result<()> {
    let mut admin = database.connect_maintenance().await?;
    for copy in database.leftovers(&mut admin).await? {
        database.remove_leftover(&mut admin, &copy).await?;
    }
    Ok(())
}
