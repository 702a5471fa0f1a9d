//! One server from its start to its end.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::postgres::PgConnection;
use upgrade_core::postgres::server::{LocalServer, Profile, ServerError, clean, sweep};

use crate::support::{Place, binaries, eventually, execute, open_folder, processes_below, text};

#[tokio::test]
async fn a_server_starts_answers_and_leaves_nothing() {
    let place = Place::new();
    let binaries = binaries();
    // Whether this machine has a template already is not what is measured.
    LocalServer::start(&binaries, place.options(Profile::ThrowAway))
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();

    let start = Instant::now();
    let server = LocalServer::start(&binaries, place.options(Profile::ThrowAway))
        .await
        .unwrap();
    let started = start.elapsed();
    assert_eq!(text(&server, "select 'answer'").await, "answer");
    let answered = start.elapsed();

    let version: u32 = text(&server, "show server_version_num")
        .await
        .parse()
        .unwrap();
    assert_eq!(version / 10_000, u32::from(server.version().major()));
    assert_eq!(version % 10_000, u32::from(server.version().minor()));
    assert_eq!(text(&server, "show listen_addresses").await, "");
    let pid = server.pid().unwrap();
    let pss: u64 = processes_below(&server.data_dir())
        .into_iter()
        .map(pss_kib)
        .sum();
    let (directory, data) = (server.socket_dir().to_owned(), server.data_dir());

    let start = Instant::now();
    server.stop().await.unwrap();
    let stopped = start.elapsed();
    assert!(!directory.exists() && processes_below(&data).is_empty());
    assert!(fs::read_link(format!("/proc/{pid}/cwd")).is_err());
    assert_eq!(place.servers().len(), 0);
    println!("start {started:?}, first query {answered:?}, idle PSS {pss} KiB, stop {stopped:?}");
    assert!(answered < Duration::from_secs(10), "{answered:?}");
}

fn pss_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[tokio::test]
async fn two_servers_share_nothing() {
    let place = Place::new();
    let binaries = binaries();
    let options = || place.options(Profile::ThrowAway);
    let (one, two) = tokio::try_join!(
        LocalServer::start(&binaries, options()),
        LocalServer::start(&binaries, options())
    )
    .unwrap();
    assert_ne!((one.socket_dir(), one.pid()), (two.socket_dir(), two.pid()));
    execute(&one, "create table only_here ()").await;
    let tables = "select count(*)::text from pg_class where relname = 'only_here'";
    assert_eq!(
        (text(&one, tables).await, text(&two, tables).await),
        ("1".to_owned(), "0".to_owned())
    );
    // A start sweeps: it must have left the other one alone, and so must the end of one.
    one.stop().await.unwrap();
    assert_eq!(text(&two, "select 'still there'").await, "still there");
    two.stop().await.unwrap();
}

#[tokio::test]
async fn as_root_the_server_runs_as_somebody_else_in_its_own_process_group() {
    let place = Place::new();
    let server = LocalServer::start(&binaries(), place.options(Profile::ThrowAway))
        .await
        .unwrap();
    let pid = server.pid().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let ids = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .trim()
            .to_owned()
    };
    assert!(
        !ids("Uid:").split_whitespace().any(|id| id == "0"),
        "{status}"
    );
    assert!(
        !ids("Gid:").split_whitespace().any(|id| id == "0"),
        "{status}"
    );
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let group = stat
        .rsplit(") ")
        .next()
        .unwrap()
        .split_whitespace()
        .nth(2)
        .unwrap()
        .to_owned();
    assert_eq!(group, pid.to_string());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_profile_is_in_force_and_a_server_that_lost_it_is_refused() {
    let place = Place::new();
    let options = place
        .options(Profile::ThrowAway)
        .with_setting("wal_level", "logical")
        .unwrap();
    let server = LocalServer::start(&binaries(), options).await.unwrap();
    for (name, value) in [
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("wal_level", "logical"),
    ] {
        let query = format!("select current_setting('{name}')");
        assert_eq!(text(&server, &query).await, value, "{name}");
    }
    execute(&server, "alter system set fsync = on").await;
    let error = server.restart().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "setting `fsync` is `on` on the live server where profile `throw-away` promises `off`"
    );
    assert_eq!(server.pid(), None);
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_and_leaves_nothing() {
    let place = Place::new();
    let options = place
        .options(Profile::ThrowAway)
        .with_setting("work_mem", "a lot")
        .unwrap();
    let error = LocalServer::start(&binaries(), options).await.unwrap_err();
    assert!(matches!(error, ServerError::Exited { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("invalid value for parameter \"work_mem\": \"a lot\""),
        "{error}"
    );
    assert_eq!(place.servers().len(), 0);
}

#[tokio::test]
async fn a_server_that_does_not_answer_in_time_says_so_and_leaves_nothing() {
    let place = Place::new();
    let options = place
        .options(Profile::ThrowAway)
        .with_start_deadline(Duration::ZERO);
    let error = LocalServer::start(&binaries(), options).await.unwrap_err();
    assert!(matches!(error, ServerError::NotReady { .. }), "{error}");
    assert_eq!(place.servers().len(), 0);
}

#[tokio::test]
async fn a_start_that_is_cancelled_leaves_nothing() {
    let place = Place::new();
    let binaries = binaries();
    for millis in [1, 20, 60, 120] {
        let start = LocalServer::start(&binaries, place.options(Profile::ThrowAway));
        // An early start of a quick machine is as good.
        let _ = tokio::time::timeout(Duration::from_millis(millis), start).await;
    }
    // Work that was begun on another thread is finished there, and then undone.
    eventually(
        "cancelled starts are undone",
        Duration::from_secs(10),
        || place.servers().is_empty(),
    );
}

#[tokio::test]
async fn a_durable_server_keeps_what_was_committed_when_it_was_killed() {
    let place = Place::new();
    let server = LocalServer::start(&binaries(), place.options(Profile::Durable))
        .await
        .unwrap();
    assert!(
        server
            .data_dir()
            .starts_with(place.directories.disk.canonicalize().unwrap())
    );
    execute(
        &server,
        "create table t (v text); insert into t values ('committed')",
    )
    .await;
    let mut open = PgConnection::connect_with(&server.connect_options())
        .await
        .unwrap();
    sqlx::raw_sql("begin; insert into t values ('open')")
        .execute(&mut open)
        .await
        .unwrap();
    let before = server.pid();

    server.kill().await.unwrap();
    assert_eq!(
        (server.pid(), processes_below(&server.data_dir()).len()),
        (None, 0)
    );
    assert!(matches!(
        server.kill().await,
        Err(ServerError::NotRunning { .. })
    ));
    server.restart().await.unwrap();

    assert_ne!(server.pid(), before);
    assert_eq!(
        text(&server, "select string_agg(v, ',') from t").await,
        "committed"
    );
    assert!(
        server
            .log_tail(50)
            .contains("was not properly shut down; automatic recovery in progress")
    );
    server.stop().await.unwrap();
}

#[test]
fn a_server_outlives_the_thread_and_runtime_that_started_it_and_is_dropped_without_one() {
    let place = Place::new();
    let options = place.options(Profile::ThrowAway);
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let server = std::thread::spawn(move || {
        runtime()
            .block_on(LocalServer::start(&binaries(), options))
            .unwrap()
    })
    .join()
    .unwrap();
    assert_eq!(runtime().block_on(text(&server, "select 'alive'")), "alive");
    let data = server.data_dir();
    let start = Instant::now();
    drop(server);
    println!("drop {:?}", start.elapsed());
    assert!(processes_below(&data).is_empty());
    assert_eq!(place.servers().len(), 0);
}

#[tokio::test]
async fn a_kept_server_stays_can_be_started_by_hand_and_is_cleaned() {
    let place = Place::new();
    let server = LocalServer::start(&binaries(), place.options(Profile::ThrowAway))
        .await
        .unwrap();
    execute(&server, "create table t as select 'evidence'::text as v").await;
    let kept = server.keep(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(
        sweep(&place.directories).kept,
        std::slice::from_ref(&kept.directory)
    );

    // What a person would type.
    let mut by_hand = Command::new("sh")
        .args(["-c", &format!("exec {}", kept.start)])
        .spawn()
        .unwrap();
    let enter = format!("{} -At -c 'select v from t'", kept.enter);
    eventually("the kept server answers", Duration::from_secs(20), || {
        let output = Command::new("sh").args(["-c", &enter]).output().unwrap();
        output.stdout == b"evidence\n"
    });

    assert_eq!(
        clean(&place.directories).removed,
        std::slice::from_ref(&kept.directory)
    );
    assert_eq!(
        processes_below(&kept.directory),
        Vec::<u32>::new(),
        "cleaning ends what runs there"
    );
    assert!(!kept.directory.exists());
    by_hand.wait().unwrap();
}

#[tokio::test]
async fn four_first_starts_make_one_template() {
    let folder = open_folder(&std::env::temp_dir());
    let mut place = Place::new();
    place.directories.cache = folder.path().join("cache");
    let binaries = binaries();
    let start = || LocalServer::start(&binaries, place.options(Profile::ThrowAway));
    let began = Instant::now();
    let (a, b, c, d) = tokio::try_join!(start(), start(), start(), start()).unwrap();
    println!("four cold starts {:?}", began.elapsed());
    let initdb = place.directories.cache.join("initdb");
    let folders = fs::read_dir(initdb)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .count();
    assert_eq!(folders, 1);
    for server in [a, b, c, d] {
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_prepared_data_directory_that_is_damaged_is_made_again() {
    let folder = open_folder(&std::env::temp_dir());
    let mut place = Place::new();
    place.directories.cache = folder.path().join("cache");
    let binaries = binaries();
    let start = async || {
        let server = LocalServer::start(&binaries, place.options(Profile::ThrowAway))
            .await
            .unwrap();
        assert_eq!(text(&server, "select 'answer'").await, "answer");
        server.stop().await.unwrap();
    };
    start().await;
    let initdb = place.directories.cache.join("initdb");
    let template = fs::read_dir(initdb)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.is_dir())
        .unwrap();
    let control = template.join("global/pg_control");
    let whole = fs::read(&control).unwrap().len();
    for damaged in [vec![0x55; whole], vec![]] {
        fs::write(&control, damaged).unwrap();
        start().await;
        assert_eq!(fs::read(&control).unwrap().len(), whole);
    }
}

#[tokio::test]
async fn the_log_shows_no_passwords_and_no_rows() {
    let place = Place::new();
    let options = place.options(Profile::ThrowAway);
    let server = LocalServer::start(&binaries(), options).await.unwrap();
    let mut session = PgConnection::connect_with(&server.connect_options())
        .await
        .unwrap();
    for statement in [
        "create role r nonsense password 'password-canary'",
        "create temp table t (a text primary key)",
        "insert into t values ('row-canary'), ('row-canary')",
        "select 'literal-canary' from\n nowhere where a = 'literal-canary'",
    ] {
        let _ = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
            .execute(&mut session)
            .await;
    }
    session.close().await.unwrap();
    let log = server.log_tail(50);
    assert!(!log.contains("canary"), "{log}");
    for part in [
        "password '***'",
        "Key (a)=(***) already exists",
        "from\n\t nowhere",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}
