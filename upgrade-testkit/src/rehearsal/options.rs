//! What a test says of its rehearsal, one method for each.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use upgrade_core::environment::Program;
use upgrade_core::fault::Faults;
use upgrade_core::finding::KnownFinding;
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::postgres::Observer;
use upgrade_core::upgrade::ExpectedChange;
use upgrade_core::validator::Invariant;
use upgrade_core::{
    Environment, EventSink, Migration, MigrationTest, Plan, Result, Rollback, Scenario, Traffic,
    Upgrade, Validator, Version, Writes,
};

use super::{Head, Rehearsal};
use crate::pool::PoolOptions;
use crate::seed::Seeder;

impl Rehearsal {
    /// Changes the [`Upgrade`] that is rehearsed, by any of its `with_` methods. It is called when
    /// the releases are known, also on what the function of the option `upgrade` has built, in the
    /// order in which a test says so.
    #[must_use]
    pub fn upgrade_with(
        mut self,
        change: impl Fn(Upgrade) -> Upgrade + Send + Sync + 'static,
    ) -> Self {
        self.changes.push(Arc::new(change));
        self
    }

    /// Reads the migrations from another folder; a relative path starts at the package.
    #[must_use]
    pub fn migrations(mut self, path: impl AsRef<Path>) -> Self {
        self.head = Head::Path(path.as_ref().to_owned());
        self
    }

    /// Takes the migrations from a folder that is read already, with steps supplied or
    /// placeholders filled in.
    #[must_use]
    pub fn folder(mut self, folder: MigrationFolder) -> Self {
        self.head = Head::Folder(Box::new(folder));
        self
    }

    /// Takes migrations that are not files: those that make the previous release, and those that
    /// are pending.
    #[must_use]
    pub fn built(
        mut self,
        applied: impl IntoIterator<Item = Arc<dyn Migration>>,
        pending: impl IntoIterator<Item = Arc<dyn Migration>>,
    ) -> Self {
        self.head = Head::Built {
            applied: applied.into_iter().collect(),
            pending: pending.into_iter().collect(),
        };
        self
    }

    /// Names the previous release: a version, a git revision, `latest tag`, `folder:PATH`,
    /// `crate:NAME@VERSION/PATH`.
    #[must_use]
    pub fn from(mut self, release: impl Into<String>) -> Self {
        self.from = Some(release.into());
        self
    }

    /// Goes only up to a migration of this version, instead of to the last one.
    #[must_use]
    pub fn to(mut self, version: impl Into<String>) -> Self {
        self.to = Some(version.into());
        self
    }

    /// Runs SQL in the empty database before the first migration: schemas, extensions, roles that
    /// the migrations take for granted.
    #[must_use]
    pub fn set_up_sql(mut self, sql: impl Into<String>) -> Self {
        self.set_up_sql = sql.into();
        self
    }

    /// Goes through another scenario.
    #[must_use]
    pub fn scenario(mut self, scenario: Scenario) -> Self {
        self.scenario = scenario;
        self
    }

    /// Draws from another seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Puts `rows` rows into each table of the previous release.
    #[must_use]
    pub fn rows(mut self, rows: u32) -> Self {
        self.rows = rows;
        self
    }

    /// Asks for a server of this major version.
    #[must_use]
    pub fn postgres(mut self, major: u16) -> Self {
        self.postgres = Some(major);
        self
    }

    /// Sets the seeder up: rows for each table, values for a column, tables to leave out.
    #[must_use]
    pub fn seed_with(mut self, set_up: impl Fn(Seeder) -> Seeder + Send + Sync + 'static) -> Self {
        self.seeder = Some(Arc::new(set_up));
        self
    }

    /// Adds a query that must return no rows, before and after.
    #[must_use]
    pub fn invariant(self, name: impl Into<String>, sql: impl Into<String>) -> Self {
        self.validator(Invariant::new(name, sql))
    }

    /// Adds a validator.
    #[must_use]
    pub fn validator(self, validator: impl Validator) -> Self {
        let validator = Arc::new(validator);
        self.upgrade_with(move |upgrade| upgrade.with_validator(Arc::clone(&validator)))
    }

    /// Adds a comparison: a validator that judges the new release by the previous one while both run side by
    /// side, each over a copy of the same data; see [`Upgrade::with_comparison`]. The scenario `upgrade` compares
    /// the new release, `rolling` the previous one on the new schema, `rollback` the previous one after a rollback,
    /// and `control` the previous one with itself.
    #[must_use]
    pub fn comparison(self, comparison: impl Validator) -> Self {
        let comparison = Arc::new(comparison);
        self.upgrade_with(move |upgrade| upgrade.with_comparison(Arc::clone(&comparison)))
    }

    /// Adds what users do: it is judged on the previous release and on a candidate side by side, as a
    /// [comparison](Self::comparison). A flow that [leaves no rows](upgrade_core::flow::Flow::leaves_no_rows) also
    /// runs on the live system wherever validators do.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn flow(self, flow: upgrade_core::flow::Flow) -> Self {
        let with = self.comparison(flow.compare());
        match flow.leaves_no_rows() {
            true => with.validator(flow),
            false => with,
        }
    }

    /// Adds a comparison of what an interface answers: a [`Replay`](upgrade_core::replay::Replay) of recorded
    /// requests, or with the feature `openapi` an `OpenApi`, which compares the descriptions of both releases.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn api(self, comparison: impl Validator) -> Self {
        self.comparison(comparison)
    }

    /// Adds a page, in a browser: it is judged on the live system wherever validators are, and on the previous
    /// release and a candidate side by side.
    #[cfg(feature = "browser")]
    #[must_use]
    pub fn page(self, page: upgrade_core::browser::Page) -> Self {
        self.comparison(page.clone().compare()).validator(page)
    }

    /// Adds a comparison of times: how long the requests of users take on a candidate, against the previous
    /// release in the same run.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn latency(self, latency: upgrade_core::latency::Latency) -> Self {
        self.comparison(latency)
    }

    /// Adds a rollback. Where none is added there are two: by kept copy, and by the downs.
    #[must_use]
    pub fn rollback(self, rollback: impl Rollback) -> Self {
        let rollback = Arc::new(rollback);
        self.upgrade_with(move |upgrade| upgrade.with_rollback(Arc::clone(&rollback)))
    }

    /// Adds what users write while the upgrade is under way. Where nothing is added, the seeder
    /// [writes](Seeder::write) to whatever tables there are: it adds, changes and deletes a few rows
    /// of each.
    #[must_use]
    pub fn writes(self, writes: Writes) -> Self {
        self.upgrade_with(move |upgrade| upgrade.with_writes(writes.clone()))
    }

    /// How long a rollback may take.
    #[must_use]
    pub fn rollback_within(self, budget: Duration) -> Self {
        self.upgrade_with(move |upgrade| upgrade.with_rollback_within(budget))
    }

    /// How long any other step may take: a migration, a look at all rows, the validators. Ten
    /// minutes where nothing is said.
    #[must_use]
    pub fn step_within(self, budget: Duration) -> Self {
        self.upgrade_with(move |upgrade| upgrade.with_step_within(budget))
    }

    /// Has every session of a migration run this SQL first; see [`ToolRecord::with_session_sql`].
    ///
    /// [`ToolRecord::with_session_sql`]: upgrade_core::migration::record::ToolRecord::with_session_sql
    #[must_use]
    pub fn session_sql(mut self, sql: impl Into<String>) -> Self {
        self.session_sql = Some(sql.into());
        self
    }

    /// Asks for every migration to have a down.
    #[must_use]
    pub fn reversible(self) -> Self {
        self.upgrade_with(Upgrade::with_reversible)
    }

    /// Has the scenario `crash` kill the server at every boundary of every migration; see
    /// [`Upgrade::with_every_crash`].
    #[must_use]
    pub fn every_crash(self) -> Self {
        self.upgrade_with(Upgrade::with_every_crash)
    }

    /// Names the earlier releases for the scenario `skip_release`, each by the version of its last
    /// migration. Where none is named, each migration is a release.
    #[must_use]
    pub fn releases<V: Into<String>>(mut self, versions: impl IntoIterator<Item = V>) -> Self {
        self.releases.extend(versions.into_iter().map(Into::into));
        self
    }

    /// Declares an intended loss: rows of a table (`public.orders`), or values of a column
    /// (`public.orders.legacy`), that the upgrade or its rollback removes or changes. The run fails if
    /// the loss does not occur. A migration file can declare it as well:
    /// `-- upgrade: loses public.orders.legacy: reason`.
    #[must_use]
    pub fn expect_change(self, object: impl AsRef<str>, reason: impl Into<String>) -> Self {
        let change = ExpectedChange::new(object, reason);
        self.upgrade_with(move |upgrade| upgrade.with_expected_changes([change.clone()]))
    }

    /// Accepts a finding that is known, in every scenario; an id such as `crash/*` stands for its
    /// area. For more than a few, there is a file: [`known`](crate::known).
    #[must_use]
    pub fn allow(
        self,
        id: impl Into<String>,
        subject: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        let known = KnownFinding::new(id, reason).about(subject);
        self.upgrade_with(move |upgrade| upgrade.with_known([known.clone()]))
    }

    /// Makes the warnings of an id, or of an area such as `crash/*`, errors.
    #[must_use]
    pub fn deny(self, id: impl Into<String>) -> Self {
        let id = id.into();
        self.upgrade_with(move |upgrade| upgrade.with_denied([id.clone()]))
    }

    /// Tests one pending migration with chosen rows, in additional attempts of `upgrade`,
    /// `round_trip`, `rollback` and `rerun`; see [`MigrationTest`]. A version that no pending migration
    /// has is an error that names the nearest ones.
    ///
    /// ```no_run
    /// # use upgrade_testkit::prelude::*;
    /// # async fn orders(cx: UpgradeContext) -> Result<()> {
    /// cx.upgrade()
    ///     .migration("0004", |test| {
    ///         test.given("insert into customers (id, name) values (1, 'Ada King Lovelace')")
    ///             .then("select * from customers where last_name <> 'Lovelace'")
    ///             .after_revert("select * from customers where name <> 'Ada King Lovelace'")
    ///     })
    ///     .rehearse()
    ///     .await
    /// # }
    /// ```
    #[must_use]
    pub fn migration(
        self,
        version: impl Into<String>,
        test: impl FnOnce(MigrationTest) -> MigrationTest,
    ) -> Self {
        let test = test(MigrationTest::of(version));
        self.upgrade_with(move |upgrade| upgrade.with_test(test.clone()))
    }

    /// Observes in another way: leaves a table or a schema out of all comparisons.
    #[must_use]
    pub fn observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// Carries out a plan that was saved, such as the `.plan.json` of a failed test, instead of
    /// making one. Its scenario and seed go before those of the test.
    #[must_use]
    pub fn plan(mut self, plan: Plan) -> Self {
        self.scenario = plan.scenario;
        self.seed = plan.seed;
        self.plan = Some(plan);
        self
    }

    /// Makes the previous release in the test's own database instead of copying a template that
    /// is kept in the cache: for a release that is used once.
    #[must_use]
    pub fn without_template(mut self) -> Self {
        self.templates = false;
        self
    }

    /// Takes databases as these options say, instead of as the variables of the environment and
    /// `postgres_provider` in `upgrade.toml` do. What the rehearsal says itself goes before them: its
    /// major version, and what it keeps.
    #[must_use]
    pub fn pool(mut self, options: PoolOptions) -> Self {
        self.pool = Some(options);
        self
    }

    /// Adds a listener to the run.
    #[must_use]
    pub fn sink(mut self, sink: impl EventSink) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Has users make these requests all the time, also while services are replaced.
    #[must_use]
    pub fn traffic(self, traffic: Traffic) -> Self {
        self.upgrade_with(move |upgrade| upgrade.with_traffic(traffic.clone()))
    }

    /// Injects faults of services on the way, drawn from the seed of the test into its plan;
    /// see [`Upgrade::with_faults`]. `UPGRADE_FAULTS_OFF` switches kinds off.
    #[must_use]
    pub fn faults(self, faults: Faults) -> Self {
        self.upgrade_with(move |upgrade| upgrade.with_faults(faults.clone()))
    }

    /// Adds a service that is a program of this machine: it is started over the test's database at the previous
    /// release, and replaced in the upgrade. The names of the releases are those of the upgrade. See
    /// [`ProcessEnvironment`](upgrade_core::environment::ProcessEnvironment).
    #[must_use]
    pub fn program(mut self, program: Program) -> Self {
        self.programs.push(program);
        self
    }

    /// Rehearses in environments that `make` makes, such as a `DockerEnvironment`, instead of
    /// databases of the pool. `make` receives the names of both releases. The environment must
    /// populate the previous release itself; the seeder is not used.
    #[must_use]
    pub fn environment<E: Environment>(
        mut self,
        make: impl Fn(&Version, &Version) -> Result<E> + Send + Sync + 'static,
    ) -> Self {
        self.environment = Some(Arc::new(move |from, to| Ok(Box::new(make(from, to)?))));
        self
    }
}
