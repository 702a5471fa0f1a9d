//! States that are kept and put back: database, volumes, and which release runs.

use std::time::Duration;

use upgrade_core::docker::{Condition, Image, Mount, Ready, Restart, Service};
use upgrade_core::environment::At;
use upgrade_core::environment::EMPTY;
use upgrade_core::environment::{Services as _, Snapshots as _};
use upgrade_core::migration::Outcome;
use upgrade_core::observation::Scope;
use upgrade_core::{Environment, ErrorKind, Version};

use super::support::{Fixture, IMAGE, address, api, context, docker, get, release, sql, stack};

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_restore_brings_back_rows_files_and_the_release() {
    let (fixture, cx) = (Fixture::new(), context());
    let data = || Mount::Volume {
        name: Some("data".into()),
        target: "/data".into(),
        read_only: false,
    };
    let of = |release: &str| {
        let api = api(release)
            .after("db", Condition::Healthy)
            .with_mount(data());
        stack(release).with_volume("data").with_service("api", api)
    };
    let environment = fixture
        .environment()
        .with_release("1", of("1"))
        .with_release("2", of("2"))
        .with_database("db");
    environment.prepare(&cx).await.unwrap();
    let api = address(&environment, "api");
    sql(
        &environment,
        "create table t (id int); insert into t values (1)",
    )
    .await
    .unwrap();
    get(&api, "/note/kept").await.unwrap();
    environment.take(&cx, "before").await.unwrap();
    let before = environment
        .observe(&cx, &At::Live, &Scope::All)
        .await
        .unwrap();
    assert_eq!(
        release(&environment).await,
        "1",
        "it answers again after a snapshot"
    );

    sql(&environment, "insert into t values (2)").await.unwrap();
    get(&api, "/note/lost").await.unwrap();
    environment
        .replace(&cx, &Version::new("2"))
        .await
        .and_then(Outcome::into_result)
        .unwrap();
    assert!(get(&api, "/").await.unwrap().ends_with(" kept,lost"));

    for _ in 0..2 {
        environment.restore(&cx, "before").await.unwrap();
        assert_eq!(release(&environment).await, "1");
        assert!(get(&api, "/").await.unwrap().ends_with(" kept"));
        let after = environment
            .observe(&cx, &At::Live, &Scope::All)
            .await
            .unwrap();
        assert_eq!(after, before);
        get(&api, "/note/again").await.unwrap();
    }
    let error = environment.restore(&cx, "never").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        release(&environment).await,
        "1",
        "an unknown label changes nothing"
    );

    environment.restore(&cx, EMPTY).await.unwrap();
    let tables = "select count(*)::text from pg_tables where schemaname = 'public'";
    assert_eq!(sql(&environment, tables).await.unwrap(), "0");
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_restore_leaves_a_service_running_that_keeps_nothing() {
    let (fixture, cx) = (Fixture::new(), context());
    let of = |release: &str| {
        let more = api("proxy").after("db", Condition::Healthy);
        stack(release).with_service("proxy", more)
    };
    let environment = fixture
        .environment()
        .with_release("1", of("1"))
        .with_release("2", of("2"))
        .with_database("db")
        .with_stateless("proxy");
    environment.prepare(&cx).await.unwrap();
    sql(
        &environment,
        "create table t (id int); insert into t values (1)",
    )
    .await
    .unwrap();
    environment.take(&cx, "before").await.unwrap();
    let proxy = get(&address(&environment, "proxy"), "/").await.unwrap();
    let api = get(&address(&environment, "api"), "/").await.unwrap();

    sql(&environment, "delete from t").await.unwrap();
    environment
        .replace(&cx, &Version::new("2"))
        .await
        .and_then(Outcome::into_result)
        .unwrap();
    environment.restore(&cx, "before").await.unwrap();
    let rows = sql(&environment, "select count(*)::text from t").await;
    assert_eq!(rows.unwrap(), "1");
    // Each answer names its container.
    let same = get(&address(&environment, "proxy"), "/").await.unwrap();
    assert_eq!(same, proxy);
    let other = get(&address(&environment, "api"), "/").await.unwrap();
    assert!(other.starts_with("1 ") && other != api, "{other}");
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn services_that_write_all_the_time_do_not_hinder_a_snapshot() {
    let (fixture, cx) = (Fixture::new(), context());
    let writer = {
        let mut writer = api("w").after("db", Condition::Healthy);
        writer.ports.clear();
        writer.entrypoint = Some(vec!["sh".into(), "-c".into()]);
        writer.command = Some(vec![
            "while true; do psql -qX postgres://postgres:staging@db/shop -c 'insert into t default values'; done".into(),
        ]);
        writer
    };
    let environment = fixture
        .environment()
        .with_release("1", stack("1").with_service("writer", writer))
        .with_database("db");
    environment.prepare(&cx).await.unwrap();
    sql(
        &environment,
        "create table t (id int generated always as identity)",
    )
    .await
    .unwrap();
    environment.take(&cx, "a").await.unwrap();
    environment.restore(&cx, "a").await.unwrap();
    environment.take(&cx, "b").await.unwrap();
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

/// A service that the engine starts again and again cannot be paused while it waits.
fn restarting() -> Service {
    let mut service = Service::new(Image::named(IMAGE));
    service.entrypoint = Some(["sh", "-c", "exit 1"].map(str::to_owned).into());
    service.restart = Restart::Always;
    service
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_snapshot_that_fails_midway_leaves_no_container_paused() {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = fixture
        .environment()
        .with_release("1", stack("1").with_service("loop", restarting()))
        .with_database("db")
        .with_ready("loop", Ready::Running);
    environment.prepare(&cx).await.unwrap();
    let left = fixture.left().await;
    let restarts = left.iter().find(|name| name.contains("-loop-")).unwrap();
    let restarts = restarts.trim_start_matches('/').to_owned();
    // With each time the engine waits for longer: then there is time for the snapshot.
    let format = "{{.State.Restarting}} {{ge .RestartCount 5}}";
    while docker(&["inspect", "--format", format, &restarts]) != "true true" {
        tokio::time::sleep(Duration::from_millis(20)).await; // poll
    }
    let error = environment.take(&cx, "midway").await.unwrap_err();
    let text = format!("{error:?}");
    assert!(
        text.contains(&format!("could not pause container `{restarts}`")),
        "{text}"
    );
    assert_eq!(fixture.paused().await, "");
    assert_eq!(release(&environment).await, "1");
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_snapshot_that_is_cut_off_leaves_no_container_paused() {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = super::support::environment(&fixture);
    environment.prepare(&cx).await.unwrap();
    let mut cut = 0;
    for step in 0..16u64 {
        let within = Duration::from_millis(step * step);
        let limited = cx
            .clone()
            .with_deadline(tokio::time::Instant::now() + within);
        if environment
            .take(&limited, &format!("a{step}"))
            .await
            .is_err()
        {
            cut += 1;
        }
        assert_eq!(fixture.paused().await, "", "after {within:?}");
    }
    assert!(cut > 0, "none was cut off");
    assert_eq!(release(&environment).await, "1");
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}
