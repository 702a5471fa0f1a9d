//! A small system: a database, and a service that tells its release over HTTP.

use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
};
use testcontainers::core::client::docker_client_instance;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use upgrade_core::docker::{Condition, Healthcheck, Image, Service, Stack};
use upgrade_core::environment::{DATABASE, DockerEnvironment, Endpoints};
use upgrade_core::{Environment, Result, UpgradeContext};

/// The image of all services here: it has a Postgres server, a shell and a Perl.
pub(crate) const IMAGE: &str = "upgrade-postgres:17";

/// Answers every request with its release, its host name and the lines of `/data/notes`; a request
/// for `/note/x` adds a line, one for `/ask/HOST/PORT` says what a connection to there comes to.
const SERVER: &str = r#"
use IO::Socket::INET; use Sys::Hostname; $| = 1; $SIG{TERM} = sub { exit 0 };
my $server = IO::Socket::INET->new(Listen => 99, LocalPort => 8080, ReuseAddr => 1) or die $!;
while (my $client = $server->accept) {
    my $line = <$client>; while (my $header = <$client>) { last if $header =~ /^\r?$/ }
    my $answer = "$ENV{RELEASE} " . hostname;
    if ($line =~ m{^GET /note/(\w+)}) { open(my $f, ">>", "/data/notes"); print $f "$1\n"; close $f }
    if ($line =~ m{^GET /ask/([\w.-]+)/(\d+)}) {
        my $other = IO::Socket::INET->new(PeerAddr => $1, PeerPort => $2, Timeout => 2);
        $answer = $other ? "connected" : "refused: $@";
    }
    if (open(my $f, "<", "/data/notes")) { local $/; $answer .= " " . join(",", split(/\n/, <$f>)); close $f }
    print $client "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n$answer"; close $client;
}"#;

/// The server of the test system's data.
pub(crate) fn database() -> Service {
    Service::new(Image::named(IMAGE))
        .with_env("POSTGRES_PASSWORD", "staging")
        .with_env("POSTGRES_DB", "shop")
        .with_command(["postgres", "-c", "fsync=off"])
        .with_healthcheck(Healthcheck::shell(
            "pg_isready --host 127.0.0.1 --username postgres --dbname shop",
        ))
}

/// A service that says which release it is.
pub(crate) fn api(release: &str) -> Service {
    let mut api = Service::new(Image::named(IMAGE))
        .with_env("RELEASE", release)
        .with_port(8080);
    api.entrypoint = Some(vec!["perl".into(), "-e".into(), SERVER.into()]);
    // The image stops its servers by another one.
    api.stop_signal = Some("SIGTERM".into());
    api.command = Some(Vec::new());
    api
}

/// Database and service at a release.
pub(crate) fn stack(release: &str) -> Stack {
    Stack::new()
        .with_service("db", database())
        .with_service("api", api(release).after("db", Condition::Healthy))
}

/// The system in two releases.
pub(crate) fn environment(fixture: &Fixture) -> DockerEnvironment {
    fixture
        .environment()
        .with_release("1", stack("1"))
        .with_release("2", stack("2"))
        .with_database("db")
}

/// A registry of the test's own, by which to find what it made.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn environment(&self) -> DockerEnvironment {
        DockerEnvironment::new("shop").with_registry_dir(self.dir.path())
    }

    fn label(&self) -> String {
        let id = std::fs::read_to_string(self.dir.path().join("registry.id")).unwrap();
        format!("upgrade.registry={id}")
    }

    /// Everything in the engine that belongs to this registry.
    pub(crate) async fn left(&self) -> Vec<String> {
        let docker = docker_client_instance().await.unwrap();
        let label = self.label();
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let containers = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters);
        let containers = docker
            .list_containers(Some(containers.build()))
            .await
            .unwrap();
        let networks = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let networks = docker.list_networks(Some(networks)).await.unwrap();
        let volumes = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes = docker.list_volumes(Some(volumes)).await.unwrap();
        let mut all: Vec<String> = containers
            .into_iter()
            .flat_map(|container| container.names.unwrap())
            .chain(networks.into_iter().map(|network| network.name.unwrap()))
            .chain(
                volumes
                    .volumes
                    .unwrap_or_default()
                    .into_iter()
                    .map(|volume| volume.name),
            )
            .collect();
        all.sort();
        all
    }

    /// The containers of this registry that are paused.
    /// Which containers are paused, and stay so: the engine may learn late of the last that was
    /// done to one, and says until then what is not so any more.
    pub(crate) async fn paused(&self) -> String {
        let label = format!("label={}", self.label());
        let filters = ["--filter", &label, "--filter", "status=paused"];
        let begun = Instant::now();
        loop {
            let paused = docker(&[["ps", "--quiet"].as_slice(), &filters].concat());
            if paused.is_empty() || begun.elapsed() > Duration::from_secs(3) {
                return paused;
            }
            tokio::time::sleep(Duration::from_millis(50)).await; // poll
        }
    }

    pub(crate) async fn assert_nothing_is_left(&self) {
        assert_eq!(self.left().await, Vec::<String>::new());
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let entries: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(entries, ["registry.id"]);
    }
}

/// What the command prints.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Where a test fails, its folder goes with what was registered in it, and nobody could sweep.
impl Drop for Fixture {
    fn drop(&mut self) {
        if !std::thread::panicking() || !self.dir.path().join("registry.id").exists() {
            return;
        }
        let filter = format!("label={}", self.label());
        for (list, remove) in [
            (&["ps", "-a"][..], &["rm", "-fv"][..]),
            (&["network", "ls"], &["network", "rm"]),
            (&["volume", "ls"], &["volume", "rm"]),
        ] {
            let found = docker(&[list, &["-q", "--filter", &filter]].concat());
            let names: Vec<&str> = found.lines().collect();
            if !names.is_empty() {
                docker(&[remove, &names].concat());
            }
        }
    }
}

pub(crate) fn context() -> UpgradeContext {
    UpgradeContext::new("1", "2")
}

/// Where a service answers.
pub(crate) fn address(environment: &dyn Environment, name: &str) -> String {
    let endpoints = environment.endpoints();
    let url = endpoints.get(name).unwrap().url().expose().to_owned();
    url.trim_start_matches("http://").to_owned()
}

/// What a `GET` answers; an error when the connection ends without an answer.
pub(crate) async fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    body.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

/// The first word of what the service says: its release.
pub(crate) async fn release(environment: &dyn Environment) -> String {
    let answer = get(&address(environment, "api"), "/").await.unwrap();
    answer.split(' ').next().unwrap().to_owned()
}

/// Runs statements in the database, or asks it for one text.
pub(crate) async fn sql(environment: &dyn Environment, text: &str) -> Result<String> {
    sql_at(&environment.endpoints(), text).await
}

/// The same, where the database is known.
pub(crate) async fn sql_at(endpoints: &Endpoints, text: &str) -> Result<String> {
    let url = endpoints.get(DATABASE).unwrap().url().clone();
    let database = upgrade_core::postgres::Database::from_url(&url)?;
    let mut connection = database.connect().await?;
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(Arc::<str>::from(text)))
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let first = rows.first();
    Ok(first.map_or_else(String::new, |row| sqlx::Row::get(row, 0)))
}
