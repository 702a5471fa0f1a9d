//! Systems beside the live one: their data, their end, and a rehearsal that compares releases on them.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use upgrade_core::docker::{Condition, Image, Mount, Ready, Service, Stack, sweep};
use upgrade_core::environment::{
    DATABASE, DockerEnvironment, Endpoints, SideBySide as _, Snapshots as _,
};
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::migration::{Outcome, SqlMigration};
use upgrade_core::rollback::RevertMigrations;
use upgrade_core::side::{Candidate, Side};
use upgrade_core::{
    Environment, ErrorKind, Finding, Plan, Report, Runner, Scenario, Upgrade, Verdict, Version,
    validator_fn,
};

use super::support::{
    Fixture, address, api, context, database, environment, get, sql, sql_at, stack,
};

/// Set in a child process: the registry that it works in.
const CHILD: &str = "UPGRADE_SIDES_TEST_CHILD";

const ROWS: &str = "select string_agg(v, ',' order by id) from t";

/// The system with a volume of the service, at a release.
fn with_notes(release: &str) -> Stack {
    let data = Mount::Volume {
        name: Some("data".into()),
        target: "/data".into(),
        read_only: false,
    };
    let api = api(release)
        .after("db", Condition::Healthy)
        .with_mount(data);
    stack(release).with_volume("data").with_service("api", api)
}

fn host(endpoints: &Endpoints) -> String {
    let url = endpoints.get("api").unwrap().url().expose().to_owned();
    url.trim_start_matches("http://").to_owned()
}

async fn rows(endpoints: &Endpoints) -> String {
    sql_at(endpoints, ROWS).await.unwrap()
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn three_sides_have_the_kept_state_and_nothing_in_common() {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = fixture
        .environment()
        .with_release("1", with_notes("1"))
        .with_release("2", with_notes("2"))
        .with_database("db");
    environment.prepare(&cx).await.unwrap();
    let made = "create role reader; alter database shop set work_mem to '7MB';
                create table t (id int generated always as identity, v text); grant select on t to reader;
                insert into t (v) values ('a'), ('b');
                create unlogged table u (id int generated always as identity, v text, w text generated always as (v || '!') stored);
                insert into u (v) values ('cached'), (null)";
    sql(&environment, made).await.unwrap();
    let live = address(&environment, "api");
    get(&live, "/note/kept").await.unwrap();
    environment.take(&cx, "kept").await.unwrap();
    // None of this is in what was kept.
    let later = "create role latecomer; insert into t (v) values ('live')";
    sql(&environment, later).await.unwrap();
    get(&live, "/note/later").await.unwrap();
    let before = fixture.left().await;

    let begun = Instant::now();
    let sides = Side::ALL.map(async |side| {
        environment.copy(&cx, side, "kept").await.unwrap();
        let only_data = environment.endpoints_of(side);
        assert!(only_data.get("api").is_none() && only_data.get(DATABASE).is_some());
        assert_eq!(rows(&only_data).await, "a,b");
        let release = match side {
            Side::Candidate => "2",
            _ => "1",
        };
        let started = environment.start(&cx, side, &Version::new(release)).await;
        assert!(matches!(started.unwrap(), Outcome::Done));
        (side, release, environment.endpoints_of(side))
    });
    let sides = futures_util::future::join_all(sides).await;
    eprintln!("three sides at once took {:?}", begun.elapsed());

    for (side, release, endpoints) in &sides {
        let names: Vec<&str> = endpoints.iter().map(|(name, _)| name).collect();
        let of_live = Environment::endpoints(&environment);
        assert!(of_live.iter().map(|(name, _)| name).eq(names), "{side}");
        let answer = get(&host(endpoints), "/").await.unwrap();
        assert!(answer.starts_with(release), "{side}: {answer}");
        assert!(answer.ends_with(" kept"), "{side}: {answer}");
        let server = get(&host(endpoints), "/ask/db/5432").await.unwrap();
        assert!(server.starts_with("connected"), "{side}: {server}");
        let settings = "select concat_ws(' ', current_setting('work_mem'), has_table_privilege('reader', 't', 'select'),
                          (select count(*) from pg_roles where rolname = 'latecomer'), current_database(),
                          (select string_agg(u::text, '') from u), nextval('u_id_seq'))";
        let found = sql_at(endpoints, settings).await.unwrap();
        assert_eq!(found, "7MB t 0 shop (1,cached,cached!)(2,,) 3", "{side}");
        // The sequence goes on where it was; the others do not see the row, which has the side's name.
        let insert = format!("insert into t (v) values ('{side}') returning id::text");
        assert_eq!(sql_at(endpoints, &insert).await.unwrap(), "3", "{side}");
        get(&host(endpoints), &format!("/note/{side}"))
            .await
            .unwrap();
    }
    for (side, _, endpoints) in &sides {
        assert_eq!(rows(endpoints).await, format!("a,b,{side}"));
        let answer = get(&host(endpoints), "/").await.unwrap();
        assert!(answer.ends_with(&format!(" kept,{side}")), "{answer}");
    }
    assert_eq!(sql(&environment, ROWS).await.unwrap(), "a,b,live");
    let answer = get(&live, "/").await.unwrap();
    assert!(answer.ends_with(" kept,later"), "{answer}");

    // A further copy replaces the one before, and the other release can follow.
    environment.copy(&cx, Side::Baseline, "kept").await.unwrap();
    assert_eq!(rows(&environment.endpoints_of(Side::Baseline)).await, "a,b");
    for release in ["1", "2"] {
        let release = Version::new(release);
        let started = environment.start(&cx, Side::Baseline, &release).await;
        assert!(matches!(started.unwrap(), Outcome::Done));
        let endpoints = environment.endpoints_of(Side::Baseline);
        let answer = get(&host(&endpoints), "/").await.unwrap();
        assert!(answer.starts_with(release.as_str()), "{answer}");
        assert!(answer.ends_with(" kept"), "{answer}");
    }

    for side in Side::ALL {
        environment.remove(&cx, side).await.unwrap();
        environment.remove(&cx, side).await.unwrap();
        assert_eq!(environment.endpoints_of(side), Endpoints::default());
    }
    assert_eq!(fixture.left().await, before);
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

/// Both traits have `endpoints`.
trait EndpointsOf {
    fn endpoints_of(&self, side: Side) -> Endpoints;
}

impl EndpointsOf for DockerEnvironment {
    fn endpoints_of(&self, side: Side) -> Endpoints {
        self.side_by_side().unwrap().endpoints(side)
    }
}

/// Copies a system with this database to a side, which answers what is asked.
async fn asked_beside(server: Service, question: &str) -> String {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = fixture
        .environment()
        .with_release("1", stack("1").with_service("db", server))
        .with_database("db");
    environment.prepare(&cx).await.unwrap();
    let made = "create table t (id int, v text); insert into t values (1, 'a')";
    sql(&environment, made).await.unwrap();
    environment.take(&cx, "kept").await.unwrap();
    let side = Side::Candidate;
    environment.copy(&cx, side, "kept").await.unwrap();
    assert_eq!(rows(&environment.endpoints_of(side)).await, "a");
    let release = Version::new("1");
    let started = environment.start(&cx, side, &release).await;
    assert!(matches!(started.unwrap(), Outcome::Done));
    assert_eq!(rows(&environment.endpoints_of(side)).await, "a");
    let answer = sql_at(&environment.endpoints_of(side), question).await;
    // A side that lives ends with the environment.
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
    answer.unwrap()
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_server_in_memory_is_copied() {
    let in_memory = database().with_mount(Mount::Tmpfs {
        target: "/var/lib/postgresql/data".into(),
        bytes: None,
        mode: None,
        exec: false,
    });
    let folder = asked_beside(in_memory, "show data_directory").await;
    assert_eq!(folder, "/var/lib/postgresql/data");
}

/// Its data is in a folder that its image does not have.
#[tokio::test]
#[ignore = "needs Docker"]
async fn a_server_of_18_is_copied() {
    let mut server = database();
    server.image = Image::named("upgrade-postgres:18");
    let folder = asked_beside(server, "show data_directory").await;
    assert_eq!(folder, "/var/lib/postgresql/18/docker");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn what_a_side_does_not_know_is_not_found() {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = environment(&fixture);
    environment.prepare(&cx).await.unwrap();
    environment.take(&cx, "kept").await.unwrap();
    let side = Side::Candidate;
    let error = environment.copy(&cx, side, "never").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let release = Version::new("1");
    let error = environment.start(&cx, side, &release).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    environment.copy(&cx, side, "kept").await.unwrap();
    let unknown = Version::new("3");
    let error = environment.start(&cx, side, &unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

/// Its error names what the server has to allow.
#[tokio::test]
#[ignore = "needs Docker"]
async fn a_server_that_allows_no_backup_says_so() {
    let (fixture, cx) = (Fixture::new(), context());
    let minimal = [
        "postgres",
        "-c",
        "wal_level=minimal",
        "-c",
        "max_wal_senders=0",
    ];
    let server = database().with_command(minimal);
    let environment = fixture
        .environment()
        .with_release("1", stack("1").with_service("db", server))
        .with_database("db");
    environment.prepare(&cx).await.unwrap();
    environment.take(&cx, "kept").await.unwrap();
    let before = fixture.left().await;
    let error = environment.copy(&cx, Side::Baseline, "kept").await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("`pg_basebackup` ended with 1"), "{error}");
    assert!(error.contains("`wal_level` of `replica`"), "{error}");
    assert_eq!(fixture.left().await, before);
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_release_that_does_not_come_up_beside_is_a_failure() {
    let (fixture, cx) = (Fixture::new(), context());
    let mut broken = api("2").after("db", Condition::Healthy);
    broken.command = Some(vec!["-e".into(), "exit 3".into()]);
    broken.entrypoint = Some(vec!["perl".into()]);
    let environment =
        environment(&fixture).with_release("2", stack("2").with_service("api", broken));
    environment.prepare(&cx).await.unwrap();
    environment.take(&cx, "kept").await.unwrap();
    let before = fixture.left().await;
    environment
        .copy(&cx, Side::Candidate, "kept")
        .await
        .unwrap();
    let started = environment
        .start(&cx, Side::Candidate, &Version::new("2"))
        .await
        .unwrap();
    let Outcome::Failed(failure) = started else {
        panic!("it did not come up: {started:?}");
    };
    let text = format!("{failure:#}");
    assert!(text.contains("exited with code 3"), "{text}");
    environment.remove(&cx, Side::Candidate).await.unwrap();
    assert_eq!(fixture.left().await, before);
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_copy_or_start_that_is_cut_off_is_removed() {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = environment(&fixture);
    environment.prepare(&cx).await.unwrap();
    environment.take(&cx, "kept").await.unwrap();
    let before = fixture.left().await;
    let mut cut = 0;
    for millis in [1, 300, 900, 2_000, 3_000] {
        let cancelled = cx
            .clone()
            .with_deadline(Instant::now() + Duration::from_millis(millis));
        let side = Side::Secondary;
        let begun = match environment.copy(&cancelled, side, "kept").await {
            Ok(()) => {
                let release = Version::new("1");
                environment.start(&cancelled, side, &release).await
            }
            Err(error) => Err(error),
        };
        cut += u32::from(begun.is_err());
        cancelled.cancellation().cancel();
        environment.remove(&cancelled, side).await.unwrap();
        // The engine may still be at what it was asked for.
        sweep_until(&fixture, &before).await;
        assert_eq!(fixture.left().await, before, "after {millis} ms");
        assert_eq!(environment.endpoints_of(side), Endpoints::default());
    }
    assert!(cut > 1, "none was cut off");
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

async fn sweep_until(fixture: &Fixture, expected: &[String]) {
    for _ in 0..20 {
        if fixture.left().await == expected {
            return;
        }
        sweep(fixture.dir.path()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await; // poll
    }
}

/// What is in a log, once it has this text.
async fn log_with(endpoints: &Endpoints, text: &str) -> String {
    let log = endpoints.get("talker.log").unwrap().url().expose();
    let log = log.strip_prefix("file://").unwrap();
    let begun = Instant::now();
    loop {
        let found = std::fs::read_to_string(log).unwrap();
        if found.contains(text) || begun.elapsed() > Duration::from_secs(20) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await; // poll
    }
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn what_services_print_is_in_a_file_of_each_system() {
    let (fixture, cx) = (Fixture::new(), context());
    let of = |release: &str| {
        let mut talker = api(release);
        talker.entrypoint = Some(vec!["sh".into(), "-c".into()]);
        talker.command = Some(vec![format!("echo release {release}; sleep 600")]);
        talker.ports.clear();
        stack(release).with_service("talker", talker)
    };
    let environment = fixture
        .environment()
        .with_release("1", of("1"))
        .with_release("2", of("2"))
        .with_database("db")
        .with_ready("talker", Ready::Running);
    environment.prepare(&cx).await.unwrap();
    let live = Environment::endpoints(&environment);
    assert!(
        live.get("db.log").is_none(),
        "the log of a database may have rows"
    );
    assert_eq!(log_with(&live, "release").await, "release 1\n");
    environment.take(&cx, "kept").await.unwrap();
    let side = Side::Candidate;
    environment.copy(&cx, side, "kept").await.unwrap();
    let started = environment.start(&cx, side, &Version::new("2")).await;
    assert!(matches!(started.unwrap(), Outcome::Done));
    let beside = environment.endpoints_of(side);
    assert_eq!(log_with(&beside, "release").await, "release 2\n");
    // The next container of a service goes on in the same file.
    environment.restore(&cx, "kept").await.unwrap();
    let twice = "release 1\nrelease 1\n";
    assert_eq!(log_with(&live, twice).await, twice);
    environment.teardown(&cx).await.unwrap();
    let log = live.get("talker.log").unwrap().url().expose();
    let folder = Path::new(log.strip_prefix("file://").unwrap()).parent();
    assert!(
        !folder.unwrap().exists(),
        "the logs go with the environment"
    );
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn what_is_kept_for_a_person_has_no_sides() {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = environment(&fixture);
    environment.prepare(&cx).await.unwrap();
    environment.take(&cx, "kept").await.unwrap();
    let before = fixture.left().await;
    environment.copy(&cx, Side::Baseline, "kept").await.unwrap();
    assert!(fixture.left().await.len() > before.len());
    let name = environment.keep(Duration::from_secs(3600)).unwrap();
    assert_eq!(fixture.left().await, before);
    upgrade_core::docker::remove(fixture.dir.path(), &name)
        .await
        .unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn sides_of_a_killed_process_are_swept() {
    if let Ok(dir) = std::env::var(CHILD) {
        return own_sides_until_killed(Path::new(&dir)).await;
    }
    let fixture = Fixture::new();
    let mut child = spawn_owner(&fixture);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    assert!(
        lines.any(|line| line.contains("they run")),
        "the child has sides"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let left = fixture.left().await;
    // A network, a server and a service for each of the four systems, but for the services of two sides.
    assert_eq!(left.len(), 10, "{left:?}");
    // Whoever starts an environment here sweeps first.
    let cx = context();
    let next = environment(&fixture);
    next.prepare(&cx).await.unwrap();
    let after = fixture.left().await;
    assert_eq!(after.len(), 3, "{after:?}");
    assert!(after.iter().all(|name| !left.contains(name)), "{after:?}");
    next.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

/// A process that runs systems side by side until it is killed.
fn spawn_owner(fixture: &Fixture) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "side_by_side::sides_of_a_killed_process_are_swept",
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

#[expect(clippy::print_stdout, reason = "the parent reads it")]
async fn own_sides_until_killed(dir: &Path) {
    let cx = context();
    let environment = DockerEnvironment::new("shop")
        .with_registry_dir(dir)
        .with_release("1", stack("1"))
        .with_database("db");
    environment.prepare(&cx).await.unwrap();
    environment.take(&cx, "kept").await.unwrap();
    for side in Side::ALL {
        environment.copy(&cx, side, "kept").await.unwrap();
    }
    let release = Version::new("1");
    let started = environment.start(&cx, Side::Baseline, &release).await;
    assert!(matches!(started.unwrap(), Outcome::Done));
    println!("they run");
    std::future::pending::<()>().await;
}

/// Rehearses a scenario with a comparison of what the services say; the report, and how often the sides were
/// compared.
async fn rehearse(scenario: Scenario) -> (Report, u32) {
    let fixture = Fixture::new();
    let environment = environment(&fixture).with_data(async |cx| {
        let mut connection = cx.connect().await?;
        sqlx::raw_sql("create table t (id int primary key, v text); insert into t values (1, 'a')")
            .execute(&mut connection)
            .await?;
        Ok(())
    });
    let files = [
        (
            "0001_t.up.sql",
            "create table t (id int primary key, v text)",
        ),
        ("0001_t.down.sql", "drop table t"),
        ("0002_w.up.sql", "alter table t add w int"),
        ("0002_w.down.sql", "alter table t drop w"),
    ];
    let files = files.map(|(name, sql)| (PathBuf::from(name), sql.as_bytes().to_vec()));
    let folder = MigrationFolder::from_files("test", files.into()).unwrap();
    let migrations = SqlMigration::all(&folder).unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let same = validator_fn(
        "the services say the same",
        move |cx: upgrade_core::UpgradeContext| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                let mut said = Vec::new();
                for side in Side::ALL {
                    let endpoints = cx.side(side)?;
                    assert_eq!(rows(endpoints).await, "a", "{side}");
                    let columns = "select count(*)::text from pg_attribute where attrelid = 't'::regclass and attnum > 0";
                    let columns = sql_at(endpoints, columns).await?;
                    let migrated =
                        side == Side::Candidate && cx.candidate() == Some(Candidate::Upgraded);
                    assert_eq!(columns, if migrated { "3" } else { "2" }, "{side}");
                    let answer = get(&host(endpoints), "/").await?;
                    said.push(answer.split(' ').next().unwrap().to_owned());
                }
                assert_eq!(said[0], said[1], "the previous release twice");
                Ok(match said[0] == said[2] {
                    true => Verdict::Pass,
                    false => {
                        let message = format!("{} says {}", said[0], said[2]);
                        Verdict::Fail(vec![Finding::error("test/says-else", "api", message)])
                    }
                })
            }
        },
    );
    let pending = &migrations[1..];
    let upgrade = Upgrade::new("shop", "1", "2")
        .with_migrations(pending.iter().cloned())
        .with_rollback(RevertMigrations::new(pending.iter().cloned()))
        .with_comparison(same);
    let outline = upgrade.outline_in(&environment).unwrap();
    let plan = Plan::new(&outline, scenario, 1).unwrap();
    let report = Runner::new(upgrade, environment).run(&plan).await.unwrap();
    fixture.assert_nothing_is_left().await;
    (report, runs.load(Ordering::SeqCst))
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_candidate_that_differs_is_confirmed_by_a_second_start() {
    let (report, runs) = rehearse(Scenario::Upgrade).await;
    let failed: Vec<&str> = report
        .findings
        .iter()
        .filter(|found| found.finding.fails())
        .map(|found| found.finding.id.as_str())
        .collect();
    assert_eq!(failed, ["test/says-else"], "{report}");
    assert_eq!(runs, 2, "once found, once confirmed");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn an_unchanged_candidate_is_the_same() {
    let (report, runs) = rehearse(Scenario::Control).await;
    assert!(
        !report.findings.iter().any(|found| found.finding.fails()),
        "{report}"
    );
    assert_eq!(runs, 1);
}
