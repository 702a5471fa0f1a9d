//! What goes wrong, and what a person then reads.

use std::error::Error as _;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use upgrade_core::docker::{Healthcheck, Image, Mount, Service, Stack, Strategy, sweep};
use upgrade_core::environment::Services as _;
use upgrade_core::migration::Outcome;
use upgrade_core::{Environment, ErrorKind, Version};

use super::support::{Fixture, IMAGE, api, context, environment, release, stack};

/// How many environments the test below kills; 8 if not set.
const KILLS: &str = "UPGRADE_KILLS";

/// Set in a child process: the registry that it works in.
const CHILD: &str = "UPGRADE_STAGING_TEST_CHILD";

fn shell(line: &str) -> Service {
    let mut service = Service::new(Image::named(IMAGE));
    service.entrypoint = Some(vec!["sh".into(), "-c".into()]);
    service.command = Some(vec![line.into()]);
    service
}

/// The whole of an error, as a person reads it.
fn whole(error: &upgrade_core::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}\n{cause}");
        source = cause.source();
    }
    text
}

/// What is wrong with services that end, or never begin.
async fn failure(stack: Stack) -> (ErrorKind, String) {
    failure_within(stack, Duration::from_secs(60)).await
}

/// What is wrong with services that run and do not become ready. A busy engine takes seconds to start one.
async fn lateness(stack: Stack) -> (ErrorKind, String) {
    failure_within(stack, Duration::from_secs(6)).await
}

async fn failure_within(stack: Stack, within: Duration) -> (ErrorKind, String) {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = fixture
        .environment()
        .with_release("1", stack)
        .with_ready_within(within);
    let error = environment.prepare(&cx).await.unwrap_err();
    let text = whole(&error);
    // Nothing is left although nobody calls teardown.
    fixture.assert_nothing_is_left().await;
    environment.teardown(&cx).await.unwrap();
    (error.kind(), text)
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_container_that_exits_says_its_last_words() {
    let service = shell("echo the config is wrong; exit 3");
    let (kind, text) = failure(Stack::new().with_service("api", service)).await;
    assert_eq!(kind, ErrorKind::Environment);
    assert!(text.contains("exited with code 3"), "{text}");
    assert!(text.ends_with("the config is wrong"), "{text}");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_container_that_takes_too_much_memory_is_told_from_one_that_fails() {
    let mut service = Service::new(Image::named(IMAGE));
    service.limits = service.limits.with_memory(64 << 20);
    let greedy = "my $n = 200; my $all = 'x' x ($n << 20); sleep 600";
    service.entrypoint = Some(vec!["perl".into(), "-e".into(), greedy.into()]);
    let (_, text) = failure(Stack::new().with_service("api", service)).await;
    assert!(text.contains("exited with code 137"), "{text}");
    assert!(text.ends_with("may not use more memory)"), "{text}");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_health_check_that_never_passes_says_what_it_says() {
    let service = shell("sleep 60").with_healthcheck(Healthcheck::shell("echo no queue; exit 1"));
    let (kind, text) = lateness(Stack::new().with_service("api", service)).await;
    assert_eq!(kind, ErrorKind::Timeout);
    assert!(
        text.contains("its health check ends with 1: no queue"),
        "{text}"
    );
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_port_on_which_nobody_listens_is_named() {
    let (kind, text) =
        lateness(Stack::new().with_service("api", shell("sleep 60").with_port(81))).await;
    assert_eq!(kind, ErrorKind::Timeout);
    assert!(text.contains("nothing listens on port 81"), "{text}");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn an_image_that_does_not_exist_is_named_with_who_needs_it() {
    let service = Service::new(Image::named("upgrade-no-such-image:1"));
    let (kind, text) = failure(Stack::new().with_service("api", service)).await;
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(
        text.contains("`upgrade-no-such-image:1`") && text.contains("service `api`"),
        "{text}"
    );
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_command_that_is_not_there_is_named() {
    let mut service = shell("");
    service.entrypoint = Some(vec!["/no/such/program".into()]);
    let (kind, text) = failure(Stack::new().with_service("api", service)).await;
    assert_eq!(kind, ErrorKind::Environment);
    assert!(text.contains("/no/such/program"), "{text}");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_folder_that_staging_could_write_into_is_refused() {
    let mount = Mount::Bind {
        source: "/srv/data".into(),
        target: "/data".into(),
        read_only: false,
    };
    let stack = Stack::new().with_service("api", api("1").with_mount(mount));
    let fixture = Fixture::new();
    let environment = fixture.environment().with_release("1", stack);
    let error = environment.prepare(&context()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("`/srv/data`"), "{error}");
}

/// The engine's socket, read-only, is the whole machine. So is it in a later release.
#[tokio::test]
#[ignore = "needs Docker"]
async fn what_gives_a_container_the_machine_is_refused_in_skip_release() {
    let mount = |source: &str| Mount::Bind {
        source: source.into(),
        target: "/machine".into(),
        read_only: true,
    };
    let privileged = |change: &dyn Fn(&mut Service)| {
        let mut service = api("2");
        change(&mut service);
        Stack::new().with_service("api", service)
    };
    let (fixture, cx) = (Fixture::new(), context());
    for (expected, later) in [
        (
            "`/var/run/docker.sock`",
            privileged(&|api| api.mounts.push(mount("/var/run/docker.sock"))),
        ),
        (
            "`/var/run`",
            privileged(&|api| api.mounts.push(mount("/var/run"))),
        ),
        ("`/`", privileged(&|api| api.mounts.push(mount("/")))),
        ("`/etc`", privileged(&|api| api.mounts.push(mount("/etc")))),
        (
            "`SYS_ADMIN`",
            privileged(&|api| api.cap_add.push("SYS_ADMIN".into())),
        ),
        (
            "`/root`",
            privileged(&|api| api.image = Image::Build(upgrade_core::docker::Build::new("/root"))),
        ),
    ] {
        let environment = fixture
            .environment()
            .with_release("1", Stack::new().with_service("api", api("1")))
            .with_release("2", later);
        environment.prepare(&cx).await.unwrap();
        let error = environment
            .replace(&cx, &Version::new("2"))
            .await
            .and_then(Outcome::into_result)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(release(&environment).await, "1", "nothing was changed");
        environment.teardown(&cx).await.unwrap();
    }
    let allowed = privileged(&|api| {
        api.mounts.push(mount("/etc"));
        api.cap_add.push("SYS_PTRACE".into());
    });
    let allowed = allowed.with_host_path("/etc").with_capability("SYS_PTRACE");
    let environment = fixture.environment().with_release("1", allowed);
    environment.prepare(&cx).await.unwrap();
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_release_that_does_not_come_up_can_be_left_again_and_tried_again() {
    for strategy in [Strategy::Rolling, Strategy::Recreate, Strategy::BlueGreen] {
        let (fixture, cx) = (Fixture::new(), context());
        let mut broken = api("2").with_replicas(2);
        broken.command = Some(vec!["-e".into(), "exit 3".into()]);
        broken.entrypoint = Some(vec!["perl".into()]);
        let of = |service| Stack::new().with_service("api", service);
        let environment = fixture
            .environment()
            .with_release("1", of(api("1").with_replicas(2)))
            .with_release("2", of(broken))
            .with_ready_within(Duration::from_secs(30))
            .with_strategy(strategy);
        environment.prepare(&cx).await.unwrap();
        for _ in 0..2 {
            let error = environment
                .replace(&cx, &Version::new("2"))
                .await
                .and_then(Outcome::into_result)
                .unwrap_err();
            let text = whole(&error);
            assert!(text.contains("exited with code 3"), "{strategy:?}: {text}");
        }
        environment
            .replace(&cx, &Version::new("1"))
            .await
            .and_then(Outcome::into_result)
            .unwrap();
        for _ in 0..3 {
            assert_eq!(release(&environment).await, "1", "{strategy:?}");
        }
        environment.teardown(&cx).await.unwrap();
        fixture.assert_nothing_is_left().await;
    }
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_prepare_that_is_cut_off_leaves_nothing() {
    for millis in [30, 120, 400, 900] {
        let (fixture, cx) = (Fixture::new(), context());
        let environment = environment(&fixture);
        let prepare = tokio::time::timeout(Duration::from_millis(millis), environment.prepare(&cx));
        if prepare.await.is_ok() {
            assert!(environment.endpoints().get("api").is_some());
        }
        environment.teardown(&cx).await.unwrap();
        if fixture.dir.path().join("registry.id").exists() {
            // The engine may still be at what it was asked for when the owner went.
            sweep_for_a_while(&fixture).await;
            fixture.assert_nothing_is_left().await;
        }
    }
}

/// Sweeps for as long as the engine may need to finish what it was asked for.
async fn sweep_for_a_while(fixture: &Fixture) {
    for _ in 0..20 {
        sweep(fixture.dir.path()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await; // poll
    }
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn environments_of_killed_processes_are_swept() {
    if let Ok(dir) = std::env::var(CHILD) {
        own_an_environment_until_killed(&dir).await;
        return;
    }
    let fixture = Fixture::new();
    let mut children = [spawn_owner(&fixture), spawn_owner(&fixture)];
    for child in &mut children {
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        assert!(
            lines.any(|line| line.contains("it runs")),
            "the child has an environment"
        );
    }
    let [one, two] = &mut children;
    one.kill().unwrap();
    one.wait().unwrap();
    assert_eq!(fixture.left().await.len(), 8);
    assert_eq!(sweep(fixture.dir.path()).await.unwrap().len(), 4);
    assert_eq!(fixture.left().await.len(), 4, "the other one lives");
    two.kill().unwrap();
    two.wait().unwrap();
    assert_eq!(sweep(fixture.dir.path()).await.unwrap().len(), 4);
    fixture.assert_nothing_is_left().await;
}

/// A process that provisions an environment and holds it until it is killed.
fn spawn_owner(fixture: &Fixture) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "failures::environments_of_killed_processes_are_swept",
            "--exact",
            "--include-ignored",
            "--nocapture",
        ])
        .env(CHILD, fixture.dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn nothing_is_left_of_environments_that_are_killed_at_any_point() {
    let kills = std::env::var(KILLS).map_or(8, |kills| kills.parse().unwrap());
    let fixture = Fixture::new();
    let mut live: Vec<(Child, Instant)> = Vec::new();
    for number in 0..kills {
        if live.len() == 4 {
            let (mut child, at) = live.remove(0);
            tokio::time::sleep_until(at).await; // the point of the kill
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // From the first call to the engine until well after the last one, in no order.
        let moment = Duration::from_millis(number * 7_919 % 6_000);
        live.push((spawn_owner(&fixture), Instant::now() + moment));
    }
    for (mut child, at) in live {
        tokio::time::sleep_until(at).await; // the point of the kill
        child.kill().unwrap();
        child.wait().unwrap();
    }
    sweep_for_a_while(&fixture).await;
    fixture.assert_nothing_is_left().await;
}

#[expect(clippy::print_stdout, reason = "the parent reads it")]
async fn own_an_environment_until_killed(dir: &str) {
    let environment = upgrade_core::environment::DockerEnvironment::new("shop")
        .with_registry_dir(dir)
        .with_release("1", stack("1").with_volume("data"))
        .with_database("db");
    environment.prepare(&context()).await.unwrap();
    println!("it runs");
    std::future::pending::<()>().await;
}
