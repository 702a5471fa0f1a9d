//! A run that ends at any moment, and another process that rolls back by the journal.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use upgrade_core::environment::{
    At, CommandServices, Existing, PostgresEnvironment, ServiceCommands,
};
use upgrade_core::journal::{
    Actor, Ended, Entry, Journal, JournalStore, MemoryStore, Standing, State, verify,
};
use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::{Layout, MigrationFolder};
use upgrade_core::observation::{Observation, Scope};
use upgrade_core::plan::{Action, PlannedStep};
use upgrade_core::postgres::Database;
use upgrade_core::rollback::{RevertMigrations, SnapshotSwap};
use upgrade_core::{
    CommandLine, Environment as _, Migration, Phase, Plan, Report, Result, Runner, Secret, Upgrade,
    UpgradeContext, validator_fn,
};

use super::support::{run, shop};

pub(super) const SWAP: &str = "snapshot swap";
pub(super) const REVERT: &str = "revert migrations";

/// Three migrations; `slow` ones, so that a kill comes in between.
pub(super) fn migrations(slow: bool) -> Vec<std::sync::Arc<dyn Migration>> {
    let folder = tempfile::tempdir().unwrap();
    let sleep = if slow { "select pg_sleep(0.03);" } else { "" };
    for (name, up, down) in [
        (
            "1_note",
            "alter table orders add note text",
            "alter table orders drop note",
        ),
        (
            "2_parcels",
            "create table parcels (id int primary key, order_id int references orders (id))",
            "drop table parcels",
        ),
        (
            "3_index",
            "create index orders_v on orders (v)",
            "drop index orders_v",
        ),
    ] {
        for (end, sql) in [("up", up), ("down", down)] {
            let path = folder.path().join(format!("{name}.{end}.sql"));
            fs::write(path, format!("{sleep}\n{sql};\n{sleep}\n")).unwrap();
        }
    }
    let folder = MigrationFolder::read_as(folder.path(), Layout::Sqlx).unwrap();
    SqlMigration::all(&folder).unwrap()
}

pub(super) fn environment(database: &Database) -> PostgresEnvironment {
    PostgresEnvironment::new("shop", Existing::new(database.clone()))
}

/// The same with a service, which is a file with the release that runs.
pub(super) fn with_service(database: &Database) -> PostgresEnvironment {
    let file = service_file(database);
    let file = file.display();
    let start = format!("echo $UPGRADE_RELEASE > {file}.next && mv {file}.next {file}");
    let version = format!("cat {file} 2>/dev/null || echo 1");
    let shell = |script: &str| CommandLine::new("sh").with_args(["-ec", script]);
    let api = ServiceCommands::new("api", shell(&start), shell(&version));
    environment(database).with_services(CommandServices::new([api]).unwrap())
}

/// The release that the service runs.
pub(super) fn release_of(database: &Database) -> String {
    let release = fs::read_to_string(service_file(database));
    release.map_or("1".to_owned(), |release| release.trim().to_owned())
}

/// Beside the socket of the server, which no other test has.
fn service_file(database: &Database) -> PathBuf {
    let url = database.endpoint();
    let options = PgConnectOptions::from_str(url.url().expose()).unwrap();
    let folder = options.get_socket().unwrap();
    folder.join(format!("service-of-{}", database.name()))
}

pub(super) fn upgrade(database: &Database, strategy: &str, slow: bool) -> Upgrade {
    let migrations = migrations(slow);
    let upgrade = Upgrade::new("shop", "1", "2").with_migrations(migrations.clone());
    let name = database.name();
    match strategy {
        SWAP => upgrade.with_rollback(SnapshotSwap::new().adopted(name)),
        _ => upgrade.with_rollback(RevertMigrations::new(migrations).adopted(name)),
    }
}

/// The upgrade until users are to watch it: nothing is final.
fn until_soak(upgrade: &Upgrade, environment: &PostgresEnvironment, strategy: &str) -> Plan {
    let strategy = strategy.to_owned();
    let mut steps = vec![(Phase::Preflight, Action::PrepareRollback { strategy })];
    steps.extend(upgrade.migrations().iter().map(|migration| {
        let migration = migration.id().clone();
        (Phase::Expand, Action::Apply { migration })
    }));
    steps.push((Phase::Soak, Action::Validate));
    Plan::from_steps(&upgrade.outline_in(environment).unwrap(), steps, 0).unwrap()
}

async fn apply(
    database: &Database,
    strategy: &str,
    slow: bool,
    store: impl JournalStore,
) -> Result<Report> {
    let journal = Journal::open(store, database.name(), Actor::new("ann")).await?;
    let (upgrade, environment) = (upgrade(database, strategy, slow), environment(database));
    let plan = until_soak(&upgrade, &environment, strategy);
    Runner::new(upgrade, environment)
        .with_journal(journal)
        .run(&plan)
        .await
}

/// Carries out steps of another process, which knows the journal alone.
async fn go_on(
    database: &Database,
    strategy: &str,
    slow: bool,
    journal: &Journal,
    steps: Vec<PlannedStep>,
) -> Result<Report> {
    let standing = Standing::of(&journal.records().await);
    let (upgrade, environment) = (upgrade(database, strategy, slow), environment(database));
    let outline = upgrade.outline_in(&environment)?;
    let plan = Plan::from_steps(&outline, steps, 0)?;
    Runner::new(upgrade, environment)
        .with_journal(journal.clone())
        .going_on_from(standing)
        .run(&plan)
        .await
}

/// What another process does, which knows the journal alone. Answers with where the upgrade stood.
async fn roll_back(
    database: &Database,
    strategy: &str,
    slow: bool,
    store: impl JournalStore,
) -> Standing {
    let journal = Journal::open(store, database.name(), Actor::new("bob"))
        .await
        .unwrap();
    let standing = Standing::of(&journal.records().await);
    if let Some(step) = standing.rollback_step() {
        let report = go_on(database, strategy, slow, &journal, vec![step.into()]).await;
        let report = report.unwrap();
        assert!(report.passed, "{report}");
        let now = Standing::of(&journal.records().await);
        assert_eq!((now.state, now.applied.len()), (State::RolledBack, 0));
    }
    let now = Standing::of(&journal.records().await);
    // Nothing is left aside but what is given up on purpose.
    let cx = super::support::reaching(database);
    for rollback in upgrade(database, strategy, slow).rollbacks() {
        if let Some(kept) = now.kept.get(rollback.name()) {
            rollback.finalize(&cx, kept).await.unwrap();
        }
    }
    journal.close().await.unwrap();
    standing
}

pub(super) async fn observe(database: &Database) -> Observation {
    let environment = environment(database);
    let cx = UpgradeContext::new("1", "2");
    environment.prepare(&cx).await.unwrap();
    let seen = environment.observe(&cx, &At::Live, &Scope::All).await;
    environment.teardown(&cx).await.unwrap();
    seen.unwrap()
}

#[tokio::test]
async fn what_a_run_intended_and_did_is_in_its_journal() {
    let database = shop().await;
    let before = observe(&database).await;
    let store = MemoryStore::new();
    let report = apply(&database, REVERT, false, store.clone())
        .await
        .unwrap();
    assert!(report.passed, "{report}");
    let records = verify(&store.bytes()).unwrap().records().to_vec();
    let standing = Standing::of(&records);
    assert_eq!(
        (standing.state, standing.applied.len()),
        (State::Soaking, 3)
    );
    assert_eq!(standing.interrupted, None);
    let intents = records
        .iter()
        .filter(|one| matches!(one.entry, Entry::Intent { .. }));
    let done = records.iter().filter(|one| {
        let done = Ended::Done;
        matches!(&one.entry, Entry::Done { ended, .. } if *ended == done)
    });
    // Every step but the teardown.
    assert_eq!((intents.count(), done.count()), (6, 6));
    let runs = records.iter().filter_map(|one| one.run.clone());
    // Its plan, what the rollback keeps, and two for each step.
    assert!(runs.eq(std::iter::repeat_n(report.run.clone(), 15)));

    // Users write, and another process rolls back: what they wrote stays.
    run(&database, "insert into orders (id, v) values (4, 'd')").await;
    roll_back(&database, REVERT, false, store).await;
    let after = observe(&database).await;
    assert_eq!(after.objects, before.objects);
    assert_eq!(after.tables["public.orders"].rows, 4);
}

#[tokio::test]
async fn what_a_rollback_keeps_is_not_written_where_a_secret_would_be_taken_out_of_it() {
    let database = shop().await;
    run(
        &database,
        "comment on table orders is 'the-secret-of-this-run'",
    )
    .await;
    let before = observe(&database).await;
    let store = MemoryStore::new();
    let journal = Journal::open(store.clone(), database.name(), Actor::new("ann")).await;
    let conceals = validator_fn("conceals", async |cx: UpgradeContext| {
        cx.conceal(&Secret::new("the-secret-of-this-run"));
        Ok(())
    });
    let upgrade = upgrade(&database, REVERT, false).with_validator(conceals);
    let environment = environment(&database);
    let prepare = Action::PrepareRollback {
        strategy: REVERT.to_owned(),
    };
    let steps = [
        (Phase::Baseline, Action::Validate),
        (Phase::Preflight, prepare),
    ];
    let plan = Plan::from_steps(&upgrade.outline_in(&environment).unwrap(), steps, 0).unwrap();
    let runner = Runner::new(upgrade, environment).with_journal(journal.unwrap());
    let error = runner.run(&plan).await.unwrap_err();
    assert!(error.to_string().contains("holds a secret"), "{error:?}");
    assert!(
        !String::from_utf8(store.bytes())
            .unwrap()
            .contains("the-secret-of")
    );
    assert_eq!(observe(&database).await, before);
}
