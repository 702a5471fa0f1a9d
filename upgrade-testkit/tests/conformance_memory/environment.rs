//! An environment on the server in memory, and those that break one promise each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::OwnedMutexGuard;
use tokio::task::yield_now;
use upgrade_core::environment::{
    At, Capabilities, Claim, Claims, DATABASE, DatabaseFaults, Endpoint, Endpoints, LogTail,
    RowComparison, ServiceFaults, Services, SessionMonitor, SideBySide, Snapshots, StatementTrial,
    Unfilled,
};
use upgrade_core::fault::ServiceFault;
use upgrade_core::observation::{
    ColumnValue, RowChange, RowChangeKind, RowDiff, Scope, TableState,
};
use upgrade_core::side::Side;
use upgrade_core::{Environment, Error, ErrorKind, Observation, Result, UpgradeContext, Version};
use upgrade_testkit::conformance::{Case, EnvironmentFixture, Hold};

use crate::memory::{Server, Tables, deaf, lock, populated, row};

/// Of the service.
pub(crate) const INSTANCES: u16 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    NoName,
    KillsUndeclared,
    CapabilitiesComeLate,
    FilledIsUnfilled,
    EndpointsTooEarly,
    Unpopulated,
    DeadEndpoint,
    PreparesAnew,
    LeaksWhenPrepareFails,
    RegistersTooLate,
    SharesOneDatabase,
    ReplacesNothing,
    ReplacesTwice,
    ReplacesByAnything,
    RollsOneTooMany,
    RollsOnlyForward,
    ObservationsDiffer,
    ObservingWrites,
    SeesNoRows,
    IgnoresTheScope,
    UnknownLabelIsEmpty,
    SnapshotIsLive,
    KeepsTheFirstLabel,
    ForgetsEveryLabel,
    RestoreForgetsARow,
    RestoreDropsTheLabel,
    RestoresAnything,
    EmptiesUndeclared,
    EmptyHasATable,
    EmptiesOnce,
    EmptyingDropsLabels,
    SideHasTheLiveState,
    SidesAreOne,
    CopiesASideOnce,
    StartsNothing,
    CopiesAnything,
    StartsAnything,
    LeaksASide,
    RemoveIsCancelled,
    TeardownForgetsSides,
    DiffMiscounts,
    DiffsEverything,
    DiffingWrites,
    DiffOfUnknownLabelIsEmpty,
    FaultsAreIgnored,
    FaultMovesTheSystem,
    DoesNotWaitForProcesses,
    HeldSnapshotLocks,
    KillIsIgnored,
    KilledServerMoves,
    KillLosesARow,
    SitesComeLate,
    InjectsNothing,
    RecoversNothing,
    InjectsIntoAnybody,
    InjectsTwice,
    RestoreKeepsFaults,
    WatchHolds,
    WatchGoesOn,
    FindsItself,
    WatchSeesNothing,
    WatchNeverEnds,
    TryingWrites,
    TryingIsRandom,
    ForgetsTheClaim,
    ClaimIsARow,
    LogsAreWhole,
    LogsDieWithTheSystem,
    LeaksSnapshots,
    LeaksTheSystem,
    TeardownNeedsPrepare,
    TeardownOnlyOnce,
    TeardownIsCancelled,
    TakesWhatWasAdopted,
    IgnoresTheDeadline,
    IgnoresCancellation,
}

/// The database that the user provides: the rows of a new environment come from it.
const GIVEN: &str = "memory://given";

#[derive(Debug, Default)]
pub(crate) struct Made {
    asked: bool,
    pub(crate) live: Option<String>,
    pub(crate) snapshots: BTreeMap<String, String>,
    observed: u32,
    emptied: bool,
    ended: bool,
    /// The instances that do not answer, and their release.
    pub(crate) injected: BTreeMap<ServiceFault, Version>,
    /// The sessions that held something when the watch began.
    pub(crate) watch: Option<BTreeSet<String>>,
    pub(crate) held: Option<OwnedMutexGuard<()>>,
    /// How often statements were tried.
    pub(crate) tried: u32,
    pub(crate) claim: Option<Claim>,
    /// The copies of the sides, by URL.
    pub(crate) sides: BTreeMap<Side, String>,
}

#[derive(Debug)]
pub(crate) struct InMemory {
    pub(crate) server: Arc<Server>,
    pub(crate) powers: Capabilities,
    pub(crate) bug: Bug,
    fails: bool,
    pub(crate) made: Mutex<Made>,
}

pub(crate) fn unsupported(power: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("it has no {power}"))
}

impl InMemory {
    pub(crate) fn live(&self) -> Result<String> {
        let live = lock(&self.made).live.clone();
        live.ok_or_else(|| Error::new(ErrorKind::Environment, "it is not prepared"))
    }

    pub(crate) fn label(&self, label: &str) -> Result<String> {
        let url = lock(&self.made).snapshots.get(label).cloned();
        url.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no label `{label}`")))
    }

    /// Has an instance answer again.
    pub(crate) fn mend(&self, fault: &ServiceFault) -> Result<()> {
        let database = self.server.get(&self.live()?)?;
        let Some(release) = lock(&self.made).injected.remove(fault) else {
            return Ok(());
        };
        if self.bug != Bug::InjectsNothing {
            lock(&database.releases).push(release);
        }
        Ok(())
    }

    /// The tables of a state.
    pub(crate) fn at(&self, at: &At) -> Result<String> {
        match at {
            At::Snapshot(label) => self.label(label),
            _ => self.live(),
        }
    }

    /// What is there before the first migration: no tables.
    pub(crate) async fn empty(&self, cx: &UpgradeContext) -> Result<()> {
        let (again, labels) = {
            let mut made = lock(&self.made);
            let labels = match self.bug {
                Bug::EmptyingDropsLabels => std::mem::take(&mut made.snapshots),
                _ => BTreeMap::new(),
            };
            (std::mem::replace(&mut made.emptied, true), labels)
        };
        labels.values().for_each(|url| self.server.remove(url));
        if again && self.bug == Bug::EmptiesOnce {
            return Err(Error::new(ErrorKind::NotFound, "it was emptied already"));
        }
        let live = self.server.get(&self.live()?)?;
        let keep = self.bug == Bug::EmptyHasATable;
        live.write(cx, |tables| {
            tables.retain(|name, _| keep && name == "lines")
        })
        .await
    }

    /// What `observe` says of tables.
    fn measure(&self, tables: &Tables, scope: &Scope) -> Observation {
        let mut seen = Observation::default();
        let scope = match self.bug {
            Bug::IgnoresTheScope => &Scope::All,
            _ => scope,
        };
        let unstable = {
            let mut made = lock(&self.made);
            made.observed += 1;
            let alone = made.snapshots.is_empty() && made.tried == 0;
            self.bug == Bug::ObservationsDiffer && made.observed == 2 && alone
        };
        for (name, rows) in tables.iter().filter(|(name, _)| *name != "audit") {
            if matches!(scope, Scope::All | Scope::Schema) {
                seen.objects
                    .insert(format!("table {name}"), "key, value\n".to_owned());
            }
            let all = ["key", "value"];
            let columns: Vec<&str> = match scope {
                Scope::All | Scope::Rows => all.to_vec(),
                Scope::Columns(named) => match named.get(name) {
                    Some(wanted) => all
                        .into_iter()
                        .filter(|c| wanted.contains_key(*c))
                        .collect(),
                    None => continue,
                },
                _ => continue,
            };
            let mut sum: String = rows
                .iter()
                .flat_map(|(key, value)| {
                    columns.iter().map(move |column| match *column {
                        "key" => key.as_str(),
                        _ => value.as_str(),
                    })
                })
                .collect();
            let mut count = rows.len() as u64;
            if self.bug == Bug::SeesNoRows {
                (sum, count) = (String::new(), 1);
            }
            if unstable {
                sum.push_str(&lock(&self.made).observed.to_string());
            }
            let columns = columns.iter().map(|c| ((*c).to_owned(), "text".to_owned()));
            let state = TableState::new(columns.collect(), count, sum);
            seen.tables.insert(name.clone(), state);
        }
        seen
    }
}

/// The rows in which two tables differ, all of them by their key.
pub(crate) fn differing(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> RowDiff {
    let mut found = RowDiff::new(old.len() as u64, new.len() as u64);
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let kind = match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) if old == new => continue,
            (Some(_), Some(_)) => RowChangeKind::Changed,
            (Some(_), None) => RowChangeKind::Lost,
            (None, _) => RowChangeKind::Added,
        };
        match kind {
            RowChangeKind::Lost => found.lost += 1,
            RowChangeKind::Changed => found.changed += 1,
            _ => found.added += 1,
        }
        let named = RowChange::new(kind).with_key([ColumnValue::new("key", key)]);
        found.rows.push(named);
    }
    found
}

#[async_trait]
impl Environment for InMemory {
    fn name(&self) -> &str {
        if self.bug == Bug::NoName {
            ""
        } else {
            "memory"
        }
    }

    fn is_disposable(&self) -> bool {
        self.bug != Bug::CapabilitiesComeLate || lock(&self.made).live.is_some()
    }

    async fn prepare(&self, cx: &UpgradeContext) -> Result<()> {
        lock(&self.made).asked = true;
        let mut tables = cx.bounded("prepare", async { populated() }).await?;
        if self.bug == Bug::Unpopulated {
            tables.values_mut().for_each(|rows| rows.clear());
        }
        if let Ok(live) = self.live() {
            if self.bug == Bug::PreparesAnew {
                self.server.put(&live, tables);
            }
            return Ok(());
        }
        let url = if self.bug == Bug::SharesOneDatabase {
            let url = "memory://shared".to_owned();
            if self.server.get(&url).is_err() {
                self.server.put(&url, tables);
            }
            url
        } else {
            self.server.create("", tables)
        };
        if self.bug == Bug::RegistersTooLate {
            yield_now().await;
        }
        if !(self.fails && self.bug == Bug::LeaksWhenPrepareFails) {
            lock(&self.made).live = Some(url.clone());
        }
        yield_now().await;
        if self.fails {
            return Err(Error::new(ErrorKind::Environment, "it does not start"));
        }
        let database = self.server.get(&url)?;
        lock(&database.log).extend(["begins", "is ready"].map(str::to_owned));
        if self.powers.services {
            *lock(&database.releases) = vec![cx.from().clone(); usize::from(INSTANCES)];
        }
        Ok(())
    }

    fn endpoints(&self) -> Endpoints {
        let none = Endpoints::default();
        match lock(&self.made).live.clone() {
            Some(live) if self.bug == Bug::DeadEndpoint => none
                .with(DATABASE, Endpoint::new(live))
                .with("shop", Endpoint::new("memory://dead")),
            Some(live) => none.with(DATABASE, Endpoint::new(live)),
            None if self.bug == Bug::EndpointsTooEarly => {
                none.with(DATABASE, Endpoint::new("memory://soon"))
            }
            None => none,
        }
    }

    fn unfilled(&self) -> Vec<Unfilled> {
        match self.bug {
            Bug::FilledIsUnfilled => vec![Unfilled::new("orders", "nobody wrote", "write")],
            _ => Vec::new(),
        }
    }

    async fn observe(&self, cx: &UpgradeContext, at: &At, scope: &Scope) -> Result<Observation> {
        let cx = &deaf(
            cx,
            self.bug == Bug::IgnoresTheDeadline,
            self.bug == Bug::IgnoresCancellation,
        );
        let url = match at {
            At::Snapshot(label) => match self.label(label) {
                Ok(_) if self.bug == Bug::SnapshotIsLive => self.live()?,
                Err(_) if self.bug == Bug::UnknownLabelIsEmpty => {
                    return Ok(Observation::default());
                }
                url => url?,
            },
            _ => self.live()?,
        };
        let database = self.server.get(&url)?;
        if self.bug == Bug::ObservingWrites {
            let audit = |tables: &mut Tables| drop(tables.insert("audit".into(), row("a", "1")));
            database.write(cx, audit).await?;
        }
        Ok(self.measure(&database.read(cx).await?, scope))
    }

    async fn logs(&self, _cx: &UpgradeContext, lines: usize) -> Result<Vec<LogTail>> {
        let database = self.server.get(&self.live()?)?;
        if self.bug == Bug::LogsDieWithTheSystem && *lock(&database.crashed) {
            return Err(Error::new(ErrorKind::Io, "the log is missing"));
        }
        let log = lock(&database.log).clone();
        let skipped = match self.bug {
            Bug::LogsAreWhole => 0,
            _ => log.len().saturating_sub(lines),
        };
        Ok(vec![LogTail {
            source: "memory".to_owned(),
            lines: log.into_iter().skip(skipped).collect(),
        }])
    }

    async fn teardown(&self, cx: &UpgradeContext) -> Result<()> {
        if self.bug == Bug::TeardownIsCancelled && cx.cancellation().is_cancelled() {
            return Ok(());
        }
        let made = std::mem::take(&mut *lock(&self.made));
        if self.bug == Bug::TeardownNeedsPrepare && !made.asked && !made.ended {
            return Err(Error::new(ErrorKind::Environment, "it was not prepared"));
        }
        lock(&self.made).ended = true;
        if self.bug == Bug::TeardownOnlyOnce && made.ended {
            return Err(Error::new(ErrorKind::Environment, "it was removed already"));
        }
        if self.bug == Bug::TakesWhatWasAdopted {
            self.server.remove(GIVEN);
        }
        if let Some(live) = made.live
            && self.bug != Bug::LeaksTheSystem
        {
            self.server.remove(&live);
        }
        if self.bug != Bug::TeardownForgetsSides {
            for url in made.sides.values() {
                self.server.remove(url);
            }
        }
        if self.bug != Bug::LeaksSnapshots {
            for url in made.snapshots.values() {
                self.server.remove(url);
            }
        }
        Ok(())
    }

    fn services(&self) -> Option<&dyn Services> {
        self.powers.services.then_some(self as _)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.powers.snapshots.then_some(self as _)
    }

    fn side_by_side(&self) -> Option<&dyn SideBySide> {
        self.powers.side_by_side.then_some(self as _)
    }

    fn row_comparison(&self) -> Option<&dyn RowComparison> {
        self.powers.row_comparison.then_some(self as _)
    }

    fn database_faults(&self) -> Option<&dyn DatabaseFaults> {
        self.powers.faults.then_some(self as _)
    }

    fn service_faults(&self) -> Option<&dyn ServiceFaults> {
        self.powers.service_faults.then_some(self as _)
    }

    fn session_monitor(&self) -> Option<&dyn SessionMonitor> {
        self.powers.session_monitor.then_some(self as _)
    }

    fn claims(&self) -> Option<&dyn Claims> {
        Some(self)
    }

    fn statement_trial(&self) -> Option<&dyn StatementTrial> {
        self.powers.session_monitor.then_some(self as _)
    }
}

pub(crate) struct Fixture {
    server: Arc<Server>,
    powers: Capabilities,
    bug: Bug,
}

impl Fixture {
    /// With every power.
    pub(crate) fn full(bug: Bug) -> Self {
        let powers = Capabilities::none()
            .with_snapshots()
            .with_faults()
            .with_instances(INSTANCES.into())
            .with_side_by_side()
            .with_row_comparison()
            .with_server_faults()
            .with_service_faults()
            .with_session_monitor()
            .with_empty();
        Self::with(powers, bug)
    }

    /// With snapshots, and no way to empty it.
    pub(crate) fn never_empty(bug: Bug) -> Self {
        Self::with(Capabilities::none().with_snapshots(), bug)
    }

    /// With faults, but for those of the server.
    pub(crate) fn never_killed(bug: Bug) -> Self {
        Self::with(Capabilities::none().with_faults(), bug)
    }

    /// Without any.
    pub(crate) fn plain(bug: Bug) -> Self {
        Self::with(Capabilities::none(), bug)
    }

    fn with(powers: Capabilities, bug: Bug) -> Self {
        let server = Arc::new(Server::default());
        server.put(GIVEN, populated());
        Self {
            server,
            powers,
            bug,
        }
    }

    fn environment(&self, fails: bool) -> Box<dyn Environment> {
        Box::new(InMemory {
            server: Arc::clone(&self.server),
            powers: self.powers,
            bug: self.bug,
            fails,
            made: Mutex::default(),
        })
    }
}

#[async_trait]
impl EnvironmentFixture for Fixture {
    async fn make(&self) -> Result<Box<dyn Environment>> {
        Ok(self.environment(false))
    }

    async fn reach(&self, _name: &str, endpoint: &Endpoint) -> Result<()> {
        self.server.get(endpoint.url().expose()).map(drop)
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        Ok(self.server.open(cx)?.state().await)
    }

    async fn disturb(&self, cx: &UpgradeContext) -> Result<()> {
        self.server.open(cx)?.disturb().await;
        Ok(())
    }

    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold> {
        Ok(self.server.open(cx)?.hold().await)
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        let mut urls = self.server.urls();
        urls.retain(|url| url != GIVEN);
        Ok(urls)
    }

    async fn failing(&self) -> Result<Case<Box<dyn Environment>>> {
        Ok(Case::Given(self.environment(true)))
    }

    async fn crash(&self, cx: &UpgradeContext) -> Result<Case<()>> {
        *lock(&self.server.open(cx)?.crashed) = true;
        Ok(Case::Given(()))
    }

    async fn releases(&self, cx: &UpgradeContext) -> Result<Case<Vec<Version>>> {
        let releases = lock(&self.server.open(cx)?.releases).clone();
        Ok(match releases.is_empty() {
            true => Case::not_applicable("it has no services"),
            false => Case::Given(releases),
        })
    }

    async fn adopted(&self) -> Result<Case<String>> {
        Ok(Case::Given(match self.server.get(GIVEN) {
            Ok(given) => given.state().await,
            Err(error) => error.to_string(),
        }))
    }
}
