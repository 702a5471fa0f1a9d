//! The configuration of the services is switched in an operation, and restored byte for byte.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use upgrade_core::configuration::ConfigFiles;
use upgrade_core::journal::{Actor, Journal, MemoryStore, State};
use upgrade_core::operation::{Act, CONFIGURATION, Consent, Operation};
use upgrade_core::postgres::Database;
use upgrade_core::rollback::RevertMigrations;
use upgrade_core::{ErrorKind, Result, Upgrade};

use super::journal::{REVERT, release_of, upgrade, with_service};
use super::life::{proposed, state};
use super::support::shop;

/// A folder with what is live, what the new release brings, and what is kept.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        for (name, text) in [
            ("live/app.conf", "pool = 4\n"),
            ("live/secret.env", "TOKEN=canary-1\n"),
            ("new/app.conf", "pool = 8\n"),
            ("new/secret.env", "TOKEN=canary-2\n"),
            ("new/extra.conf", "new = yes\n"),
        ] {
            let path = files.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(files.path().join("live/secret.env"), private).unwrap();
        files
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn configuration(&self) -> ConfigFiles {
        let at = |name: &str| self.path().join(name);
        ConfigFiles::new("orders", at("live"), at("store"), at("new"))
    }

    /// Every live file with its mode and its content.
    fn live(&self) -> Vec<(String, u32, String)> {
        let mut all = Vec::new();
        for entry in fs::read_dir(self.path().join("live")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            all.push((name, mode, fs::read_to_string(entry.path()).unwrap()));
        }
        all.sort();
        all
    }

    fn is_new(&self) -> bool {
        self.live().iter().any(|(name, ..)| name == "extra.conf")
    }

    /// How many sets are kept.
    fn kept(&self) -> usize {
        let sets = fs::read_dir(self.path().join("store")).unwrap();
        let names = sets.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.len() == 64).count()
    }

    async fn operation(
        &self,
        database: &Database,
        upgrade: Upgrade,
        store: &MemoryStore,
    ) -> Result<Operation> {
        let journal = Journal::open(store.clone(), database.name(), Actor::new("ann")).await?;
        let (database, configuration) = (database.clone(), self.configuration());
        Ok(Operation::new(journal, upgrade, move || {
            with_service(&database).with_configuration(configuration.clone())
        }))
    }
}

#[tokio::test]
async fn it_is_switched_and_restored_and_what_was_kept_is_given_up() {
    let (database, files) = (shop().await, Files::new());
    let before = files.live();
    let store = MemoryStore::new();
    let upgrade = || upgrade(&database, REVERT, false);
    let operation = files.operation(&database, upgrade(), &store).await.unwrap();
    let proposal = proposed(&operation).await;
    println!("{proposal}");
    assert!(operation.apply(&proposal).await.unwrap().passed);
    assert!(files.is_new());
    // As private as the live one was.
    assert!(files.live().contains(&(
        "secret.env".to_owned(),
        0o600,
        "TOKEN=canary-2\n".to_owned()
    )));
    operation.close().await.unwrap();

    let operation = files.operation(&database, upgrade(), &store).await.unwrap();
    let report = operation.rollback().await.unwrap();
    assert!(report.passed && report.rollbacks[0].confirmed, "{report}");
    assert_eq!(files.live(), before);
    assert_eq!(release_of(&database), "1");
    operation.apply(&proposed(&operation).await).await.unwrap();
    assert!(operation.finalize().await.unwrap().passed);
    assert!(
        files.is_new() && files.kept() <= 1,
        "{} sets are kept",
        files.kept()
    );
    assert!(operation.plan().await.unwrap().is_none());
    let said = String::from_utf8(store.bytes()).unwrap();
    assert!(
        !said.contains("canary"),
        "content of a file is in the journal"
    );
}

#[tokio::test]
async fn edits_stop_the_upgrade_before_it_begins_and_the_rollback_before_it_moves() {
    let (database, files) = (shop().await, Files::new());
    let store = MemoryStore::new();
    let upgrade = upgrade(&database, REVERT, false);
    let operation = files.operation(&database, upgrade, &store).await.unwrap();
    let proposal = proposed(&operation).await;
    let edit = |text: &str| fs::write(files.path().join("live/app.conf"), text).unwrap();
    edit("pool = 5\n");
    let error = operation.apply(&proposal).await.unwrap_err();
    let text = format!("{error:?}");
    assert!(
        error.kind() == ErrorKind::Refused && text.contains("the configuration is another"),
        "{text}"
    );
    edit("pool = 4\n");
    operation.apply(&proposal).await.unwrap();
    edit("pool = 9\n");
    let error = operation.rollback().await.unwrap_err();
    assert!(
        error.to_string().contains("was edited since the upgrade"),
        "{error}"
    );
    assert_eq!(
        state(&operation).await,
        (State::Soaking, vec![Act::RollBack, Act::Finalize])
    );
    edit("pool = 8\n");
    assert!(operation.rollback().await.unwrap().passed);
    assert!(!files.is_new());
}

#[tokio::test]
async fn a_configuration_alone_is_an_upgrade() {
    let (database, files) = (shop().await, Files::new());
    let before = files.live();
    let revert = RevertMigrations::new([]).adopted(database.name());
    let upgrade = Upgrade::new("shop", "1", "1").with_rollback(revert);
    let operation = files
        .operation(&database, upgrade, &MemoryStore::new())
        .await
        .unwrap();
    let report = operation.apply(&proposed(&operation).await).await.unwrap();
    assert!(report.passed && files.is_new(), "{report}");
    assert!(operation.rollback().await.unwrap().passed);
    assert_eq!(files.live(), before);
}

#[tokio::test]
async fn files_that_cannot_be_restored_keep_no_data_from_being_rolled_back() {
    // Dead at the record at which the files are switched and the services are not.
    for deaths in 20.. {
        let (database, files) = (shop().await, Files::new());
        let before = super::journal::observe(&database).await;
        let store = MemoryStore::new();
        store.fail_after(deaths);
        let new = || upgrade(&database, REVERT, false);
        let operation = files.operation(&database, new(), &store).await.unwrap();
        let proposal = proposed(&operation).await;
        let applied = operation.apply(&proposal).await;
        drop(operation);
        assert!(applied.is_err(), "the files were never switched");
        if !files.is_new() || release_of(&database) == "2" {
            continue;
        }
        let edited = "pool = 9\n";
        fs::write(files.path().join("live/app.conf"), edited).unwrap();
        let store = MemoryStore::with(store.bytes());
        let operation = files.operation(&database, new(), &store).await.unwrap();
        assert_eq!(state(&operation).await.0, State::Applying);
        let report = operation.rollback().await.unwrap();
        assert!(
            !report.passed && format!("{report}").contains("app.conf"),
            "{report}"
        );
        assert_eq!(super::journal::observe(&database).await, before);
        assert_eq!(state(&operation).await.0, State::Paused);
        assert_eq!(files.kept(), 2);
        let operation = operation.with_consent(Consent::to([CONFIGURATION]));
        let report = operation.rollback().await.unwrap();
        assert!(report.passed && report.rollbacks[0].confirmed, "{report}");
        let live = fs::read_to_string(files.path().join("live/app.conf")).unwrap();
        assert_eq!(live, edited);
        return;
    }
}

/// Lives on from wherever the operation stands, until it is rolled back.
async fn live(operation: &Operation) -> Result<()> {
    loop {
        let status = operation.status().await;
        match status.standing.state {
            State::RolledBack => return operation.resume().await.map(drop),
            State::Nothing => {
                let proposal = operation.plan().await?.unwrap();
                operation.apply(&proposal).await?;
            }
            State::Applying if status.acts.contains(&Act::Resume) => {
                operation.resume().await?;
            }
            State::Applying | State::Soaking | State::Paused => {
                operation.rollback().await?;
            }
            other => panic!("stuck at {other:?}: {status}"),
        }
    }
}

#[tokio::test]
async fn a_tool_that_dies_at_any_record_is_followed_by_another_one() {
    let (mut deaths, mut tried) = (5, 0);
    loop {
        let (database, files) = (shop().await, Files::new());
        let before = files.live();
        let store = MemoryStore::new();
        store.fail_after(deaths);
        let new = || upgrade(&database, REVERT, false);
        let lived = match files.operation(&database, new(), &store).await {
            Ok(operation) => live(&operation).await,
            Err(error) => Err(error),
        };
        if lived.is_ok() {
            break;
        }
        tried += 1;
        let store = MemoryStore::with(store.bytes());
        let operation = files.operation(&database, new(), &store).await.unwrap();
        live(&operation).await.unwrap();
        assert_eq!(files.live(), before, "dead at record {deaths}");
        assert_eq!(release_of(&database), "1", "dead at record {deaths}");
        assert!(files.kept() <= 1, "dead at record {deaths}");
        deaths += 3;
    }
    assert!(tried > 8, "{tried}");
}
