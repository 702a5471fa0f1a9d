//! A rollback by a kept copy, over the server in memory, and those that break one promise each.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::task::yield_now;
use upgrade_core::environment::DATABASE;
use upgrade_core::migration::MigrationId;
use upgrade_core::migration::Outcome;
use upgrade_core::rollback::{Prepared, RollbackRequest, RollbackScope, Safety};
use upgrade_core::{Error, ErrorKind, Finding, Result, Rollback, UpgradeContext, Verdict};
use upgrade_testkit::conformance::{Case, Hold, RollbackFixture};

use crate::memory::{Database, Server, Tables, at, deaf, lock, populated, row};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    NoName,
    PrepareWrites,
    KeepsTheFirst,
    FailedPrepareKeeps,
    CheckWrites,
    CrossesTheUnsafe,
    ForgetsARow,
    NotFromTheMiddle,
    NotASecondTime,
    TakesAnything,
    Remembers,
    FinalizesOthers,
    OwnConnection,
    ConfirmsBeforehand,
    ConfirmsAfterwards,
    NeverConfirms,
    FinalizeKeeps,
    FinalizesOnce,
    IgnoresTheDeadline,
    IgnoresCancellation,
}

#[derive(Debug, Default)]
struct Progress {
    kept: Option<String>,
    first: Option<Tables>,
    began: bool,
    arrived: bool,
}

#[derive(Debug)]
struct KeptCopy {
    server: Arc<Server>,
    bug: Bug,
    progress: Mutex<Progress>,
}

const KEPT: &str = "-kept";

impl KeptCopy {
    fn open(&self, cx: &UpgradeContext) -> Result<Arc<Database>> {
        if self.bug == Bug::OwnConnection {
            self.server.open_any(cx)
        } else {
            self.server.open(cx)
        }
    }

    fn kept(&self, prepared: &Prepared) -> Result<Arc<Database>> {
        let url: Result<String> = prepared.read();
        if self.bug == Bug::Remembers {
            let refused = || Error::new(ErrorKind::Refused, "no copy was kept to roll back to");
            return self
                .server
                .get(&lock(&self.progress).kept.clone().ok_or_else(refused)?);
        }
        self.server.get(&url?)
    }
}

#[async_trait]
impl Rollback for KeptCopy {
    fn name(&self) -> &str {
        if self.bug == Bug::NoName {
            " "
        } else {
            "kept-copy"
        }
    }

    fn requires_reversible(&self) -> bool {
        false
    }

    async fn prepare(&self, cx: &UpgradeContext, _: &RollbackScope) -> Result<Prepared> {
        let database = self.open(cx)?;
        let here = cx
            .endpoint(DATABASE)
            .map_or("memory://any", |endpoint| endpoint.url().expose())
            .to_owned();
        let url = format!("{here}{KEPT}");
        if self.bug == Bug::FailedPrepareKeeps && cx.cancellation().is_cancelled() {
            self.server.put(&url, Tables::new());
        }
        if self.bug == Bug::PrepareWrites {
            let mark = |tables: &mut Tables| drop(tables.insert("mark".into(), row("m", "1")));
            database.write(cx, mark).await?;
        }
        let mut tables = database.read(cx).await?;
        let mut progress = lock(&self.progress);
        if self.bug == Bug::KeepsTheFirst {
            tables = progress.first.get_or_insert(tables).clone();
        }
        self.server.put(&url, tables);
        progress.kept = Some(url.clone());
        Prepared::new(&url)
    }

    async fn check(
        &self,
        cx: &UpgradeContext,
        _: &Prepared,
        _: &RollbackRequest,
    ) -> Result<Safety> {
        let database = self.open(cx)?;
        if self.bug == Bug::CheckWrites {
            let mark = |tables: &mut Tables| drop(tables.insert("mark".into(), row("m", "1")));
            database.write(cx, mark).await?;
        }
        Ok(if database.read(cx).await?.contains_key("boundary") {
            Safety::Unsafe {
                boundary: "table boundary".to_owned(),
                reason: "what is behind it was removed".to_owned(),
            }
        } else {
            Safety::Safe
        })
    }

    async fn execute(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        _: &RollbackRequest,
    ) -> Result<Outcome> {
        let database = self.open(cx)?;
        if self.bug == Bug::TakesAnything && prepared.read::<String>().is_err() {
            database.write(cx, |tables| *tables = populated()).await?;
            return Ok(Outcome::Done);
        }
        let mut tables = self.kept(prepared)?.read(cx).await?;
        let live = database.read(cx).await?;
        let refused = |what: &str| Ok(Outcome::failed(Error::new(ErrorKind::Rollback, what)));
        if live.contains_key("boundary") && self.bug != Bug::CrossesTheUnsafe {
            return refused("the rollback ends at table `boundary`");
        }
        if live.contains_key("half") && self.bug == Bug::NotFromTheMiddle {
            return refused("a migration is dirty");
        }
        if self.bug == Bug::NotASecondTime && lock(&self.progress).began {
            return refused("another rollback is under way");
        }
        lock(&self.progress).began = true;
        // Table by table, with a wait between: an interruption leaves it half way.
        for name in live.keys() {
            database
                .write(cx, |tables| drop(tables.remove(name)))
                .await?;
            yield_now().await;
        }
        if self.bug == Bug::ForgetsARow {
            tables.entry("orders".to_owned()).or_default().remove("o2");
        }
        for (name, rows) in tables {
            database
                .write(cx, |tables| drop(tables.insert(name, rows)))
                .await?;
            yield_now().await;
        }
        let mut progress = lock(&self.progress);
        progress.arrived = true;
        progress.began = false;
        Ok(Outcome::Done)
    }

    async fn confirm(&self, cx: &UpgradeContext, prepared: &Prepared) -> Result<Verdict> {
        let cx = &deaf(
            cx,
            self.bug == Bug::IgnoresTheDeadline,
            self.bug == Bug::IgnoresCancellation,
        );
        let kept = self.kept(prepared)?.read(cx).await?;
        let live = self.open(cx)?.read(cx).await?;
        let arrived = lock(&self.progress).arrived;
        match self.bug {
            Bug::ConfirmsBeforehand if !arrived => return Ok(Verdict::Pass),
            Bug::ConfirmsAfterwards if arrived => return Ok(Verdict::Pass),
            Bug::NeverConfirms if arrived => {
                return Ok(Verdict::Inconclusive("who knows".to_owned()));
            }
            _ => {}
        }
        Ok(if kept == live {
            Verdict::Pass
        } else {
            Verdict::Fail(vec![Finding::error(
                "not-back",
                "database",
                "is not what was kept",
            )])
        })
    }

    async fn finalize(&self, _: &UpgradeContext, prepared: &Prepared) -> Result<()> {
        let url: String = prepared.read()?;
        let was_there = self.server.get(&url).is_ok();
        match self.bug {
            Bug::FinalizesOnce if !was_there => {
                return Err(Error::new(ErrorKind::NotFound, "nothing is kept"));
            }
            Bug::FinalizesOthers => {
                for url in self.server.urls().iter().filter(|url| url.ends_with(KEPT)) {
                    self.server.remove(url);
                }
            }
            Bug::FinalizeKeeps => {}
            _ => self.server.remove(&url),
        }
        Ok(())
    }
}

pub(crate) struct Fixture {
    server: Arc<Server>,
    bug: Bug,
}

impl Fixture {
    pub(crate) fn new(bug: Bug) -> Self {
        Self {
            server: Arc::default(),
            bug,
        }
    }

    async fn change(
        &self,
        cx: &UpgradeContext,
        change: impl FnOnce(&mut Tables),
    ) -> Result<RollbackRequest> {
        self.server.open(cx)?.write(cx, change).await?;
        Ok(RollbackRequest::new([
            MigrationId::new("0002", "parcels"),
            MigrationId::new("0003", "orders"),
        ]))
    }
}

#[async_trait]
impl RollbackFixture for Fixture {
    async fn system(&self) -> Result<(Arc<dyn Rollback>, UpgradeContext)> {
        let cx = at(&self.server.create("", populated()));
        Ok((self.again(&cx).await?, cx))
    }

    async fn again(&self, _: &UpgradeContext) -> Result<Arc<dyn Rollback>> {
        Ok(Arc::new(KeptCopy {
            server: Arc::clone(&self.server),
            bug: self.bug,
            progress: Mutex::default(),
        }))
    }

    async fn write(&self, cx: &UpgradeContext) -> Result<()> {
        self.server.open(cx)?.disturb().await;
        Ok(())
    }

    async fn upgrade(&self, cx: &UpgradeContext) -> Result<RollbackRequest> {
        self.change(cx, |tables| {
            tables.insert("parcels".to_owned(), row("p1", "o1"));
            tables.insert("orders".to_owned(), row("o1", "moved"));
        })
        .await
    }

    async fn interrupt(&self, cx: &UpgradeContext) -> Result<RollbackRequest> {
        self.change(cx, |tables| {
            tables.insert("parcels".to_owned(), row("p1", "o1"));
            tables.insert("half".to_owned(), row("o1", "moved"));
        })
        .await
    }

    async fn cross(&self, cx: &UpgradeContext) -> Result<Case<RollbackRequest>> {
        let crossed = self.change(cx, |tables| {
            tables.insert("boundary".to_owned(), row("b", "1"));
        });
        Ok(Case::Given(crossed.await?))
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        Ok(self.server.open(cx)?.state().await)
    }

    async fn kept(&self, cx: &UpgradeContext) -> Result<Vec<String>> {
        let url = format!("{}{KEPT}", cx.endpoint(DATABASE)?.url().expose());
        Ok(self.server.get(&url).map(|_| url).into_iter().collect())
    }

    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold> {
        Ok(self.server.open(cx)?.hold().await)
    }
}
