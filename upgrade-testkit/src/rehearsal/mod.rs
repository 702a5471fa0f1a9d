//! What a test builds from its context: the upgrade, its populated previous release, the run.

mod operation;
mod options;
mod populated;
mod ready;
mod release;
mod schema;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use upgrade_core::environment::Program;
use upgrade_core::fault::FaultKind;
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::postgres::Observer;
use upgrade_core::postgres::server::Containers;
use upgrade_core::rollback::{RevertMigrations, SnapshotSwap};
use upgrade_core::{
    Environment, EventSink, Migration, Plan, Result, Scenario, Upgrade, UpgradeContext, Version,
};

use crate::case::{DEFAULT_ROWS, TestCase};
use crate::known::Known;
use crate::pool::{Keep, PoolOptions};
use crate::seed::Seeder;
use crate::settings::Settings;
use crate::spec::TestSpec;

pub(crate) use ready::Ready;
use release::Releases;

/// How long the database of a failed test is kept where that is asked for.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// What the test kit adds to a context.
pub trait UpgradeContextExt {
    /// The upgrade that the test is about, as its attribute describes it; to be added to, and
    /// then [rehearsed](Rehearsal::rehearse).
    ///
    /// # Panics
    /// When the context does not come from `#[upgrade_test]`.
    fn upgrade(&self) -> Rehearsal;

    /// Says that this test rehearses nothing on purpose. One that does not, and passes without a
    /// rehearsal, fails: it has proven nothing.
    ///
    /// # Panics
    /// When the context does not come from `#[upgrade_test]`.
    fn rehearses_nothing(&self);
}

impl UpgradeContextExt for UpgradeContext {
    fn upgrade(&self) -> Rehearsal {
        let case =
            TestCase::of(self).expect("`cx.upgrade()` needs the context of an #[upgrade_test]");
        Rehearsal::of_case(self, case)
    }

    fn rehearses_nothing(&self) {
        let case = TestCase::of(self);
        case.expect("`cx.rehearses_nothing()` needs the context of an #[upgrade_test]")
            .has_rehearsed();
    }
}

/// How the seeder is set up for one test.
type SetUp = Arc<dyn Fn(Seeder) -> Seeder + Send + Sync>;

/// An upgrade and the way it is rehearsed: take the populated previous release, go through a
/// scenario, judge.
///
/// Inside a test it comes from [`cx.upgrade()`](UpgradeContextExt::upgrade); elsewhere from
/// [`Rehearsal::new`].
#[derive(Clone)]
pub struct Rehearsal {
    name: String,
    base: PathBuf,
    head: Head,
    from: Option<String>,
    to: Option<String>,
    set_up_sql: String,
    scenario: Scenario,
    seed: u64,
    rows: u32,
    postgres: Option<u16>,
    seeder: Option<SetUp>,
    changes: Vec<Change>,
    faults_off: BTreeSet<FaultKind>,
    environment: Option<MakeEnvironment>,
    /// The services, where they are programs of this machine.
    programs: Vec<Program>,
    session_sql: Option<String>,
    releases: BTreeSet<String>,
    observer: Observer,
    plan: Option<Plan>,
    templates: bool,
    keep: bool,
    /// What the file of the package accepts.
    known: Known,
    pool: Option<PoolOptions>,
    /// What a team has set for options that come from the environment.
    containers: Option<Containers>,
    sinks: Vec<Arc<dyn EventSink>>,
    /// The test that it belongs to, as its context.
    case: Option<UpgradeContext>,
}

/// What a test adds to the upgrade, once that is known.
type Change = Arc<dyn Fn(Upgrade) -> Upgrade + Send + Sync>;

/// Makes an environment that knows two releases.
type MakeEnvironment =
    Arc<dyn Fn(&Version, &Version) -> Result<Box<dyn Environment>> + Send + Sync>;

/// Where the migrations of the newer release are.
#[derive(Debug, Clone)]
enum Head {
    Path(PathBuf),
    Folder(Box<MigrationFolder>),
    /// Migrations that are not files: those of the previous release, and those that are pending.
    Built {
        applied: Vec<Arc<dyn Migration>>,
        pending: Vec<Arc<dyn Migration>>,
    },
}

impl Rehearsal {
    /// A rehearsal outside of a test: scenario `upgrade`, the folder `migrations` of the current
    /// folder, 50 rows a table, seed 0, the [settings](crate::settings) of the current folder.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](upgrade_core::ErrorKind::InvalidInput) for a variable that cannot be used.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        Ok(Self::begin(
            name,
            ".",
            &Settings::of_package(Path::new("."))?,
        ))
    }

    fn begin(name: impl Into<String>, base: impl Into<PathBuf>, settings: &Settings) -> Self {
        let mut rehearsal = Self {
            name: name.into(),
            base: base.into(),
            head: Head::Path(PathBuf::from(TestSpec::MIGRATIONS)),
            from: None,
            to: None,
            set_up_sql: String::new(),
            scenario: Scenario::Upgrade,
            seed: settings.seed.unwrap_or(0),
            rows: settings.rows.unwrap_or(DEFAULT_ROWS),
            postgres: None,
            seeder: None,
            changes: Vec::new(),
            faults_off: settings.faults_off.clone(),
            environment: None,
            programs: Vec::new(),
            session_sql: None,
            releases: BTreeSet::new(),
            observer: Observer::default(),
            plan: None,
            templates: true,
            keep: settings.keep,
            known: Known::default(),
            pool: None,
            containers: settings.postgres_provider,
            sinks: Vec::new(),
            case: None,
        };
        if let Some(budget) = settings.rollback_within {
            rehearsal = rehearsal.rollback_within(budget);
        }
        if let Some(budget) = settings.step_within {
            rehearsal = rehearsal.step_within(budget);
        }
        match settings.reversible {
            Some(true) => rehearsal.reversible(),
            _ => rehearsal,
        }
    }

    fn of_case(cx: &UpgradeContext, case: &TestCase) -> Self {
        let spec = case.spec();
        let mut settings = case.settings().clone();
        if spec.upgrade().is_some() {
            // The function that builds the upgrade says these itself.
            (
                settings.rollback_within,
                settings.step_within,
                settings.reversible,
            ) = (None, None, None);
        }
        settings.reversible = spec.reversible().or(settings.reversible);
        settings.rollback_within = spec.rollback_within().or(settings.rollback_within);
        let mut rehearsal = Self::begin(spec.name(), spec.manifest_dir(), &settings);
        if let Some(path) = spec.migrations() {
            rehearsal.head = Head::Path(PathBuf::from(path));
        }
        rehearsal.from = spec.from().map(str::to_owned);
        rehearsal.scenario = spec.scenario();
        (rehearsal.seed, rehearsal.rows) = (case.seed(), case.rows());
        rehearsal.postgres = spec.postgres();
        rehearsal.case = Some(cx.clone());
        rehearsal
    }

    /// Finds the releases and a server.
    pub(crate) async fn ready(self) -> Result<Ready> {
        Ready::of(self).await
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The folder at which relative paths start.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// The folder of the migrations, from the root of its repository.
    pub(crate) fn folder_in_repository(&self) -> Option<String> {
        let Head::Path(path) = &self.head else {
            return None;
        };
        // The option `upgrade` may take its files from anywhere.
        let case = self.case.as_ref().and_then(|cx| TestCase::of(cx).ok());
        if case.is_some_and(|case| case.spec().upgrade().is_some()) {
            return None;
        }
        let folder = self.base.join(path).canonicalize().ok()?;
        let root = folder
            .ancestors()
            .find(|above| above.join(".git").exists())?;
        let below = folder.strip_prefix(root).ok()?;
        let below = below.to_str()?.replace('\\', "/");
        (!below.is_empty()).then_some(below)
    }

    /// The context of the test that it belongs to.
    pub(crate) fn context(&self) -> Option<&UpgradeContext> {
        self.case.as_ref()
    }

    /// The seed of the previous release, and how many rows each of its tables gets.
    pub(crate) fn drawn_from(&self) -> (u64, u32) {
        (self.seed, self.rows)
    }

    fn leave_out_record(&mut self, releases: &Releases) {
        let Some(table) = &releases.record else {
            return;
        };
        let mut observer = self.observer.clone().with_record(&table.name);
        if let Some(schema) = &table.schema {
            let reason = "the record of the migration tool";
            observer = observer.without_table(schema, &table.name, reason);
        }
        self.observer = observer;
    }

    /// An upgrade with everything that the test adds to it.
    fn changed(&self, upgrade: Upgrade) -> Upgrade {
        let changes = self.changes.iter();
        changes.fold(upgrade, |upgrade, change| change(upgrade))
    }

    /// The upgrade as it runs: with a default for what nobody has said.
    fn upgrade(&self, releases: &Releases) -> Upgrade {
        let mut upgrade = releases.upgrade.clone();
        if upgrade.rollbacks().is_empty() {
            let downs = RevertMigrations::new(upgrade.migrations().to_vec());
            upgrade = upgrade
                .with_rollback(SnapshotSwap::new().with_observer(self.observer.clone()))
                .with_rollback(downs.with_observer(self.observer.clone()));
        }
        if upgrade.writes().is_empty() {
            upgrade = upgrade.with_writes(populated::seeded_writes(self.seeder.clone()));
        }
        upgrade = self.known.accepted_by(upgrade);
        if let Some(faults) = upgrade.faults().cloned() {
            let off = self.faults_off.iter();
            upgrade =
                upgrade.with_faults(off.fold(faults, |faults, kind| faults.without_kind(*kind)));
        }
        upgrade
    }

    fn pool_options(&self) -> Result<PoolOptions> {
        let keep = if self.keep {
            Keep::OnFailure
        } else {
            Keep::Never
        };
        let options = match &self.pool {
            Some(options) => options.clone(),
            None => PoolOptions::from_env()?.with_default_containers(self.containers),
        };
        let major = self.postgres.or(options.major);
        Ok(options
            .with_major(major)
            .with_keep(keep, KEPT_FOR)
            .with_killable(self.scenario == Scenario::Crash))
    }
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rehearsal")
            .field("name", &self.name)
            .field("head", &self.head)
            .field("from", &self.from)
            .field("scenario", &self.scenario)
            .field("seed", &self.seed)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}
