//! A system of programs on this machine, over a disposable database: staging without containers.

mod facets;
pub(super) mod folder;
mod instance;
mod port;
mod program;
mod set;
mod usage;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::Mutex as AsyncMutex;

use self::folder::Folder;
pub use self::program::{Placement, Program, ProgramReady};
use self::set::{Mix, ProgramSet};
use super::{
    At, Claims, DATABASE, DatabaseFaults, Endpoints, Environment, LogTail, PostgresEnvironment,
    RowComparison, Services, SessionMonitor, SideBySide, Snapshots, StatementTrial, Unfilled,
};
use crate::configuration::Configuration;
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Scope};
use crate::postgres::Database;
use crate::side::Side;

/// A staging environment of programs: processes of this machine over a disposable database.
///
/// Each program listens on `127.0.0.1`, behind an endpoint of its name that stays the same while it is
/// replaced: the next instance is ready before the one before it is asked to end. Its output is in a log, whose
/// `file` URL is the endpoint `NAME.log`. Nothing isolates the programs from the machine and its network; for that,
/// use containers.
///
/// A program ends with its environment, also where the process of the environment is killed. What such a program
/// had started itself is ended by the next environment of this kind.
#[derive(Debug)]
pub struct ProcessEnvironment {
    database: PostgresEnvironment,
    programs: Vec<Program>,
    live: AsyncMutex<Option<Live>>,
    /// The endpoints of what runs, to be read without waiting.
    endpoints: Mutex<Known>,
    kept: Mutex<BTreeMap<String, Mix>>,
}

#[derive(Debug, Default)]
struct Known {
    live: Endpoints,
    sides: BTreeMap<Side, Endpoints>,
}

/// What runs since `prepare`. The programs end before their folder is removed.
#[derive(Debug)]
struct Live {
    programs: Arc<[Program]>,
    set: ProgramSet,
    sides: BTreeMap<Side, (Database, ProgramSet)>,
    folder: Folder,
}

impl ProcessEnvironment {
    /// An environment over a database, without any program yet.
    pub fn new(database: PostgresEnvironment) -> Self {
        Self {
            database,
            programs: Vec::new(),
            live: AsyncMutex::new(None),
            endpoints: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// Adds a program. Programs are started and replaced in the order in which they are added.
    #[must_use]
    pub fn with_program(mut self, program: Program) -> Self {
        self.programs.push(program);
        self
    }

    fn known<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }

    fn kept<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Mix>) -> T) -> T {
        act(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn not_prepared(&self) -> Error {
        let message = format!("environment `{}` does not run yet", self.name());
        Error::new(ErrorKind::Environment, message).with_hint("call `prepare` first")
    }

    async fn start(&self, cx: &UpgradeContext) -> Result<()> {
        let folder = Folder::make()?;
        let programs: Arc<[Program]> = self.programs.clone().into();
        let database = self.database.database()?.endpoint().url().clone();
        let path = folder.path().join("live");
        let mut set = ProgramSet::new(Arc::clone(&programs), database, path).await?;
        set.become_mix(cx, &Mix::of(cx.from()))
            .await?
            .into_result()?;
        self.known(|known| known.live = set.endpoints());
        *self.live.lock().await = Some(Live {
            programs,
            set,
            sides: BTreeMap::new(),
            folder,
        });
        Ok(())
    }
}

#[async_trait]
impl Environment for ProcessEnvironment {
    fn name(&self) -> &str {
        self.database.name()
    }

    fn is_disposable(&self) -> bool {
        self.database.is_disposable()
    }

    async fn prepare(&self, cx: &UpgradeContext) -> Result<()> {
        set::check(&self.programs)?;
        if !self.is_disposable() {
            let message = "programs are started only over a database that is disposable";
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_hint("for a real system use `CommandServices`"));
        }
        if self.live.lock().await.is_some() {
            return Ok(());
        }
        self.database.prepare(cx).await?;
        cx.bounded("start the programs", self.start(cx)).await?
    }

    fn endpoints(&self) -> Endpoints {
        let database = self.database.endpoints();
        let programs = self.known(|known| known.live.clone());
        let programs = programs.iter();
        programs.fold(database, |all, (name, endpoint)| {
            all.with(name, endpoint.clone())
        })
    }

    fn unfilled(&self) -> Vec<Unfilled> {
        self.database.unfilled()
    }

    async fn observe(&self, cx: &UpgradeContext, at: &At, scope: &Scope) -> Result<Observation> {
        self.database.observe(cx, at, scope).await
    }

    async fn size(&self, cx: &UpgradeContext) -> Result<Option<u64>> {
        self.database.size(cx).await
    }

    async fn logs(&self, cx: &UpgradeContext, lines: usize) -> Result<Vec<LogTail>> {
        let mut logs = self.database.logs(cx, lines).await?;
        if let Some(live) = &*self.live.lock().await {
            logs.extend(live.set.logs(cx, lines));
        }
        Ok(logs)
    }

    async fn teardown(&self, cx: &UpgradeContext) -> Result<()> {
        let live = self.live.lock().await.take();
        if let Some(mut live) = live {
            for (_, set) in live.sides.values_mut() {
                set.stop().await;
            }
            live.set.stop().await;
            drop(live.folder);
        }
        self.known(|known| *known = Known::default());
        self.kept(BTreeMap::clear);
        self.database.teardown(cx).await
    }

    fn services(&self) -> Option<&dyn Services> {
        Some(self)
    }

    fn configuration(&self) -> Option<&dyn Configuration> {
        self.database.configuration()
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.database.snapshots().map(|_| self as _)
    }

    fn side_by_side(&self) -> Option<&dyn SideBySide> {
        self.database.snapshots().map(|_| self as _)
    }

    fn row_comparison(&self) -> Option<&dyn RowComparison> {
        self.database.row_comparison()
    }

    fn database_faults(&self) -> Option<&dyn DatabaseFaults> {
        self.database.database_faults()
    }

    fn session_monitor(&self) -> Option<&dyn SessionMonitor> {
        self.database.session_monitor()
    }

    fn claims(&self) -> Option<&dyn Claims> {
        self.database.claims()
    }

    fn statement_trial(&self) -> Option<&dyn StatementTrial> {
        self.database.statement_trial()
    }
}
