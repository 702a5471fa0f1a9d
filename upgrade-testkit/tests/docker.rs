//! Rehearsals on a server in a container, through the public front.

#![cfg(feature = "docker")]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

use std::path::Path;
use std::process::Command;

use upgrade_core::postgres::container::{default_registry_dir, sweep_containers};
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

/// The containers of this library that run now.
fn containers() -> Vec<String> {
    let output = Command::new("docker")
        .args([
            "ps",
            "--all",
            "--filter",
            "label=upgrade.run",
            "--format",
            "{{.Names}}",
        ])
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
    sweep_containers(&default_registry_dir()).await.unwrap();
    let before = containers();
    // One container for all of them: it lives as long as somebody has a pool of it.
    let pool =
        upgrade_testkit::pool::Pool::connect(PoolOptions::new(only_containers(empty.path())))
            .await
            .unwrap();
    assert_eq!(pool.server_major(), 17);
    for scenario in Scenario::ALL {
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
    assert_eq!(
        containers().len(),
        before.len() + 1,
        "one container served all"
    );
    drop(pool);
    assert_eq!(containers(), before);
}
