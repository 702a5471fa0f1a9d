//! What containers print and use, and what a report of a run that fails says of it.

use std::time::{Duration, SystemTime};

use upgrade_core::docker::{Image, LogQuery, Service, Stack};
use upgrade_core::environment::Capabilities;
use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::{
    Environment, ErrorKind, Finding, Plan, Runner, Scenario, Upgrade, Verdict, validator_fn,
};

use super::support::{Fixture, IMAGE, address, api, context, environment, get, sql, stack};

#[tokio::test]
#[ignore = "needs Docker"]
async fn logs_are_read_by_service_by_number_and_by_time() {
    let (fixture, cx) = (Fixture::new(), context());
    let mut talker = Service::new(Image::named(IMAGE)).with_replicas(2);
    talker.entrypoint = Some(vec!["sh".into(), "-c".into()]);
    talker.command = Some(vec![
        "echo one; echo two >&2; sleep 3; echo three; exec sleep 600".into(),
    ]);
    let environment = fixture
        .environment()
        .with_release("1", Stack::new().with_service("talker", talker));
    environment.prepare(&cx).await.unwrap();
    let all = async |query| {
        let tails = environment.logs_of(&cx, "talker", &query).await.unwrap();
        let sources: Vec<&str> = tails.iter().map(|tail| tail.source.as_str()).collect();
        assert_eq!(sources, ["talker.1", "talker.2"]);
        tails[1].lines.clone()
    };
    let complete = async {
        while all(LogQuery::all()).await.len() < 3 {
            tokio::time::sleep(Duration::from_millis(50)).await; // poll
        }
    };
    tokio::time::timeout(Duration::from_secs(20), complete)
        .await
        .unwrap();
    let mut lines = all(LogQuery::all()).await;
    lines[..2].sort(); // two streams
    assert_eq!(lines, ["one", "two", "three"]);
    assert_eq!(all(LogQuery::all().tail(1)).await, ["three"]);
    let recently = SystemTime::now() + Duration::from_secs(60);
    assert_eq!(all(LogQuery::all().since(recently)).await, [""; 0]);
    let error = environment
        .logs_of(&cx, "walker", &LogQuery::all())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("it has talker"), "{error}");
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn what_containers_use_grows_with_what_they_do() {
    let (fixture, cx) = (Fixture::new(), context());
    let mut limited = api("1");
    limited.limits = limited.limits.with_memory(64 << 20);
    let mut greedy = Service::new(Image::named(IMAGE));
    greedy.limits = limited.limits;
    let serve = "use IO::Socket::INET; my $n = 200;
        my $server = IO::Socket::INET->new(Listen => 9, LocalPort => 8080, ReuseAddr => 1);
        while (my $client = $server->accept) {
            my $line = <$client>;
            if ($line =~ /grow/) { my $all = 'x' x ($n << 20) }
            close $client;
        }";
    greedy.entrypoint = Some(vec!["perl".into(), "-e".into(), serve.into()]);
    let greedy = greedy.with_port(8080);
    let services = stack("1")
        .with_service("api", limited)
        .with_service("greedy", greedy);
    let environment = fixture
        .environment()
        .with_release("1", services)
        .with_database("db");
    environment.prepare(&cx).await.unwrap();
    let [api, before, _] = environment.usage(&cx).await.unwrap().try_into().unwrap();
    assert_eq!((api.service.as_str(), api.replica), ("api", 1));
    assert_eq!(api.memory_limit, Some(64 << 20));
    assert!(
        api.running && (1 << 16..64 << 20).contains(&api.memory),
        "{api:?}"
    );
    assert_eq!(before.memory_limit, None);
    let work =
        "select repeat('x', 1000000) from (select count(*) from generate_series(1, 2000000)) c";
    sql(&environment, work).await.unwrap();
    let [_, after, _] = environment.usage(&cx).await.unwrap().try_into().unwrap();
    assert!(after.cpu > before.cpu, "{before:?} {after:?}");
    assert!(
        after.sent >= before.sent + 1_000_000,
        "{before:?} {after:?}"
    );

    let asked = get(&address(&environment, "greedy"), "/grow").await;
    assert!(asked.is_err(), "{asked:?}");
    let killed = async {
        loop {
            let [_, _, greedy] = environment.usage(&cx).await.unwrap().try_into().unwrap();
            if !greedy.running {
                break greedy;
            }
            tokio::time::sleep(Duration::from_millis(50)).await; // poll
        }
    };
    let killed = tokio::time::timeout(Duration::from_secs(20), killed).await;
    let killed = killed.unwrap();
    assert!(killed.out_of_memory, "{killed:?}");
    assert_eq!(killed.exit_code, Some(137));
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn the_report_of_a_failure_says_how_each_container_was() {
    let fixture = Fixture::new();
    let environment = environment(&fixture);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("1_t.sql"), "create table t (id int)").unwrap();
    let migrations = MigrationFolder::read(folder.path()).unwrap();
    let upgrade = Upgrade::new("shop", "1", "2")
        .with_migrations(SqlMigration::all(&migrations).unwrap())
        .with_validator(validator_fn("never content", async |_| {
            Ok(Verdict::Fail(vec![Finding::error(
                "mine",
                "shop",
                "is closed",
            )]))
        }));
    let outline = upgrade.outline(Capabilities::of(&environment));
    let plan = Plan::new(&outline, Scenario::Control, 1).unwrap();
    let report = Runner::new(upgrade, environment).run(&plan).await.unwrap();
    assert!(!report.passed);
    let last = |source: &str| {
        let tail = report.logs.iter().find(|tail| tail.source == source);
        tail.unwrap().lines.last().unwrap().clone()
    };
    for source in ["api.1", "db.1"] {
        let line = last(source);
        assert!(line.starts_with("(the container runs, "), "{line}");
        assert!(report.to_string().contains(&line), "{report}");
    }
    fixture.assert_nothing_is_left().await;
}
