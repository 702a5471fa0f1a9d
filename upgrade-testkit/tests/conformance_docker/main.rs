//! The conformance suite of `Environment`, run for services in containers.
//!
//! Run it with `--include-ignored` where Docker is promised.
#![cfg(feature = "docker")]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use upgrade_core::docker::{Condition, Healthcheck, Image, Service, Stack};
use upgrade_core::environment::{DATABASE, DockerEnvironment, Endpoint};
use upgrade_core::{Environment, Error, ErrorKind, Result, UpgradeContext, Version};
use upgrade_testkit::conformance::{Case, EnvironmentFixture, Hold};

upgrade_testkit::environment_conformance!(
    #[ignore = "needs Docker"]
    containers,
    Containers::new()
);

/// It has a server, a shell and a Perl.
const IMAGE: &str = "upgrade-postgres:17";

/// How many instances the service has.
const REPLICAS: u32 = 2;

/// Answers every request with its release and the name of its container.
const SERVER: &str = r#"use IO::Socket::INET; use Sys::Hostname; $SIG{TERM} = sub { exit 0 };
my $server = IO::Socket::INET->new(Listen => 9, LocalPort => 8080, ReuseAddr => 1) or die $!;
while (my $client = $server->accept) {
    while (my $line = <$client>) { last if $line =~ /^\r?$/ }
    print $client "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n$ENV{RELEASE} " . hostname; close $client;
}"#;

struct Containers {
    registry: tempfile::TempDir,
    changes: AtomicU32,
}

impl Containers {
    fn new() -> Self {
        Self {
            registry: tempfile::tempdir().unwrap(),
            changes: AtomicU32::new(0),
        }
    }

    fn environment(&self) -> DockerEnvironment {
        DockerEnvironment::new("conformance")
            .with_registry_dir(self.registry.path())
            .with_release("1", stack("1"))
            .with_release("2", stack("2"))
            .with_database("db")
    }

    /// What each instance of the service says: one after the other is led to the next one.
    async fn answers(&self, cx: &UpgradeContext) -> Result<BTreeSet<String>> {
        let mut answers = BTreeSet::new();
        for _ in 0..4 * REPLICAS {
            answers.insert(ask(cx.endpoint("api")?).await?);
        }
        Ok(answers)
    }

    /// The names of what the engine has of a kind.
    fn listed(&self, arguments: &[&str]) -> Vec<String> {
        let Ok(id) = std::fs::read_to_string(self.registry.path().join("registry.id")) else {
            return Vec::new();
        };
        let filter = format!("label=upgrade.registry={id}");
        let output = docker(&[arguments, &["--filter", &filter]].concat());
        output.lines().map(str::to_owned).collect()
    }
}

fn stack(release: &str) -> Stack {
    let database = Service::new(Image::named(IMAGE))
        .with_env("POSTGRES_PASSWORD", "staging")
        .with_command(["postgres", "-c", "fsync=off"])
        .with_port(5432)
        .with_healthcheck(Healthcheck::shell("pg_isready -h 127.0.0.1 -U postgres"));
    let mut api = Service::new(Image::named(IMAGE))
        .with_env("RELEASE", release)
        .with_port(8080)
        .with_replicas(REPLICAS)
        .after("db", Condition::Healthy);
    api.entrypoint = Some(vec!["perl".into(), "-e".into(), SERVER.into()]);
    // The image stops its servers by another one.
    api.stop_signal = Some("SIGTERM".into());
    Stack::new()
        .with_service("db", database)
        .with_service("api", api)
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A connection to the database of an environment.
async fn connect(cx: &UpgradeContext) -> Result<sqlx::PgConnection> {
    cx.database()?.connect().await
}

async fn execute(cx: &UpgradeContext, sql: String) -> Result<()> {
    let mut connection = connect(cx).await?;
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}

/// The rows of the database.
async fn rows(cx: &UpgradeContext) -> Result<String> {
    let mut connection = connect(cx).await?;
    let rows: Vec<String> = sqlx::query_scalar("select o::text from orders o order by 1")
        .fetch_all(&mut connection)
        .await?;
    connection.close().await?;
    Ok(rows.join(" "))
}

/// What the service says.
async fn ask(endpoint: &Endpoint) -> Result<String> {
    let failed = |source: std::io::Error| {
        Error::new(ErrorKind::Unavailable, "the service does not answer").with_source(source)
    };
    let address = endpoint.url().expose().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.map_err(failed)?;
    stream
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(failed)?;
    match answer.split_once("\r\n\r\n") {
        Some((_, body)) => Ok(body.to_owned()),
        None => Err(Error::new(
            ErrorKind::Unavailable,
            "the service says nothing",
        )),
    }
}

#[async_trait]
impl EnvironmentFixture for Containers {
    async fn make(&self) -> Result<Box<dyn Environment>> {
        let environment = self.environment().with_data(async |cx| {
            let rows = "create table orders (id int generated always as identity primary key, v text); \
                        insert into orders (v) values ('a'), ('b')";
            execute(&cx, rows.to_owned()).await
        });
        Ok(Box::new(environment))
    }

    async fn reach(&self, name: &str, endpoint: &Endpoint) -> Result<()> {
        if name == DATABASE {
            let cx = UpgradeContext::new("1", "2");
            let endpoints = upgrade_core::environment::Endpoints::default();
            let cx = cx.with_endpoints(endpoints.with(DATABASE, endpoint.clone()));
            return execute(&cx, "select count(*) from orders".to_owned()).await;
        }
        if let Some(log) = endpoint.url().expose().strip_prefix("file://") {
            std::fs::read(log)?;
            return Ok(());
        }
        ask(endpoint).await.map(drop)
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        let answers = Vec::from_iter(self.answers(cx).await?).join(" ");
        Ok(format!("{answers} {}", rows(cx).await?))
    }

    async fn data(&self, cx: &UpgradeContext) -> Result<String> {
        rows(cx).await
    }

    async fn disturb(&self, cx: &UpgradeContext) -> Result<()> {
        let number = self.changes.fetch_add(1, Ordering::SeqCst);
        execute(
            cx,
            format!("insert into orders (v) values ('change {number}')"),
        )
        .await
    }

    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold> {
        let mut connection = connect(cx).await?;
        sqlx::raw_sql("begin; lock table orders in access exclusive mode")
            .execute(&mut connection)
            .await?;
        Ok(Box::new(connection))
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        let kinds: [&[&str]; 3] = [
            &["ps", "--all", "--format", "{{.Names}}"],
            &["network", "ls", "--format", "{{.Name}}"],
            &["volume", "ls", "--format", "{{.Name}}"],
        ];
        Ok(kinds.iter().flat_map(|kind| self.listed(kind)).collect())
    }

    async fn failing(&self) -> Result<Case<Box<dyn Environment>>> {
        let fails = self
            .environment()
            .with_data(async |_| Err(Error::new(ErrorKind::Environment, "no rows could be had")));
        Ok(Case::Given(Box::new(fails)))
    }

    async fn crash(&self, _: &UpgradeContext) -> Result<Case<()>> {
        let containers = self.listed(&["ps", "--format", "{{.Names}}"]);
        let api = containers.iter().find(|name| name.contains("-api-"));
        docker(&["kill", api.unwrap()]);
        Ok(Case::Given(()))
    }

    async fn releases(&self, cx: &UpgradeContext) -> Result<Case<Vec<Version>>> {
        let answers = self.answers(cx).await?;
        let release = |answer: &String| Version::new(answer.split(' ').next().unwrap_or_default());
        Ok(Case::Given(answers.iter().map(release).collect()))
    }

    async fn adopted(&self) -> Result<Case<String>> {
        Ok(Case::not_applicable("it makes all that it uses"))
    }
}
