//! Pinned binaries, fetched into the cache once; needs the network the first time.

use std::time::Instant;

use upgrade_core::postgres::server::{
    Containers, Fetch, Found, LocalServer, Profile, ProviderOptions, ServerError,
    ServerRequirement, available_majors, discover,
};

use crate::support::{Place, execute, open_folder, text};

/// Options that look at nothing but the cache and the pins.
fn only_fetched() -> ProviderOptions {
    let mut options = ProviderOptions::from_env().unwrap();
    options.url = None;
    options.named.clear();
    options.path.clear();
    options.installed.clear();
    options.fetch = Fetch::Allowed;
    options.containers = Containers::Off;
    options
}

async fn fetch_and_start(major: u16) {
    let options = only_fetched();
    let start = Instant::now();
    let found =
        tokio::task::spawn_blocking(move || discover(&ServerRequirement::major(major), &options));
    let Found::Binaries(binaries) = found.await.unwrap().unwrap() else {
        panic!("binaries were expected")
    };
    let found = start.elapsed();
    assert_eq!(binaries.version().major(), major);
    let place = Place::new();
    let start = Instant::now();
    let server = LocalServer::start(&binaries, place.options(Profile::ThrowAway))
        .await
        .unwrap();
    let started = start.elapsed();
    execute(
        &server,
        "create table t as select generate_series(1, 1000) as n",
    )
    .await;
    execute(
        &server,
        "create database copy template template1 strategy file_copy",
    )
    .await;
    assert_eq!(text(&server, "select sum(n)::text from t").await, "500500");
    server.stop().await.unwrap();
    println!(
        "{}: found {found:?}, start {started:?}",
        binaries.version().text()
    );
}

#[tokio::test]
async fn eighteen_is_fetched_and_runs() {
    fetch_and_start(18).await;
}

#[tokio::test]
async fn seventeen_is_fetched_and_runs() {
    fetch_and_start(17).await;
}

#[tokio::test]
async fn sixteen_is_fetched_and_runs() {
    fetch_and_start(16).await;
}

#[test]
fn two_that_fetch_at_once_fetch_once_and_the_tree_is_whole() {
    let folder = open_folder(&std::env::temp_dir());
    let mut options = only_fetched();
    options.directories.cache = folder.path().to_owned();
    let requirement = ServerRequirement::major(18);
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| discover(&requirement, &options).unwrap());
        let two = scope.spawn(|| discover(&requirement, &options).unwrap());
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_eq!(one, two);
    let majors: Vec<u16> = available_majors(&options)
        .unwrap()
        .into_iter()
        .map(|(major, _)| major)
        .collect();
    assert_eq!(majors, [18]);
    let trees = std::fs::read_dir(folder.path().join("servers"))
        .unwrap()
        .flatten();
    assert_eq!(
        trees.filter(|entry| entry.path().is_dir()).count(),
        1,
        "nothing unfinished is left"
    );
}

#[test]
fn a_major_without_a_pin_is_said() {
    let folder = open_folder(&std::env::temp_dir());
    let mut options = only_fetched();
    options.directories.cache = folder.path().to_owned();
    let error = discover(&ServerRequirement::major(15), &options).unwrap_err();
    assert!(matches!(error, ServerError::NotFound { .. }));
    assert!(
        error
            .to_string()
            .contains("fetch: no binaries of 15 are pinned"),
        "{error}"
    );
}
