//! A system in memory: which migrations it has, which release serves, and what was called.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use upgrade_core::environment::{
    At, Capabilities, Endpoint, Endpoints, LogTail, Services, Snapshots,
};
use upgrade_core::migration::{
    Checksum, Migration, MigrationFiles, MigrationId, Outcome, Reversibility, Status,
};
use upgrade_core::observation::{Observation, Scope, TableState};
use upgrade_core::rollback::{Prepared, Rollback, RollbackRequest, RollbackScope, Safety};
use upgrade_core::{Environment, Error, ErrorKind, Result, UpgradeContext, Verdict, Version};

#[derive(Debug, Default)]
pub struct State {
    pub applied: BTreeSet<String>,
    pub release: String,
    pub calls: Vec<String>,
    /// Whether the previous services lose rows on the newer schema.
    pub forgetful: bool,
    /// Whether the previous services do not start on the newer schema.
    pub stuck: bool,
}

#[derive(Debug, Clone)]
pub struct System {
    state: Arc<Mutex<State>>,
    pub powers: Capabilities,
}

impl System {
    pub fn new(powers: Capabilities, applied: impl IntoIterator<Item = String>) -> Self {
        let state = State {
            applied: applied.into_iter().collect(),
            release: "1".to_owned(),
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            powers,
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn applied(&self) -> BTreeSet<String> {
        self.state().applied.clone()
    }

    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    fn call(&self, what: impl Into<String>) {
        self.state().calls.push(what.into());
    }
}

#[async_trait]
impl Environment for System {
    fn name(&self) -> &str {
        "memory"
    }

    fn is_disposable(&self) -> bool {
        self.powers.disposable
    }

    async fn prepare(&self, _: &UpgradeContext) -> Result<()> {
        Ok(())
    }

    fn endpoints(&self) -> Endpoints {
        Endpoints::default().with("memory", Endpoint::new("memory:///"))
    }

    async fn observe(&self, _: &UpgradeContext, _: &At, _: &Scope) -> Result<Observation> {
        let state = self.state();
        let mut seen = Observation::default();
        for id in &state.applied {
            seen.objects.insert(format!("table {id}"), String::new());
        }
        let rows = if state.forgetful && state.calls.iter().any(|call| call == "replace by 1") {
            1
        } else {
            4
        };
        let table = TableState::new(BTreeMap::new(), rows, rows.to_string());
        seen.tables.insert("public.orders".to_owned(), table);
        Ok(seen)
    }

    async fn logs(&self, cx: &UpgradeContext, _: usize) -> Result<Vec<LogTail>> {
        cx.bounded("read the logs", async {
            vec![LogTail {
                source: "memory".to_owned(),
                lines: vec!["a line".to_owned()],
            }]
        })
        .await
    }

    async fn teardown(&self, _: &UpgradeContext) -> Result<()> {
        self.call("teardown");
        Ok(())
    }

    fn services(&self) -> Option<&dyn Services> {
        self.powers.services.then_some(self as _)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.powers.snapshots.then_some(self as _)
    }
}

#[async_trait]
impl Services for System {
    async fn replace(&self, _: &UpgradeContext, to: &Version) -> Result<Outcome> {
        self.call(format!("replace by {to}"));
        if self.state().stuck && to.as_str() == "1" {
            let refused = Error::new(ErrorKind::Environment, "exit code 1");
            return Ok(Outcome::failed(refused));
        }
        self.state().release = to.to_string();
        Ok(Outcome::Done)
    }
}

#[async_trait]
impl Snapshots for System {
    async fn take(&self, _: &UpgradeContext, _: &str) -> Result<()> {
        Ok(())
    }

    async fn restore(&self, _: &UpgradeContext, _: &str) -> Result<()> {
        Err(Error::new(ErrorKind::Internal, "nothing is restored here"))
    }
}

/// A migration that is a member of a set.
#[derive(Debug)]
pub struct Step {
    pub id: MigrationId,
    pub system: System,
    pub fails: bool,
}

impl Step {
    pub fn of(system: &System, version: &str, fails: bool) -> Arc<dyn Migration> {
        Arc::new(Self {
            id: MigrationId::new(version, ""),
            system: system.clone(),
            fails,
        })
    }
}

#[async_trait]
impl Migration for Step {
    fn id(&self) -> &MigrationId {
        &self.id
    }

    fn checksum(&self) -> Checksum {
        Checksum::from_bytes(self.id.version().as_bytes())
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Reversible
    }

    fn statements(&self) -> usize {
        1
    }

    fn files(&self) -> MigrationFiles {
        MigrationFiles::default()
    }

    async fn status(&self, _: &UpgradeContext) -> Result<Status> {
        Ok(if self.system.applied().contains(self.id.version()) {
            Status::Applied
        } else {
            Status::Pending
        })
    }

    async fn apply(&self, _: &UpgradeContext) -> Result<Outcome> {
        let version = self.id.version();
        if self.system.applied().contains(version) {
            return Ok(Outcome::NothingToDo);
        }
        self.system.call(format!("apply {version}"));
        if self.fails {
            let refused = Error::new(ErrorKind::Migration, "it fails over rows");
            return Ok(Outcome::failed(refused));
        }
        self.system.state().applied.insert(version.to_owned());
        Ok(Outcome::Done)
    }

    async fn revert(&self, _: &UpgradeContext) -> Result<Outcome> {
        let version = self.id.version();
        self.system.call(format!("revert {version}"));
        Ok(if self.system.state().applied.remove(version) {
            Outcome::Done
        } else {
            Outcome::NothingToDo
        })
    }
}

/// Undoes what it is asked to undo, whoever applied it.
#[derive(Debug)]
pub struct Obedient(pub System);

#[async_trait]
impl Rollback for Obedient {
    fn name(&self) -> &str {
        "obedient"
    }

    fn requires_reversible(&self) -> bool {
        true
    }

    async fn prepare(&self, _: &UpgradeContext, _: &RollbackScope) -> Result<Prepared> {
        Prepared::new(&())
    }

    async fn check(&self, _: &UpgradeContext, _: &Prepared, _: &RollbackRequest) -> Result<Safety> {
        Ok(Safety::Safe)
    }

    async fn execute(
        &self,
        _: &UpgradeContext,
        _: &Prepared,
        request: &RollbackRequest,
    ) -> Result<Outcome> {
        for id in request.applied.iter().rev() {
            self.0.call(format!("undo {}", id.version()));
            self.0.state().applied.remove(id.version());
        }
        Ok(Outcome::Done)
    }

    async fn confirm(&self, _: &UpgradeContext, _: &Prepared) -> Result<Verdict> {
        Ok(Verdict::Pass)
    }

    async fn finalize(&self, _: &UpgradeContext, _: &Prepared) -> Result<()> {
        self.0.call("finalize");
        Ok(())
    }
}
