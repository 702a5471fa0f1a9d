//! A whole rehearsal, against its statements alone: the SQL of the same migrations in the same
//! order, and the copies of the database that the plan needs.
//!
//! What ours does beyond that is what a rehearsal is for: it measures schema and rows, compares
//! them, asks the validators and keeps the record.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use upgrade_core::environment::Capabilities;
use upgrade_core::environment::{
    DATABASE, DatabaseSource, Endpoints, LogTail, PostgresEnvironment,
};
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::migration::{MigrationId, SqlMigration};
use upgrade_core::plan::Action;
use upgrade_core::postgres::Database;
use upgrade_core::postgres::database::CopyStrategy;
use upgrade_core::rollback::{RevertMigrations, SnapshotSwap};
use upgrade_core::upgrade::ExpectedChange;
use upgrade_core::validator::Invariant;
use upgrade_core::{
    BoxError, Error, ErrorKind, Migration, Plan, RunId, Runner, Scenario, Upgrade, UpgradeContext,
};
use upgrade_testkit::pool::{Outcome, Pool, Template, TemplateKey, TestDatabase};
use upgrade_testkit::seed::Seeder;

use super::Effort;
use super::hand_out::STRATEGIES;
use crate::Result;
use crate::line::{Goal, Line};
use crate::sample::{Sample, order, timed};
use crate::server::run;

/// Migrations of the quickstart that the previous release has.
const APPLIED: usize = 2;

/// Rows of each table of the previous release, as in the quickstart.
const ROWS: u64 = 40;

const SEED: u64 = 7;

pub(super) async fn measure(pool: &Pool, effort: Effort) -> Result<Vec<Line>> {
    let shop = Shop::read()?;
    let template = Arc::new(shop.template(pool, ROWS).await?);
    let larger = Arc::new(shop.template(pool, ROWS * 10).await?);
    let mut lines = Vec::new();
    for scenario in [Scenario::Upgrade, Scenario::RoundTrip] {
        lines.push(shop.against_bare(&template, scenario, effort).await?);
    }
    let mut samples = [Sample::default(), Sample::default()];
    for round in 0..=effort.slow_rounds() {
        for arm in order(round, 2) {
            let template = [&template, &larger][arm];
            let (time, _) = shop.rehearse(template, Scenario::Upgrade).await?;
            if round > 0 {
                samples[arm].push(time);
            }
        }
    }
    let [small, large] = samples;
    lines.push(Line {
        what: format!(
            "rehearsal `upgrade`, from {ROWS} to {} rows a table",
            ROWS * 10
        ),
        against: "our time for the fewer".to_owned(),
        ours: large,
        peer: small,
        goal: Goal::Growth(1.1),
    });
    Ok(lines)
}

/// The migrations of the quickstart.
struct Shop {
    folder: PathBuf,
    migrations: Vec<Arc<dyn Migration>>,
    /// What the files say that they lose.
    losses: Vec<ExpectedChange>,
}

impl Shop {
    fn read() -> Result<Self> {
        let folder: PathBuf = [
            env!("CARGO_MANIFEST_DIR"),
            "../examples/quickstart/migrations",
        ]
        .iter()
        .collect();
        let read = MigrationFolder::read(&folder)?;
        let files = read.migrations().iter();
        Ok(Self {
            migrations: SqlMigration::all(&read)?,
            losses: files.flat_map(|file| file.expected_changes()).collect(),
            folder,
        })
    }

    fn pending(&self) -> &[Arc<dyn Migration>] {
        &self.migrations[APPLIED..]
    }

    /// The previous release, with `rows` rows in each table.
    async fn template(&self, pool: &Pool, rows: u64) -> Result<Template> {
        let mut key = TemplateKey::new()
            .with("seed", SEED.to_le_bytes())
            .with("rows", rows.to_le_bytes());
        for migration in &self.migrations[..APPLIED] {
            key = key.with_migration(migration.id(), migration.checksum().as_str());
        }
        let build = async |database: Database| {
            let endpoints = Endpoints::default().with(DATABASE, database.endpoint());
            let cx = UpgradeContext::new("nothing", "1").with_endpoints(endpoints);
            for migration in &self.migrations[..APPLIED] {
                migration.apply(&cx).await?.into_result()?;
            }
            let mut connection = database.connect().await?;
            Seeder::new(SEED).rows(rows).fill(&mut connection).await?;
            Ok::<_, BoxError>(())
        };
        Ok(pool.template(&key, build).await?)
    }

    async fn against_bare(
        &self,
        template: &Arc<Template>,
        scenario: Scenario,
        effort: Effort,
    ) -> Result<Line> {
        let mut bare = Bare::open(template, self.folder.clone()).await?;
        let mut ours = Sample::default();
        let mut peers = STRATEGIES.map(|_| Sample::default());
        // A rehearsal tells which statements and copies it needs.
        let (_, plan) = self.rehearse(template, scenario).await?;
        for round in 0..=effort.slow_rounds() {
            for arm in order(round, 1 + STRATEGIES.len()) {
                let (time, sample) = match arm.checked_sub(1) {
                    None => (self.rehearse(template, scenario).await?.0, &mut ours),
                    Some(arm) => (bare.run(&plan, STRATEGIES[arm]).await?, &mut peers[arm]),
                };
                if round > 0 {
                    sample.push(time);
                }
            }
        }
        let best = if peers[0].median() <= peers[1].median() {
            0
        } else {
            1
        };
        let statements = plan.steps.iter().filter(|step| is_statement(&step.action));
        let copies = plan.steps.iter().filter(|step| is_copy(&step.action));
        Ok(Line {
            what: format!("rehearsal `{scenario}` of the quickstart"),
            against: format!(
                "its {} migrations' SQL and {} bare copies{}",
                statements.count(),
                copies.count(),
                STRATEGIES[best]
            ),
            ours,
            peer: std::mem::take(&mut peers[best]),
            goal: Goal::AtMost(2.0),
        })
    }

    /// A run as a test makes it, from the plan to the teardown.
    async fn rehearse(
        &self,
        template: &Arc<Template>,
        scenario: Scenario,
    ) -> Result<(Duration, Plan)> {
        let work = async {
            let source = Copies {
                template: Arc::clone(template),
                held: Mutex::default(),
            };
            let environment = PostgresEnvironment::new("postgres", source);
            let upgrade = Upgrade::new("shop", "0002", "0012")
                .with_migrations(self.pending().iter().cloned())
                .with_expected_changes(self.losses.iter().cloned())
                .with_validator(Invariant::new(
                    "every line belongs to an order",
                    "select * from lines where order_id not in (select id from orders)",
                ))
                .with_validator(Invariant::new(
                    "every order belongs to a customer",
                    "select * from orders where customer_id not in (select id from customers)",
                ))
                .with_rollback(SnapshotSwap::new())
                .with_rollback(RevertMigrations::new(self.pending().iter().cloned()));
            let plan = Plan::new(
                &upgrade.outline(Capabilities::of(&environment)),
                scenario,
                SEED,
            )?;
            let report = Runner::new(upgrade, environment).run(&plan).await?;
            if !report.passed {
                return Err(BoxError::from(format!("the rehearsal failed:\n{report}")));
            }
            Ok(plan)
        };
        timed(work).await
    }
}

/// Hands out copies of a template.
struct Copies {
    template: Arc<Template>,
    held: Mutex<Option<TestDatabase>>,
}

#[async_trait]
impl DatabaseSource for Copies {
    async fn provision(&self, cx: &UpgradeContext) -> upgrade_core::Result<Database> {
        let test = self.template.hand_out(cx.run_id()).await?;
        let database = test.database().clone();
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(test);
        Ok(database)
    }

    fn is_disposable(&self) -> bool {
        true
    }

    async fn release(&self, _: &UpgradeContext, _: Option<Database>) -> upgrade_core::Result<()> {
        let held = self
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(test) = held {
            test.release(Outcome::Passed).await?;
        }
        Ok(())
    }

    fn copy_strategy(&self) -> CopyStrategy {
        self.template.strategy().strategy()
    }

    fn log_tail(&self, _: usize) -> Vec<LogTail> {
        Vec::new()
    }
}

impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copies").finish_non_exhaustive()
    }
}

fn is_statement(action: &Action) -> bool {
    matches!(action, Action::Apply { .. } | Action::Revert { .. })
}

fn is_copy(action: &Action) -> bool {
    matches!(
        action,
        Action::Provision
            | Action::Snapshot { .. }
            | Action::Restore { .. }
            | Action::PrepareRollback { .. }
    )
}

/// The steps of a plan without what the library is for.
struct Bare {
    admin: PgConnection,
    /// The server, by a database of ours on it.
    server: TestDatabase,
    /// What holds the previous release, quoted.
    source: String,
    folder: PathBuf,
}

impl Bare {
    async fn open(template: &Arc<Template>, folder: PathBuf) -> Result<Self> {
        let server = template.hand_out(&RunId::generate()).await?;
        let mut admin = server.connect_maintenance().await?;
        // The copies are made of one that was handed out: its content is the template's.
        let source = sqlx::query_scalar("select quote_ident($1)")
            .bind(server.name())
            .fetch_one(&mut admin)
            .await?;
        Ok(Self {
            admin,
            server,
            source,
            folder,
        })
    }

    /// Carries out a plan's copies and statements, and drops what it made.
    async fn run(&mut self, plan: &Plan, strategy: &str) -> Result<Duration> {
        let work = async {
            let mut made = Vec::new();
            let mut session: Option<PgConnection> = None;
            for step in &plan.steps {
                match &step.action {
                    // The database begins as a copy of the previous release.
                    Action::Provision => {
                        self.copy("bare_live", &self.source.clone(), strategy)
                            .await?;
                        made.push("bare_live".to_owned());
                    }
                    Action::Snapshot { label } => {
                        disconnect(&mut session).await?;
                        let name = format!("bare_{}", made.len());
                        self.copy(&name, "bare_live", strategy).await?;
                        run(
                            &mut self.admin,
                            &format!("comment on database {name} is '{label}'"),
                        )
                        .await?;
                        made.push(name);
                    }
                    Action::PrepareRollback { .. } => {
                        disconnect(&mut session).await?;
                        let name = format!("bare_{}", made.len());
                        self.copy(&name, "bare_live", strategy).await?;
                        made.push(name);
                    }
                    Action::Restore { label } => {
                        disconnect(&mut session).await?;
                        let kept = self.labelled(label).await?;
                        run(&mut self.admin, "drop database bare_live").await?;
                        self.copy("bare_live", &kept, strategy).await?;
                    }
                    Action::Apply { migration } => {
                        self.statements(&mut session, migration, "up").await?;
                    }
                    Action::Revert { migration } => {
                        self.statements(&mut session, migration, "down").await?;
                    }
                    _ => {}
                }
            }
            disconnect(&mut session).await?;
            for name in made {
                run(&mut self.admin, &format!("drop database {name}")).await?;
            }
            Ok::<_, BoxError>(())
        };
        Ok(timed(work).await?.0)
    }

    async fn copy(&mut self, name: &str, source: &str, strategy: &str) -> Result<()> {
        let sql = format!("create database {name} template {source}{strategy}");
        Ok(run(&mut self.admin, &sql).await?)
    }

    async fn labelled(&mut self, label: &str) -> Result<String> {
        let sql = "select datname::text from pg_database
            where shobj_description(oid, 'pg_database') = $1 and datname like 'bare%'";
        let row = sqlx::query_scalar(sql).bind(label);
        Ok(row.fetch_one(&mut self.admin).await?)
    }

    async fn statements(
        &self,
        session: &mut Option<PgConnection>,
        migration: &MigrationId,
        way: &str,
    ) -> Result<()> {
        let path = self.folder.join(format!("{migration}.{way}.sql"));
        let sql = std::fs::read_to_string(&path).map_err(|source| {
            let message = format!("`{}` cannot be read", path.display());
            Error::new(ErrorKind::Io, message).with_source(source)
        })?;
        let session = match session {
            Some(session) => session,
            None => session.insert(self.server.sibling("bare_live").connect().await?),
        };
        Ok(run(session, &sql).await?)
    }
}

/// Ends the session: a database that is copied may have none.
async fn disconnect(session: &mut Option<PgConnection>) -> Result<()> {
    if let Some(session) = session.take() {
        session.close().await?;
    }
    Ok(())
}
