//! What changes between two releases, as data that the user builds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::context::UpgradeContext;
use crate::environment::{Capabilities, Environment};
use crate::error::{Error, ErrorKind, Result};
use crate::fault::Faults;
use crate::finding::{Finding, KnownFinding};
use crate::ids::Version;
use crate::migration::{Migration, MigrationId, Status};
use crate::migration_test::MigrationTest;
use crate::plan::{FaultOutline, MigrationOutline, Outline, Plan, StrategyOutline};
use crate::rollback::{DEFAULT_BUDGET, Rollback};
use crate::traffic::Traffic;
use crate::validator::Validator;
use crate::writes::Writes;

pub use crate::expected::{ExpectedChange, MadeBy};

/// What changes, `from` one release `to` the next: migrations, and the services that follow them;
/// what must hold before and after; how to roll back.
#[derive(Debug, Clone)]
pub struct Upgrade {
    name: String,
    from: Version,
    to: Version,
    released: Vec<Arc<dyn Migration>>,
    releases: Vec<usize>,
    install_order: Vec<MigrationId>,
    migrations: Vec<Arc<dyn Migration>>,
    validators: Vec<Arc<dyn Validator>>,
    comparisons: Vec<Arc<dyn Validator>>,
    rollbacks: Vec<Arc<dyn Rollback>>,
    writes: Vec<Writes>,
    traffic: Vec<Traffic>,
    faults: Option<Faults>,
    rollback_within: Duration,
    step_within: Duration,
    lock_timeout: Duration,
    reversible: bool,
    releases_overlap: bool,
    every_crash: bool,
    expected_changes: Vec<ExpectedChange>,
    findings: Vec<Finding>,
    known: Vec<KnownFinding>,
    denied: BTreeSet<String>,
    tests: Vec<MigrationTest>,
}

impl Upgrade {
    /// An upgrade between two releases that changes nothing yet.
    pub fn new(name: impl Into<String>, from: impl Into<Version>, to: impl Into<Version>) -> Self {
        Self {
            name: name.into(),
            from: from.into(),
            to: to.into(),
            released: Vec::new(),
            releases: Vec::new(),
            install_order: Vec::new(),
            migrations: Vec::new(),
            validators: Vec::new(),
            comparisons: Vec::new(),
            rollbacks: Vec::new(),
            writes: Vec::new(),
            traffic: Vec::new(),
            faults: None,
            rollback_within: DEFAULT_BUDGET,
            step_within: Duration::from_secs(600),
            lock_timeout: Duration::from_secs(2),
            reversible: false,
            releases_overlap: false,
            every_crash: false,
            expected_changes: Vec::new(),
            findings: Vec::new(),
            known: Vec::new(),
            denied: BTreeSet::new(),
            tests: Vec::new(),
        }
    }

    /// Adds a migration; they are applied in the order in which they are added.
    #[must_use]
    pub fn with_migration(mut self, migration: impl Migration) -> Self {
        self.migrations.push(Arc::new(migration));
        self
    }

    /// Adds migrations that are shared already.
    #[must_use]
    pub fn with_migrations(
        mut self,
        migrations: impl IntoIterator<Item = Arc<dyn Migration>>,
    ) -> Self {
        self.migrations.extend(migrations);
        self
    }

    /// Names the migrations that make the previous release from an empty system, and the earlier
    /// releases, each by how many of these migrations it has. It is what the scenarios that begin
    /// with an empty system need.
    #[must_use]
    pub fn with_released(
        mut self,
        migrations: impl IntoIterator<Item = Arc<dyn Migration>>,
        releases: impl IntoIterator<Item = usize>,
    ) -> Self {
        self.released = migrations.into_iter().collect();
        self.releases = releases.into_iter().collect();
        self
    }

    /// Names the order in which a new system applies all migrations, those of the previous release
    /// and the new ones, where it is not that: the version of a new migration may be below one that
    /// was released before it. Ids that the upgrade does not have are passed over.
    #[must_use]
    pub fn with_install_order(mut self, order: impl IntoIterator<Item = MigrationId>) -> Self {
        self.install_order = order.into_iter().collect();
        self
    }

    /// Adds a validator; it is asked at every release that a plan passes.
    #[must_use]
    pub fn with_validator(mut self, validator: impl Validator) -> Self {
        self.validators.push(Arc::new(validator));
        self
    }

    /// Adds a comparison: a validator that judges a release by the one before, while both run
    /// [side by side](crate::side) over copies of the same data. In staging only. What it finds counts if it finds
    /// the same a second time, on further copies.
    #[must_use]
    pub fn with_comparison(mut self, comparison: impl Validator) -> Self {
        self.comparisons.push(Arc::new(comparison));
        self
    }

    /// Adds a rollback. The first one serves when an upgrade fails; a rehearsal of rollbacks
    /// tries every one.
    #[must_use]
    pub fn with_rollback(mut self, rollback: impl Rollback) -> Self {
        self.rollbacks.push(Arc::new(rollback));
        self
    }

    /// Adds writes that users make while the upgrade is under way.
    #[must_use]
    pub fn with_writes(mut self, writes: Writes) -> Self {
        self.writes.push(writes);
        self
    }

    /// Adds requests that users make all the time, also while services are replaced.
    #[must_use]
    pub fn with_traffic(mut self, traffic: Traffic) -> Self {
        self.traffic.push(traffic);
        self
    }

    /// Injects faults of services while the upgrade is under way, drawn from the seed of the
    /// plan: after each look at the system in `upgrade` and `rolling`, one may follow. It is
    /// recovered, and the system is looked at again. Plan with [`outline_in`](Self::outline_in), which
    /// knows where they can.
    ///
    /// Requests that are lost or late during a fault are counted, and are no error; a wrong answer
    /// is one, and so is what does not recover.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = Some(faults);
        self
    }

    /// How long a rollback may take, from the moment at which something is seen to be wrong until
    /// the previous state is verified; five minutes where nothing is said.
    #[must_use]
    pub fn with_rollback_within(mut self, budget: Duration) -> Self {
        self.rollback_within = budget;
        self
    }

    /// How long any other step may take; ten minutes where nothing is said.
    #[must_use]
    pub fn with_step_within(mut self, budget: Duration) -> Self {
        self.step_within = budget;
        self
    }

    /// How long a statement of a migration may wait for a lock on a real system; two seconds where nothing
    /// is said. Whoever wants the same table waits behind it, so the migration is then rolled back, and is
    /// tried again after half a second, until the time of its step is over. Who holds the lock is reported
    /// ([`Event::LockAwaited`](crate::Event::LockAwaited)).
    ///
    /// It holds for scripts that run in a transaction. Those that do not, and migrations that another
    /// program runs, wait as they are written.
    #[must_use]
    pub fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Asks for every migration to be reversible: one that is not becomes a finding.
    #[must_use]
    pub fn with_reversible(mut self) -> Self {
        self.reversible = true;
        self
    }

    /// Declares that instances of the previous release go on working on the new schema for a
    /// while: a statement of theirs that fails there is then an error, and otherwise a note.
    /// [`Scenario::Rolling`](crate::Scenario::Rolling) declares it as well.
    #[must_use]
    pub fn with_overlapping_releases(mut self) -> Self {
        self.releases_overlap = true;
        self
    }

    /// Has [`Scenario::Crash`](crate::Scenario::Crash) kill the server at every boundary of
    /// every migration. Where nothing is said it is killed at one boundary of each, drawn from the
    /// seed, because a restart is slow; sessions and processes are killed at
    /// every boundary in any case.
    #[must_use]
    pub fn with_every_crash(mut self) -> Self {
        self.every_crash = true;
        self
    }

    /// Declares an intended loss with its reason: rows of a table (`public.orders`), or values of a
    /// column (`public.orders.legacy`), that the upgrade removes or changes. See
    /// [`ExpectedChange::new`].
    ///
    /// A rehearsal in which the loss does not occur fails.
    #[must_use]
    pub fn with_expected_change(self, object: impl AsRef<str>, reason: impl Into<String>) -> Self {
        self.with_expected_changes([ExpectedChange::new(object, reason)])
    }

    /// Adds changes that are made on purpose, such as those that the files of the migrations
    /// declare.
    #[must_use]
    pub fn with_expected_changes(
        mut self,
        changes: impl IntoIterator<Item = ExpectedChange>,
    ) -> Self {
        self.expected_changes.extend(changes);
        self
    }

    /// Adds what is known about the migrations before any of them runs: a duplicate version, a
    /// file that was edited after its release.
    #[must_use]
    pub fn with_findings(mut self, findings: impl IntoIterator<Item = Finding>) -> Self {
        self.findings.extend(findings);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The release that it starts at.
    pub fn from(&self) -> &Version {
        &self.from
    }

    /// The release that it leads to.
    pub fn to(&self) -> &Version {
        &self.to
    }

    /// The migrations, in order.
    pub fn migrations(&self) -> &[Arc<dyn Migration>] {
        &self.migrations
    }

    /// The migrations that make the previous release from an empty system, in order.
    pub fn released(&self) -> &[Arc<dyn Migration>] {
        &self.released
    }

    /// The comparisons.
    pub fn comparisons(&self) -> &[Arc<dyn Validator>] {
        &self.comparisons
    }

    /// The validators.
    pub fn validators(&self) -> &[Arc<dyn Validator>] {
        &self.validators
    }

    /// The rollback strategies, the preferred one first.
    pub fn rollbacks(&self) -> &[Arc<dyn Rollback>] {
        &self.rollbacks
    }

    /// What users write while the upgrade is under way.
    pub fn writes(&self) -> &[Writes] {
        &self.writes
    }

    /// Whether [both releases work on the new schema](Self::with_overlapping_releases).
    pub fn releases_overlap(&self) -> bool {
        self.releases_overlap
    }

    /// The requests that users make all the time.
    pub fn traffic(&self) -> &[Traffic] {
        &self.traffic
    }

    /// The faults of services that may be injected.
    pub fn faults(&self) -> Option<&Faults> {
        self.faults.as_ref()
    }

    /// Whether every migration is asked to be reversible.
    pub fn is_reversible(&self) -> bool {
        self.reversible
    }

    /// The changes of rows that are made on purpose.
    pub fn expected_changes(&self) -> &[ExpectedChange] {
        &self.expected_changes
    }

    /// Accepts findings that are known: they fail no run, and a run that does not find one any more
    /// fails.
    #[must_use]
    pub fn with_known(mut self, known: impl IntoIterator<Item = KnownFinding>) -> Self {
        self.known.extend(known);
        self
    }

    /// Makes the warnings of these ids errors; an id such as `crash/*` stands for its area.
    #[must_use]
    pub fn with_denied<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.denied.extend(ids.into_iter().map(Into::into));
        self
    }

    /// Adds a test of one pending migration with chosen rows.
    #[must_use]
    pub fn with_test(mut self, test: MigrationTest) -> Self {
        self.tests.push(test);
        self
    }

    /// The tests of single migrations.
    pub fn tests(&self) -> &[MigrationTest] {
        &self.tests
    }

    /// The findings that are known.
    pub fn known(&self) -> &[KnownFinding] {
        &self.known
    }

    /// The ids whose warnings are errors.
    pub fn denied(&self) -> &BTreeSet<String> {
        &self.denied
    }

    /// The findings that are known in what a plan goes through.
    pub(crate) fn known_in(&self, plan: &Plan) -> Vec<&KnownFinding> {
        let all = self.known.iter();
        all.filter(|known| known.is_of(plan.scenario)).collect()
    }

    /// What is known about the migrations before any of them runs.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What the planner needs to know, without anything that could do IO. It knows nothing of
    /// [faults](Self::with_faults): those are the environment's.
    pub fn outline(&self, capabilities: Capabilities) -> Outline {
        Outline {
            name: self.name.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            released: outlines(&self.released),
            releases: self.releases.clone(),
            install_order: self.install_order.clone(),
            migrations: self.tested(outlines(&self.migrations)),
            strategies: self
                .rollbacks
                .iter()
                .map(|rollback| StrategyOutline {
                    name: rollback.name().to_owned(),
                    requires_reversible: rollback.requires_reversible(),
                })
                .collect(),
            writes: !self.writes.is_empty(),
            writes_anywhere: !self.writes.is_empty()
                && self.writes.iter().all(Writes::suits_any_release),
            traffic: !self.traffic.is_empty(),
            comparisons: !self.comparisons.is_empty(),
            capabilities,
            rollback_within: self.rollback_within,
            step_within: self.step_within,
            reversible: self.reversible,
            every_crash: self.every_crash,
            configuration: None,
            faults: None,
        }
    }

    /// Reads from the record of the system which migrations it has applied, and takes them for
    /// released: they are in no plan, and no rollback touches them. For a real system, where the
    /// folder of the newer release has migrations that were applied long ago. The environment is
    /// prepared by it, and can be given to a [`Runner`](crate::Runner) afterwards.
    ///
    /// # Errors
    /// Those of [`Environment::prepare`] and of [`Migration::status`],
    /// and [`ErrorKind::Refused`] for a migration that was begun and did not end.
    pub async fn without_applied(mut self, environment: &dyn Environment) -> Result<Self> {
        let cx = UpgradeContext::new(self.from.clone(), self.to.clone())
            .with_deadline(Instant::now() + self.step_within);
        environment.prepare(&cx).await?;
        let cx = cx.with_endpoints(environment.endpoints());
        let mut pending = Vec::new();
        for migration in std::mem::take(&mut self.migrations) {
            match migration.status(&cx).await? {
                Status::Pending => pending.push(migration),
                Status::Dirty => return Err(begun_and_not_ended(migration.id())),
                Status::Applied | Status::Divergent { .. } => self.released.push(migration),
            }
        }
        self.migrations = pending;
        Ok(self)
    }

    /// The same upgrade with exactly these migrations, in the order of the upgrade; its others count as
    /// released.
    pub(crate) fn with_pending(&self, pending: &[MigrationId]) -> Result<Self> {
        let mut upgrade = self.clone();
        let all = upgrade.released.iter().chain(&upgrade.migrations).cloned();
        let (pending_ones, released): (Vec<_>, Vec<_>) =
            all.partition(|migration| pending.contains(migration.id()));
        let missing = |id: &&MigrationId| !pending_ones.iter().any(|one| one.id() == *id);
        if let Some(id) = pending.iter().find(missing) {
            let message = format!("migration `{id}` of this operation is not at hand");
            return Err(Error::new(ErrorKind::NotFound, message)
                .with_hint("go on with the files of the release that began it"));
        }
        (upgrade.migrations, upgrade.released) = (pending_ones, released);
        Ok(upgrade)
    }

    /// How long a statement may wait for a lock on a real system.
    pub(crate) fn lock_timeout(&self) -> Duration {
        self.lock_timeout
    }

    /// The time that a step may take which is no rollback.
    pub(crate) fn step_within(&self) -> Duration {
        self.step_within
    }

    /// What the planner needs to know of an upgrade in an environment: its powers, and where
    /// [faults](Self::with_faults) can be injected.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when faults were asked for and the environment does not know one of
    /// the two releases, and when a [test](Self::with_test) is of a migration that is not pending.
    pub fn outline_in(&self, environment: &dyn Environment) -> Result<Outline> {
        self.check_tests()?;
        let mut outline = self.outline(Capabilities::of(environment));
        if let Some(faults) = &self.faults {
            let sites = |release| match environment.service_faults() {
                Some(service_faults) => service_faults.sites(release),
                None => Ok(Vec::new()),
            };
            outline.faults = Some(FaultOutline {
                faults: faults.clone(),
                from: sites(&self.from)?,
                to: sites(&self.to)?,
            });
        }
        Ok(outline)
    }
}

/// The error of a migration that the system has begun, by whatever tool.
pub(crate) fn begun_and_not_ended(id: &MigrationId) -> Error {
    let message = format!("migration `{id}` was begun on this system and did not end");
    Error::new(ErrorKind::Refused, message).with_hint("finish or undo it with its own tool first")
}

impl Upgrade {
    fn tested(&self, mut migrations: Vec<MigrationOutline>) -> Vec<MigrationOutline> {
        for migration in &mut migrations {
            let mut tests = self.tests.iter();
            migration.tested = tests.any(|test| test.version() == migration.id.version());
        }
        migrations
    }

    /// Every test is of a pending migration.
    fn check_tests(&self) -> Result<()> {
        let versions = || self.migrations.iter().map(|one| one.id().version());
        let wrong = |test: &&MigrationTest| !versions().any(|version| version == test.version());
        let Some(version) = self.tests.iter().find(wrong).map(MigrationTest::version) else {
            return Ok(());
        };
        let released = self
            .released
            .iter()
            .any(|one| one.id().version() == version);
        let message = match released {
            true => format!("the test of `{version}` is of a migration that was released before"),
            false => format!("the test of `{version}` is of no migration"),
        };
        // Versions sort, so what was meant is likely to stand beside it.
        let mut sorted: Vec<&str> = versions().collect();
        sorted.sort_unstable();
        let at = sorted.partition_point(|other| *other < version);
        let nearest = &sorted[at.saturating_sub(2)..sorted.len().min(at + 2)];
        let hint = match nearest {
            [] => "no migration is pending".to_owned(),
            _ => format!("the nearest that are pending: {}", nearest.join(", ")),
        };
        Err(Error::new(ErrorKind::NotFound, message).with_hint(hint))
    }
}

/// Whether a script builds an index concurrently.
fn waits_for_snapshots(script: Option<&str>) -> bool {
    #[cfg(feature = "postgres")]
    return script.is_some_and(crate::postgres::sql::builds_concurrently);
    #[cfg(not(feature = "postgres"))]
    {
        let _ = script;
        false
    }
}

fn outlines(migrations: &[Arc<dyn Migration>]) -> Vec<MigrationOutline> {
    migrations
        .iter()
        .map(|migration| MigrationOutline {
            id: migration.id().clone(),
            reversibility: migration.reversibility(),
            statements: migration.statements(),
            waits_for_snapshots: waits_for_snapshots(migration.script()),
            unit: migration.unit().map(str::to_owned),
            tested: false,
        })
        .collect()
}
