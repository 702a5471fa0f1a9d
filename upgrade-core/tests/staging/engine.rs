//! An engine that ends midway, that has no addresses left, that two runs use at once; a volume that
//! is full.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use upgrade_core::docker::{Image, Mount, Service, Stack, Volume, sweep};
use upgrade_core::environment::DockerEnvironment;
use upgrade_core::environment::Services as _;
use upgrade_core::migration::Outcome;
use upgrade_core::{Environment, ErrorKind, Version};

use super::support::{Fixture, api, context, database, docker, release, stack};

/// Set in a child process: what it does, and the registry that it works in.
const DOES: &str = "UPGRADE_ENGINE_TEST_DOES";
const DIR: &str = "UPGRADE_ENGINE_TEST_DIR";

/// A process that does something with its own engine, or with the machine's.
fn spawn(does: &str, dir: &Path, engine: Option<&Path>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "engine::two_runs_at_once_do_not_hinder_each_other",
            "--exact",
        ])
        .args(["--include-ignored", "--nocapture"])
        .env(DOES, does)
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(socket) = engine {
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    }
    command.spawn().unwrap()
}

/// What it said, once it has ended well.
async fn said(child: Child) -> String {
    let waited = tokio::task::spawn_blocking(|| child.wait_with_output());
    let output: Output = waited.await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    text
}

/// What a child process does.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
async fn be_a_child(does: &str, dir: &Path) {
    let cx = context();
    let environment = DockerEnvironment::new("shop")
        .with_registry_dir(dir)
        .with_release("1", stack("1"))
        .with_release("2", stack("2"))
        .with_database("db");
    match does {
        "fail" => {
            let error = environment.prepare(&cx).await.unwrap_err();
            println!("kind {:?}\n{error:?}", error.kind());
        }
        "network" => {
            let empty = Service::new(Image::named("upgrade-empty:1")).with_command(["none"]);
            let stack = Stack::new().with_service("api", empty);
            let environment = DockerEnvironment::new("shop")
                .with_registry_dir(dir)
                .with_release("1", stack);
            let error = environment.prepare(&cx).await.unwrap_err();
            println!("kind {:?}\n{error:?}", error.kind());
        }
        "run" => {
            environment.prepare(&cx).await.unwrap();
            environment
                .replace(&cx, &Version::new("2"))
                .await
                .and_then(Outcome::into_result)
                .unwrap();
            assert_eq!(release(&environment).await, "2");
            environment.teardown(&cx).await.unwrap();
        }
        "sweep" => println!("swept {}", sweep(dir).await.unwrap().len()),
        other => panic!("{other}"),
    }
}

/// The engine, by a socket of the test's own, until `starts` containers were started.
async fn engine_until(listener: UnixListener, socket: &Path, starts: usize) {
    let mut connections = JoinSet::new();
    let (started, mut seen) = tokio::sync::mpsc::channel(9);
    let mut count = 0;
    while count < starts {
        tokio::select! {
            client = listener.accept() => {
                let (mut client, _) = client.unwrap();
                let started = started.clone();
                connections.spawn(async move {
                    let mut engine = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    let (mut from, mut to) = client.split();
                    let (mut answers, mut asks) = engine.split();
                    let forth = async {
                        let mut buffer = vec![0; 1 << 16];
                        loop {
                            let read = tokio::io::AsyncReadExt::read(&mut from, &mut buffer).await;
                            let Ok(read @ 1..) = read else { break };
                            let asked = String::from_utf8_lossy(&buffer[..read]);
                            if asked.lines().any(|line| line.starts_with("POST") && line.contains("/start")) {
                                let _ = started.send(()).await;
                            }
                            let all = tokio::io::AsyncWriteExt::write_all(&mut asks, &buffer[..read]);
                            if all.await.is_err() { break }
                        }
                    };
                    let back = tokio::io::copy(&mut answers, &mut to);
                    let _ = tokio::join!(forth, back);
                });
            }
            _ = seen.recv() => count += 1,
        }
    }
    // From here on it does not answer and its connections are closed, as after a kill.
    drop(connections);
    drop(listener);
    std::fs::remove_file(socket).unwrap();
}

/// The engine, by a socket of the test's own.
async fn engine(listener: UnixListener) {
    let mut connections = JoinSet::new();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        connections.spawn(async move {
            let mut engine = UnixStream::connect("/var/run/docker.sock").await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut engine).await;
        });
    }
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn an_engine_that_ends_midway_is_named_and_its_next_start_is_swept() {
    for starts in [1, 2] {
        let fixture = Fixture::new();
        let socket = fixture.dir.path().join("engine.sock");
        // Before the child is there: late, it would be an engine that is not there at all.
        let listener = UnixListener::bind(&socket).unwrap();
        let ends = tokio::spawn({
            let socket = socket.clone();
            async move { engine_until(listener, &socket, starts).await }
        });
        let child = spawn("fail", fixture.dir.path(), Some(&socket));
        let text = tokio::time::timeout(Duration::from_secs(120), said(child)).await;
        let text = text.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), ends).await;
        ended
            .unwrap_or_else(|_| panic!("the engine did not end: {text}"))
            .unwrap();
        assert!(text.contains("kind Unavailable"), "{text}");
        assert!(
            text.contains("the Docker engine no longer answers"),
            "{text}"
        );
        assert!(text.contains("swept by the next run"), "{text}");
        assert!(!fixture.left().await.is_empty(), "nobody could remove it");

        // Before its client, too.
        let again = tokio::spawn(engine(UnixListener::bind(&socket).unwrap()));
        let text = said(spawn(
            "sweep",
            fixture.dir.path(),
            Some(&fixture.dir.path().join("engine.sock")),
        ))
        .await;
        again.abort();
        assert!(text.contains("swept "), "{text}");
        assert_eq!(fixture.left().await, Vec::<String>::new(), "{text}");
    }
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn two_runs_at_once_do_not_hinder_each_other() {
    if let (Ok(does), Ok(dir)) = (std::env::var(DOES), std::env::var(DIR)) {
        return be_a_child(&does, Path::new(&dir)).await;
    }
    let fixture = Fixture::new();
    let runs = [(); 2].map(|()| spawn("run", fixture.dir.path(), None));
    for run in runs {
        said(run).await;
    }
    fixture.assert_nothing_is_left().await;
}

/// An engine of the test's own, which has addresses for two networks, on a separate network. It
/// needs root.
struct SmallEngine {
    child: Child,
    dir: tempfile::TempDir,
}

impl SmallEngine {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        // Not the machine's configuration.
        std::fs::write(at("config.json"), "{}").unwrap();
        // It ends with this thread, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "unshare", "--net"])
            .args(["dockerd", "--bridge=none", "--iptables=false"])
            .args(["--ip6tables=false", "--storage-driver=vfs"])
            .args(["--default-address-pool", "base=10.250.0.0/27,size=28"])
            .args(["--host", &format!("unix://{}", at("engine.sock"))])
            .args(["--data-root", &at("data"), "--exec-root", &at("exec")])
            .args(["--pidfile", &at("pid"), "--config-file", &at("config.json")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let engine = Self { child, dir };
        let up = async {
            while engine
                .docker(&["version", "--format", "{{.Server.Version}}"])
                .is_empty()
            {
                tokio::time::sleep(Duration::from_millis(100)).await; // poll
            }
        };
        let up = tokio::time::timeout(Duration::from_secs(60), up).await;
        up.expect("an engine of the test's own starts");
        engine
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("engine.sock")
    }

    fn docker(&self, arguments: &[&str]) -> String {
        let host = format!("unix://{}", self.socket().display());
        docker(&[&["--host", &host], arguments].concat())
    }
}

impl Drop for SmallEngine {
    fn drop(&mut self) {
        // By its own signal, so that it ends what it has started.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let _ = self.child.wait();
    }
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn small_engine_without_addresses_says_what_to_do() {
    let engine = SmallEngine::start().await;
    let nothing = engine.dir.path().join("nothing.tar");
    std::fs::write(&nothing, [0; 1024]).unwrap();
    engine.docker(&["import", &nothing.display().to_string(), "upgrade-empty:1"]);
    for name in ["one", "two"] {
        let made = engine.docker(&["network", "create", "--internal", name]);
        assert!(!made.is_empty(), "network {name}");
    }
    let dir = tempfile::tempdir().unwrap();
    let text = said(spawn("network", dir.path(), Some(&engine.socket()))).await;
    assert!(text.contains("kind Environment"), "{text}");
    assert!(
        text.contains("has no addresses left for a network"),
        "{text}"
    );
    assert!(text.contains("docker network prune"), "{text}");
    let networks = engine.docker(&["network", "ls", "--filter", "driver=bridge", "--quiet"]);
    assert_eq!(networks.lines().count(), 2, "{networks}");
    let entries = std::fs::read_dir(dir.path()).unwrap();
    let entries: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(entries, ["registry.id"]);
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_volume_that_is_full_at_the_start_is_named_as_such() {
    let (fixture, cx) = (Fixture::new(), context());
    let data = Mount::Volume {
        name: Some("data".into()),
        target: "/var/lib/postgresql/data".into(),
        read_only: false,
    };
    let mut volume = Volume::default();
    volume.bytes = Some(8 << 20);
    let mut services = Stack::new()
        .with_service("db", database().with_mount(data))
        .with_service("api", api("1"));
    services.volumes.insert("data".into(), volume);
    let environment = fixture
        .environment()
        .with_release("1", services)
        .with_database("db");
    let error = environment.prepare(&cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Environment);
    let text = format!("{error:?}");
    assert!(text.contains("No space left on device"), "{text}");
    assert!(text.contains("give the volume more bytes"), "{text}");
    fixture.assert_nothing_is_left().await;
}
