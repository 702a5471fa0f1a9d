//! Migrations from files, as three tools record them, and by commands.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use upgrade_core::CommandLine;
use upgrade_core::migration::folder::{Layout, MigrationFolder};
use upgrade_core::migration::{CommandMigration, SqlMigration};
use upgrade_core::{Migration, Result, UpgradeContext};
use upgrade_testkit::conformance::{Case, MigrationFixture};

use super::support::{Server, connect, dump};

const UP: &str = "create table parcels (id int primary key); insert into parcels values (1);";
const DOWN: &str = "drop table parcels;";

/// A migration of one table in a layout; without a down it is one-way.
pub(crate) fn parcels(layout: Layout, up: &str, down: Option<&str>) -> Arc<dyn Migration> {
    let (up_name, down_name) = match layout {
        Layout::Diesel => ("2_parcels/up.sql", "2_parcels/down.sql"),
        Layout::Goose => ("2_parcels.sql", ""),
        _ => ("2_parcels.up.sql", "2_parcels.down.sql"),
    };
    let mut files = vec![(PathBuf::from(up_name), up.as_bytes().to_vec())];
    if layout == Layout::Goose {
        let down = down.map(|down| format!("-- +goose Down\n{down}\n"));
        let text = format!("-- +goose Up\n{up}\n{}", down.unwrap_or_default());
        files[0].1 = text.into_bytes();
    } else {
        files.extend(down.map(|down| (PathBuf::from(down_name), down.as_bytes().to_vec())));
    }
    let folder = MigrationFolder::from_files_as("conformance", files, layout).unwrap();
    SqlMigration::all(&folder).unwrap().remove(0)
}

pub(crate) fn plain() -> Arc<dyn Migration> {
    parcels(Layout::Sqlx, UP, Some(DOWN))
}

async fn running(cx: &UpgradeContext) -> Result<Vec<String>> {
    let mut connection = connect(cx).await?;
    Ok(sqlx::query_scalar(
        "select query from pg_stat_activity where datname = current_database() \
         and state = 'active' and pid <> pg_backend_pid()",
    )
    .fetch_all(&mut connection)
    .await?)
}

pub(crate) struct Files(Server, Layout);

impl Files {
    pub(crate) fn new(server: Server, layout: Layout) -> Self {
        Self(server, layout)
    }

    fn of(&self, up: &str, down: Option<&str>) -> Arc<dyn Migration> {
        parcels(self.1, up, down)
    }
}

#[async_trait]
impl MigrationFixture for Files {
    async fn context(&self) -> Result<UpgradeContext> {
        self.0.context().await
    }

    fn migration(&self) -> Arc<dyn Migration> {
        self.of(UP, Some(DOWN))
    }

    fn edited(&self) -> Arc<dyn Migration> {
        self.of(&UP.replace("(1)", "(2)"), Some(DOWN))
    }

    fn remembers_content(&self) -> Case<()> {
        match self.1 {
            Layout::Sqlx => Case::Given(()),
            other => Case::not_applicable(format!("{other} records no checksum")),
        }
    }

    fn failing(&self) -> Arc<dyn Migration> {
        self.of(&format!("{UP} insert into nowhere values (1);"), Some(DOWN))
    }

    fn failing_revert(&self) -> Case<Arc<dyn Migration>> {
        Case::Given(self.of(UP, Some(&format!("{DOWN} drop table nowhere;"))))
    }

    fn irreversible(&self) -> Case<Arc<dyn Migration>> {
        Case::Given(self.of(UP, None))
    }

    fn slow(&self) -> Arc<dyn Migration> {
        self.of(&format!("select pg_sleep(60); {UP}"), Some(DOWN))
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        dump(cx, false).await
    }

    async fn record(&self, cx: &UpgradeContext) -> Result<String> {
        dump(cx, true).await
    }

    async fn running(&self, cx: &UpgradeContext) -> Result<Vec<String>> {
        running(cx).await
    }
}

pub(crate) struct Commands(Server);

impl Commands {
    pub(crate) fn new(server: Server) -> Self {
        Self(server)
    }

    fn line(&self, sql: &str) -> CommandLine {
        let script = format!(
            "exec {} --no-psqlrc --quiet --single-transaction --set ON_ERROR_STOP=1 \
             --command \"{sql}\" \"$DATABASE_URL\"",
            self.0.psql()
        );
        CommandLine::new("sh").with_args(["-c", &script])
    }

    fn of(&self, up: &str, down: Option<&str>) -> Arc<dyn Migration> {
        let migration = CommandMigration::new("2", "parcels", self.line(up));
        Arc::new(match down {
            Some(down) => migration.with_revert(self.line(down)),
            None => migration,
        })
    }
}

#[async_trait]
impl MigrationFixture for Commands {
    async fn context(&self) -> Result<UpgradeContext> {
        self.0.context().await
    }

    fn migration(&self) -> Arc<dyn Migration> {
        self.of(UP, Some(DOWN))
    }

    fn edited(&self) -> Arc<dyn Migration> {
        self.of(&UP.replace("(1)", "(2)"), Some(DOWN))
    }

    fn remembers_content(&self) -> Case<()> {
        Case::Given(())
    }

    fn failing(&self) -> Arc<dyn Migration> {
        self.of("insert into nowhere values (1)", Some(DOWN))
    }

    fn failing_revert(&self) -> Case<Arc<dyn Migration>> {
        Case::Given(self.of(UP, Some("drop table nowhere")))
    }

    fn irreversible(&self) -> Case<Arc<dyn Migration>> {
        Case::Given(self.of(UP, None))
    }

    fn slow(&self) -> Arc<dyn Migration> {
        self.of("select pg_sleep(60)", Some(DOWN))
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        dump(cx, false).await
    }

    async fn record(&self, cx: &UpgradeContext) -> Result<String> {
        dump(cx, true).await
    }

    async fn running(&self, cx: &UpgradeContext) -> Result<Vec<String>> {
        running(cx).await
    }
}
