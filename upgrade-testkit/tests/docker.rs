//! Rehearsals on a server in a container, through the public front.

#![cfg(feature = "docker")]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

use std::path::Path;
use std::process::Command;

use upgrade_core::docker::{
    Condition, Healthcheck, Image, Service, Stack, default_registry_dir, sweep,
};
use upgrade_core::environment::DockerEnvironment;
use upgrade_core::postgres::server::{
    Containers, Directories, Found, ProviderOptions, ServerRequirement, discover,
};
use upgrade_testkit::pool::PoolOptions;
use upgrade_testkit::prelude::*;

/// Options under which nothing but a container can be found: no path, an empty cache.
fn only_containers(folder: &Path) -> ProviderOptions {
    let mut options = ProviderOptions::new(Directories::below(folder));
    options.containers = Containers::Last;
    options
}

/// The servers of pools: the registry is shared by every process, and others may run services in containers.
fn containers() -> Vec<String> {
    let id = std::fs::read_to_string(default_registry_dir().join("registry.id")).unwrap();
    let ours = format!("label=upgrade.registry={id}");
    let filters = ["--filter", &ours, "--filter", "name=^upgrade-pg-"];
    let output = Command::new("docker")
        .args(["ps", "--all", "--format", "{{.Names}}"])
        .args(filters)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
#[ignore = "needs Docker"]
fn a_container_is_the_last_that_is_found() {
    let empty = tempfile::tempdir().unwrap();
    let found = discover(
        &ServerRequirement::major(17),
        &only_containers(empty.path()),
    )
    .unwrap();
    assert_eq!(found, Found::Container { major: Some(17) });
    let mut none = only_containers(empty.path());
    none.containers = Containers::Off;
    let error = discover(&ServerRequirement::any(), &none).unwrap_err();
    assert!(error.to_string().contains("docker"), "{error}");
}

/// Answers every request with its release.
const SERVER: &str = r#"use IO::Socket::INET; $SIG{TERM} = sub { exit 0 };
my $server = IO::Socket::INET->new(Listen => 9, LocalPort => 8080, ReuseAddr => 1) or die $!;
while (my $client = $server->accept) {
    while (my $line = <$client>) { last if $line =~ /^\r?$/ }
    print $client "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n$ENV{RELEASE}"; close $client;
}"#;

fn stack(release: &Version) -> Stack {
    let image = || Image::named("upgrade-postgres:17");
    let database = Service::new(image())
        .with_env("POSTGRES_PASSWORD", "staging")
        .with_command(["postgres", "-c", "fsync=off"])
        .with_healthcheck(Healthcheck::shell("pg_isready -h 127.0.0.1 -U postgres"));
    let mut api = Service::new(image())
        .with_env("RELEASE", release.as_str())
        .with_port(8080)
        .with_replicas(2)
        .after("db", Condition::Healthy);
    api.entrypoint = Some(vec!["perl".into(), "-e".into(), SERVER.into()]);
    // The image stops its servers by another one.
    api.stop_signal = Some("SIGTERM".into());
    Stack::new()
        .with_service("db", database)
        .with_service("api", api)
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn services_roll_in_an_environment_of_the_users_own() {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in [
        (
            "1_orders.sql",
            "create table orders (id bigint primary key);",
        ),
        ("2_note.up.sql", "alter table orders add column note text;"),
        ("2_note.down.sql", "alter table orders drop column note;"),
    ] {
        std::fs::write(folder.path().join(name), sql).unwrap();
    }
    let registry = tempfile::tempdir().unwrap();
    let dir = registry.path().to_owned();
    let report = Rehearsal::new("orders")
        .unwrap()
        .migrations(folder.path())
        .from("1")
        .scenario(Scenario::Rolling)
        .writes(writes_fn("orders", async |cx: UpgradeContext| {
            let mut connection = cx.connect().await?;
            let sql = "insert into orders select coalesce(max(id), 0) + 1 from orders";
            sqlx::raw_sql(sql).execute(&mut connection).await?;
            Ok(())
        }))
        .environment(move |from, to| {
            Ok(DockerEnvironment::new("orders")
                .with_registry_dir(&dir)
                .with_release(from.clone(), stack(from))
                .with_release(to.clone(), stack(to))
                .with_database("db")
                .with_data(|cx: UpgradeContext| async move {
                    let mut connection = cx.connect().await?;
                    let sql = "create table orders (id bigint primary key); insert into orders values (1)";
                    sqlx::raw_sql(sql).execute(&mut connection).await?;
                    Ok(())
                }))
        })
        .report()
        .await
        .unwrap();
    assert!(report.passed, "{report}");
    assert_eq!((report.environment.as_str(), report.rows), ("orders", 1));
    let mixtures = report
        .steps
        .iter()
        .filter(|step| step.title.contains("of 2 instances"));
    assert_eq!(mixtures.count(), 6);
    let left = std::fs::read_dir(registry.path()).unwrap().count();
    assert_eq!(left, 1, "the registry's own file");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn every_scenario_passes_in_a_container_and_nothing_is_left() {
    let (folder, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, sql) in [
        (
            "1_orders.up.sql",
            "create table orders (id bigint primary key, note text not null);",
        ),
        ("1_orders.down.sql", "drop table orders;"),
        (
            "2_paid.up.sql",
            "alter table orders add column paid boolean not null default false;",
        ),
        ("2_paid.down.sql", "alter table orders drop column paid;"),
    ] {
        std::fs::write(folder.path().join(name), sql).unwrap();
    }
    // What a killed process has left is none of ours.
    sweep(&default_registry_dir()).await.unwrap();
    // One container for all of them: it lives as long as somebody has a pool of it.
    let pool =
        upgrade_testkit::pool::Pool::connect(PoolOptions::new(only_containers(empty.path())))
            .await
            .unwrap();
    assert_eq!(pool.server_major(), 17);
    let with_pool = containers();
    for scenario in Scenario::ALL.into_iter().filter(|it| !it.needs_services()) {
        let report = Rehearsal::new("orders")
            .unwrap()
            .pool(PoolOptions::new(only_containers(empty.path())))
            .migrations(folder.path())
            .from("1")
            .scenario(scenario)
            .report()
            .await
            .unwrap();
        assert!(report.passed, "{report}");
        assert_eq!(report.rows, 50);
    }
    assert_eq!(containers(), with_pool, "one container served all");
    drop(pool);
    assert_eq!(containers().len(), with_pool.len() - 1);
}
