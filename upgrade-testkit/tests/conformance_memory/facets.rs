//! What the environment in memory can do beyond what every environment can.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use upgrade_core::environment::{
    At, Claim, Claims, DATABASE, DatabaseFaults, EMPTY, Endpoint, Endpoints, Fault, Instances,
    Refusal, RowComparison, ServiceFaults, Services, SessionMonitor, SideBySide, Snapshots,
    StatementKind, StatementTrial,
};
use upgrade_core::fault::{FaultKind, ServiceFault, Site};
use upgrade_core::migration::Outcome;
use upgrade_core::observation::{RowDiff, RowDiffRequest};
use upgrade_core::side::Side;
use upgrade_core::{Error, ErrorKind, Finding, Result, TableRef, UpgradeContext, Version};

use crate::environment::{Bug, INSTANCES, InMemory, differing, unsupported};
use crate::memory::{Tables, lock, row};

#[async_trait]
impl Services for InMemory {
    async fn replace(&self, cx: &UpgradeContext, to: &Version) -> Result<Outcome> {
        let known = to == cx.from() || to == cx.to();
        if !known && self.bug != Bug::ReplacesByAnything {
            let message = format!("there is no release `{to}`");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let database = self.server.get(&self.live()?)?;
        if self.bug == Bug::ReplacesNothing {
            return Ok(Outcome::Done);
        }
        let all = vec![to.clone(); usize::from(INSTANCES)];
        let before = std::mem::replace(&mut *lock(&database.releases), all);
        if self.bug == Bug::ReplacesTwice && before.iter().all(|release| release == to) {
            database.disturb().await;
        }
        Ok(Outcome::Done)
    }

    fn instances(&self) -> Option<&dyn Instances> {
        Some(self)
    }
}

#[async_trait]
impl Instances for InMemory {
    fn count(&self) -> u32 {
        INSTANCES.into()
    }

    async fn replace_first(&self, cx: &UpgradeContext, count: u32) -> Result<Outcome> {
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
        Ok(Outcome::Done)
    }
}

#[async_trait]
impl Snapshots for InMemory {
    fn has_empty(&self) -> bool {
        self.powers.empty
    }

    async fn take(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
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
        let injected: Vec<ServiceFault> = lock(&self.made).injected.keys().cloned().collect();
        for fault in injected {
            if self.bug != Bug::RestoreKeepsFaults {
                self.mend(&fault)?;
            }
        }
        if label == EMPTY && (self.has_empty() || self.bug == Bug::EmptiesUndeclared) {
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

    async fn forget(&self, _: &UpgradeContext, label: &str) -> Result<()> {
        let mut made = lock(&self.made);
        if self.bug == Bug::ForgetsEveryLabel {
            for url in std::mem::take(&mut made.snapshots).into_values() {
                self.server.remove(&url);
            }
        } else if let Some(url) = made.snapshots.remove(label) {
            self.server.remove(&url);
        }
        Ok(())
    }
}

#[async_trait]
impl SideBySide for InMemory {
    async fn copy(&self, cx: &UpgradeContext, side: Side, label: &str) -> Result<()> {
        let once = self.bug == Bug::CopiesASideOnce;
        if once && lock(&self.made).sides.contains_key(&side) {
            return Ok(());
        }
        let earlier = lock(&self.made).sides.remove(&side);
        let from = match self.bug {
            Bug::SideHasTheLiveState if self.label(label).is_ok() => self.live()?,
            Bug::CopiesAnything => self.label(label).or_else(|_| self.live())?,
            _ => self.label(label)?,
        };
        let tables = self.server.get(&from)?.read(cx).await?;
        if let Some(url) = earlier {
            self.server.remove(&url);
        }
        let other = lock(&self.made).sides.values().next().cloned();
        let url = match other {
            Some(other) if self.bug == Bug::SidesAreOne => other,
            _ => self.server.create("-side", tables),
        };
        lock(&self.made).sides.insert(side, url);
        Ok(())
    }

    async fn start(&self, cx: &UpgradeContext, side: Side, release: &Version) -> Result<Outcome> {
        let url = lock(&self.made).sides.get(&side).cloned();
        let known = release == cx.from() || release == cx.to();
        if self.bug == Bug::StartsAnything && !known {
            return Ok(Outcome::Done);
        }
        let missing = || Error::new(ErrorKind::NotFound, "no such release, or no copy");
        let url = url.filter(|_| known).ok_or_else(missing)?;
        let database = self.server.get(&url)?;
        if self.bug != Bug::StartsNothing {
            *lock(&database.releases) = vec![release.clone(); usize::from(INSTANCES)];
        }
        Ok(Outcome::Done)
    }

    fn endpoints(&self, side: Side) -> Endpoints {
        let url = lock(&self.made).sides.get(&side).cloned();
        url.map_or_else(Endpoints::default, |url| {
            Endpoints::default().with(DATABASE, Endpoint::new(url))
        })
    }

    async fn remove(&self, cx: &UpgradeContext, side: Side) -> Result<()> {
        if self.bug == Bug::RemoveIsCancelled && cx.cancellation().is_cancelled() {
            return Ok(());
        }
        if let Some(url) = lock(&self.made).sides.remove(&side)
            && self.bug != Bug::LeaksASide
        {
            self.server.remove(&url);
        }
        Ok(())
    }
}

#[async_trait]
impl RowComparison for InMemory {
    async fn row_diff(
        &self,
        cx: &UpgradeContext,
        from: &At,
        to: &At,
        requests: &[RowDiffRequest],
    ) -> Result<BTreeMap<String, RowDiff>> {
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
}

#[async_trait]
impl DatabaseFaults for InMemory {
    fn supports(&self, fault: Fault) -> bool {
        fault != Fault::KillServer || self.powers.server_faults
    }

    async fn inject(&self, cx: &UpgradeContext, fault: Fault) -> Result<()> {
        let server = fault == Fault::KillServer;
        if !self.supports(fault) {
            return match self.bug {
                Bug::KillsUndeclared => Ok(()),
                _ => Err(unsupported("such a fault")),
            };
        }
        let live = self.live()?;
        let database = self.server.get(&live)?;
        if fault == Fault::HoldSnapshot {
            if self.bug == Bug::HeldSnapshotLocks {
                lock(&self.made).held = Arc::clone(&database.writer).try_lock_owned().ok();
            }
            return Ok(());
        }
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
}

#[async_trait]
impl ServiceFaults for InMemory {
    fn sites(&self, release: &Version) -> Result<Vec<Site>> {
        if !["1", "2"].contains(&release.as_str()) {
            let message = format!("there is no release `{release}`");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        if self.bug == Bug::SitesComeLate && lock(&self.made).live.is_none() {
            return Ok(Vec::new());
        }
        Ok(vec![
            Site::open(FaultKind::Kill, "api", INSTANCES.into()),
            Site::open(FaultKind::FullDisk, "api", INSTANCES.into()).closed("no disk"),
        ])
    }

    async fn inject(&self, _: &UpgradeContext, fault: &ServiceFault) -> Result<()> {
        if fault.kind != FaultKind::Kill {
            return Err(unsupported("such a fault"));
        }
        let place = usize::try_from(fault.replica).unwrap_or(0).wrapping_sub(1);
        let database = self.server.get(&self.live()?)?;
        let mut made = lock(&self.made);
        if made.injected.contains_key(fault) && self.bug != Bug::InjectsTwice {
            return Err(Error::new(ErrorKind::Refused, "it is injected already"));
        }
        let mut releases = lock(&database.releases);
        let Some(release) = releases.get(place).cloned() else {
            return match self.bug {
                Bug::InjectsIntoAnybody | Bug::InjectsTwice => Ok(()),
                _ => Err(Error::new(ErrorKind::NotFound, "no such instance")),
            };
        };
        if self.bug != Bug::InjectsNothing {
            releases.remove(place);
        }
        made.injected.insert(fault.clone(), release);
        Ok(())
    }

    async fn recover(&self, _: &UpgradeContext, fault: &ServiceFault) -> Result<Outcome> {
        if self.bug != Bug::RecoversNothing {
            self.mend(fault)?;
        }
        Ok(Outcome::Done)
    }
}

#[async_trait]
impl SessionMonitor for InMemory {
    async fn begin(&self, _: &UpgradeContext) -> Result<()> {
        let database = self.server.get(&self.live()?)?;
        let mut made = lock(&self.made);
        if self.bug == Bug::WatchHolds {
            made.held = Arc::clone(&database.writer).try_lock_owned().ok();
        }
        if self.bug != Bug::WatchGoesOn || made.watch.is_none() {
            made.watch = Some(database.holding());
        }
        Ok(())
    }

    async fn end(&self, _: &UpgradeContext) -> Result<Vec<Finding>> {
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
}

#[async_trait]
impl StatementTrial for InMemory {
    async fn try_statements(&self, cx: &UpgradeContext, _: &At) -> Result<Vec<Refusal>> {
        let database = self.server.get(&self.live()?)?;
        if self.bug == Bug::TryingWrites {
            let add = |tables: &mut Tables| {
                tables
                    .entry("orders".to_owned())
                    .or_default()
                    .extend(row("o9", "9"));
            };
            database.write(cx, add).await?;
        }
        let mut made = lock(&self.made);
        made.tried += 1;
        Ok(match self.bug {
            Bug::TryingIsRandom if made.tried.is_multiple_of(2) => {
                vec![Refusal::new(
                    TableRef::new("orders"),
                    StatementKind::Insert,
                    "insert",
                    "no",
                )]
            }
            _ => Vec::new(),
        })
    }
}

#[async_trait]
impl Claims for InMemory {
    async fn claimed(&self, _: &UpgradeContext) -> Result<Option<Claim>> {
        Ok(lock(&self.made).claim.clone())
    }

    async fn claim(&self, cx: &UpgradeContext, claim: &Claim) -> Result<()> {
        if self.bug == Bug::ClaimIsARow {
            let database = self.server.get(&self.live()?)?;
            let add = |tables: &mut Tables| {
                let orders = tables.entry("orders".to_owned()).or_default();
                orders.extend(row("claim", "1"));
            };
            database.write(cx, add).await?;
        }
        if self.bug != Bug::ForgetsTheClaim {
            lock(&self.made).claim = Some(claim.clone());
        }
        Ok(())
    }

    async fn release(&self, _: &UpgradeContext) -> Result<()> {
        lock(&self.made).claim = None;
        Ok(())
    }
}
