//! A throw-away server and runs on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgConnectOptions;
use upgrade_core::environment::Capabilities;
use upgrade_core::environment::{
    DATABASE, DatabaseSource, Endpoints, LogTail, PostgresEnvironment,
};
use upgrade_core::finding::FindingKind;
use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::{MigrationFile, MigrationFolder};
use upgrade_core::postgres::Database;
use upgrade_core::postgres::database::{Marker, MarkerKind};
use upgrade_core::postgres::server::{
    Found, LocalServer, Profile, ProviderOptions, ServerOptions, ServerRequirement, discover,
};
use upgrade_core::rollback::{RevertMigrations, SnapshotSwap};
use upgrade_core::validator::Invariant;
use upgrade_core::{Migration, Plan, Report, Result, Runner, Scenario, Upgrade, UpgradeContext};

/// A server of the test's own.
pub(crate) struct Shop {
    server: LocalServer,
    next: AtomicU32,
}

/// What is applied first, what then, and what fills the tables in between.
pub(crate) struct Case {
    folder: MigrationFolder,
    applied: usize,
    pub(crate) rows: &'static str,
}

impl Case {
    /// What fills the tables before the upgrade.
    pub(crate) fn with_rows(mut self, rows: &'static str) -> Self {
        self.rows = rows;
        self
    }

    /// The previous release has the first `count` migrations.
    pub(crate) fn released(mut self, count: usize) -> Self {
        self.applied = count;
        self
    }
}

impl Shop {
    pub(crate) async fn start() -> Self {
        Self::start_with(Profile::ThrowAway).await
    }

    pub(crate) async fn start_with(profile: Profile) -> Self {
        let options = ProviderOptions::from_env().unwrap();
        let Found::Binaries(binaries) = discover(&ServerRequirement::any(), &options).unwrap()
        else {
            panic!("these tests start their own server: unset UPGRADE_PG_URL");
        };
        let options = ServerOptions::new(profile);
        let server = LocalServer::start(&binaries, options).await.unwrap();
        Self {
            server,
            next: AtomicU32::new(0),
        }
    }

    /// Kills the server with all its processes, and starts it on what that left.
    pub(crate) async fn kill_and_start_again(&self) {
        self.server.kill().await.unwrap();
        self.server.restart().await.unwrap();
    }

    pub(crate) fn connect_options(&self) -> PgConnectOptions {
        self.server.connect_options()
    }

    /// The migrations of the quickstart, from its second on.
    pub(crate) fn quickstart(&self) -> Case {
        let path: PathBuf =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart/migrations");
        Case {
            folder: MigrationFolder::read(path).unwrap(),
            applied: 2,
            rows: "insert into customers (email, full_name)
                   select n || '@example.org', case when n % 3 = 0 then 'Plato' else 'Ada  Love ' || n end
                   from generate_series(1, 40) n;
                   insert into orders (customer_id, status, total, placed_at)
                   select id, (array['new', 'paid', 'shipped'])[1 + id % 3], id * 1.5,
                          timestamptz '2025-12-31' + id * interval '1 hour' from customers;
                   insert into lines select id, 1, 'A-' || id, 2, 0.75 from orders;",
        }
    }

    /// A folder of these files; the first migration is what is applied before.
    pub(crate) fn folder(&self, files: &[(&str, &str)]) -> Case {
        let files = files
            .iter()
            .map(|(name, sql)| (PathBuf::from(name), sql.as_bytes().to_vec()))
            .collect();
        Case {
            folder: MigrationFolder::from_files("test", files).unwrap(),
            applied: 1,
            rows: "",
        }
    }

    pub(crate) async fn run(&self, case: Case, scenario: Scenario) -> Report {
        self.go(case, scenario, |upgrade| upgrade).await
    }

    pub(crate) async fn run_reversible(&self, case: Case, scenario: Scenario) -> Report {
        self.go(case, scenario, Upgrade::with_reversible).await
    }

    pub(crate) async fn run_within(
        &self,
        case: Case,
        scenario: Scenario,
        within: Duration,
    ) -> Report {
        self.go(case, scenario, |upgrade| {
            upgrade.with_rollback_within(within)
        })
        .await
    }

    pub(crate) async fn go(
        &self,
        case: Case,
        scenario: Scenario,
        change: impl FnOnce(Upgrade) -> Upgrade,
    ) -> Report {
        let migrations = SqlMigration::all(&case.folder).unwrap();
        let (applied, pending) = migrations.split_at(case.applied);
        let declared = case.folder.migrations()[case.applied..]
            .iter()
            .flat_map(MigrationFile::expected_changes);
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let source = Fresh {
            database: Database::new(&self.server.connect_options(), format!("shop_{number}")),
            applied: applied.to_vec(),
            rows: case.rows,
        };
        let environment = PostgresEnvironment::new("test", source);
        let upgrade = Upgrade::new("shop", "old", "new")
            .with_released(applied.iter().cloned(), 1..=applied.len())
            .with_migrations(pending.iter().cloned())
            .with_expected_changes(declared)
            .with_validator(
                Invariant::new(
                    "something is there",
                    "select 1 where current_database() is null",
                )
                .over("select 1"),
            )
            .with_rollback(SnapshotSwap::new())
            .with_rollback(RevertMigrations::new(pending.iter().cloned()));
        let upgrade = change(upgrade);
        let plan = Plan::new(
            &upgrade.outline(Capabilities::of(&environment)),
            scenario,
            7,
        )
        .unwrap();
        let report = Runner::new(upgrade, environment).run(&plan).await.unwrap();
        let ids = report.findings.iter().map(|found| &found.finding.id);
        let mut kinds = ids.filter_map(|id| FindingKind::of(id));
        assert!(kinds.all(|kind| kind.is_raised_in(scenario)), "{report}");
        report
    }

    /// The databases of the server that a user could have made.
    pub(crate) async fn databases(&self) -> Vec<String> {
        let mut admin = Database::new(&self.server.connect_options(), "postgres")
            .connect()
            .await
            .unwrap();
        sqlx::query_scalar(
            "select datname::text from pg_database where not datistemplate order by 1",
        )
        .fetch_all(&mut admin)
        .await
        .unwrap()
    }
}

/// Every finding that fails, by id and subject, without repetition.
pub(crate) fn findings(report: &Report) -> Vec<(&str, &str)> {
    let mut all: Vec<(&str, &str)> = report
        .findings
        .iter()
        .filter(|found| found.finding.fails())
        .map(|found| (found.finding.id.as_str(), found.finding.subject.as_str()))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[derive(Debug)]
struct Fresh {
    database: Database,
    applied: Vec<Arc<dyn Migration>>,
    pub(crate) rows: &'static str,
}

#[async_trait]
impl DatabaseSource for Fresh {
    async fn provision(&self, cx: &UpgradeContext) -> Result<Database> {
        let mut admin = self.database.connect_maintenance().await?;
        let marker = Marker::new(MarkerKind::Test, cx.run_id().as_str());
        self.database.create(&mut admin, &marker).await?;
        let cx = cx
            .clone()
            .with_endpoints(Endpoints::default().with(DATABASE, self.database.endpoint()));
        for migration in &self.applied {
            migration.apply(&cx).await?.into_result()?;
        }
        let mut connection = cx.connect().await?;
        sqlx::raw_sql(self.rows).execute(&mut connection).await?;
        Ok(self.database.clone())
    }

    fn is_disposable(&self) -> bool {
        true
    }

    async fn release(&self, _: &UpgradeContext, _: Option<Database>) -> Result<()> {
        let database = &self.database;
        let mut admin = database.connect_maintenance().await?;
        database.drop(&mut admin).await
    }

    fn may_be_emptied(&self) -> bool {
        true
    }

    fn log_tail(&self, lines: usize) -> Vec<LogTail> {
        vec![LogTail {
            source: "test".to_owned(),
            lines: vec![format!("{lines} lines asked for")],
        }]
    }
}
