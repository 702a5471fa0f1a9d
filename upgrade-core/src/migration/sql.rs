//! A migration from a file, run and recorded the way its tool does it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;

use super::folder::check::unit;
use super::folder::{MigrationFile, MigrationFolder, MigrationKind, Script, TransactionMode};
use super::record::{AppliedRow, RecordError, ToolRecord};
use super::session::{Sent, execute, failed, in_session, judged};
use super::traces::{self, Traces};
use super::waits::{is_lock_timeout, pause};
use super::{Checksum, Migration, MigrationFiles, MigrationId, Outcome, Reversibility, Status};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::sql::keywords;

/// One file of a folder of migrations.
///
/// It runs as its tool runs it (in a transaction or not, as one text or statement by statement)
/// and is recorded in the tool's own table, so that the tool finds it applied.
pub struct SqlMigration {
    id: MigrationId,
    file: MigrationFile,
    /// The migration that comes before it, for tools that record only the latest.
    previous: Option<MigrationFile>,
    record: Arc<ToolRecord>,
}

impl SqlMigration {
    /// A migration from its file, the file before it, and the record of its tool.
    pub fn new(
        file: MigrationFile,
        previous: Option<MigrationFile>,
        record: Arc<ToolRecord>,
    ) -> Self {
        let id = MigrationId::new(&file.version_text, &file.name);
        Self {
            id,
            file,
            previous,
            record,
        }
    }

    /// Every migration of a folder, in the order of its tool, recorded where its tool does.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the tool's settings beside the folder cannot be read.
    pub fn all(folder: &MigrationFolder) -> Result<Vec<Arc<dyn Migration>>> {
        let record = ToolRecord::of_folder(folder).map_err(|source| {
            Error::new(
                ErrorKind::InvalidInput,
                "the settings of the migration tool cannot be used",
            )
            .with_source(source)
        })?;
        Ok(Self::chain(folder.migrations(), None, &Arc::new(record)))
    }

    /// These files, in their order; `previous` is what is applied last before them.
    pub fn chain(
        files: &[MigrationFile],
        previous: Option<&MigrationFile>,
        record: &Arc<ToolRecord>,
    ) -> Vec<Arc<dyn Migration>> {
        let mut previous = previous.cloned();
        let mut migrations: Vec<Arc<dyn Migration>> = Vec::new();
        for file in files {
            let before = previous.replace(file.clone());
            migrations.push(Arc::new(Self::new(
                file.clone(),
                before,
                Arc::clone(record),
            )));
        }
        migrations
    }

    /// The file.
    pub fn file(&self) -> &MigrationFile {
        &self.file
    }

    fn judge(&self, rows: &[AppliedRow]) -> Status {
        // Where only the latest is recorded, what lies below it has ended well; and where that one
        // is dirty, nobody knows whether the next was being applied or reverted.
        let latest_only = self.record.keeps_only_latest();
        let row = rows.iter().find(|row| {
            row.version == self.file.version
                || (latest_only && (row.version > self.file.version || !row.success))
        });
        let Some(row) = row else {
            return Status::Pending;
        };
        let below = latest_only && row.version > self.file.version;
        if !row.success && !below {
            return Status::Dirty;
        }
        match &row.checksum {
            Some(recorded) if *recorded != self.file.checksum.bytes => {
                if self.file.kind == MigrationKind::Repeatable {
                    return Status::Pending;
                }
                Status::Divergent {
                    recorded: Checksum::from_bytes(recorded),
                }
            }
            _ => Status::Applied,
        }
    }

    async fn begin_session(&self, session: &mut PgConnection) -> Result<()> {
        self.record.begin_session(session).await.map_err(|source| {
            Error::new(
                ErrorKind::InvalidInput,
                "the SQL that begins each session of a migration failed",
            )
            .with_source(source)
            .with_hint("it is given by `ToolRecord::with_session_sql`")
        })
    }

    async fn look_up(&self, session: &mut PgConnection) -> Result<Status> {
        let rows = self
            .record
            .applied(session)
            .await
            .map_err(|source| self.unknown(source))?;
        Ok(self.judge(&rows))
    }

    fn unknown(&self, source: RecordError) -> Error {
        Error::new(
            ErrorKind::Database,
            format!(
                "the record of migrations in `{}` could not be used",
                self.record.table()
            ),
        )
        .with_source(source)
        .with_context("migration", &self.id)
    }

    fn dirty(&self) -> Error {
        Error::new(
            ErrorKind::Migration,
            format!(
                "migration `{}` was begun earlier and has not ended",
                self.id
            ),
        )
        .with_hint(format!(
            "look what of it is there, mend it, and correct its row in `{}`",
            self.record.table()
        ))
    }

    fn divergent(&self, recorded: &Checksum) -> Error {
        Error::new(
            ErrorKind::Divergent,
            format!("migration `{}` was applied with another content", self.id),
        )
        .with_context("recorded checksum", recorded)
        .with_context("checksum at hand", self.checksum())
        .with_hint("put the file back as it was released, and write a new migration")
    }

    async fn up(&self, cx: &UpgradeContext, session: &mut PgConnection) -> Result<Outcome> {
        match self.look_up(session).await? {
            Status::Pending => {}
            Status::Applied => return Ok(Outcome::NothingToDo),
            Status::Divergent { recorded } => return Err(self.divergent(&recorded)),
            Status::Dirty => return Err(self.dirty()),
        }
        self.record
            .ensure(session)
            .await
            .map_err(|source| self.unknown(source))?;
        self.patiently(cx, session, &self.file.up, Direction::Up)
            .await?;
        Ok(Outcome::Done)
    }

    async fn down(&self, cx: &UpgradeContext, session: &mut PgConnection) -> Result<Outcome> {
        let Some(down) = &self.file.down else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("migration `{}` has no down migration", self.id),
            ));
        };
        match self.look_up(session).await? {
            Status::Applied => {}
            Status::Pending => return Ok(Outcome::NothingToDo),
            Status::Divergent { recorded } => return Err(self.divergent(&recorded)),
            Status::Dirty => return Err(self.dirty()),
        }
        self.patiently(cx, session, down, Direction::Down).await?;
        Ok(Outcome::Done)
    }

    /// Runs a script; on a live system again and again, until it gets its locks within a moment.
    async fn patiently(
        &self,
        cx: &UpgradeContext,
        session: &mut PgConnection,
        script: &Script,
        direction: Direction,
    ) -> Result<()> {
        // Of one that is not rolled back as a whole, a part may be done.
        let can_wait = cx.lock_timeout().is_some() && is_one_transaction(script);
        loop {
            match self.traced(cx, session, script, direction).await {
                Err(error) if can_wait && is_lock_timeout(&error) && pause(cx).await => {}
                result => return result,
            }
        }
    }

    /// Runs a script, and tells what it leaves in its session. The tool would go on in it.
    async fn traced(
        &self,
        cx: &UpgradeContext,
        session: &mut PgConnection,
        script: &Script,
        direction: Direction,
    ) -> Result<()> {
        let before = match self.record.begins_sessions() {
            true => Traces::of(session).await,
            false => Traces::of_new(session).await,
        };
        let result = self
            .run(cx, session, script, direction, before.as_ref())
            .await;
        if result.is_err() {
            // A transaction that failed cannot be asked. Where there is none, this does nothing.
            execute(session, "rollback").await.unwrap_or_default();
        }
        let mut now = Traces::of(session).await;
        if now.as_ref().is_some_and(Traces::in_transaction) {
            traces::left_open(cx, &self.id, script);
            // The end of the session would roll it back as well. Settings and locks that the
            // session has after this rollback outlast the transaction.
            execute(session, "rollback").await.unwrap_or_default();
            now = Traces::of(session).await;
        }
        if let (Some(before), Some(now)) = (before, now) {
            before.compare(&now, cx, &self.id, script);
        }
        result
    }

    /// The script and its record, with what the tool puts around them.
    async fn run(
        &self,
        cx: &UpgradeContext,
        session: &mut PgConnection,
        script: &Script,
        direction: Direction,
        before: Option<&Traces>,
    ) -> Result<()> {
        let started = Instant::now();
        let begin = match script.transaction {
            TransactionMode::Wrapped => Some("begin"),
            TransactionMode::WrappedSerializable => Some("begin isolation level serializable"),
            TransactionMode::None => None,
        };
        let record_inside = begin.is_some() && self.record.in_transaction();
        let becomes_latest = match direction {
            Direction::Up => Some(&self.file),
            Direction::Down => self.previous.as_ref(),
        };
        self.record
            .record_started(session, becomes_latest)
            .await
            .map_err(|source| self.unknown(source))?;
        if let Some(begin) = begin {
            execute(session, begin).await?;
            if let Some(timeout) = cx.lock_timeout().filter(|_| is_one_transaction(script)) {
                let timeout = timeout.as_millis();
                execute(session, &format!("set local lock_timeout = {timeout}")).await?;
            }
        }
        self.send(cx, session, script, direction).await?;
        if record_inside {
            // A transaction that has failed cannot be asked any more.
            let now = match traces::names_setting(script) {
                true => Traces::of(session).await,
                false => None,
            };
            let recorded = self.record(session, direction, started).await;
            if recorded.is_err()
                && let (Some(before), Some(now)) = (before, &now)
            {
                before.compare_settings(now, cx, &self.id, script);
            }
            recorded?;
        }
        if begin.is_some() {
            execute(session, "commit").await.map_err(|source| {
                let path = script.path.display().to_string();
                let line = script.first_line;
                let sent = Sent {
                    text: "commit",
                    begins: line,
                    line,
                };
                failed(&self.id, direction.commits(), &path, sent, source)
            })?;
        }
        if !record_inside {
            self.record(session, direction, started).await?;
        }
        Ok(())
    }

    async fn send(
        &self,
        cx: &UpgradeContext,
        session: &mut PgConnection,
        script: &Script,
        direction: Direction,
    ) -> Result<()> {
        let path = script.path.display().to_string();
        let explain = |text: &str, begins, line, source| {
            let sent = Sent { text, begins, line };
            let changed = traces::search_path_of(script, line, &source);
            let error = failed(&self.id, direction.runs(), &path, sent, source);
            match changed {
                Some(place) => error.with_hint(format!(
                    "`search_path` is changed at {place}, and names without a schema are looked up \
                     there: write the schema before the name"
                )),
                None => error,
            }
        };
        if script.one_by_one() {
            let statements = script.statements();
            cx.reach(0, statements.len()).await?;
            let (mut begins, mut seen) = (script.first_line, 0);
            for (done, (line, statement)) in statements.iter().enumerate() {
                begins += script.sql[seen..statement.offset].matches('\n').count();
                seen = statement.offset;
                execute(session, statement.text)
                    .await
                    .map_err(|source| explain(statement.text, begins, *line, source))?;
                cx.reach(done + 1, statements.len()).await?;
            }
        } else {
            cx.reach(0, 1).await?;
            let first = script.statements().first().map(|(line, _)| *line);
            execute(session, &script.sql).await.map_err(|source| {
                let line = first.unwrap_or(script.first_line);
                explain(&script.sql, script.first_line, line, source)
            })?;
            cx.reach(1, 1).await?;
        }
        Ok(())
    }

    async fn record(
        &self,
        session: &mut PgConnection,
        direction: Direction,
        started: Instant,
    ) -> Result<()> {
        let recorded = match direction {
            Direction::Up => {
                self.record
                    .record_applied(session, &self.file, started.elapsed())
                    .await
            }
            Direction::Down => {
                self.record
                    .record_reverted(session, &self.file, self.previous.as_ref())
                    .await
            }
        };
        // A script that leaves the session changed, a `SET search_path` say, shows here.
        recorded.map_err(|source| {
            Error::new(
                ErrorKind::Migration,
                format!("migration `{}` ran, and could not be recorded", self.id),
            )
            .with_source(source)
            .with_context("table", self.record.table())
        })
    }
}

/// Whether a script is rolled back as a whole where it fails: it runs in one transaction, and neither ends
/// it nor begins another.
fn is_one_transaction(script: &Script) -> bool {
    const CONTROL: [&str; 7] = [
        "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "PREPARE",
    ];
    let controls = |text: &str| {
        let first = keywords(text, 1);
        first.iter().any(|word| CONTROL.contains(&word.as_str()))
    };
    script.transaction != TransactionMode::None
        && !script
            .statements()
            .iter()
            .any(|(_, statement)| controls(statement.text))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

impl Direction {
    fn runs(self) -> &'static str {
        match self {
            Self::Up => "apply",
            Self::Down => "revert",
        }
    }

    fn commits(self) -> &'static str {
        match self {
            Self::Up => "commit its up",
            Self::Down => "commit its down",
        }
    }
}

impl fmt::Debug for SqlMigration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlMigration")
            .field("id", &self.id.to_string())
            .field("path", &self.file.up.path)
            .field("reversible", &self.file.down.is_some())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Migration for SqlMigration {
    fn id(&self) -> &MigrationId {
        &self.id
    }

    fn checksum(&self) -> Checksum {
        Checksum::from_bytes(&self.file.checksum.bytes)
    }

    fn reversibility(&self) -> Reversibility {
        match &self.file.down {
            Some(_) => Reversibility::Reversible,
            None => Reversibility::Irreversible {
                reason: "there is no down for it".to_owned(),
            },
        }
    }

    fn statements(&self) -> usize {
        let up = &self.file.up;
        if up.one_by_one() {
            up.statements().len()
        } else {
            1
        }
    }

    fn files(&self) -> MigrationFiles {
        MigrationFiles {
            up: Some(self.file.up.place()),
            down: self.file.down.as_ref().map(Script::place),
        }
    }

    fn script(&self) -> Option<&str> {
        Some(&self.file.up.sql)
    }

    fn unit(&self) -> Option<&str> {
        unit(self.record.layout(), &self.file.version_text)
    }

    fn is_atomic(&self) -> bool {
        self.record.in_transaction() && is_one_transaction(&self.file.up)
    }

    async fn status(&self, cx: &UpgradeContext) -> Result<Status> {
        let mut session = cx.connect().await?;
        let look_up = async {
            self.begin_session(&mut session).await?;
            self.look_up(&mut session).await
        };
        let status = cx.bounded("look a migration up", look_up).await??;
        crate::postgres::database::close(session).await;
        Ok(status)
    }

    async fn apply(&self, cx: &UpgradeContext) -> Result<Outcome> {
        let up = async |session: &mut PgConnection| {
            self.begin_session(session).await?;
            self.up(cx, session).await
        };
        judged(in_session(cx, &self.id, Some(&self.record), up).await)
    }

    async fn revert(&self, cx: &UpgradeContext) -> Result<Outcome> {
        let down = async |session: &mut PgConnection| {
            self.begin_session(session).await?;
            self.down(cx, session).await
        };
        judged(in_session(cx, &self.id, Some(&self.record), down).await)
    }
}
