//! Services that are replaced in an operation, and put back with the data.

use std::fs;
use std::path::Path;

use upgrade_core::environment::{CommandServices, ServiceCommands};
use upgrade_core::journal::{Actor, Journal, MemoryStore, State};
use upgrade_core::operation::{Act, Attestation, Operation};
use upgrade_core::postgres::Database;
use upgrade_core::rollback::RevertMigrations;
use upgrade_core::{CommandLine, ErrorKind, Upgrade};

use super::journal::{REVERT, environment, observe, upgrade};
use super::life::{claims, proposed, state};
use super::support::shop;

/// A folder in which each service is a file with its release, an artifact is a file named by its release,
/// and a release with a file `sick-<release>` is not healthy.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for (name, text) in [
            ("api", "1"),
            ("worker", "1"),
            ("artifact-1", "one"),
            ("artifact-2", "two"),
        ] {
            machine.write(name, text);
        }
        machine
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name))
            .unwrap()
            .trim()
            .to_owned()
    }

    fn releases(&self) -> [String; 2] {
        ["api", "worker"].map(|name| self.read(name))
    }

    async fn operation(
        &self,
        database: &Database,
        upgrade: Upgrade,
        store: &MemoryStore,
    ) -> Operation {
        let journal = Journal::open(store.clone(), database.name(), Actor::new("ann"));
        let (database, folder) = (database.clone(), self.path().to_owned());
        Operation::new(journal.await.unwrap(), upgrade, move || {
            environment(&database).with_services(services(&folder))
        })
    }
}

fn services(folder: &Path) -> CommandServices {
    let shell = |script: &str| {
        let script = format!("cd {}; {script}", folder.display());
        CommandLine::new("sh").with_args(["-ec", &script])
    };
    let service = |name: &str| {
        ServiceCommands::new(
            name,
            shell("echo $UPGRADE_SERVICE $UPGRADE_RELEASE >> started; echo $UPGRADE_RELEASE > $UPGRADE_SERVICE"),
            shell("cat $UPGRADE_SERVICE"),
        )
        .with_health(shell("! test -e sick-$UPGRADE_SERVICE-$UPGRADE_RELEASE"))
        .with_artifact(shell("cat artifact-$UPGRADE_RELEASE"))
        .with_within(std::time::Duration::from_millis(300))
    };
    CommandServices::new([service("api").after("worker"), service("worker")]).unwrap()
}

#[tokio::test]
async fn a_release_that_does_not_come_up_is_rolled_back_with_its_migrations() {
    let (database, machine) = (shop().await, Machine::new());
    machine.write("sick-api-2", "");
    let before = observe(&database).await;
    let upgrade = upgrade(&database, REVERT, false);
    let operation = machine
        .operation(&database, upgrade, &MemoryStore::new())
        .await;
    let proposal = proposed(&operation).await;
    println!("{proposal}");
    let report = operation.apply(&proposal).await.unwrap();
    assert!(!report.passed, "{report}");
    let rollback = &report.rollbacks[0];
    assert!(rollback.automatic && rollback.confirmed, "{report}");
    assert_eq!(machine.releases(), ["1", "1"]);
    // In order, and back in reverse.
    let started = machine.read("started");
    assert_eq!(started, "worker 2\napi 2\napi 1\nworker 1");
    assert_eq!(observe(&database).await, before);
    assert_eq!(state(&operation).await.0, State::RolledBack);
    operation.resume().await.unwrap();
    assert_eq!(claims(&database).await, 0);
}

#[tokio::test]
async fn an_old_release_that_does_not_start_pauses_the_operation_and_is_tried_again() {
    let (database, machine) = (shop().await, Machine::new());
    let before = observe(&database).await;
    let store = MemoryStore::new();
    let new = || upgrade(&database, REVERT, false);
    let operation = machine.operation(&database, new(), &store).await;
    operation.apply(&proposed(&operation).await).await.unwrap();
    machine.write("sick-worker-1", "");
    let report = operation.rollback().await.unwrap();
    assert!(!report.passed && !report.rollbacks[0].confirmed, "{report}");
    let (paused, acts) = state(&operation).await;
    assert_eq!(paused, State::Paused);
    assert!(acts.contains(&Act::RollBack), "{acts:?}");
    operation.close().await.unwrap();

    // Another process, after somebody has cured the release.
    fs::remove_file(machine.path().join("sick-worker-1")).unwrap();
    let operation = machine.operation(&database, new(), &store).await;
    let report = operation.rollback().await.unwrap();
    assert!(report.passed && report.rollbacks[0].confirmed, "{report}");
    assert_eq!(machine.releases(), ["1", "1"]);
    assert_eq!(observe(&database).await, before);
}

#[tokio::test]
async fn services_alone_are_upgraded_and_rolled_back() {
    let (database, machine) = (shop().await, Machine::new());
    let before = observe(&database).await;
    let upgrade = Upgrade::new("shop", "1", "2")
        .with_rollback(RevertMigrations::new([]).adopted(database.name()));
    let operation = machine
        .operation(&database, upgrade, &MemoryStore::new())
        .await;
    let report = operation.apply(&proposed(&operation).await).await.unwrap();
    assert!(report.passed, "{report}");
    assert_eq!(machine.releases(), ["2", "2"]);
    assert_eq!(report.artifacts["api"], "two");
    let (soaking, acts) = state(&operation).await;
    assert_eq!(
        (soaking, acts),
        (State::Soaking, vec![Act::RollBack, Act::Finalize])
    );
    let report = operation.rollback().await.unwrap();
    assert!(report.passed && report.rollbacks[0].confirmed, "{report}");
    assert_eq!(machine.releases(), ["1", "1"]);
    assert_eq!(observe(&database).await, before);
    operation.apply(&proposed(&operation).await).await.unwrap();
    assert!(operation.finalize().await.unwrap().passed);
    assert!(operation.plan().await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_not_there_or_was_changed_is_refused_before_anything_moves() {
    let (database, machine) = (shop().await, Machine::new());
    let upgrade = upgrade(&database, REVERT, false);
    let operation = machine
        .operation(&database, upgrade, &MemoryStore::new())
        .await;
    let before = observe(&database).await;

    // What a rollback would need.
    fs::remove_file(machine.path().join("artifact-1")).unwrap();
    let error = operation.plan().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        error.to_string().contains("artifact of release 1"),
        "{error}"
    );
    machine.write("artifact-1", "one");

    machine.write("api", "0.9");
    let error = operation.plan().await.unwrap_err();
    assert!(
        error.to_string().contains("service `api` runs release 0.9"),
        "{error}"
    );
    machine.write("api", "1");

    let proposal = proposed(&operation).await;
    for (file, text, before, said) in [
        (
            "artifact-2",
            "built again",
            "two",
            "another artifact of its new release",
        ),
        ("worker", "0.9", "1", "service `worker` runs 0.9"),
    ] {
        machine.write(file, text);
        let error = operation.apply(&proposal).await.unwrap_err();
        let text = format!("{error:?}");
        assert!(
            error.kind() == ErrorKind::Refused && text.contains(said),
            "{text}"
        );
        machine.write(file, before);
    }
    assert!(!machine.path().join("started").exists());
    assert_eq!(observe(&database).await, before);
    assert!(operation.apply(&proposal).await.unwrap().passed);
}

#[tokio::test]
async fn only_the_artifacts_that_were_rehearsed_are_applied() {
    let (database, machine) = (shop().await, Machine::new());
    let new = |database: &Database| upgrade(database, REVERT, false);
    let rehearsal = machine
        .operation(&database, new(&database), &MemoryStore::new())
        .await;
    let report = rehearsal.apply(&proposed(&rehearsal).await).await.unwrap();
    let back = rehearsal.rollback().await.unwrap();
    let attestation = Attestation::of([&report, &back]).unwrap();
    rehearsal.close().await.unwrap();

    let store = MemoryStore::new();
    let attested = async |machine: &Machine| {
        let operation = machine.operation(&database, new(&database), &store).await;
        operation.with_attestation(attestation.clone(), [])
    };
    machine.write("artifact-2", "built again");
    let operation = attested(&machine).await;
    let error = operation
        .apply(&proposed(&operation).await)
        .await
        .unwrap_err();
    let text = format!("{error:?}");
    assert!(
        text.contains("`api` was not rehearsed as built again"),
        "{text}"
    );
    operation.close().await.unwrap();
    machine.write("artifact-2", "two");
    let operation = attested(&machine).await;
    let report = operation.apply(&proposed(&operation).await).await.unwrap();
    assert!(report.passed, "{report}");
}
