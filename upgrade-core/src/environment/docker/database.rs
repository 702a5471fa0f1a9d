//! The service of a stack that is the Postgres server.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::context::UpgradeContext;
use crate::docker::staging::Staging;
use crate::docker::{Service, Stack};
use crate::environment::{DatabaseSource, LogTail};
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Database;
use crate::postgres::database::{Marker, MarkerKind, close};

/// The port at which a Postgres server listens in its container.
pub(super) const POSTGRES: u16 = 5432;

/// How to get into the database of a stack.
pub(super) struct Login {
    user: String,
    password: String,
    database: String,
}

impl Login {
    pub(super) fn of(stack: &Stack, name: &str) -> Result<Self> {
        let service: &Service = stack.services.get(name).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("no service `{name}` is there to be the database"),
            )
            .with_hint("`with_database` takes the name of a service of the stack")
        })?;
        let variable = |name: &str| {
            if let Some(value) = service.environment.get(name) {
                return Some(value.expose().to_owned());
            }
            let target = service.environment.get(&format!("{name}_FILE"))?.expose();
            let file = service.files.iter().find(|file| file.target == target)?;
            // The image takes a file by `$(< file)`, which drops the last line's end.
            Some(file.content.expose().trim_end_matches('\n').to_owned())
        };
        let user = variable("POSTGRES_USER").unwrap_or_else(|| "postgres".to_owned());
        Ok(Self {
            password: variable("POSTGRES_PASSWORD").unwrap_or_default(),
            database: variable("POSTGRES_DB").unwrap_or_else(|| user.clone()),
            user,
        })
    }

    pub(super) fn user(&self) -> (&str, &str) {
        (&self.user, &self.password)
    }

    pub(super) fn database(&self, host: &str, port: u16) -> Database {
        let server = PgConnectOptions::new_without_pgpass()
            .host(host)
            .port(port)
            .username(&self.user)
            .password(&self.password)
            .ssl_mode(PgSslMode::Disable);
        Database::new(&server, &self.database)
    }
}

/// Says that a database is ours to copy and to replace, which it is: its container is ours.
pub(super) async fn mark(cx: &UpgradeContext, database: &Database) -> Result<()> {
    let mut admin = database.connect_maintenance().await?;
    let comment = database.comment(&mut admin).await?;
    let marker = Marker::new(MarkerKind::Test, cx.run_id().as_str()).with_comment(comment);
    let mark = database.comment_sql(Some(&marker.to_comment()));
    database.act(&mut admin, "mark", &mark).await?;
    close(admin).await;
    Ok(())
}

/// The database of a stack, as a source.
#[derive(Debug)]
pub(super) struct StackDatabase {
    pub(super) staging: Arc<Staging>,
    pub(super) service: String,
    pub(super) database: Database,
}

#[async_trait]
impl DatabaseSource for StackDatabase {
    async fn provision(&self, cx: &UpgradeContext) -> Result<Database> {
        mark(cx, &self.database).await?;
        Ok(self.database.clone())
    }

    fn is_disposable(&self) -> bool {
        true
    }

    async fn release(&self, _: &UpgradeContext, _: Option<Database>) -> Result<()> {
        Ok(())
    }

    fn log_tail(&self, _: usize) -> Vec<LogTail> {
        Vec::new()
    }

    fn may_be_emptied(&self) -> bool {
        true
    }

    fn may_kill_server(&self) -> bool {
        true
    }

    async fn kill_server(&self, _: &UpgradeContext) -> Result<()> {
        self.staging.kill_and_start(&self.service).await
    }
}
