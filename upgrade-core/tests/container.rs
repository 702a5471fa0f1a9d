//! Servers in containers: what they are, how they fail, and that none outlives its owner.
//!
//! Run them with `--include-ignored` where Docker is promised.
#![cfg(feature = "docker")]
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions as _, Connection as _};
use testcontainers::bollard::models::ContainerInspectResponse;
use testcontainers::bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder,
};
use testcontainers::core::client::docker_client_instance;
use upgrade_core::docker::{DockerError, Resource, sweep};
use upgrade_core::postgres::container::{ContainerOptions, ContainerServer};

/// Set in a child process of these tests: the registry that it works in.
const CHILD: &str = "UPGRADE_CONTAINER_TEST_CHILD";

/// A registry of the test's own and a run id by which to find its containers.
struct Fixture {
    dir: tempfile::TempDir,
    run: String,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        Self { dir, run }
    }

    fn options(&self) -> ContainerOptions {
        ContainerOptions::new(&self.run).with_registry_dir(self.dir.path())
    }

    async fn containers(&self) -> Vec<String> {
        let filters = HashMap::from([(
            "label".to_owned(),
            vec![format!("upgrade.run={}", self.run)],
        )]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let found = docker_client_instance()
            .await
            .unwrap()
            .list_containers(Some(options))
            .await
            .unwrap();
        found
            .into_iter()
            .flat_map(|container| container.names.unwrap())
            .collect()
    }

    /// The entries of the registry.
    fn entries(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|file| file.unwrap().file_name());
        names
            .map(|name| name.into_string().unwrap())
            .filter(|name| name.ends_with(".jsonl"))
            .collect()
    }

    async fn assert_nothing_is_left(&self) {
        assert_eq!(self.containers().await, Vec::<String>::new());
        assert_eq!(self.entries(), Vec::<String>::new());
    }
}

async fn inspect(container: &str) -> ContainerInspectResponse {
    let docker = docker_client_instance().await.unwrap();
    docker
        .inspect_container(container, None::<InspectContainerOptions>)
        .await
        .unwrap()
}

async fn ask(server: &ContainerServer, sql: &'static str) -> String {
    let mut connection = server.connect_options().connect().await.unwrap();
    let answer = sqlx::query_scalar(sql)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    answer
}

/// Runs one test of this file in a separate process.
fn child(test: &str, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--include-ignored", "--nocapture"])
        .envs(env.iter().copied());
    command
}

/// A child that ends, by `SIGKILL`, no later than the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_server_answers_until_it_is_stopped() {
    let fixture = Fixture::new();
    let begun = Instant::now();
    let server = ContainerServer::start(fixture.options().with_setting("wal_level", "logical"))
        .await
        .unwrap();
    assert_eq!(ask(&server, "select 'first answer'").await, "first answer");
    println!(
        "start to first query: {} ms ({})",
        begun.elapsed().as_millis(),
        server.image()
    );

    assert_eq!(
        ask(
            &server,
            "select current_setting('server_version_num')::int / 10000 || ''"
        )
        .await,
        "17"
    );
    assert_eq!(
        ask(
            &server,
            "select current_setting('fsync') || current_setting('wal_level')"
        )
        .await,
        "offlogical"
    );
    assert_eq!(
        ask(&server, "select current_setting('server_encoding')").await,
        "UTF8"
    );
    assert_eq!(
        fixture.containers().await,
        [format!("/{}", server.container())]
    );
    assert_eq!(fixture.entries(), [format!("{}.jsonl", server.container())]);

    server.stop().await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_server_is_labelled_and_in_memory_and_on_the_loopback() {
    let fixture = Fixture::new();
    let server = ContainerServer::start(fixture.options().with_data_bytes(512 << 20))
        .await
        .unwrap();
    let seen = inspect(server.container()).await;

    let labels = seen.config.unwrap().labels.unwrap();
    assert_eq!(labels["upgrade.run"], fixture.run);
    assert_eq!(labels["upgrade.owner-pid"], std::process::id().to_string());
    let tmpfs = seen.host_config.unwrap().tmpfs.unwrap();
    assert_eq!(
        tmpfs["/var/lib/postgresql/data"],
        "rw,mode=0700,size=536870912"
    );
    let bindings = seen
        .network_settings
        .unwrap()
        .ports
        .unwrap()
        .remove("5432/tcp")
        .unwrap()
        .unwrap();
    let addresses: Vec<_> = bindings
        .into_iter()
        .map(|binding| binding.host_ip.unwrap())
        .collect();
    assert_eq!(addresses, ["127.0.0.1"]);
    server.stop().await.unwrap();
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn the_password_is_needed_and_shown_nowhere() {
    let fixture = Fixture::new();
    let server = ContainerServer::start(fixture.options()).await.unwrap();
    let refused = server
        .connect_options()
        .password("wrong")
        .connect()
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("password authentication failed"),
        "{refused}"
    );

    let environment = inspect(server.container())
        .await
        .config
        .unwrap()
        .env
        .unwrap();
    let password = environment
        .iter()
        .find_map(|line| line.strip_prefix("POSTGRES_PASSWORD="))
        .unwrap();
    assert_eq!(password.len(), 32);
    assert!(!format!("{server:?} {server:#?}").contains(password));
    let entry = std::fs::read_to_string(fixture.dir.path().join(&fixture.entries()[0])).unwrap();
    assert!(
        entry.contains(server.container()) && !entry.contains(password),
        "{entry}"
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn no_engine_fails_at_once() {
    if std::env::var_os(CHILD).is_some() {
        let begun = Instant::now();
        let error = ContainerServer::start(ContainerOptions::new("none"))
            .await
            .unwrap_err();
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "it took {:?}",
            begun.elapsed()
        );
        println!("<{error}>");
        return;
    }
    let env = [(CHILD, "x"), ("DOCKER_HOST", "unix:///nowhere/docker.sock")];
    let output = child("no_engine_fails_at_once", &env).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let expected = "<no Docker engine answers at `unix:///nowhere/docker.sock` (start it, or set DOCKER_HOST)>";
    assert!(printed.contains(expected), "{printed}");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_missing_image_names_the_script_that_builds_one() {
    let fixture = Fixture::new();
    let options = fixture
        .options()
        .with_image("upgrade-no-such-image:0")
        .with_major(15);
    let error = ContainerServer::start(options).await.unwrap_err();
    assert!(
        matches!(&error, DockerError::ImageMissing { .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains("`upgrade-no-such-image:0`")
            && text.contains("scripts/build-image postgres-15"),
        "{text}"
    );
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_container_that_exits_shows_its_last_lines() {
    let fixture = Fixture::new();
    let error = ContainerServer::start(fixture.options().with_setting("no_such_parameter", "1"))
        .await
        .unwrap_err();
    let DockerError::Exited { code, log, .. } = &error else {
        panic!("{error:?}")
    };
    assert_ne!(*code, 0);
    assert!(
        log.contains("unrecognized configuration parameter \"no_such_parameter\""),
        "{log}"
    );
    assert!(error.to_string().contains(log));
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_server_that_never_answers_ends_at_the_deadline() {
    let fixture = Fixture::new();
    let limit = Duration::from_secs(8);
    // The server comes up, but behind a port that nobody published.
    let options = fixture
        .options()
        .with_setting("port", "5433")
        .with_ready_within(limit);
    let begun = Instant::now();
    let error = ContainerServer::start(options).await.unwrap_err();
    assert!(
        begun.elapsed() < limit + Duration::from_secs(3),
        "it took {:?}",
        begun.elapsed()
    );
    let DockerError::NotReady { waited, log, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(*waited >= limit, "{waited:?}");
    assert!(
        log.contains("database system is ready to accept connections"),
        "{log}"
    );
    fixture.assert_nothing_is_left().await;
}

#[test]
#[ignore = "needs Docker"]
fn a_server_dropped_outside_of_a_runtime_is_removed() {
    let fixture = Fixture::new();
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let server = runtime()
        .block_on(ContainerServer::start(fixture.options()))
        .unwrap();
    drop(server);
    runtime().block_on(fixture.assert_nothing_is_left());
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_server_dropped_on_a_runtime_of_one_thread_is_removed() {
    let fixture = Fixture::new();
    drop(ContainerServer::start(fixture.options()).await.unwrap());
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_cancelled_start_leaves_nothing_after_the_next_sweep() {
    let fixture = Fixture::new();
    for millis in [5, 20, 40, 80, 160, 320, 640] {
        let start = ContainerServer::start(fixture.options());
        match tokio::time::timeout(Duration::from_millis(millis), start).await {
            Err(_) => {}
            Ok(server) => server.unwrap().stop().await.unwrap(),
        }
    }
    sweep_until_quiet(&fixture).await;
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_sweep_takes_the_containers_of_the_dead_and_no_others() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return own_a_server_until_killed(Path::new(&dir)).await;
    }
    let (fixture, elsewhere) = (Fixture::new(), Fixture::new());
    let alive = ContainerServer::start(fixture.options()).await.unwrap();
    let mut owner = spawn_owner(&fixture);
    let orphan = BufReader::new(owner.0.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("owns ")?.1.to_owned()))
        .expect("the child says what it owns");
    assert_eq!(fixture.containers().await.len(), 2);
    assert_eq!(
        sweep(fixture.dir.path()).await.unwrap(),
        Vec::<Resource>::new(),
        "both owners live"
    );

    drop(owner);
    assert_eq!(
        sweep(elsewhere.dir.path()).await.unwrap(),
        Vec::<Resource>::new(),
        "not its business"
    );
    assert_eq!(
        sweep(fixture.dir.path()).await.unwrap(),
        [Resource::Container(orphan)]
    );
    assert_eq!(ask(&alive, "select 'alive'").await, "alive");
    alive.stop().await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_container_without_an_entry_is_swept() {
    let fixture = Fixture::new();
    let server = ContainerServer::start(fixture.options()).await.unwrap();
    // As if the engine had made it after its owner was killed and swept.
    std::fs::remove_file(fixture.dir.path().join(&fixture.entries()[0])).unwrap();
    assert_eq!(
        sweep(fixture.dir.path()).await.unwrap(),
        [Resource::Container(server.container().to_owned())]
    );
    server.stop().await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn owners_killed_at_any_point_leave_nothing_after_the_next_sweep() {
    let fixture = Fixture::new();
    for millis in [10, 30, 60, 100, 150, 250, 400, 700, 1_100] {
        let owner = spawn_owner(&fixture);
        tokio::time::sleep(Duration::from_millis(millis)).await; // the point of the kill
        drop(owner);
    }
    sweep_until_quiet(&fixture).await;
    fixture.assert_nothing_is_left().await;
}

/// The child of the tests above.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
async fn own_a_server_until_killed(dir: &Path) {
    let run = dir.file_name().unwrap().to_str().unwrap();
    let server = ContainerServer::start(ContainerOptions::new(run).with_registry_dir(dir))
        .await
        .unwrap();
    println!("owns {}", server.container());
    std::future::pending::<()>().await;
}

fn spawn_owner(fixture: &Fixture) -> Killed {
    let mut command = child(
        "a_sweep_takes_the_containers_of_the_dead_and_no_others",
        &[],
    );
    command
        .env(CHILD, fixture.dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    Killed(command.spawn().unwrap())
}

/// Sweeps for three seconds: the engine may still be making the container of a request that was cut
/// off, so that a single sweep can come too early.
async fn sweep_until_quiet(fixture: &Fixture) {
    let quiet = Instant::now() + Duration::from_secs(3);
    while Instant::now() < quiet {
        sweep(fixture.dir.path()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await; // poll
    }
}
