//! An environment on the server in memory, and those that break one promise each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::OwnedMutexGuard;
use tokio::task::yield_now;
use upgrade_core::environment::{
    At, Capabilities, DATABASE, EMPTY, Endpoint, Endpoints, Fault, LogTail,
};
use upgrade_core::fault::{FaultKind, ServiceFault, Site};
use upgrade_core::observation::{
    ColumnValue, RowChange, RowChangeKind, RowDiff, RowDiffRequest, Scope, TableState,
};
use upgrade_core::{
    Environment, Error, ErrorKind, Finding, Observation, Result, UpgradeContext, Version,
};
use upgrade_testkit::conformance::{Case, EnvironmentFixture, Hold};

use crate::memory::{Server, Tables, deaf, lock, populated, row};

/// Of the service.
const INSTANCES: u16 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    NoName,
    SilentWithoutPower,
    KillsUndeclared,
    WatchesUndeclared,
    EndpointsTooEarly,
    Unpopulated,
    DeadEndpoint,
    PreparesAnew,
    LeaksWhenPrepareFails,
    RegistersTooLate,
    SharesOneDatabase,
    RefusesToReplaceNothing,
    ReplacesNothing,
    ReplacesTwice,
    ReplacesByAnything,
    RollsWithoutInstances,
    RollsOneTooMany,
    RollsOnlyForward,
    ObservationsDiffer,
    ObservingWrites,
    SeesNoRows,
    IgnoresTheScope,
    UnknownLabelIsEmpty,
    SnapshotIsLive,
    KeepsTheFirstLabel,
    RestoreForgetsARow,
    RestoreDropsTheLabel,
    RestoresAnything,
    EmptiesUndeclared,
    EmptyHasATable,
    EmptiesOnce,
    EmptyingDropsLabels,
    DiffMiscounts,
    DiffsEverything,
    DiffingWrites,
    DiffOfUnknownLabelIsEmpty,
    FaultsAreIgnored,
    FaultMovesTheSystem,
    DoesNotWaitForProcesses,
    KillIsIgnored,
    KilledServerMoves,
    KillLosesARow,
    StrikesUndeclared,
    SitesComeLate,
    StrikesNothing,
    HealsNothing,
    StrikesAnybody,
    StrikesTwice,
    RestoreKeepsFaults,
    WatchHolds,
    WatchGoesOn,
    FindsItself,
    WatchSeesNothing,
    WatchNeverEnds,
    LogsAreWhole,
    LogsDieWithTheSystem,
    LeaksSnapshots,
    LeaksTheSystem,
    TeardownNeedsPrepare,
    TeardownIsCancelled,
    TakesWhatWasHandedOver,
    IgnoresTheDeadline,
    IgnoresCancellation,
}

/// The database that is handed over: the rows of a new environment come from it.
const GIVEN: &str = "memory://given";

#[derive(Debug, Default)]
struct Made {
    asked: bool,
    live: Option<String>,
    snapshots: BTreeMap<String, String>,
    observed: u32,
    emptied: bool,
    /// The instances that do not answer, and their release.
    struck: BTreeMap<ServiceFault, Version>,
    /// The sessions that held something when the watch began.
    watch: Option<BTreeSet<String>>,
    held_by_watch: Option<OwnedMutexGuard<()>>,
}

#[derive(Debug)]
struct InMemory {
    server: Arc<Server>,
    powers: Capabilities,
    bug: Bug,
    fails: bool,
    made: Mutex<Made>,
}

fn unsupported(power: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("it has no {power}"))
}

impl InMemory {
    fn live(&self) -> Result<String> {
        let live = lock(&self.made).live.clone();
        live.ok_or_else(|| Error::new(ErrorKind::Environment, "it is not prepared"))
    }

    fn label(&self, label: &str) -> Result<String> {
        let url = lock(&self.made).snapshots.get(label).cloned();
        url.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no label `{label}`")))
    }

    /// Has an instance answer again.
    fn mend(&self, fault: &ServiceFault) -> Result<()> {
        let database = self.server.get(&self.live()?)?;
        let Some(release) = lock(&self.made).struck.remove(fault) else {
            return Ok(());
        };
        if self.bug != Bug::StrikesNothing {
            lock(&database.releases).push(release);
        }
        Ok(())
    }

    /// The tables of a state.
    fn at(&self, at: &At) -> Result<String> {
        match at {
            At::Snapshot(label) => self.label(label),
            _ => self.live(),
        }
    }

    /// What is there before the first migration: no tables.
    async fn empty(&self, cx: &UpgradeContext) -> Result<()> {
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
            self.bug == Bug::ObservationsDiffer && made.observed == 2 && made.snapshots.is_empty()
        };
        for (name, rows) in tables.iter().filter(|(name, _)| *name != "audit") {
            if !matches!(scope, Scope::Columns(_)) {
                seen.objects
                    .insert(format!("table {name}"), "key, value\n".to_owned());
            }
            let all = ["key", "value"];
            let columns: Vec<&str> = match scope {
                Scope::All => all.to_vec(),
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
fn differing(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> RowDiff {
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

    fn capabilities(&self) -> Capabilities {
        self.powers
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

    async fn replace(&self, cx: &UpgradeContext, to: &Version) -> Result<()> {
        if !self.powers.services {
            return match self.bug {
                Bug::RefusesToReplaceNothing => Err(unsupported("services")),
                _ => Ok(()),
            };
        }
        let known = to == cx.from() || to == cx.to();
        if !known && self.bug != Bug::ReplacesByAnything {
            let message = format!("there is no release `{to}`");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let database = self.server.get(&self.live()?)?;
        if self.bug == Bug::ReplacesNothing {
            return Ok(());
        }
        let all = vec![to.clone(); usize::from(INSTANCES)];
        let before = std::mem::replace(&mut *lock(&database.releases), all);
        if self.bug == Bug::ReplacesTwice && before.iter().all(|release| release == to) {
            database.disturb().await;
        }
        Ok(())
    }

    async fn replace_first(&self, cx: &UpgradeContext, count: u32) -> Result<()> {
        if !self.powers.services {
            return match self.bug {
                Bug::RollsWithoutInstances => Ok(()),
                _ => Err(unsupported("instances")),
            };
        }
        let database = self.server.get(&self.live()?)?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut releases = lock(&database.releases);
        let is_first = releases.iter().all(|release| release == cx.from());
        for (index, release) in releases.iter_mut().enumerate() {
            match self.bug {
                Bug::RollsOneTooMany if is_first => *release = cx.to().clone(),
                Bug::RollsOnlyForward if index >= count => {}
                _ if index < count => *release = cx.to().clone(),
                _ => *release = cx.from().clone(),
            }
        }
        Ok(())
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

    fn fault_sites(&self, release: &Version) -> Result<Vec<Site>> {
        if !["1", "2"].contains(&release.as_str()) {
            let message = format!("there is no release `{release}`");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        if self.bug == Bug::SitesComeLate && lock(&self.made).live.is_none() {
            return Ok(Vec::new());
        }
        Ok(match self.powers.service_faults {
            true => vec![
                Site::open(FaultKind::Kill, "api", INSTANCES.into()),
                Site::open(FaultKind::FullDisk, "api", INSTANCES.into()).closed("no disk"),
            ],
            false => Vec::new(),
        })
    }

    async fn strike(&self, _: &UpgradeContext, fault: &ServiceFault) -> Result<()> {
        if self.bug == Bug::StrikesUndeclared {
            return Ok(());
        }
        if !self.powers.service_faults || fault.kind != FaultKind::Kill {
            return Err(unsupported("such a fault"));
        }
        let place = usize::try_from(fault.replica).unwrap_or(0).wrapping_sub(1);
        let database = self.server.get(&self.live()?)?;
        let mut made = lock(&self.made);
        if made.struck.contains_key(fault) && self.bug != Bug::StrikesTwice {
            return Err(Error::new(ErrorKind::Refused, "it has struck already"));
        }
        let mut releases = lock(&database.releases);
        let Some(release) = releases.get(place).cloned() else {
            return match self.bug {
                Bug::StrikesAnybody | Bug::StrikesTwice => Ok(()),
                _ => Err(Error::new(ErrorKind::NotFound, "no such instance")),
            };
        };
        if self.bug != Bug::StrikesNothing {
            releases.remove(place);
        }
        made.struck.insert(fault.clone(), release);
        Ok(())
    }

    async fn heal(&self, _: &UpgradeContext, fault: &ServiceFault) -> Result<()> {
        match self.bug {
            Bug::HealsNothing => Ok(()),
            _ => self.mend(fault),
        }
    }

    async fn watch(&self, _: &UpgradeContext) -> Result<()> {
        if !self.powers.watches && self.bug != Bug::WatchesUndeclared {
            return Err(unsupported("a watch"));
        }
        let database = self.server.get(&self.live()?)?;
        let mut made = lock(&self.made);
        if self.bug == Bug::WatchHolds {
            made.held_by_watch = Arc::clone(&database.writer).try_lock_owned().ok();
        }
        if self.bug != Bug::WatchGoesOn || made.watch.is_none() {
            made.watch = Some(database.holding());
        }
        Ok(())
    }

    async fn left_behind(&self, _: &UpgradeContext) -> Result<Vec<Finding>> {
        if !self.powers.watches && self.bug != Bug::WatchesUndeclared {
            return Err(unsupported("a watch"));
        }
        let holding = self.server.get(&self.live()?)?.holding();
        let watch = match self.bug {
            Bug::WatchNeverEnds => lock(&self.made).watch.clone(),
            _ => lock(&self.made).watch.take(),
        };
        let Some(before) = watch else {
            return Ok(Vec::new());
        };
        let mut left: Vec<&str> = match self.bug {
            Bug::WatchSeesNothing => Vec::new(),
            _ => holding.difference(&before).map(String::as_str).collect(),
        };
        if self.bug == Bug::FindsItself && holding.is_empty() {
            left.push("of the watch");
        }
        let told = |session| Finding::error("session-holds", session, "holds the rows");
        Ok(left.into_iter().map(told).collect())
    }

    async fn row_diff(
        &self,
        cx: &UpgradeContext,
        from: &At,
        to: &At,
        requests: &[RowDiffRequest],
    ) -> Result<BTreeMap<String, RowDiff>> {
        if !self.powers.row_diffs {
            return Err(unsupported("row diffs"));
        }
        let from = match self.at(from) {
            Err(_) if self.bug == Bug::DiffOfUnknownLabelIsEmpty => return Ok(BTreeMap::new()),
            url => self.server.get(&url?)?,
        };
        let to = self.server.get(&self.at(to)?)?;
        if self.bug == Bug::DiffingWrites {
            let audit = |tables: &mut Tables| drop(tables.insert("audit".into(), row("a", "1")));
            to.write(cx, audit).await?;
        }
        let (before, after) = (from.read(cx).await?, to.read(cx).await?);
        let none = BTreeMap::new();
        let diff = |request: &RowDiffRequest| {
            let old = before.get(&request.table).unwrap_or(&none);
            let new = after.get(request.name_after()).unwrap_or(&none);
            let mut found = differing(old, new);
            if self.bug == Bug::DiffMiscounts && found.added > 0 {
                found.added += 1;
            }
            if self.bug == Bug::DiffsEverything && before == after {
                found = differing(old, &none);
            }
            (request.table.clone(), found)
        };
        Ok(requests.iter().map(diff).collect())
    }

    async fn snapshot(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        if !self.powers.snapshots {
            return match self.bug {
                Bug::SilentWithoutPower => Ok(()),
                _ => Err(unsupported("snapshots")),
            };
        }
        let earlier = self.label(label);
        if earlier.is_ok() && self.bug == Bug::KeepsTheFirstLabel {
            return Ok(());
        }
        let tables = self.server.get(&self.live()?)?.read(cx).await?;
        match earlier {
            Ok(url) => self.server.put(&url, tables),
            Err(_) => {
                let url = self.server.create("-snapshot", tables);
                lock(&self.made).snapshots.insert(label.to_owned(), url);
            }
        }
        Ok(())
    }

    async fn restore(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        if !self.powers.snapshots {
            return Err(unsupported("snapshots"));
        }
        let struck: Vec<ServiceFault> = lock(&self.made).struck.keys().cloned().collect();
        for fault in struck {
            if self.bug != Bug::RestoreKeepsFaults {
                self.mend(&fault)?;
            }
        }
        if label == EMPTY && (self.powers.empty || self.bug == Bug::EmptiesUndeclared) {
            return self.empty(cx).await;
        }
        let url = match self.label(label) {
            Err(_) if self.bug == Bug::RestoresAnything => return Ok(()),
            url => url?,
        };
        let mut tables = self.server.get(&url)?.read(cx).await?;
        if self.bug == Bug::RestoreForgetsARow {
            tables.entry("orders".to_owned()).or_default().remove("o2");
        }
        if self.bug == Bug::RestoreDropsTheLabel {
            lock(&self.made).snapshots.remove(label);
            self.server.remove(&url);
        }
        let live = self.server.get(&self.live()?)?;
        live.write(cx, |live| *live = tables).await
    }

    async fn inject(&self, cx: &UpgradeContext, fault: Fault) -> Result<()> {
        let server = fault == Fault::KillServer;
        if self.bug == Bug::KillsUndeclared && server {
            return Ok(());
        }
        if !self.powers.faults || (server && !self.powers.server_faults) {
            return Err(unsupported("such a fault"));
        }
        let live = self.live()?;
        let database = self.server.get(&live)?;
        if fault == Fault::KillProcess {
            return match self.bug {
                Bug::DoesNotWaitForProcesses => Ok(()),
                _ => database.write(cx, |_| {}).await,
            };
        }
        let ignored = match fault {
            Fault::KillServer => self.bug == Bug::KillIsIgnored,
            _ => self.bug == Bug::FaultsAreIgnored,
        };
        if !ignored {
            database.terminate_sessions();
        }
        if self.bug == Bug::KillLosesARow && server {
            let lose = |tables: &mut Tables| {
                tables.entry("orders".to_owned()).or_default().remove("o2");
            };
            database.write(cx, lose).await?;
        }
        let moves = match fault {
            Fault::KillServer => self.bug == Bug::KilledServerMoves,
            _ => self.bug == Bug::FaultMovesTheSystem,
        };
        if moves {
            let other = format!("{live}-moved");
            self.server.move_to(&live, &other);
            lock(&self.made).live = Some(other);
        }
        Ok(())
    }

    async fn logs(&self, _cx: &UpgradeContext, lines: usize) -> Result<Vec<LogTail>> {
        let database = self.server.get(&self.live()?)?;
        if self.bug == Bug::LogsDieWithTheSystem && *lock(&database.crashed) {
            return Err(Error::new(ErrorKind::Io, "the log is gone"));
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

    async fn teardown(self: Box<Self>, cx: &UpgradeContext) -> Result<()> {
        if self.bug == Bug::TeardownIsCancelled && cx.cancellation().is_cancelled() {
            return Ok(());
        }
        let made = std::mem::take(&mut *lock(&self.made));
        if self.bug == Bug::TeardownNeedsPrepare && !made.asked {
            return Err(Error::new(ErrorKind::Environment, "it was not prepared"));
        }
        if self.bug == Bug::TakesWhatWasHandedOver {
            self.server.remove(GIVEN);
        }
        if let Some(live) = made.live
            && self.bug != Bug::LeaksTheSystem
        {
            self.server.remove(&live);
        }
        if self.bug != Bug::LeaksSnapshots {
            for url in made.snapshots.values() {
                self.server.remove(url);
            }
        }
        Ok(())
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
            .with_row_diffs()
            .with_server_faults()
            .with_service_faults()
            .with_watches()
            .with_empty();
        Self::with(powers, bug)
    }

    /// With snapshots, and no way to empty it.
    pub(crate) fn never_empty(bug: Bug) -> Self {
        Self::with(Capabilities::none().with_snapshots(), bug)
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

    async fn handed_over(&self) -> Result<Case<String>> {
        Ok(Case::Given(match self.server.get(GIVEN) {
            Ok(given) => given.state().await,
            Err(error) => error.to_string(),
        }))
    }
}
