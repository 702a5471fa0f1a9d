//! Faults of single containers: that each does what it says, and is undone.

use std::time::{Duration, Instant};

use sqlx::Connection as _;
use tokio::time::timeout;
use upgrade_core::docker::{Mount, Stack, Volume};
use upgrade_core::environment::{DATABASE, DockerEnvironment};
use upgrade_core::environment::{ServiceFaults as _, Snapshots as _};
use upgrade_core::fault::{FaultKind, Faults, ServiceFault};
use upgrade_core::migration::Outcome;
use upgrade_core::{Environment, ErrorKind, UpgradeContext, Version};

use super::support::{
    Fixture, api, context, database, docker, environment, get, release, sql, stack,
};

/// How long a query may take that nothing hinders.
const SOON: Duration = Duration::from_secs(5);

async fn connect(environment: &DockerEnvironment) -> sqlx::PgConnection {
    let url = environment.endpoints().get(DATABASE).unwrap().url().clone();
    let database = upgrade_core::postgres::Database::from_url(&url).unwrap();
    database.connect().await.unwrap()
}

async fn number(session: &mut sqlx::PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from t")
        .fetch_one(session)
        .await
}

/// What a client in the container of the service gets from the database.
async fn asked_from_inside(fixture: &Fixture) -> String {
    let left = fixture.left().await;
    let api = left.iter().find(|name| name.contains("-api-")).unwrap();
    docker(&[
        "exec",
        "--env",
        "PGCONNECT_TIMEOUT=2",
        api.trim_start_matches('/'),
        "psql",
        "-qXAtc",
        "select count(*) from t",
        "postgres://postgres:staging@db/shop",
    ])
}

async fn paused(environment: &DockerEnvironment, cx: &UpgradeContext) {
    let mut session = connect(environment).await;
    let fault = ServiceFault::new(FaultKind::Pause, "db");
    environment.inject(cx, &fault).await.unwrap();
    let query = timeout(Duration::from_millis(500), number(&mut session));
    assert!(query.await.is_err(), "nobody answers");
    let again = environment.inject(cx, &fault).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Refused, "{again}");
    environment
        .recover(cx, &fault)
        .await
        .and_then(Outcome::into_result)
        .unwrap();
    let mut session = connect(environment).await;
    assert_eq!(number(&mut session).await.unwrap(), 1);
    session.close().await.unwrap();
}

async fn ended(environment: &DockerEnvironment, cx: &UpgradeContext, kind: FaultKind, log: &str) {
    let mut session = connect(environment).await;
    let fault = ServiceFault::new(kind, "db");
    environment.inject(cx, &fault).await.unwrap();
    assert!(number(&mut session).await.is_err(), "its session has ended");
    let refused = sql(environment, "select 1::text").await;
    assert!(refused.is_err(), "{kind}: {refused:?}");
    environment
        .recover(cx, &fault)
        .await
        .and_then(Outcome::into_result)
        .unwrap();
    let mut session = timeout(SOON, connect(environment)).await.unwrap();
    assert_eq!(number(&mut session).await.unwrap(), 1, "{kind}");
    session.close().await.unwrap();
    let logs = environment.logs(cx, 40).await.unwrap();
    let of = logs.iter().find(|tail| tail.source == "db.1").unwrap();
    assert!(
        of.lines.iter().any(|line| line.contains(log)),
        "{kind}: {of:?}"
    );
}

async fn cut_off(fixture: &Fixture, environment: &DockerEnvironment, cx: &UpgradeContext) {
    assert_eq!(asked_from_inside(fixture).await, "1");
    let fault = ServiceFault::new(FaultKind::Partition, "db");
    environment.inject(cx, &fault).await.unwrap();
    assert_eq!(asked_from_inside(fixture).await, "", "it finds nobody");
    assert!(sql(environment, "select 1::text").await.is_err());
    environment
        .recover(cx, &fault)
        .await
        .and_then(Outcome::into_result)
        .unwrap();
    assert_eq!(asked_from_inside(fixture).await, "1");
    assert_eq!(sql(environment, "select 'a'").await.unwrap(), "a");
}

async fn slowed_down(environment: &DockerEnvironment, cx: &UpgradeContext) {
    let sites = environment.sites(&Version::new("1")).unwrap();
    let site = sites
        .iter()
        .find(|site| site.kind == FaultKind::SlowNetwork)
        .unwrap();
    let fault = ServiceFault::new(FaultKind::SlowNetwork, "db");
    if site.closed.is_some() {
        let refused = environment.inject(cx, &fault).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
        return;
    }
    // 64 kB: at 256 kbit/s two seconds; with a delay of 200 ms a fifth of one for each way.
    let took = async || {
        let begun = Instant::now();
        sql(environment, "select repeat('x', 65536)").await.unwrap();
        begun.elapsed()
    };
    let before = took().await;
    environment.inject(cx, &fault).await.unwrap();
    let slow = took().await;
    environment
        .recover(cx, &fault)
        .await
        .and_then(Outcome::into_result)
        .unwrap();
    let after = took().await;
    assert!(
        slow > Duration::from_millis(400) && slow > before * 3 && slow > after * 3,
        "{before:?}, {slow:?}, {after:?}"
    );
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn each_fault_does_what_it_says_until_it_is_recovered_from() {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = environment(&fixture);
    environment.prepare(&cx).await.unwrap();
    sql(
        &environment,
        "create table t (id int); insert into t values (1)",
    )
    .await
    .unwrap();
    paused(&environment, &cx).await;
    let recovery = "database system was not properly shut down";
    ended(&environment, &cx, FaultKind::Kill, recovery).await;
    ended(
        &environment,
        &cx,
        FaultKind::Stop,
        "database system is shut down",
    )
    .await;
    cut_off(&fixture, &environment, &cx).await;
    slowed_down(&environment, &cx).await;

    let nobody = ServiceFault::new(FaultKind::Pause, "api").of_replica(2);
    let error = environment.inject(&cx, &nobody).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("api.1, db.1"), "{error}");
    // Neither a snapshot nor a teardown is hindered by a fault that is still injected.
    let pause = ServiceFault::new(FaultKind::Pause, "db");
    environment.inject(&cx, &pause).await.unwrap();
    environment.take(&cx, "a").await.unwrap();
    let cut = ServiceFault::new(FaultKind::Partition, "api");
    environment.inject(&cx, &cut).await.unwrap();
    environment.restore(&cx, "a").await.unwrap();
    assert_eq!(release(&environment).await, "1");
    for fault in [pause, cut] {
        environment.inject(&cx, &fault).await.unwrap();
    }
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn one_of_two_containers_is_hit_and_the_other_answers() {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = fixture.environment().with_release(
        "1",
        Stack::new().with_service("api", api("1").with_replicas(2)),
    );
    environment.prepare(&cx).await.unwrap();
    let address = super::support::address(&environment, "api");
    let hosts = async || {
        let mut hosts = std::collections::BTreeSet::new();
        for _ in 0..6 {
            hosts.insert(get(&address, "/").await.unwrap());
        }
        hosts.len()
    };
    assert_eq!(hosts().await, 2);
    let fault = ServiceFault::new(FaultKind::Kill, "api").of_replica(2);
    environment.inject(&cx, &fault).await.unwrap();
    assert_eq!(hosts().await, 1);
    environment
        .recover(&cx, &fault)
        .await
        .and_then(Outcome::into_result)
        .unwrap();
    assert_eq!(hosts().await, 2);
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

/// The database on a volume of 100 MB.
fn small() -> Stack {
    let data = Mount::Volume {
        name: Some("data".into()),
        target: "/var/lib/postgresql/data".into(),
        read_only: false,
    };
    let mut volume = Volume::default();
    volume.bytes = Some(100 << 20);
    let mut stack = stack("1").with_service("db", database().with_mount(data));
    stack.volumes.insert("data".into(), volume);
    stack
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_full_disk_refuses_rows_until_it_is_recovered_from() {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = fixture
        .environment()
        .with_release("1", small())
        .with_database("db");
    environment.prepare(&cx).await.unwrap();
    let mut session = connect(&environment).await;
    let insert = "insert into t select repeat('x', 1000) from generate_series(1, 200)";
    sqlx::raw_sql("create table t (v text)")
        .execute(&mut session)
        .await
        .unwrap();
    let fault = ServiceFault::new(FaultKind::FullDisk, "db");
    environment.inject(&cx, &fault).await.unwrap();
    let error = sqlx::raw_sql(insert)
        .execute(&mut session)
        .await
        .unwrap_err();
    let code = error.as_database_error().unwrap().code().unwrap();
    assert_eq!(code, "53100", "{error}");
    environment
        .recover(&cx, &fault)
        .await
        .and_then(Outcome::into_result)
        .unwrap();
    sqlx::raw_sql(insert).execute(&mut session).await.unwrap();
    assert_eq!(number(&mut session).await.unwrap(), 200);
    session.close().await.unwrap();

    let kill = ServiceFault::new(FaultKind::Kill, "db");
    let error = environment.inject(&cx, &kill).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("volume `data`"), "{error}");
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[test]
fn faults_are_drawn_for_the_services_that_can_bear_them() {
    let environment = DockerEnvironment::new("shop")
        .with_release("1", small())
        .with_database("db");
    let sites = environment.sites(&Version::new("1")).unwrap();
    let closed = |kind, service: &str| {
        let mut of = sites
            .iter()
            .filter(|site| site.kind == kind && site.service == service);
        of.next().unwrap().closed.is_some()
    };
    assert!(closed(FaultKind::Kill, "db") && !closed(FaultKind::Kill, "api"));
    assert!(closed(FaultKind::FullDisk, "api") && !closed(FaultKind::FullDisk, "db"));
    let faults = Faults::all().without("pause").unwrap();
    let drawn: Vec<_> = (1..=30)
        .filter_map(|step| faults.draw_at(5, step, &sites))
        .collect();
    assert!(!drawn.is_empty());
    for fault in &drawn {
        assert!(!closed(fault.kind, &fault.service), "{drawn:?}");
        assert_ne!(fault.kind, FaultKind::Pause);
    }
    let excluded = faults.excluded(&sites).to_string();
    assert!(excluded.contains("pause: switched off"), "{excluded}");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_run_that_was_cancelled_unpauses_what_it_paused() {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = environment(&fixture);
    environment.prepare(&cx).await.unwrap();
    let fault = ServiceFault::new(FaultKind::Pause, "api");
    let cancelled = context();
    cancelled.cancellation().cancel();
    for recover_all in [false, true] {
        environment.inject(&cx, &fault).await.unwrap();
        assert_ne!(fixture.paused().await, "");
        match recover_all {
            true => environment.recover_all(&cancelled).await.unwrap(),
            false => environment
                .recover(&cancelled, &fault)
                .await
                .and_then(Outcome::into_result)
                .map(drop)
                .unwrap(),
        }
        assert_eq!(fixture.paused().await, "");
        assert_eq!(release(&environment).await, "1");
    }
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}
