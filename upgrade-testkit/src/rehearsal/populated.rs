//! The populated previous release: a template that is migrated and filled once, and its copies.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use upgrade_core::environment::{DATABASE, DatabaseSource, Endpoints, LogTail, Unfilled};
use upgrade_core::postgres::Database;
use upgrade_core::postgres::catalog::TableName;
use upgrade_core::postgres::database::CopyStrategy;
use upgrade_core::{
    BoxError, Error, ErrorKind, Migration, Result, UpgradeContext, Writes, writes_fn,
};

use super::release::Releases;
use super::{Rehearsal, SetUp};
use crate::display;
use crate::pool::{Outcome, Pool, TemplateKey, TestDatabase};
use crate::seed::Seeder;

/// Hands out databases at the previous release.
pub(super) struct Populated {
    pool: Pool,
    key: TemplateKey,
    recipe: Recipe,
    templates: bool,
    /// Whether the run has failed; the pool knows what then has to be kept.
    failed: Arc<AtomicBool>,
    held: Mutex<Option<TestDatabase>>,
    /// The tables without rows; known when a database was handed out.
    unfilled: Mutex<Vec<Unfilled>>,
    /// How the server copies its template best; found out with that.
    strategy: OnceLock<CopyStrategy>,
}

/// How the template is made.
#[derive(Clone)]
struct Recipe {
    set_up_sql: String,
    applied: Vec<Arc<dyn Migration>>,
    seed: u64,
    rows: u32,
    seeder: Option<SetUp>,
}

impl Populated {
    pub(super) fn new(
        pool: Pool,
        rehearsal: &Rehearsal,
        releases: &Releases,
        failed: Arc<AtomicBool>,
    ) -> Self {
        let recipe = Recipe {
            set_up_sql: rehearsal.set_up_sql.clone(),
            applied: releases.upgrade.released().to_vec(),
            seed: rehearsal.seed,
            rows: rehearsal.rows,
            seeder: rehearsal.seeder.clone(),
        };
        Self {
            pool,
            key: recipe.key(),
            templates: rehearsal.templates && recipe.is_known(),
            recipe,
            failed,
            held: Mutex::new(None),
            unfilled: Mutex::default(),
            strategy: OnceLock::new(),
        }
    }

    fn set_unfilled(&self, unfilled: Vec<Unfilled>) {
        let mut known = self.unfilled.lock();
        **known.as_mut().unwrap_or_else(|poisoned| poisoned.get_mut()) = unfilled;
    }

    fn held<T>(&self, read: impl FnOnce(&mut Option<TestDatabase>) -> T) -> T {
        read(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Recipe {
    /// Whether it makes the same next time, so that its template may be kept.
    fn is_known(&self) -> bool {
        let mut applied = self.applied.iter();
        applied.all(|migration| migration.content().is_some())
    }

    /// Everything that the content depends on; the pool adds the server.
    fn key(&self) -> TemplateKey {
        let mut key = TemplateKey::new()
            .with("set up", &self.set_up_sql)
            .with("seed", self.seed.to_le_bytes())
            .with("rows", self.rows.to_le_bytes())
            .with("seeder", Seeder::REVISION);
        for migration in &self.applied {
            key = key
                .with("migration", migration.id().to_string())
                .with("content", format!("{:?}", migration.content()));
        }
        if self.seeder.is_some() {
            // A closure has no content to hash: the program that holds it stands for it.
            key = key.with("program", program());
        }
        key
    }

    /// Makes the previous release. Answers with the tables that have no rows.
    async fn make(self, database: &Database) -> Result<Vec<Unfilled>, BoxError> {
        let mut connection = database.connect().await?;
        migrate(database, &mut connection, &self.set_up_sql, &self.applied).await?;
        let seeder = Seeder::new(self.seed).rows(u64::from(self.rows));
        let seeder = match &self.seeder {
            Some(set_up) => set_up(seeder),
            None => seeder,
        };
        // A table that cannot be filled is reported, and the others are judged.
        let report = seeder.lenient().fill(&mut connection).await?;
        if let Some(refused) = report.nothing_filled() {
            let name = TableName::new(&*refused.schema, &*refused.name);
            let message = format!("no table could be filled: {name}: {}", refused.reason);
            let error = Error::new(ErrorKind::Environment, message);
            return Err(error.with_hint(&*refused.help).into());
        }
        for line in report.remarks() {
            tracing::info!("{line}");
        }
        let empty = report.empty().iter().map(|table| {
            let name = TableName::new(&*table.schema, &*table.name).to_string();
            Unfilled::new(name, &*table.reason, &*table.help)
        });
        Ok(empty.collect())
    }

    /// Makes a template, which keeps the list of its tables without rows.
    async fn make_template(self, database: Database) -> Result<(), BoxError> {
        let unfilled = self.make(&database).await?;
        let mut admin = database.connect_maintenance().await?;
        if let Some(marker) = database.marker(&mut admin).await? {
            let note = serde_json::to_string(&unfilled)?;
            database
                .remark(&mut admin, &marker.with_note(UNFILLED, note))
                .await?;
        }
        Ok(())
    }
}

/// The note in a template's marker that lists its tables without rows.
const UNFILLED: &str = "unfilled";

/// The tables without rows of a template.
async fn unfilled_of(template: &Database) -> Result<Vec<Unfilled>> {
    let mut admin = template.connect_maintenance().await?;
    let marker = template.marker(&mut admin).await?;
    let note = marker.and_then(|marker| marker.notes.get(UNFILLED).cloned());
    match note {
        None => Ok(Vec::new()),
        Some(json) => serde_json::from_str(&json).map_err(|source| {
            Error::new(
                ErrorKind::Environment,
                "the list of tables without rows in a template's marker cannot be read",
            )
            .with_source(source)
            .with_hint("remove the cache of templates")
        }),
    }
}

/// How many rows of each table the seeder adds, changes and deletes when users write.
const WRITTEN_ROWS: u64 = 3;

/// Writes of users, drawn by the seeder for whatever schema there is; as the seeder was set up, as
/// far as that suits the schema.
pub(super) fn seeded_writes(set_up: Option<SetUp>) -> Writes {
    let write = move |cx: UpgradeContext| {
        let set_up = set_up.clone();
        async move {
            let mut connection = cx.connect().await?;
            let seeder = Seeder::new(cx.seed());
            let seeder = set_up
                .as_ref()
                .map_or(seeder.clone(), |set_up| set_up(seeder));
            let seeder = seeder.for_users(WRITTEN_ROWS);
            let written = match seeder.write(&mut connection).await {
                // A value that the test supplies may be of another type at this release.
                Err(_) if set_up.is_some() => seeder.without_values().write(&mut connection).await,
                written => written,
            };
            written.map(drop).map_err(|source| {
                Error::new(ErrorKind::Environment, "no rows could be written").with_source(source)
            })
        }
    };
    writes_fn("rows of every table are added, changed and deleted", write).at_any_release()
}

/// Sets an empty database up and applies migrations to it.
pub(super) async fn migrate(
    database: &Database,
    connection: &mut PgConnection,
    set_up_sql: &str,
    migrations: impl IntoIterator<Item = &Arc<dyn Migration>> + Send,
) -> Result<()> {
    if !set_up_sql.is_empty() {
        sqlx::raw_sql(sqlx::AssertSqlSafe(set_up_sql))
            .execute(connection)
            .await
            .map_err(|source| {
                Error::new(
                    ErrorKind::InvalidInput,
                    "the SQL that sets the database up failed",
                )
                .with_source(source)
            })?;
    }
    let endpoints = Endpoints::default().with(DATABASE, database.endpoint());
    let cx = UpgradeContext::new("nothing", "the previous release").with_endpoints(endpoints);
    let migrations: Vec<_> = migrations.into_iter().collect();
    for migration in migrations {
        migration.apply(&cx).await?.into_result()?;
    }
    Ok(())
}

#[async_trait]
impl DatabaseSource for Populated {
    async fn provision(&self, cx: &UpgradeContext) -> Result<Database> {
        let recipe = self.recipe.clone();
        if self.templates {
            let template = self
                .pool
                .template(&self.key, |database| recipe.make_template(database))
                .await?;
            let strategy = template.strategy().strategy();
            self.strategy.get_or_init(|| strategy);
            let test = template.hand_out(cx.run_id()).await?;
            let database = test.database().clone();
            let unfilled = unfilled_of(&database.sibling(template.name())).await;
            self.held(|held| *held = Some(test));
            self.set_unfilled(unfilled?);
            return Ok(database);
        }
        let test = self.pool.empty_database(cx.run_id()).await?;
        let database = test.database().clone();
        self.held(|held| *held = Some(test));
        let unfilled = recipe.make(&database).await.map_err(|source| {
            Error::new(
                ErrorKind::Environment,
                "the previous release could not be made",
            )
            .with_source(source)
        })?;
        self.set_unfilled(unfilled);
        Ok(database)
    }

    fn is_disposable(&self) -> bool {
        true
    }

    async fn release(&self, _: &UpgradeContext, _: Option<Database>) -> Result<()> {
        let Some(test) = self.held(Option::take) else {
            return Ok(());
        };
        let failed = self.failed.load(Ordering::SeqCst);
        let outcome = if failed {
            Outcome::Failed
        } else {
            Outcome::Passed
        };
        if let Some(kept) = test.release(outcome).await? {
            let start = kept
                .start
                .map(|start| format!("\n  {start}"))
                .unwrap_or_default();
            let enter = kept.enter;
            display::print(&format!(
                "the database is kept; to enter it:{start}\n  {enter}"
            ));
        }
        Ok(())
    }

    fn unfilled(&self) -> Vec<Unfilled> {
        let unfilled = self.unfilled.lock();
        unfilled.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn copy_strategy(&self) -> CopyStrategy {
        let found_out = self.strategy.get().copied();
        found_out.unwrap_or(CopyStrategy::ServerDefault)
    }

    fn may_be_emptied(&self) -> bool {
        true
    }

    async fn set_up(&self, _: &UpgradeContext, database: &Database) -> Result<()> {
        let mut connection = database.connect().await?;
        migrate(database, &mut connection, &self.recipe.set_up_sql, []).await
    }

    fn may_clear_server(&self) -> bool {
        self.held(|held| held.as_ref().is_some_and(TestDatabase::has_server_alone))
    }

    fn may_kill_server(&self) -> bool {
        self.pool.is_killable()
    }

    async fn kill_server(&self, cx: &UpgradeContext) -> Result<()> {
        // Out of its place, for as long as it is awaited on: the guard is no lock.
        let Some(test) = self.held(Option::take) else {
            return Err(Error::new(ErrorKind::Environment, "there is no server yet"));
        };
        let killed = cx.bounded("kill the server", test.kill_server()).await;
        self.held(|held| *held = Some(test));
        Ok(killed??)
    }

    fn log_tail(&self, lines: usize) -> Vec<LogTail> {
        let tail = self.held(|held| held.as_ref().and_then(|test| test.server_log_tail(lines)));
        tail.filter(|text| !text.is_empty())
            .map(|text| LogTail {
                source: "the server".to_owned(),
                lines: text.lines().map(str::to_owned).collect(),
            })
            .into_iter()
            .collect()
    }
}

impl fmt::Debug for Populated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Populated")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// The running program, as far as it can be told from another one.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    let changed = std::fs::metadata(&path)
        .ok()
        .map(|file| (file.len(), file.modified().ok()));
    format!("{} {changed:?}", path.display())
}
