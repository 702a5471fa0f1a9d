//! One database: made for a test, and adopted by a user.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use upgrade_core::CommandLine;
use upgrade_core::environment::{
    DatabaseSource, Endpoint, Existing, LogTail, PostgresEnvironment, ProcessEnvironment, Program,
};
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
    /// Whether programs use the database.
    programs: bool,
}

impl Staging {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            server,
            changes: AtomicU32::new(0),
            programs: false,
        }
    }

    /// With two instances of a program, which uses the database.
    pub(crate) fn with_programs(server: Server) -> Self {
        Self {
            programs: true,
            ..Self::new(server)
        }
    }

    fn environment(&self, fails: bool) -> Box<dyn Environment> {
        let source = Fresh {
            server: self.server.clone(),
            fails,
            made: Mutex::new(None),
        };
        let database = PostgresEnvironment::new("staging", source);
        if !self.programs {
            return Box::new(database);
        }
        let worker = Program::new("worker", |at| {
            CommandLine::new("sleep")
                .with_arg("10000")
                .with_env(RELEASE, at.release.to_string())
        });
        let worker = worker.without_port().with_instances(2);
        Box::new(ProcessEnvironment::new(database).with_program(worker))
    }
}

/// The variable in which a program has its release.
const RELEASE: &str = "CONFORMANCE_RELEASE";

/// The release of each program that uses a database whose URL begins like this.
fn programs_at(url: &str) -> Vec<Version> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let environments = processes.filter_map(|process| {
        let environment = std::fs::read(process.path().join("environ")).ok()?;
        Some(String::from_utf8_lossy(&environment).into_owned())
    });
    let releases = environments.filter_map(|environment| {
        let value = |name: &str| {
            let variables = environment
                .split('\0')
                .filter_map(|one| one.split_once('='));
            let mut named = variables.filter(|(known, _)| *known == name);
            named.next().map(|(_, value)| value.to_owned())
        };
        let at = value("DATABASE_URL").filter(|at| at.starts_with(url));
        at.and(value(RELEASE)).map(Version::new)
    });
    releases.collect()
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
        match endpoint.url().expose().strip_prefix("file://") {
            Some(log) => Ok(std::fs::metadata(log).map(drop)?),
            None => reach(endpoint).await,
        }
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
        let mut all = self.server.databases().await?;
        let url = self.server.unused().endpoint().url().expose().to_owned();
        let server = &url[..=url.rfind("/db").unwrap()];
        let programs = programs_at(server).into_iter();
        all.extend(programs.map(|release| format!("a program of release {release}")));
        Ok(all)
    }

    async fn failing(&self) -> Result<Case<Box<dyn Environment>>> {
        Ok(Case::Given(self.environment(true)))
    }

    async fn crash(&self, _: &UpgradeContext) -> Result<Case<()>> {
        Ok(Case::not_applicable(
            "the only part is the server, which all databases share here",
        ))
    }

    async fn releases(&self, cx: &UpgradeContext) -> Result<Case<Vec<Version>>> {
        if !self.programs {
            return Ok(Case::not_applicable("a database has no services"));
        }
        let database = cx.endpoint("database")?;
        Ok(Case::Given(programs_at(database.url().expose())))
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
