//! Several processes at once, and processes that are killed.

use upgrade_core::RunId;
use upgrade_testkit::pool::{Pool, PoolError};

use crate::support::{
    Other, Place, content, eventually, fill, folders, fresh, hand_out, key, names, other_process,
    say, url, wait_for_the_end,
};

/// The pool that another process was told: a local one, or that of a URL.
async fn pool_of(place: &Place, word: &str) -> Pool {
    let mut options = place.options();
    if word != "local" {
        options = options.with_url(word.into());
    }
    Pool::connect(options).await.unwrap()
}

/// Builds or finds the template and says what is in a copy.
async fn build_if_asked() -> bool {
    let Some((place, word)) = other_process() else {
        return false;
    };
    let pool = pool_of(&place, &word).await;
    let template = place.template(&pool, 1).await.unwrap();
    let database = hand_out(&template).await;
    say(&format!("{:?}", content(&database).await));
    true
}

async fn check_built_once(test: &str, place: &Place, word: &str) {
    let mut others: Vec<Other> = (0..4).map(|_| Other::start(test, place, word)).collect();
    for other in &mut others {
        assert_eq!(other.says(), format!("{:?}", fresh()));
    }
    for other in &mut others {
        other.wait();
    }
    assert_eq!(place.count_builds(), 1);
}

#[tokio::test]
async fn four_processes_build_a_local_template_once() {
    if build_if_asked().await {
        return;
    }
    let place = Place::new();
    let test = "processes::four_processes_build_a_local_template_once";
    check_built_once(test, &place, "local").await;
    assert!(place.servers().is_empty());
}

#[tokio::test]
async fn four_processes_build_a_shared_template_once() {
    if build_if_asked().await {
        return;
    }
    let place = Place::new();
    let server = place.server(&[]).await;
    let test = "processes::four_processes_build_a_shared_template_once";
    check_built_once(test, &place, url(&server).expose()).await;
    server.stop().await.unwrap();
}

/// Builds half a template, says so, and waits for SIGKILL.
async fn build_half_if_asked() {
    let Some((place, word)) = other_process() else {
        return;
    };
    let pool = pool_of(&place, &word).await;
    let built: Result<_, PoolError> = pool
        .template(&key(1), async |database| {
            fill(&database).await?;
            // Content that must never be seen.
            crate::support::run(&database, "delete from orders where id > 7").await;
            place.note_build();
            say("half");
            wait_for_the_end();
            #[expect(unreachable_code, reason = "it says what the closure would return")]
            Ok::<_, upgrade_core::Error>(())
        })
        .await;
    panic!("{built:?}");
}

#[tokio::test]
async fn half_a_local_template_of_a_killed_process_is_built_again() {
    build_half_if_asked().await;
    let place = Place::new();
    let test = "processes::half_a_local_template_of_a_killed_process_is_built_again";
    let mut other = Other::start(test, &place, "local");
    other.says();
    other.kill();
    let half = folders(&place.templates());
    assert!(
        half.len() == 1 && half[0].extension().is_some_and(|new| new == "new"),
        "{half:?}"
    );
    let pool = place.pool().await;
    let template = place.template(&pool, 1).await.unwrap();
    assert_eq!(content(&*hand_out(&template).await).await, fresh());
    assert_eq!(place.count_builds(), 2);
    assert_eq!(
        folders(&place.templates()),
        [place.templates().join(template.hash())]
    );
    drop(template);
    // The server of the killed process went with it, and its directory with the next start.
    assert!(place.servers().is_empty(), "{:?}", place.servers());
}

#[tokio::test]
async fn half_a_shared_template_of_a_killed_process_is_built_again() {
    build_half_if_asked().await;
    let place = Place::new();
    let server = place.server(&[]).await;
    let test = "processes::half_a_shared_template_of_a_killed_process_is_built_again";
    let mut other = Other::start(test, &place, url(&server).expose());
    other.says();
    other.kill();
    let pool = pool_of(&place, url(&server).expose()).await;
    let template = place.template(&pool, 1).await.unwrap();
    assert_eq!(content(&*hand_out(&template).await).await, fresh());
    assert_eq!(place.count_builds(), 2);
}

/// Takes two databases, makes a copy of one of them, prints that, and waits for SIGKILL.
async fn hold_if_asked() {
    let Some((place, word)) = other_process() else {
        return;
    };
    let pool = pool_of(&place, &word).await;
    let template = place.template(&pool, 1).await.unwrap();
    let run_id = RunId::generate();
    let first = template.hand_out(&run_id).await.unwrap();
    let second = template.hand_out(&run_id).await.unwrap();
    let mut admin = first.connect_maintenance().await.unwrap();
    let marker = first.marker(&mut admin).await.unwrap().unwrap();
    first
        .copy(
            &mut admin,
            &format!("{}_kept", first.name()),
            &marker,
            template.strategy().strategy(),
            std::time::Duration::from_secs(30),
        )
        .await
        .unwrap();
    say(first.name());
    let _held = (first, second);
    wait_for_the_end();
}

#[tokio::test]
async fn databases_of_killed_processes_are_swept_and_those_of_live_ones_are_not() {
    hold_if_asked().await;
    let place = Place::new();
    let server = place.server(&[]).await;
    let test = "processes::databases_of_killed_processes_are_swept_and_those_of_live_ones_are_not";
    let mut dead = Other::start(test, &place, url(&server).expose());
    let mut live = Other::start(test, &place, url(&server).expose());
    let (dead_name, live_name) = (dead.says(), live.says());
    let mut admin =
        <sqlx::PgConnection as sqlx::Connection>::connect_with(&server.connect_options())
            .await
            .unwrap();
    let foreign = ["upgrade_test_mine", "upgrade_tpl_mine", "orders"];
    for name in foreign {
        let sql = format!("create database {name}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut admin)
            .await
            .unwrap();
    }
    dead.kill();
    let count = async |admin: &mut sqlx::PgConnection, name: &str| {
        names(admin, &format!("{}%", name.replace('_', "\\_")))
            .await
            .len()
    };
    assert_eq!(count(&mut admin, &dead_name).await, 3);
    // Nothing but the start of the next process.
    let pool = pool_of(&place, url(&server).expose()).await;
    eventually("databases of a dead process stay", async || {
        count(&mut admin, &dead_name).await == 0
    })
    .await;
    pool.sweep(100).await.unwrap();
    pool.clean().await.unwrap();
    assert_eq!(count(&mut admin, &live_name).await, 3);
    for name in foreign {
        assert_eq!(names(&mut admin, name).await, [name]);
    }
    live.kill();
    eventually("databases of a dead process stay", async || {
        let swept = pool.sweep(2).await.unwrap();
        assert!(swept.dropped.len() <= 2, "{swept:?}");
        count(&mut admin, &live_name).await == 0
    })
    .await;
}
