//! From provision to teardown, and from one release to the next.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use upgrade_core::docker::{
    Build, Condition, Image, Mount, Ready, Service, ServiceFile, Stack, Strategy, keep_until, list,
    remove, sweep,
};
use upgrade_core::environment::{DATABASE, Fault};
use upgrade_core::environment::{DatabaseFaults as _, Services as _};
use upgrade_core::migration::Outcome;
use upgrade_core::{Environment, ErrorKind, Version};

use super::support::{
    Fixture, IMAGE, address, api, context, database, environment, get, release, sql, stack,
};

#[tokio::test]
#[ignore = "needs Docker"]
async fn everything_answers_when_prepare_returns_and_nothing_is_left_after_teardown() {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = environment(&fixture).with_data(|cx| async move {
        let mut connection = cx.connect().await?;
        sqlx::raw_sql("create table orders (id int primary key); insert into orders values (7)")
            .execute(&mut connection)
            .await?;
        Ok(())
    });
    assert!(environment.endpoints().get(DATABASE).is_none());
    environment.prepare(&cx).await.unwrap();
    assert_eq!(
        sql(&environment, "select id::text from orders")
            .await
            .unwrap(),
        "7"
    );
    assert_eq!(release(&environment).await, "1");
    // The same port as in production, at an address of the environment's own.
    let address = address(&environment, "api");
    assert!(
        address.starts_with("127.") && address.ends_with(":8080"),
        "{address}"
    );
    // The name of a service resolves inside.
    assert!(
        get(&address, "/ask/db/5432")
            .await
            .unwrap()
            .starts_with("connected")
    );
    environment.prepare(&cx).await.unwrap();
    assert_eq!(fixture.left().await.len(), 3, "two containers, one network");
    let endpoints = environment.endpoints();
    let names: Vec<&str> = endpoints.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["api", "api.log", "api:8080", "database"]);
    let logs = environment.logs(&cx, 5).await.unwrap();
    let sources: Vec<&str> = logs.iter().map(|tail| tail.source.as_str()).collect();
    assert_eq!(sources, ["api.1", "db.1"]);
    assert!(
        logs[1]
            .lines
            .iter()
            .any(|line| line.contains("ready to accept")),
        "{logs:?}"
    );
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

/// Asks again and again until told to stop; how many requests were answered, and by whom, and how
/// many were not.
async fn traffic(address: String, stop: Arc<AtomicBool>) -> (Vec<String>, usize) {
    let (mut releases, mut failed) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        match get(&address, "/").await {
            Ok(answer) => {
                let release = answer.split(' ').next().unwrap().to_owned();
                if releases.last() != Some(&release) {
                    releases.push(release);
                }
            }
            Err(_) => failed += 1,
        }
    }
    (releases, failed)
}

/// What [`traffic`] sees while a service of three containers is replaced.
async fn replaced_by(strategy: Strategy) -> (Vec<String>, usize) {
    replaced(strategy, |api| api.with_replicas(3)).await
}

async fn replaced(
    strategy: Strategy,
    service: impl Fn(Service) -> Service,
) -> (Vec<String>, usize) {
    let (fixture, cx) = (Fixture::new(), context());
    let of = |release: &str| {
        let api = service(api(release).after("db", Condition::Healthy));
        stack(release).with_service("api", api)
    };
    let environment = fixture
        .environment()
        .with_release("1", of("1"))
        .with_release("2", of("2"))
        .with_database("db")
        .with_strategy(strategy)
        .with_ready("api", Ready::http(8080, "/"));
    environment.prepare(&cx).await.unwrap();
    let before = fixture.left().await;
    let stop = Arc::new(AtomicBool::new(false));
    let asks = tokio::spawn(traffic(address(&environment, "api"), Arc::clone(&stop)));
    environment
        .replace(&cx, &Version::new("2"))
        .await
        .and_then(Outcome::into_result)
        .unwrap();
    let between = fixture.left().await;
    environment
        .replace(&cx, &Version::new("2"))
        .await
        .and_then(Outcome::into_result)
        .unwrap();
    assert_eq!(fixture.left().await, between, "again it changes nothing");
    assert_eq!(between.len(), before.len());
    let database = |left: &[String]| left.iter().find(|name| name.contains("-db-")).cloned();
    assert_eq!(database(&before), database(&between), "the database stays");
    for _ in 0..6 {
        assert_eq!(release(&environment).await, "2");
    }
    stop.store(true, Ordering::Relaxed);
    let seen = asks.await.unwrap();
    // And back.
    environment
        .replace(&cx, &Version::new("1"))
        .await
        .and_then(Outcome::into_result)
        .unwrap();
    assert_eq!(release(&environment).await, "1");
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Docker"]
async fn rolling_has_both_releases_answer_side_by_side() {
    let (releases, failed) = replaced_by(Strategy::Rolling).await;
    assert!(releases.len() > 2, "{releases:?}");
    // A request that is under way when its container stops may be lost.
    assert!(failed <= 2, "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Docker"]
async fn one_container_leaves_no_gap_where_the_new_one_starts_first() {
    let (releases, failed) = replaced(Strategy::Rolling, Service::with_start_first).await;
    assert_eq!(releases, ["1", "2"]);
    assert!(failed <= 2, "{failed}");
    let (_, failed) = replaced(Strategy::Rolling, |api| api).await;
    assert!(failed > 2, "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Docker"]
async fn blue_green_goes_over_at_once() {
    let (releases, failed) = replaced_by(Strategy::BlueGreen).await;
    assert_eq!(releases, ["1", "2"]);
    assert!(failed <= 2, "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Docker"]
async fn recreate_has_a_gap() {
    let (releases, failed) = replaced_by(Strategy::Recreate).await;
    assert_eq!(releases, ["1", "2"]);
    assert!(failed > 0);
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_release_may_add_and_drop_services_and_wait_for_jobs() {
    let (fixture, cx) = (Fixture::new(), context());
    let job = |text: &str| {
        let mut job = Service::new(Image::named(IMAGE)).with_mount(Mount::Volume {
            name: Some("data".into()),
            target: "/data".into(),
            read_only: false,
        });
        job.entrypoint = Some(vec!["sh".into(), "-c".into()]);
        job.command = Some(vec![format!("echo {text} >> /data/notes")]);
        job
    };
    let reader = api("1")
        .after("job", Condition::Completed)
        .with_mount(Mount::Volume {
            name: Some("data".into()),
            target: "/data".into(),
            read_only: true,
        });
    let first = stack("1")
        .with_volume("data")
        .with_service("job", job("first"))
        .with_service("api", reader.clone());
    let second = first
        .clone()
        .with_service("job", job("second"))
        .with_service("worker", api("w"));
    let environment = fixture
        .environment()
        .with_release("1", first)
        .with_release("2", second)
        .with_database("db");
    environment.prepare(&cx).await.unwrap();
    let api = address(&environment, "api");
    assert!(get(&api, "/").await.unwrap().ends_with(" first"));
    environment
        .replace(&cx, &Version::new("2"))
        .await
        .and_then(Outcome::into_result)
        .unwrap();
    assert!(
        fixture
            .left()
            .await
            .iter()
            .any(|name| name.contains("-worker-"))
    );
    assert!(get(&api, "/").await.unwrap().ends_with(" first,second"));
    environment
        .replace(&cx, &Version::new("1"))
        .await
        .and_then(Outcome::into_result)
        .unwrap();
    assert!(
        !fixture
            .left()
            .await
            .iter()
            .any(|name| name.contains("-worker-"))
    );
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_service_is_given_its_files_limits_and_hosts() {
    let (fixture, cx) = (Fixture::new(), context());
    let mut api = api("1").with_file(ServiceFile::new("greeting", "/data/notes", "hello\n"));
    api.hostname = Some("front".into());
    api.limits = api.limits.with_memory(64 << 20);
    api.extra_hosts.insert("other".into(), "127.0.0.1".into());
    let environment = fixture
        .environment()
        .with_release("1", stack("1").with_service("api", api));
    environment.prepare(&cx).await.unwrap();
    let api = address(&environment, "api");
    assert_eq!(get(&api, "/").await.unwrap(), "1 front hello");
    assert!(
        get(&api, "/ask/other/8081")
            .await
            .unwrap()
            .contains("refused")
    );
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn an_image_is_built_from_its_folder() {
    let (fixture, cx) = (Fixture::new(), context());
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "Dockerfile",
        &format!(
            "FROM {IMAGE} AS base\nARG WHO\nCOPY . /data/\nRUN echo $WHO >> /data/notes\nFROM {IMAGE}\nRUN exit 7"
        ),
    );
    write("notes", "from a file\n");
    write("secret", "");
    write(".dockerignore", "secret");
    let mut build = Build::new(folder.path());
    build.args.insert("WHO".into(), "argument".into());
    let fails = Service::new(Image::Build(build.clone()));
    build.target = Some("base".into());
    let mut built = api("1");
    built.image = Image::Build(build);
    let environment = fixture
        .environment()
        .with_release("1", Stack::new().with_service("api", built))
        .with_release("2", Stack::new().with_service("api", fails));
    environment.prepare(&cx).await.unwrap();
    let answer = get(&address(&environment, "api"), "/").await.unwrap();
    assert!(answer.ends_with(" from a file,argument"), "{answer}");
    let error = environment
        .replace(&cx, &Version::new("2"))
        .await
        .and_then(Outcome::into_result)
        .unwrap_err();
    let text = error.source().unwrap().to_string();
    assert!(
        text.contains("could not be built") && text.contains("RUN exit 7"),
        "{text}"
    );
    assert_eq!(release(&environment).await, "1", "it runs on");
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_killed_server_comes_back_with_what_it_had_committed() {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = environment(&fixture);
    environment.prepare(&cx).await.unwrap();
    sql(
        &environment,
        "create table t (id int); insert into t values (1)",
    )
    .await
    .unwrap();
    environment.inject(&cx, Fault::KillServer).await.unwrap();
    assert_eq!(
        sql(&environment, "select count(*)::text from t")
            .await
            .unwrap(),
        "1"
    );
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn what_is_kept_can_be_listed_extended_and_removed() {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = environment(&fixture);
    environment.prepare(&cx).await.unwrap();
    let dir = fixture.dir.path();
    let [running] = list(dir).unwrap().try_into().unwrap();
    assert!(running.owned && running.kept_until.is_none());
    assert_eq!(running.run, cx.run_id().as_str());
    assert_eq!(running.resources.len(), 3);
    let soon = SystemTime::now() + Duration::from_secs(60);
    let refused = keep_until(dir, &running.name, soon).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");

    let name = environment.keep(Duration::from_secs(3600)).unwrap();
    assert_eq!(name, running.name);
    assert_eq!(sweep(dir).await.unwrap(), []);
    assert_eq!(fixture.left().await.len(), 3, "a sweep leaves it");
    let [kept] = list(dir).unwrap().try_into().unwrap();
    assert!(!kept.owned && kept.kept_until.unwrap() > soon);
    keep_until(dir, &name, SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(sweep(dir).await.unwrap().len(), 3, "its time is over");
    fixture.assert_nothing_is_left().await;
    let gone = remove(dir, &name).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn another_database_server_is_no_replacement() {
    let (fixture, cx) = (Fixture::new(), context());
    let changed = stack("2").with_service("db", database().with_env("POSTGRES_USER", "other"));
    let environment = fixture
        .environment()
        .with_release("1", stack("1"))
        .with_release("2", changed)
        .with_database("db");
    environment.prepare(&cx).await.unwrap();
    let error = environment
        .replace(&cx, &Version::new("2"))
        .await
        .and_then(Outcome::into_result)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let error = environment
        .replace(&cx, &Version::new("3"))
        .await
        .and_then(Outcome::into_result)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("it knows 1, 2"), "{error}");
    drop(environment);
    // Without a teardown the destructor has done it.
    tokio::time::sleep(Duration::ZERO).await;
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_teardown_during_a_call_changes_nothing_and_can_be_called_again() {
    let (fixture, cx) = (Fixture::new(), context());
    let environment = environment(&fixture);
    environment.prepare(&cx).await.unwrap();
    let before = fixture.left().await;
    {
        let mut call = Box::pin(environment.usage(&cx));
        // Begun, and not ended.
        assert!(futures_util::poll!(&mut call).is_pending());
        let error = environment.teardown(&cx).await.unwrap_err();
        assert!(error.to_string().contains("still uses"), "{error}");
        assert_eq!(fixture.left().await, before);
        call.await.unwrap();
    }
    assert_eq!(release(&environment).await, "1");
    environment.teardown(&cx).await.unwrap();
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}
