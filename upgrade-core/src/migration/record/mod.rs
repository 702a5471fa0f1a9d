//! Each tool's own table of applied migrations, so that what is rehearsed here looks to the tool
//! as if it had done it itself.
//!
//! Where a tool writes its row inside of the migration's transaction, the caller does the same:
//! the functions take the connection that holds the transaction.

mod flyway;
mod latest;
mod lock;
mod options;
mod rows;

use std::time::Duration;

use sqlx::postgres::PgConnection;

pub use options::{RecordOptions, RecordTable};

use super::folder::{Layout, MigrationFile, MigrationFolder, MigrationKind, VersionKey};

/// Why a tool's table could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A statement on the table failed.
    #[error("cannot {act} the migration table `{table}`")]
    Sql {
        /// What was attempted: `create`, `read` or `write`.
        act: &'static str,
        /// The table.
        table: RecordTable,
        /// What Postgres said.
        #[source]
        source: sqlx::Error,
    },
    /// A row holds a version that the tool itself could not read.
    #[error("the migration table `{table}` holds `{version}`, which is no {layout} version")]
    Version {
        /// The table.
        table: RecordTable,
        /// The value.
        version: String,
        /// The tool.
        layout: Layout,
    },
    /// The name of a table cannot be parsed.
    #[error("`{name}` is not the name of a table (write `name` or `schema.name`)")]
    RecordTable {
        /// The name as given.
        name: String,
    },
    /// A `sqlx.toml` cannot be parsed.
    #[error("cannot read the migration settings of `sqlx.toml`")]
    Config {
        /// What the parser said.
        #[source]
        source: toml::de::Error,
    },
}

/// A row of the tool's table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppliedRow {
    /// The version as it stands in the table.
    pub version_text: String,
    /// The version as the tool compares it.
    pub version: VersionKey,
    /// The checksum in the form of [`super::folder::FileChecksum::bytes`], if the tool has one.
    pub checksum: Option<Vec<u8>>,
    /// Whether the tool takes the migration for complete; `false` is what it calls dirty or failed.
    pub success: bool,
}

/// The bookkeeping of one tool.
#[derive(Debug, Clone)]
pub struct ToolRecord {
    layout: Layout,
    options: RecordOptions,
    table: RecordTable,
    session_sql: Option<String>,
}

impl ToolRecord {
    /// The bookkeeping of a layout's tool.
    pub fn for_layout(layout: Layout, options: RecordOptions) -> Self {
        let table = options
            .table
            .clone()
            .unwrap_or_else(|| rows::default_table(layout));
        Self {
            layout,
            options,
            table,
            session_sql: None,
        }
    }

    /// Has every session run this SQL first in which a migration is looked up, applied or reverted:
    /// for a record, or tables, that a trigger or a policy guards, as in `set app.role = 'deploy'`.
    /// What it sets does not count as left by the migration.
    #[must_use]
    pub fn with_session_sql(mut self, sql: impl Into<String>) -> Self {
        self.session_sql = Some(sql.into());
        self
    }

    /// Whether a session begins with SQL of the user's.
    pub(super) fn begins_sessions(&self) -> bool {
        self.session_sql.is_some()
    }

    /// Runs the SQL that begins a session, if there is some.
    pub(super) async fn begin_session(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        match &self.session_sql {
            Some(sql) => sqlx::raw_sql(sqlx::AssertSqlSafe(sql.as_str()))
                .execute(conn)
                .await
                .map(drop),
            None => Ok(()),
        }
    }

    /// The bookkeeping of a folder's tool, with the settings that stand beside the folder: a
    /// `sqlx.toml` may name another table.
    ///
    /// # Errors
    /// [`RecordError::Config`] when those settings cannot be parsed.
    pub fn of_folder(folder: &MigrationFolder) -> Result<Self, RecordError> {
        let settings = folder
            .path()
            .and_then(|path| path.parent())
            .map(|home| home.join("sqlx.toml"));
        let text = match (folder.layout(), settings) {
            (Layout::Sqlx, Some(path)) => std::fs::read_to_string(path).ok(),
            _ => None,
        };
        let options = match text {
            Some(text) => RecordOptions::from_sqlx_toml(&text)?,
            None => RecordOptions::new(),
        };
        Ok(Self::for_layout(folder.layout(), options))
    }

    /// The table. Without a schema the search path decides, as it does for the tool.
    pub fn table(&self) -> &RecordTable {
        &self.table
    }

    /// The tool.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Whether the tool writes its row inside of the migration's transaction, if there is one.
    pub(crate) fn in_transaction(&self) -> bool {
        self.layout != Layout::GolangMigrate
    }

    /// Whether the table holds the latest version only, so that all below it count as applied.
    pub fn keeps_only_latest(&self) -> bool {
        self.layout == Layout::GolangMigrate
    }

    /// Pins the schema of the table, for the tools that look it up once when they start and so are
    /// not misled by a `SET search_path` in a migration. No effect for others.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub async fn resolve(&mut self, conn: &mut PgConnection) -> Result<(), RecordError> {
        let pins = matches!(
            self.layout,
            Layout::GolangMigrate | Layout::Dbmate | Layout::Flyway
        );
        if pins && self.table.schema.is_none() {
            self.table.schema = sqlx::query_scalar("select current_schema()::text")
                .fetch_one(conn)
                .await
                .map_err(self.failed("read"))?;
        }
        Ok(())
    }

    /// Makes the table as the tool does, if it is not there.
    ///
    /// # Errors
    /// The table cannot be made.
    pub async fn ensure(&self, conn: &mut PgConnection) -> Result<(), RecordError> {
        for schema in &self.options.create_schemas {
            let sql = format!("create schema if not exists {schema}");
            self.run(conn, "create", sql).await?;
        }
        if self.exists(conn).await? {
            return Ok(());
        }
        self.run(
            conn,
            "create",
            rows::create(self.layout, &self.table, &self.options),
        )
        .await
    }

    /// The rows of the table, in the order of the versions; none if there is no table. Migrations
    /// that the tool has undone are left out.
    ///
    /// # Errors
    /// The table cannot be read, or holds what the tool could not have written.
    pub async fn applied(&self, conn: &mut PgConnection) -> Result<Vec<AppliedRow>, RecordError> {
        if !self.exists(conn).await? {
            return Ok(Vec::new());
        }
        let sql = rows::select(self.layout, &self.table);
        let found: Vec<(String, Option<Vec<u8>>, bool)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .fetch_all(conn)
            .await
            .map_err(self.failed("read"))?;
        let mut applied = Vec::new();
        for (version_text, checksum, success) in found {
            let version =
                self.layout
                    .version_key(&version_text)
                    .ok_or_else(|| RecordError::Version {
                        table: self.table.clone(),
                        version: version_text.clone(),
                        layout: self.layout,
                    })?;
            applied.push(AppliedRow {
                version_text,
                version,
                checksum,
                success,
            });
        }
        applied.sort_by(|a, b| a.version.cmp(&b.version));
        Ok(applied)
    }

    /// The migrations of a folder that the rows say are applied.
    pub fn applied_of<'f>(
        &self,
        rows: &[AppliedRow],
        folder: &'f MigrationFolder,
    ) -> Vec<&'f MigrationFile> {
        let is_applied = |file: &&MigrationFile| {
            rows.iter().filter(|row| row.success).any(|row| {
                row.version == file.version
                    || (self.keeps_only_latest() && row.version > file.version)
            })
        };
        folder.migrations().iter().filter(is_applied).collect()
    }

    /// Says that a migration is about to run. Only golang-migrate does: it marks the version as
    /// dirty, outside of any transaction. When a migration is reverted, `file` is the version that
    /// will be the latest, if any is left.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn record_started(
        &self,
        conn: &mut PgConnection,
        file: Option<&MigrationFile>,
    ) -> Result<(), RecordError> {
        if self.keeps_only_latest() {
            let row = (file.map_or("-1", |file| file.version_text.as_str()), true);
            return latest::set(conn, &self.table, Some(row))
                .await
                .map_err(self.failed("write"));
        }
        Ok(())
    }

    /// Says that a migration was applied.
    ///
    /// # Errors
    /// The table cannot be written, or has the version already.
    pub async fn record_applied(
        &self,
        conn: &mut PgConnection,
        file: &MigrationFile,
        elapsed: Duration,
    ) -> Result<(), RecordError> {
        let written = match self.layout {
            Layout::GolangMigrate => {
                latest::set(conn, &self.table, Some((&file.version_text, false))).await
            }
            Layout::Flyway => {
                flyway::insert(conn, &self.table, file, elapsed, flyway::Act::Apply).await
            }
            _ => rows::insert(conn, self.layout, &self.table, file, elapsed).await,
        };
        written.map_err(self.failed("write"))
    }

    /// Says that a migration was reverted. `previous` is the one that is the latest now, which
    /// golang-migrate writes down.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn record_reverted(
        &self,
        conn: &mut PgConnection,
        file: &MigrationFile,
        previous: Option<&MigrationFile>,
    ) -> Result<(), RecordError> {
        let written = match self.layout {
            Layout::GolangMigrate => {
                let row = previous.map(|file| (file.version_text.as_str(), false));
                latest::set(conn, &self.table, row).await
            }
            Layout::Flyway if file.kind != MigrationKind::Repeatable => {
                flyway::insert(conn, &self.table, file, Duration::ZERO, flyway::Act::Undo).await
            }
            _ => rows::delete(conn, self.layout, &self.table, file).await,
        };
        written.map_err(self.failed("write"))
    }

    async fn exists(&self, conn: &mut PgConnection) -> Result<bool, RecordError> {
        sqlx::query_scalar("select to_regclass($1) is not null")
            .bind(self.table.quoted())
            .fetch_one(conn)
            .await
            .map_err(self.failed("read"))
    }

    async fn run(
        &self,
        conn: &mut PgConnection,
        act: &'static str,
        sql: String,
    ) -> Result<(), RecordError> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(conn)
            .await
            .map(drop)
            .map_err(self.failed(act))
    }

    fn failed(&self, act: &'static str) -> impl Fn(sqlx::Error) -> RecordError + use<> {
        let table = self.table.clone();
        move |source| RecordError::Sql {
            act,
            table: table.clone(),
            source,
        }
    }
}
