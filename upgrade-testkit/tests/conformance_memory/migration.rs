//! A migration over the server in memory, and those that break one promise each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use upgrade_core::migration::{
    Checksum, MigrationFiles, MigrationId, Outcome, Reversibility, Status,
};
use upgrade_core::{Error, ErrorKind, Migration, Result, UpgradeContext};
use upgrade_testkit::conformance::{Case, MigrationFixture};

use crate::memory::{Database, RECORD, Server, at, deaf, lock, populated, row};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    OneChecksumForAll,
    StatusMakesTheRecord,
    RevertKeepsTheRecord,
    StatusFromMemory,
    DivergenceUnseen,
    DivergentIsNothingToDo,
    AppliesNothing,
    AppliesTwice,
    AppliedAfterFailure,
    HalfOfItIsPending,
    RevertsWhatIsPending,
    RevertsHalf,
    RevertForgetsARow,
    PendingAfterFailedRevert,
    RevertsTheIrreversible,
    OwnConnection,
    AppliesWhenCancelled,
    IgnoresTheDeadline,
    IgnoresCancellation,
    LeavesItRunning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Plain,
    Edited,
    Failing,
    FailingRevert,
    Irreversible,
    Slow,
}

/// Adds a table `parcels` with rows, and a row to `orders`.
#[derive(Debug)]
struct AddParcels {
    server: Arc<Server>,
    content: Content,
    bug: Bug,
    applied_here: AtomicBool,
}

fn failed(what: &str) -> Outcome {
    let message = format!("migration `0002_parcels` failed: {what}");
    Outcome::failed(Error::new(ErrorKind::Migration, message))
}

impl AddParcels {
    fn open(&self, cx: &UpgradeContext) -> Result<Arc<Database>> {
        if self.bug == Bug::OwnConnection {
            self.server.open_any(cx)
        } else {
            self.server.open(cx)
        }
    }

    fn fingerprint(&self) -> String {
        Checksum::from_bytes(&[self.content as u8]).to_string()
    }

    /// Sleeps on the server.
    async fn sleep(&self, cx: &UpgradeContext, database: &Arc<Database>) -> Result<()> {
        lock(&database.running).push("sleep".to_owned());
        let guard = Statement(Arc::clone(database));
        if self.bug == Bug::LeavesItRunning {
            // The server goes on when the client has gone.
            std::mem::forget(guard);
        }
        let cx = deaf(
            cx,
            self.bug == Bug::IgnoresTheDeadline,
            self.bug == Bug::IgnoresCancellation,
        );
        cx.bounded("0002_parcels", tokio::time::sleep(Duration::from_secs(60)))
            .await
    }
}

/// A statement that runs until it is dropped.
struct Statement(Arc<Database>);

impl Drop for Statement {
    fn drop(&mut self) {
        lock(&self.0.running).clear();
    }
}

#[async_trait]
impl Migration for AddParcels {
    fn id(&self) -> &MigrationId {
        static ID: OnceLock<MigrationId> = OnceLock::new();
        ID.get_or_init(|| MigrationId::new("0002", "parcels"))
    }

    fn checksum(&self) -> Checksum {
        match self.bug {
            Bug::OneChecksumForAll => Checksum::from_bytes(b"x"),
            _ => Checksum::from_bytes(self.fingerprint().as_bytes()),
        }
    }

    fn statements(&self) -> usize {
        1
    }

    fn reversibility(&self) -> Reversibility {
        if self.content == Content::Irreversible {
            Reversibility::Irreversible {
                reason: "it has no way down".to_owned(),
            }
        } else {
            Reversibility::Reversible
        }
    }

    fn files(&self) -> MigrationFiles {
        MigrationFiles::default()
    }

    async fn status(&self, cx: &UpgradeContext) -> Result<Status> {
        let database = self.open(cx)?;
        if self.bug == Bug::StatusMakesTheRecord {
            let record = |tables: &mut crate::memory::Tables| {
                tables.entry(RECORD.to_owned()).or_default();
            };
            database.write(cx, record).await?;
        }
        let tables = database.read(cx).await?;
        let recorded = tables.get(RECORD).and_then(|record| record.get("0002"));
        Ok(match recorded {
            None => Status::Pending,
            Some(recorded) if *recorded != self.fingerprint() => match self.bug {
                Bug::DivergenceUnseen => Status::Applied,
                _ => Status::Divergent {
                    recorded: Checksum::from_bytes(recorded.as_bytes()),
                },
            },
            Some(_)
                if self.bug == Bug::StatusFromMemory
                    && !self.applied_here.load(Ordering::SeqCst) =>
            {
                Status::Pending
            }
            Some(_) => Status::Applied,
        })
    }

    async fn apply(&self, cx: &UpgradeContext) -> Result<Outcome> {
        let deaf_context = deaf(cx, false, true);
        let cx = match (self.bug, self.content) {
            (Bug::AppliesWhenCancelled, Content::Plain) => &deaf_context,
            _ => cx,
        };
        let database = self.open(cx)?;
        let before = database.read(cx).await?;
        if let Some(recorded) = before.get(RECORD).and_then(|record| record.get("0002")) {
            let same = *recorded == self.fingerprint();
            if !same && self.bug != Bug::DivergentIsNothingToDo {
                let message = "migration `0002_parcels` was applied with another content";
                return Ok(Outcome::failed(Error::new(ErrorKind::Divergent, message)));
            }
            if self.bug != Bug::AppliesTwice {
                return Ok(Outcome::NothingToDo);
            }
        }
        cx.reach(0, 2).await?;
        if self.content == Content::Slow {
            self.sleep(cx, &database).await?;
        }
        let mut after = before.clone();
        if self.bug != Bug::AppliesNothing {
            let parcels = after.entry("parcels".to_owned()).or_default();
            parcels.insert(format!("p{}", parcels.len()), "o1".to_owned());
        }
        let record = after.entry(RECORD.to_owned()).or_default();
        record.insert("0002".to_owned(), self.fingerprint());
        if self.content == Content::Failing {
            match self.bug {
                Bug::AppliedAfterFailure => database.write(cx, |tables| *tables = after).await?,
                Bug::HalfOfItIsPending => {
                    let half = |tables: &mut crate::memory::Tables| {
                        tables.insert("parcels".to_owned(), row("p0", "half"));
                    };
                    database.write(cx, half).await?;
                }
                _ => {}
            }
            return Ok(failed("relation `parcel` does not exist"));
        }
        cx.reach(2, 2).await?;
        database.write(cx, |tables| *tables = after).await?;
        self.applied_here.store(true, Ordering::SeqCst);
        Ok(Outcome::Done)
    }

    async fn revert(&self, cx: &UpgradeContext) -> Result<Outcome> {
        if !self.reversibility().is_reversible() && self.bug != Bug::RevertsTheIrreversible {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "migration `0002_parcels` cannot be reverted",
            ));
        }
        let database = self.open(cx)?;
        let tables = database.read(cx).await?;
        let recorded = tables.get(RECORD).and_then(|record| record.get("0002"));
        if recorded.is_none() && self.bug != Bug::RevertsWhatIsPending {
            return Ok(Outcome::NothingToDo);
        }
        let fails = self.content == Content::FailingRevert;
        if fails && self.bug != Bug::PendingAfterFailedRevert {
            return Ok(failed("the table is in use"));
        }
        let bug = self.bug;
        let undo = |tables: &mut crate::memory::Tables| {
            if bug == Bug::RevertsHalf {
                tables.insert("parcels".to_owned(), row("p0", "half"));
            } else {
                tables.remove("parcels");
            }
            if bug == Bug::RevertForgetsARow {
                tables.entry("orders".to_owned()).or_default().remove("o2");
            }
            if let Some(record) = tables.get_mut(RECORD)
                && bug != Bug::RevertKeepsTheRecord
            {
                record.remove("0002");
            }
        };
        database.write(cx, undo).await?;
        Ok(match fails {
            true => failed("the table is in use"),
            false => Outcome::Done,
        })
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

    fn with(&self, content: Content) -> Arc<dyn Migration> {
        Arc::new(AddParcels {
            server: Arc::clone(&self.server),
            content,
            bug: self.bug,
            applied_here: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl MigrationFixture for Fixture {
    async fn context(&self) -> Result<UpgradeContext> {
        Ok(at(&self.server.create("", populated())))
    }

    fn migration(&self) -> Arc<dyn Migration> {
        self.with(Content::Plain)
    }

    fn edited(&self) -> Arc<dyn Migration> {
        self.with(Content::Edited)
    }

    fn remembers_content(&self) -> Case<()> {
        Case::Given(())
    }

    fn failing(&self) -> Arc<dyn Migration> {
        self.with(Content::Failing)
    }

    fn failing_revert(&self) -> Case<Arc<dyn Migration>> {
        Case::Given(self.with(Content::FailingRevert))
    }

    fn irreversible(&self) -> Case<Arc<dyn Migration>> {
        Case::Given(self.with(Content::Irreversible))
    }

    fn slow(&self) -> Arc<dyn Migration> {
        self.with(Content::Slow)
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        Ok(self.server.open(cx)?.state().await)
    }

    async fn record(&self, cx: &UpgradeContext) -> Result<String> {
        Ok(self.server.open(cx)?.record().await)
    }

    async fn running(&self, cx: &UpgradeContext) -> Result<Vec<String>> {
        Ok(lock(&self.server.open(cx)?.running).clone())
    }
}
