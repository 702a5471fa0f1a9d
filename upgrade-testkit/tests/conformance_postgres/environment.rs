//! One database: made for a test, and adopted by a user.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use upgrade_core::environment::{DatabaseSource, Endpoint, Existing, LogTail, PostgresEnvironment};
use upgrade_core::postgres::Database;
use upgrade_core::postgres::database::{Marker, MarkerKind};
use upgrade_core::{Environment, Error, ErrorKind, Result, UpgradeContext, Version};
use upgrade_testkit::conformance::{Case, EnvironmentFixture, Hold};

use super::support::{Server, dump, execute, hold, reaching};

/// Makes a database, and drops it at the end.
#[derive(Debug)]
struct Fresh {
    server: Server,
    fails: bool,
    made: Mutex<Option<Database>>,
}

#[async_trait]
impl DatabaseSource for Fresh {
    async fn provision(&self, _: &UpgradeContext) -> Result<Database> {
        let database = self.server.unused();
        // Known before it is made: a provision that is cut off leaves what it has made by then.
        *self.made.lock().unwrap() = Some(database.clone());
        let mut admin = database.connect_maintenance().await?;
        database
            .create(&mut admin, &Marker::new(MarkerKind::Test, "conformance"))
            .await?;
        execute(&reaching(&database), "create table orders (id int generated always as identity primary key, v text); insert into orders (v) values ('a'), ('b')").await?;
        if self.fails {
            return Err(Error::new(ErrorKind::Environment, "no rows could be had"));
        }
        Ok(database)
    }

    fn is_disposable(&self) -> bool {
        true
    }

    async fn release(&self, _: &UpgradeContext, _: Option<Database>) -> Result<()> {
        let made = self.made.lock().unwrap().take();
        if let Some(database) = made {
            let mut admin = database.connect_maintenance().await?;
            database.drop(&mut admin).await?;
        }
        Ok(())
    }

    fn may_be_emptied(&self) -> bool {
        true
    }

    fn may_kill_server(&self) -> bool {
        true
    }

    async fn kill_server(&self, _: &UpgradeContext) -> Result<()> {
        self.server.kill().await
    }

    fn log_tail(&self, _: usize) -> Vec<LogTail> {
        Vec::new()
    }
}

async fn reach(endpoint: &Endpoint) -> Result<()> {
    let mut connection = Database::from_url(endpoint.url())?.connect().await?;
    sqlx::query("select count(*) from orders")
        .execute(&mut connection)
        .await?;
    Ok(())
}

pub(crate) struct Staging {
    server: Server,
    changes: AtomicU32,
}

impl Staging {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            server,
            changes: AtomicU32::new(0),
        }
    }

    fn environment(&self, fails: bool) -> Box<dyn Environment> {
        let source = Fresh {
            server: self.server.clone(),
            fails,
            made: Mutex::new(None),
        };
        Box::new(PostgresEnvironment::new("staging", source))
    }
}

async fn disturb(cx: &UpgradeContext, changes: &AtomicU32) -> Result<()> {
    let number = changes.fetch_add(1, Ordering::SeqCst);
    execute(
        cx,
        &format!("insert into orders (v) values ('change {number}')"),
    )
    .await
}

#[async_trait]
impl EnvironmentFixture for Staging {
    async fn make(&self) -> Result<Box<dyn Environment>> {
        Ok(self.environment(false))
    }

    async fn reach(&self, _: &str, endpoint: &Endpoint) -> Result<()> {
        reach(endpoint).await
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        dump(cx, false).await
    }

    async fn disturb(&self, cx: &UpgradeContext) -> Result<()> {
        disturb(cx, &self.changes).await
    }

    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold> {
        hold(cx).await
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        self.server.databases().await
    }

    async fn failing(&self) -> Result<Case<Box<dyn Environment>>> {
        Ok(Case::Given(self.environment(true)))
    }

    async fn crash(&self, _: &UpgradeContext) -> Result<Case<()>> {
        Ok(Case::not_applicable(
            "the only part is the server, which all databases share here",
        ))
    }

    async fn releases(&self, _: &UpgradeContext) -> Result<Case<Vec<Version>>> {
        Ok(Case::not_applicable("a database has no services"))
    }

    async fn adopted(&self) -> Result<Case<String>> {
        Ok(Case::not_applicable("it makes all that it uses"))
    }
}

pub(crate) struct RealSystem {
    server: Server,
    databases: [Database; 2],
    next: AtomicU32,
    changes: AtomicU32,
}

impl RealSystem {
    pub(crate) async fn new(server: Server) -> Self {
        let databases = [
            server.database(false).await.unwrap(),
            server.database(false).await.unwrap(),
        ];
        Self {
            server,
            databases,
            next: AtomicU32::new(0),
            changes: AtomicU32::new(0),
        }
    }
}

#[async_trait]
impl EnvironmentFixture for RealSystem {
    async fn make(&self) -> Result<Box<dyn Environment>> {
        let number = self.next.fetch_add(1, Ordering::SeqCst) as usize;
        let database = self.databases[number % 2].clone();
        let environment = PostgresEnvironment::new("real", Existing::new(database));
        Ok(Box::new(environment))
    }

    async fn reach(&self, _: &str, endpoint: &Endpoint) -> Result<()> {
        reach(endpoint).await
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        dump(cx, false).await
    }

    async fn disturb(&self, cx: &UpgradeContext) -> Result<()> {
        disturb(cx, &self.changes).await
    }

    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold> {
        hold(cx).await
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        let mut names = self.server.databases().await?;
        names.retain(|name| {
            self.databases
                .iter()
                .all(|database| database.name() != name)
        });
        Ok(names)
    }

    async fn failing(&self) -> Result<Case<Box<dyn Environment>>> {
        Ok(Case::not_applicable("it makes nothing"))
    }

    async fn crash(&self, _: &UpgradeContext) -> Result<Case<()>> {
        Ok(Case::not_applicable("the system is not ours"))
    }

    async fn releases(&self, _: &UpgradeContext) -> Result<Case<Vec<Version>>> {
        Ok(Case::not_applicable("a database has no services"))
    }

    async fn adopted(&self) -> Result<Case<String>> {
        let mut text = String::new();
        for database in &self.databases {
            text.push_str(&dump(&reaching(database), false).await?);
        }
        Ok(Case::Given(text))
    }
}
