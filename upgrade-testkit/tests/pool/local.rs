//! The default: servers that the pool starts, templates as data directories.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use async_trait::async_trait;
use upgrade_core::environment::{DatabaseSource, Environment as _, LogTail, PostgresEnvironment};
use upgrade_core::environment::{SessionMonitor as _, Snapshots as _};
use upgrade_core::postgres::Database;
use upgrade_core::{Result, RunId, UpgradeContext};
use upgrade_testkit::pool::{Keep, Outcome, Pool, PoolError, TestDatabase};

use crate::support::{Place, content, eventually, fill, folders, fresh, hand_out, key, run};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn threads_with_runtimes_of_their_own_share_one_build_and_one_server() {
    let place = Place::new();
    let together = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                runtime().block_on(async {
                    let pool = place.pool().await;
                    let template = place.template(&pool, 1).await.unwrap();
                    let database = hand_out(&template).await;
                    assert_eq!(content(&database).await, fresh());
                    together.wait();
                    assert_eq!(place.servers().len(), 1);
                    together.wait();
                    database.release(Outcome::Passed).await.unwrap();
                });
            });
        }
    });
    assert_eq!(place.count_builds(), 1);
    assert!(place.servers().is_empty(), "{:?}", place.servers());
}

#[tokio::test]
async fn two_copies_do_not_see_each_other() {
    let place = Place::new();
    let pool = place.pool().await;
    let template = place.template(&pool, 1).await.unwrap();
    let run_id = RunId::generate();
    let first = template.hand_out(&run_id).await.unwrap();
    let second = template.hand_out(&run_id).await.unwrap();
    assert_ne!(first.name(), second.name());
    run(
        &first,
        "delete from orders where id > 3; drop table if exists x",
    )
    .await;
    assert_eq!(content(&first).await.0, 3);
    assert_eq!(content(&second).await, fresh());
    assert_eq!(content(&*hand_out(&template).await).await, fresh());
    assert_eq!(first.server_major(), pool.server_major());
    let log = first.server_log_tail(50).unwrap();
    assert!(log.contains("ready to accept connections"), "{log}");
}

#[tokio::test]
async fn a_server_that_is_killed_comes_back_and_those_of_others_do_not_notice() {
    let place = Place::new();
    let killable = place.options().with_killable(true);
    let killable = Pool::connect(killable).await.unwrap();
    let shared = place.pool().await;
    assert!(killable.is_killable() && !shared.is_killable());
    let template = place.template(&killable, 1).await.unwrap();
    let mine = hand_out(&template).await;
    let others = place.template(&shared, 1).await.unwrap();
    let theirs = hand_out(&others).await;
    assert_eq!(place.count_builds(), 1);
    assert!(mine.may_kill_server() && !theirs.may_kill_server());
    let error = theirs.kill_server().await.unwrap_err();
    assert!(matches!(error, PoolError::NotKillable), "{error}");
    let mut open = theirs.connect().await.unwrap();

    // What was committed a moment ago is there, at the same address.
    run(&mine, "delete from orders where id > 7").await;
    mine.kill_server().await.unwrap();
    assert_eq!(content(&mine).await.0, 7);
    let log = mine.server_log_tail(200).unwrap();
    assert!(log.contains("automatic recovery in progress"), "{log}");
    sqlx::raw_sql("select 1").execute(&mut open).await.unwrap();

    drop((mine, template, open, theirs, others));
    assert!(place.servers().is_empty(), "{:?}", place.servers());
}

#[tokio::test]
async fn a_later_process_finds_the_template_and_another_key_does_not() {
    let place = Place::new();
    drop(place.template(&place.pool().await, 1).await.unwrap());
    let pool = place.pool().await;
    let template = place.template(&pool, 1).await.unwrap();
    assert_eq!(place.count_builds(), 1);
    assert_eq!(content(&*hand_out(&template).await).await, fresh());
    place.template(&pool, 2).await.unwrap();
    assert_eq!(place.count_builds(), 2);
    assert!(!template.strategy().reason.is_empty());
}

/// The largest file of a folder and its folders.
fn largest(folder: &Path) -> PathBuf {
    let mut all = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let facts = entry.metadata().unwrap();
            if facts.is_dir() {
                left.push(entry.path());
            } else {
                all.push((facts.len(), entry.path()));
            }
        }
    }
    all.into_iter().max().unwrap().1
}

#[tokio::test]
async fn a_template_that_is_garbled_or_cut_short_is_built_again() {
    type Damage = fn(&Path);
    let damage: [(&str, Damage); 3] = [
        ("cut short", |data| {
            let file = File::options().write(true).open(largest(data)).unwrap();
            file.set_len(100).unwrap();
        }),
        ("garbled", |data| {
            let file = largest(data);
            let bytes = vec![0x55; fs::read(&file).unwrap().len()];
            fs::write(&file, bytes).unwrap();
        }),
        ("without its control file", |data| {
            fs::remove_file(data.join("global/pg_control")).unwrap();
        }),
    ];
    let place = Place::new();
    drop(place.template(&place.pool().await, 1).await.unwrap());
    for (index, (what, damage)) in damage.into_iter().enumerate() {
        let hash = folders(&place.templates()).remove(0);
        damage(&hash.join("data"));
        let template = place.template(&place.pool().await, 1).await.unwrap();
        assert_eq!(
            content(&*hand_out(&template).await).await,
            fresh(),
            "{what}"
        );
        assert_eq!(place.count_builds(), index + 2, "{what}");
        drop(template);
        // And is found after that.
        drop(place.template(&place.pool().await, 1).await.unwrap());
        assert_eq!(place.count_builds(), index + 2, "{what}");
    }
}

#[tokio::test]
async fn a_failed_build_says_why_and_leaves_nothing() {
    let place = Place::new();
    let pool = place.pool().await;
    let failed = pool
        .template(&key(1), async |database| {
            fill(&database).await?;
            Err(upgrade_core::Error::new(
                upgrade_core::ErrorKind::Migration,
                "migration `0007` failed",
            ))
        })
        .await
        .unwrap_err();
    assert!(matches!(failed, PoolError::BuildFailed { .. }), "{failed}");
    let source = std::error::Error::source(&failed).unwrap().to_string();
    assert_eq!(source, "migration `0007` failed");
    assert!(folders(&place.templates()).is_empty());
    assert!(place.servers().is_empty());
    let template = place.template(&pool, 1).await.unwrap();
    assert_eq!(content(&*hand_out(&template).await).await, fresh());
}

/// Kills the server that runs in a directory, as a crash would.
fn kill_server(place: &Place) {
    let servers = place.servers();
    let pid = fs::read_to_string(servers[0].join("data/postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap();
    let killed = Command::new("kill").args(["-9", pid]).status().unwrap();
    assert!(killed.success());
}

#[tokio::test]
async fn a_server_that_dies_during_a_build_is_the_error() {
    let place = Place::new();
    let pool = place.pool().await;
    let died = pool
        .template(&key(1), async |database| {
            fill(&database).await?;
            kill_server(&place);
            Ok::<_, upgrade_core::Error>(())
        })
        .await
        .unwrap_err();
    assert!(matches!(died, PoolError::ServerDied { .. }), "{died}");
    assert!(died.to_string().contains("ready to accept"), "{died}");
    assert!(folders(&place.templates()).is_empty());
}

#[tokio::test]
async fn a_server_that_dies_is_replaced_for_the_next_test() {
    let place = Place::new();
    let pool = place.pool().await;
    let template = place.template(&pool, 1).await.unwrap();
    let lost = hand_out(&template).await;
    kill_server(&place);
    eventually("the server is not replaced", async || {
        match template.hand_out(&RunId::generate()).await {
            Ok(database) => content(&database).await == fresh(),
            Err(PoolError::ServerDied { .. } | PoolError::Database { .. }) => false,
            Err(error) => panic!("{error:?}"),
        }
    })
    .await;
    drop(lost);
}

#[tokio::test]
async fn an_empty_database_needs_no_template() {
    let place = Place::new();
    let pool = place.pool().await;
    let database = pool.empty_database(&RunId::generate()).await.unwrap();
    run(&database, "create table orders ()").await;
    let other = pool.empty_database(&RunId::generate()).await.unwrap();
    run(&other, "create table orders ()").await;
    assert!(folders(&place.templates()).is_empty());
}

#[test]
fn dropping_needs_no_runtime() {
    let place = Place::new();
    let database = runtime().block_on(async {
        let pool = place.pool().await;
        pool.empty_database(&RunId::generate()).await.unwrap()
    });
    drop(database);
    assert!(place.servers().is_empty());
}

#[tokio::test]
async fn released_databases_do_not_pile_up() {
    let place = Place::new();
    let pool = place.pool().await;
    let first = pool.empty_database(&RunId::generate()).await.unwrap();
    for _ in 0..20 {
        let database = pool.empty_database(&RunId::generate()).await.unwrap();
        database.release(Outcome::Passed).await.unwrap();
    }
    let mut admin = first.connect_maintenance().await.unwrap();
    eventually("more than the limit wait", async || {
        crate::support::names(&mut admin, "upgrade\\_test\\_%")
            .await
            .len()
            <= 17
    })
    .await;
}

/// Starts a kept server with its command, runs a statement with its other command, stops it.
async fn enter(start: &str, enter: &str, sql: &str) -> String {
    let mut server = Command::new("sh")
        .args(["-c", &format!("exec {start}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut answer = String::new();
    eventually("the kept server does not answer", async || {
        let output = Command::new("sh")
            .args(["-c", &format!("{enter} -Atc \"{sql}\"")])
            .output()
            .unwrap();
        answer = String::from_utf8(output.stdout).unwrap();
        output.status.success()
    })
    .await;
    let pid = server.id().to_string();
    let stopped = Command::new("kill").args(["-QUIT", &pid]).status().unwrap();
    assert!(stopped.success());
    server.wait().unwrap();
    answer.trim().to_owned()
}

#[tokio::test]
async fn the_database_of_a_failed_test_is_kept_and_can_be_entered() {
    let place = Place::new();
    let options = place
        .options()
        .with_major(Some(15))
        .with_keep(Keep::OnFailure, Duration::from_secs(600));
    let pool = Pool::connect(options).await.unwrap();
    let template = place.template(&pool, 1).await.unwrap();
    let passed = hand_out(&template).await;
    assert_eq!(passed.release(Outcome::Passed).await.unwrap(), None);
    let failed = hand_out(&template).await;
    run(&failed, "delete from orders where id <= 490").await;
    let kept = failed.release(Outcome::Failed).await.unwrap().unwrap();
    drop(template);
    assert_eq!(place.servers().len(), 1);
    let start = kept.start.clone().unwrap();
    let sql = "select count(*) from orders";
    assert_eq!(enter(&start, &kept.enter, sql).await, "10", "{kept}");
    // It stays through the start of another server, and goes when everything goes.
    drop(pool.empty_database(&RunId::generate()).await.unwrap());
    assert_eq!(place.servers().len(), 1);
    pool.clean().await.unwrap();
    assert!(place.servers().is_empty());
    assert!(folders(&place.templates()).is_empty());
}

#[test]
fn a_panic_counts_as_a_failed_test() {
    let place = Place::new();
    std::thread::scope(|scope| {
        let panicked = scope.spawn(|| {
            runtime().block_on(async {
                let keep = place
                    .options()
                    .with_keep(Keep::OnFailure, Duration::from_secs(600));
                let pool = Pool::connect(keep).await.unwrap();
                let _database = pool.empty_database(&RunId::generate()).await.unwrap();
                panic!("as a test does that fails");
            })
        });
        assert!(panicked.join().is_err());
    });
    assert_eq!(place.servers().len(), 1);
}

#[tokio::test]
async fn the_limit_removes_the_template_that_was_not_used_for_longest() {
    let place = Place::new();
    let pool = place.pool().await;
    let mut hashes = Vec::new();
    for number in 1..=2 {
        let template = place.template(&pool, number).await.unwrap();
        hashes.push(template.hash().to_owned());
    }
    // Used again, so that the second one is the older one now.
    place.template(&pool, 1).await.unwrap();
    let info =
        fs::read_to_string(place.templates().join(&hashes[0]).join("template.json")).unwrap();
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    let bytes = info["bytes"].as_u64().unwrap();
    assert!(bytes < 100 << 20, "a template carries its log: {bytes}");
    let small = place.options().with_cache_limit(bytes * 5 / 2);
    let pool = Pool::connect(small).await.unwrap();
    let third = place.template(&pool, 3).await.unwrap();
    let left: Vec<String> = folders(&place.templates())
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut expected = vec![hashes[0].clone(), third.hash().to_owned()];
    expected.sort();
    assert_eq!(left, expected);
    // A limit that nothing fits into leaves what is in use.
    assert_eq!(content(&*hand_out(&third).await).await, fresh());
}

#[tokio::test]
async fn a_template_in_use_outlives_a_limit_that_another_process_enforces() {
    let place = Place::new();
    let tiny = Pool::connect(place.options().with_cache_limit(1))
        .await
        .unwrap();
    let first = place.template(&tiny, 1).await.unwrap();
    // Nothing was copied from the first one yet.
    let second = place.template(&tiny, 2).await.unwrap();
    tiny.clean().await.unwrap();
    assert_eq!(content(&*hand_out(&first).await).await, fresh());
    assert_eq!(content(&*hand_out(&second).await).await, fresh());
    drop(first);
    drop(place.template(&tiny, 3).await.unwrap());
    assert_eq!(folders(&place.templates()).len(), 2);
}

#[tokio::test]
async fn who_waits_for_a_build_gets_the_template_while_the_builder_still_uses_it() {
    let place = Place::new();
    let (one, two) = (place.pool().await, place.pool().await);
    let hash = place.template(&one, 1).await.unwrap().hash().to_owned();
    fs::remove_dir_all(place.templates().join(&hash)).unwrap();
    // As long as somebody reads, both see that there is no template, and neither may build it.
    let reader = File::open(place.templates().join(format!("{hash}.lock"))).unwrap();
    reader.lock_shared().unwrap();
    let leave = async {
        tokio::time::sleep(Duration::from_millis(100)).await; // stimulus
        drop(reader);
    };
    let both = async { tokio::join!(place.template(&one, 1), place.template(&two, 1), leave) };
    let (first, second, ()) = tokio::time::timeout(Duration::from_secs(20), Box::pin(both))
        .await
        .expect("the second is not kept waiting by the first, who has its template");
    assert_eq!(
        (first.unwrap().hash(), second.unwrap().hash()),
        (&*hash, &*hash)
    );
    assert_eq!(place.count_builds(), 2, "one of them built it");
}

#[tokio::test]
async fn a_home_directory_is_no_cache() {
    let place = Place::new();
    let thesis = place.directories().cache.join("thesis.tex");
    fs::write(&thesis, "x").unwrap();
    let error = Pool::connect(place.options()).await.unwrap_err();
    assert!(matches!(error, PoolError::NotOurCache { .. }), "{error}");
    assert!(thesis.exists() && !place.templates().exists());
}

#[tokio::test]
async fn a_setting_that_cannot_be_given_is_said_at_once() {
    let place = Place::new();
    let options = place.options().with_setting("port", "1");
    let error = Pool::connect(options).await.unwrap_err();
    assert!(matches!(error, PoolError::Server { .. }), "{error}");
}

/// A small file system, unmounted when dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={size},mode=755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(mounted.success());
        Self(folder)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A mount that stays is seen by whoever runs this.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
#[ignore = "needs root, to mount small file systems"]
async fn small_disk_is_the_error_and_leaves_nothing() {
    let place = Place::new();
    // Where the template is to be kept: room for less than one data directory.
    let cache = Small::mount("12M");
    let mut directories = place.directories();
    for name in ["initdb", "servers"] {
        std::os::unix::fs::symlink(directories.cache.join(name), cache.0.path().join(name))
            .unwrap();
    }
    directories.cache = cache.0.path().to_owned();
    let pool = Pool::connect(place.options().with_directories(directories))
        .await
        .unwrap();
    let full = place.template(&pool, 1).await.unwrap_err();
    assert!(matches!(full, PoolError::DiskFull { .. }), "{full:?}");
    println!("{full}");
    assert!(folders(&cache.0.path().join("templates")).is_empty());

    // Where the server runs: the closure fills it.
    let disk = Small::mount("90M");
    let mut directories = place.directories();
    directories.disk = disk.0.path().to_owned();
    let pool = Pool::connect(place.options().with_directories(directories))
        .await
        .unwrap();
    let full = pool
        .template(&key(1), async |database| {
            let mut connection = database.connect().await?;
            let sql = "create table big as select repeat(md5(n::text), 9) t from generate_series(1, 400000) n";
            sqlx::raw_sql(sql).execute(&mut connection).await?;
            Ok::<_, upgrade_core::Error>(())
        })
        .await
        .unwrap_err();
    assert!(matches!(full, PoolError::DiskFull { .. }), "{full:?}");
    assert!(place.servers().is_empty() && folders(&place.templates()).is_empty());
}

/// A database of the pool, as a rehearsal has it.
#[derive(Debug)]
struct Handed(TestDatabase);

#[async_trait]
impl DatabaseSource for Handed {
    async fn provision(&self, _: &UpgradeContext) -> Result<Database> {
        Ok(self.0.database().clone())
    }

    async fn release(&self, _: &UpgradeContext, _: Option<Database>) -> Result<()> {
        Ok(())
    }

    fn is_disposable(&self) -> bool {
        true
    }

    fn may_clear_server(&self) -> bool {
        self.0.has_server_alone()
    }

    fn log_tail(&self, _: usize) -> Vec<LogTail> {
        Vec::new()
    }
}

/// What a migration makes outside of its database, as `up/server-object` names it.
async fn made_outside(environment: &PostgresEnvironment, database: &Database) -> Vec<String> {
    let cx = UpgradeContext::new("1", "2");
    environment.begin(&cx).await.unwrap();
    let sql = "create role app; create role idle; grant select on orders to app; \
         select pg_create_physical_replication_slot('feed')";
    run(database, sql).await;
    let findings = environment.end(&cx).await.unwrap();
    findings
        .into_iter()
        .inspect(|finding| assert_eq!(finding.id, "up/server-object"))
        .map(|finding| finding.subject.to_string())
        .collect()
}

async fn count_outside(database: &Database) -> i64 {
    let mut admin = database.connect_maintenance().await.unwrap();
    let sql = "select (select count(*) from pg_roles where rolname in ('app', 'idle')) \
         + (select count(*) from pg_replication_slots)";
    sqlx::query_scalar(sql).fetch_one(&mut admin).await.unwrap()
}

#[tokio::test]
async fn what_a_migration_makes_outside_of_its_database_is_reported_and_not_in_the_way_of_the_next_try()
 {
    let place = Place::new();
    let pool = place.pool().await;
    let template = place.template(&pool, 1).await.unwrap();
    let test = hand_out(&template).await;
    let database = test.database().clone();
    let environment = PostgresEnvironment::new("alone", Handed(test));
    let cx = UpgradeContext::new("1", "2");
    environment.prepare(&cx).await.unwrap();
    environment.take(&cx, "before").await.unwrap();
    for _ in 0..2 {
        let expected = ["replication slot `feed`", "role `app`", "role `idle`"];
        assert_eq!(made_outside(&environment, &database).await, expected);
        environment.restore(&cx, "before").await.unwrap();
        assert_eq!(count_outside(&database).await, 0);
    }
    // Where another test has a database on the server, nothing is taken away from it, and only
    // what the database itself uses is known to be the migration's.
    let other = hand_out(&template).await;
    assert_eq!(made_outside(&environment, &database).await, ["role `app`"]);
    environment.restore(&cx, "before").await.unwrap();
    assert_eq!(count_outside(&database).await, 3);
    run(&other, "grant select on orders to app").await;
    drop(other);
    environment.teardown(&cx).await.unwrap();
}
