//! A migration that another program carries out.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sqlx::postgres::PgConnection;

use super::session::{application, execute, in_session, judged};
use super::{Checksum, Migration, MigrationFiles, MigrationId, Outcome, Reversibility, Status};
use crate::command::CommandLine;
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};

/// The record of commands, beside that of plain numbered SQL.
const TABLE: &str = "create table if not exists _upgrade_migrations (\
    version text primary key, \
    name text not null, \
    checksum bytea not null, \
    applied_at timestamptz not null default now())";

/// A migration that a command carries out: `python manage.py migrate`, `alembic upgrade`, a
/// script.
///
/// The command gets the URL of the database in `DATABASE_URL`. That it was applied is recorded in
/// the table `_upgrade_migrations`, after it has ended well: the library cannot see what another
/// tool considers applied.
///
/// What the command does follows from files that the library does not know, unless
/// [`with_inputs`](Self::with_inputs) names them. Where it does not, a previous release that such
/// commands make is made anew for each test.
#[derive(Debug, Clone)]
pub struct CommandMigration {
    id: MigrationId,
    apply: CommandLine,
    revert: Option<CommandLine>,
    inputs: Vec<PathBuf>,
}

impl CommandMigration {
    /// A migration that a command applies and nothing reverts.
    pub fn new(version: impl Into<String>, name: impl Into<String>, apply: CommandLine) -> Self {
        Self {
            id: MigrationId::new(version, name),
            apply,
            revert: None,
            inputs: Vec::new(),
        }
    }

    /// Adds the command that reverts it.
    #[must_use]
    pub fn with_revert(mut self, revert: CommandLine) -> Self {
        self.revert = Some(revert);
        self
    }

    /// Names the files and folders from which it follows what the command does: a previous release
    /// that it makes is then kept, and used again for as long as they are the same. Relative paths
    /// start at the folder of the process, which is that of the package in a test.
    #[must_use]
    pub fn with_inputs<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.inputs.extend(paths.into_iter().map(Into::into));
        self
    }

    fn checksum_bytes(&self) -> [u8; 32] {
        *blake3::hash(self.apply.canonical().as_bytes()).as_bytes()
    }

    async fn look_up(&self, session: &mut PgConnection) -> Result<Status> {
        let unknown = |source| {
            Error::new(
                ErrorKind::Database,
                "the record of migrations in `_upgrade_migrations` could not be used",
            )
            .with_source(source)
        };
        let exists: bool =
            sqlx::query_scalar("select to_regclass('_upgrade_migrations') is not null")
                .fetch_one(&mut *session)
                .await
                .map_err(unknown)?;
        if !exists {
            return Ok(Status::Pending);
        }
        let recorded: Option<Vec<u8>> =
            sqlx::query_scalar("select checksum from _upgrade_migrations where version = $1")
                .bind(self.id.version())
                .fetch_optional(session)
                .await
                .map_err(unknown)?;
        Ok(match recorded {
            None => Status::Pending,
            Some(recorded) if recorded == self.checksum_bytes() => Status::Applied,
            Some(recorded) => Status::Divergent {
                recorded: Checksum::from_bytes(&recorded),
            },
        })
    }

    fn divergent(&self) -> Error {
        Error::new(
            ErrorKind::Divergent,
            format!("migration `{}` was applied by another command", self.id),
        )
        .with_context("command at hand", &self.apply)
        .with_hint("put the command back as it was released, and add a new migration")
    }

    async fn run(&self, cx: &UpgradeContext, command: &CommandLine, doing: &str) -> Result<()> {
        let ended = command
            .run_at_database(cx, &application(cx, &self.id))
            .await;
        let ended = ended.map_err(|error| error.with_context("migration", &self.id))?;
        match ended.succeeded() {
            true => Ok(()),
            false => Err(ended.failed(
                ErrorKind::Migration,
                format!("migration `{}` failed to {doing}", self.id),
            )),
        }
    }

    async fn up(&self, cx: &UpgradeContext, session: &mut PgConnection) -> Result<Outcome> {
        match self.look_up(session).await? {
            Status::Applied => return Ok(Outcome::NothingToDo),
            Status::Divergent { .. } => return Err(self.divergent()),
            Status::Pending | Status::Dirty => {}
        }
        execute(session, TABLE).await?;
        cx.reach(0, 1).await?;
        self.run(cx, &self.apply, "apply").await?;
        cx.reach(1, 1).await?;
        sqlx::query(
            "insert into _upgrade_migrations (version, name, checksum) values ($1, $2, $3)",
        )
        .bind(self.id.version())
        .bind(self.id.name())
        .bind(self.checksum_bytes().as_slice())
        .execute(session)
        .await
        .map_err(|source| self.unrecorded(source))?;
        Ok(Outcome::Done)
    }

    async fn down(&self, cx: &UpgradeContext, session: &mut PgConnection) -> Result<Outcome> {
        let Some(revert) = &self.revert else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("migration `{}` names no command that reverts it", self.id),
            ));
        };
        match self.look_up(session).await? {
            Status::Pending => return Ok(Outcome::NothingToDo),
            Status::Divergent { .. } => return Err(self.divergent()),
            Status::Applied | Status::Dirty => {}
        }
        cx.reach(0, 1).await?;
        self.run(cx, revert, "revert").await?;
        cx.reach(1, 1).await?;
        sqlx::query("delete from _upgrade_migrations where version = $1")
            .bind(self.id.version())
            .execute(session)
            .await
            .map_err(|source| self.unrecorded(source))?;
        Ok(Outcome::Done)
    }

    fn unrecorded(&self, source: sqlx::Error) -> Error {
        Error::new(
            ErrorKind::Migration,
            format!("migration `{}` ran, and could not be recorded", self.id),
        )
        .with_source(source)
        .with_context("table", "_upgrade_migrations")
    }
}

#[async_trait]
impl Migration for CommandMigration {
    fn id(&self) -> &MigrationId {
        &self.id
    }

    fn checksum(&self) -> Checksum {
        Checksum::from_bytes(&self.checksum_bytes())
    }

    fn content(&self) -> Option<Checksum> {
        if self.inputs.is_empty() {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.apply.canonical().as_bytes());
        for path in &self.inputs {
            hash_files(&mut hasher, path).ok()?;
        }
        Some(Checksum::from_bytes(hasher.finalize().as_bytes()))
    }

    fn statements(&self) -> usize {
        1
    }

    fn reversibility(&self) -> Reversibility {
        match self.revert {
            Some(_) => Reversibility::Reversible,
            None => Reversibility::Irreversible {
                reason: "no command reverts it".to_owned(),
            },
        }
    }

    fn files(&self) -> MigrationFiles {
        MigrationFiles::default()
    }

    async fn status(&self, cx: &UpgradeContext) -> Result<Status> {
        let mut session = cx.connect().await?;
        let status = cx
            .bounded("look a migration up", self.look_up(&mut session))
            .await??;
        crate::postgres::database::close(session).await;
        Ok(status)
    }

    async fn apply(&self, cx: &UpgradeContext) -> Result<Outcome> {
        let up = async |session: &mut PgConnection| self.up(cx, session).await;
        judged(in_session(cx, &self.id, None, up).await)
    }

    async fn revert(&self, cx: &UpgradeContext) -> Result<Outcome> {
        let down = async |session: &mut PgConnection| self.down(cx, session).await;
        judged(in_session(cx, &self.id, None, down).await)
    }
}

/// Adds what lies at a path: each file by its path and its bytes.
fn hash_files(hasher: &mut blake3::Hasher, path: &Path) -> io::Result<()> {
    let mut add = |kind: &[u8], bytes: &[u8]| {
        for part in [kind, path.as_os_str().as_encoded_bytes(), bytes] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    };
    let kind = std::fs::symlink_metadata(path)?.file_type();
    if kind.is_dir() {
        add(b"folder", b"");
        let entries = std::fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        let mut paths: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
        paths.sort_unstable();
        for path in paths {
            hash_files(hasher, &path)?;
        }
    } else if std::fs::metadata(path)?.is_file() {
        add(b"file", &std::fs::read(path)?);
    } else {
        // A folder behind a link may contain itself, and a pipe has no content.
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_is_known_by_its_inputs_alone() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("shop");
        std::fs::create_dir(&inner).unwrap();
        let file = inner.join("0001.py");
        std::fs::write(&file, "one").unwrap();
        let command = CommandMigration::new("1", "shop", CommandLine::new("true"));
        assert_eq!(command.content(), None);
        let checksum = command.checksum();

        let command = command.with_inputs([folder.path()]);
        let first = command.content();
        assert!(first.is_some());
        assert_eq!(command.content(), first);
        std::fs::write(&file, "two").unwrap();
        assert_ne!(command.content(), first);
        std::fs::write(&file, "one").unwrap();
        assert_eq!(command.content(), first);
        std::fs::write(inner.join("0002.py"), "").unwrap();
        assert_ne!(command.content(), first);
        // What is recorded when it is applied is the command alone: a file that a later release
        // adds does not make it another migration.
        assert_eq!(command.checksum(), checksum);

        let missing = command.with_inputs([folder.path().join("missing")]);
        assert_eq!(missing.content(), None);
    }
}
