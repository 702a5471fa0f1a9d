//! A database that is closed for writes, and reopened with the setting that its owner had made.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::compare::CLOSED;
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Database;
use crate::postgres::database::close;
use crate::postgres::sql::{quote_ident, quote_literal};

/// One of the two databases, and what its owner had set before this value closed it.
#[derive(Debug)]
pub(super) struct Closure {
    database: Database,
    before: Mutex<Option<Setting>>,
}

/// The owner's own setting of the database, if there is one.
pub(super) type Setting = Option<String>;

impl Closure {
    pub(super) fn new(database: Database) -> Self {
        Self {
            database,
            before: Mutex::new(None),
        }
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// What the owner had set when this value closed the database; `None` where it did not.
    pub(super) fn before(&self) -> Option<Setting> {
        self.before
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn remember(&self, before: Option<Setting>) {
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = before;
    }

    /// Makes sessions read-only, and ends those that are there. `database` is the same one, with
    /// what allows this: adopted, or locked.
    pub(super) async fn close(&self, database: &Database, within: Duration) -> Result<()> {
        let mut admin = database.connect_maintenance().await?;
        database.guard(&mut admin, "made read-only").await?;
        if self.before().is_none() {
            let before = setting(database, &mut admin).await?;
            self.remember(Some(before));
        }
        let sql = statement(database, Some("on"));
        database.act(&mut admin, "make read-only", &sql).await?;
        database.terminate_sessions(&mut admin, within).await?;
        close(admin).await;
        Ok(())
    }

    /// Makes sessions writable again, where this value has made them read-only.
    pub(super) async fn undo(&self) -> Result<()> {
        match self.before() {
            Some(before) => self.open(before).await,
            None => Ok(()),
        }
    }

    /// Gives the database the setting that its owner had.
    pub(super) async fn open(&self, before: Setting) -> Result<()> {
        let sql = statement(&self.database, before.as_deref());
        let opening = async {
            let mut admin = self.database.connect_maintenance().await?;
            self.database.act(&mut admin, "make writable", &sql).await?;
            close(admin).await;
            Ok::<_, Error>(())
        };
        opening.await.map_err(|source| {
            Error::new(
                ErrorKind::Rollback,
                format!(
                    "database `{}` takes no writes until you run: {sql}",
                    self.database.name()
                ),
            )
            .with_source(source)
        })?;
        self.remember(None);
        Ok(())
    }
}

/// The statement that gives the database this setting, or takes it away.
fn statement(database: &Database, value: Option<&str>) -> String {
    let name = quote_ident(database.name());
    match value {
        Some(value) => format!(
            "alter database {name} set {CLOSED} to {}",
            quote_literal(value)
        ),
        None => format!("alter database {name} reset {CLOSED}"),
    }
}

/// What the database itself has set, for every role.
pub(super) async fn setting(database: &Database, admin: &mut PgConnection) -> Result<Setting> {
    sqlx::query_scalar::<_, String>(
        "select substr(setting, length($2) + 2) \
         from pg_catalog.pg_db_role_setting s \
         join pg_catalog.pg_database d on d.oid = s.setdatabase \
         cross join unnest(s.setconfig) setting \
         where d.datname = $1 and s.setrole = 0 and starts_with(setting, $2 || '=')",
    )
    .bind(database.name())
    .bind(CLOSED)
    .fetch_optional(admin)
    .await
    .map_err(|source| database.failed("read the settings of", source))
}
