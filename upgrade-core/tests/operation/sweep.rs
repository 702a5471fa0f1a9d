//! An operation whose tool dies: at every record of its journal, at every await, and by SIGKILL. Another
//! process goes on, and arrives where an operation without a death does.
//!
//! The life of the operation is apply, rollback, apply, finalize; users write after the first apply.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnectOptions;
use upgrade_core::journal::{Ended, Entry, FileStore, Journal, MemoryStore, Record, State};
use upgrade_core::observation::Observation;
use upgrade_core::operation::{Act, Consent, Operation};
use upgrade_core::plan::Action;
use upgrade_core::postgres::Database;
use upgrade_core::{Environment as _, ErrorKind, Result, UpgradeContext};

use super::journal::{REVERT, SWAP, environment, observe, release_of, upgrade, with_service};
use super::life::tool;
use super::support::{as_role, beside, polled, run, server, shop, until};

/// What a child process is told: the journal, the strategy, and where the database is.
pub(super) const CHILD: &str = "UPGRADE_OPERATION_OF_CHILD";

/// About how many records the journal of a life has.
const RECORDS: usize = 75;

/// Every how many deaths of a sweep one is tried. `UPGRADE_SWEEP=5` tries five times as many.
fn stride(every: usize) -> usize {
    let times = env::var("UPGRADE_SWEEP").map_or(1, |times| times.parse().unwrap());
    (every / times).max(1)
}

fn has_rolled_back(history: &[Record]) -> bool {
    let begun = |seq: &u64| {
        history.iter().any(|record| {
            record.seq == *seq
                && matches!(
                    &record.entry,
                    Entry::Intent {
                        action: Action::RollBack { .. },
                        ..
                    }
                )
        })
    };
    history.iter().any(|record| {
        let Entry::Done { intent, ended } = &record.entry else {
            return false;
        };
        *ended == Ended::Done && begun(intent)
    })
}

/// Lives on from wherever the operation stands. A report that did not pass is a wrong end.
async fn live(operation: &Operation, database: &Database) -> Result<()> {
    loop {
        let status = operation.status().await;
        let back = has_rolled_back(&operation.history().await);
        let report = if status.acts.contains(&Act::Resume) {
            operation.resume().await?
        } else {
            match status.standing.state {
                State::Soaking if !back => {
                    write(database).await;
                    Some(operation.rollback().await?)
                }
                State::Soaking => Some(operation.finalize().await?),
                // Also where the process died after its last step and before it gave up the claim.
                State::Finalized => {
                    operation.resume().await?;
                    return Ok(());
                }
                State::Nothing | State::RolledBack => match operation.plan().await? {
                    Some(proposal) => Some(operation.apply(&proposal).await?),
                    None => panic!("nothing is pending: {status}"),
                },
                // The server was killed during a rollback. A person would look first.
                State::Paused => Some(operation.rollback().await?),
                other => panic!("stuck at {other:?}: {status}"),
            }
        };
        if let Some(report) = report {
            assert!(report.passed, "{status}\n{report}");
        }
    }
}

/// A write of a user, acknowledged: the first time alone, since it has a key.
async fn write(database: &Database) {
    run(
        database,
        "insert into orders (id, v) values (4, 'd') on conflict do nothing",
    )
    .await;
}

/// A life without a death.
pub(super) async fn live_in_memory(database: &Database, strategy: &str) {
    let upgrade = upgrade(database, strategy, false);
    let operation = tool("ann", database, upgrade, MemoryStore::new()).await;
    live(&operation.unwrap(), database).await.unwrap();
}

/// What a life without a death leads to.
async fn whole(strategy: &str) -> Observation {
    let database = shop().await;
    live_in_memory(&database, strategy).await;
    let whole = observe(&database).await;
    assert_eq!(beside(&database).await.len(), 1);
    // By downs the write stays; by a kept copy it is lost, as `check` says.
    let rows = if strategy == REVERT { 4 } else { 3 };
    assert_eq!(whole.tables["public.orders"].rows, rows);
    whole
}

/// Goes on after a death, and looks at the end.
async fn survive(
    database: &Database,
    strategy: &str,
    store: MemoryStore,
    whole: &Observation,
    how: &str,
) {
    free(database).await;
    let upgrade = upgrade(database, strategy, false);
    let operation = tool("bob", database, upgrade, store).await.unwrap();
    live(&operation, database)
        .await
        .unwrap_or_else(|error| panic!("{strategy}, {how}: {error:?}"));
    is_whole(&operation, database, whole, &format!("{strategy}, {how}")).await;
}

/// The rows of each table: how many, and the sum of their hashes.
fn rows(seen: &Observation) -> Vec<(&str, u64, &str)> {
    let tables = seen.tables.iter();
    let rows = tables.map(|(name, table)| (name.as_str(), table.rows, table.sum.as_str()));
    rows.collect()
}

async fn is_whole(operation: &Operation, database: &Database, whole: &Observation, how: &str) {
    let status = operation.status().await;
    assert_eq!(status.standing.state, State::Finalized, "{how}");
    let seen = observe(database).await;
    assert_eq!(seen.objects, whole.objects, "{how}");
    assert_eq!(rows(&seen), rows(whole), "{how}");
    assert_eq!(release_of(database), "2", "{how}");
    // A copy that was made and not written down is listed, and can be removed.
    for leftover in operation.leftovers().await.unwrap() {
        let mut admin = database.connect_maintenance().await.unwrap();
        let removed = database.remove_leftover(&mut admin, &leftover).await;
        admin.close().await.unwrap();
        removed.unwrap();
    }
    let name = database.name();
    assert_eq!(beside(database).await, [format!("{name} open")], "{how}");
    let mut session = database.connect().await.unwrap();
    let sql = "select count(*) from pg_namespace where nspname = '_upgrade_operation'";
    let claims: i64 = sqlx::query_scalar(sql)
        .fetch_one(&mut session)
        .await
        .unwrap();
    session.close().await.unwrap();
    assert_eq!(claims, 0, "{how}: the claim is still there");
}

#[tokio::test]
async fn a_tool_that_dies_at_any_record_is_followed_by_another_one() {
    for strategy in [SWAP, REVERT] {
        let whole = whole(strategy).await;
        let (mut deaths, mut tried, every) = (0, 0, stride(9));
        loop {
            let database = shop().await;
            let store = MemoryStore::new();
            store.fail_after(deaths);
            let first = upgrade(&database, strategy, false);
            let lived = match tool("ann", &database, first, store.clone()).await {
                Ok(operation) => live(&operation, &database).await,
                Err(error) => Err(error),
            };
            if lived.is_ok() {
                break;
            }
            tried += 1;
            let store = MemoryStore::with(store.bytes());
            survive(
                &database,
                strategy,
                store,
                &whole,
                &format!("dead at record {deaths}"),
            )
            .await;
            deaths += u32::try_from(every).unwrap();
        }
        println!("{strategy}: dead at {tried} of about {deaths} records, 0 wrong");
        assert!(deaths > 60, "{deaths}");
    }
}

#[tokio::test]
async fn a_tool_that_is_dropped_at_any_await_is_followed_by_another_one() {
    for strategy in [SWAP, REVERT] {
        let whole = whole(strategy).await;
        let (mut polls, mut tried) = (1, 0);
        loop {
            let database = shop().await;
            let store = MemoryStore::new();
            let first = upgrade(&database, strategy, false);
            let operation = tool("ann", &database, first, store.clone()).await.unwrap();
            let lived = polled(live(&operation, &database), polls).await;
            if let Some(lived) = lived {
                lived.unwrap();
                break;
            }
            drop(operation);
            tried += 1;
            // What runs in a separate task, such as an undo, ends before the next process begins.
            free(&database).await;
            let store = MemoryStore::with(store.bytes());
            survive(
                &database,
                strategy,
                store,
                &whole,
                &format!("dropped at await {polls}"),
            )
            .await;
            polls += stride(173);
        }
        println!("{strategy}: dropped at {tried} of {polls} awaits, 0 wrong");
        assert!(tried > 3, "{tried}");
    }
}

/// Does nothing but where a test has started it: lives until it is killed.
#[tokio::test]
async fn child() {
    let Ok(told) = env::var(CHILD) else {
        return;
    };
    let told: Vec<&str> = told.split('\n').collect();
    let [path, strategy, socket, port, name, role] = told[..] else {
        panic!("six lines");
    };
    let options = PgConnectOptions::new()
        .socket(socket)
        .port(port.parse().unwrap())
        .username(role);
    let database = Database::new(&options, name);
    let operation = in_file(path, "ann", &database, strategy).await.unwrap();
    live(&operation, &database).await.unwrap();
}

async fn in_file(path: &str, who: &str, database: &Database, strategy: &str) -> Result<Operation> {
    let store = FileStore::open(path)?;
    let journal = Journal::open(
        store,
        database.name(),
        upgrade_core::journal::Actor::new(who),
    )
    .await?;
    let reached = database.clone();
    let upgrade = upgrade(database, strategy, false);
    Ok(
        Operation::new(journal, upgrade, move || with_service(&reached))
            .with_consent(Consent::Everything),
    )
}

#[tokio::test]
async fn a_killed_tool_is_followed_by_another_one() {
    let kills = 2 * (RECORDS / stride(14)) as u64;
    let mut stood = BTreeSet::new();
    for strategy in [SWAP, REVERT] {
        let whole = whole(strategy).await;
        for round in 0..kills / 2 {
            let database = shop().await;
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("shop.journal").display().to_string();
            let told = [
                path.clone(),
                strategy.to_owned(),
                server().socket_dir().display().to_string(),
                as_role("owner").get_port().to_string(),
                database.name().to_owned(),
                "owner".to_owned(),
            ];
            let mut child = Command::new(env::current_exe().unwrap())
                .args(["--exact", "sweep::child"])
                .env(CHILD, told.join("\n"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // From the first record to the last one, and somewhere between it and the next.
            let reached =
                usize::try_from(round).unwrap() * RECORDS / usize::try_from(kills / 2).unwrap();
            let lines = || {
                fs::read_to_string(&path)
                    .unwrap_or_default()
                    .lines()
                    .count()
            };
            while lines() < reached && child.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await; // poll
            }
            tokio::time::sleep(Duration::from_millis(round * 7 % 25)).await; // a moment of the step
            child.kill().unwrap();
            child.wait().unwrap();
            free(&database).await;
            let bytes = fs::read(&path).unwrap_or_default();
            let operation = in_file(&path, "bob", &database, strategy).await.unwrap();
            let status = operation.status().await;
            stood.insert(format!("{:?}", status.standing.state));
            let how = format!(
                "{strategy}, killed with {} bytes of journal\n{status}",
                bytes.len()
            );
            live(&operation, &database)
                .await
                .unwrap_or_else(|error| panic!("{how}: {error:?}"));
            is_whole(&operation, &database, &whole, &how).await;
        }
    }
    println!("killed {kills} times while the operation stood at {stood:?}, 0 wrong");
}

/// Waits until the server has noticed that the sessions of a dead process are over.
async fn free(database: &Database) {
    until("the end of its sessions", || async {
        let cx = UpgradeContext::new("1", "2");
        let environment = environment(database);
        match environment.prepare(&cx).await {
            Ok(()) => {
                environment.teardown(&cx).await.unwrap();
                true
            }
            Err(error) => {
                // Renamed by a swap that is under way, it is not there for a moment.
                let kinds = [ErrorKind::Refused, ErrorKind::NotFound, ErrorKind::Database];
                assert!(kinds.contains(&error.kind()), "{error:?}");
                false
            }
        }
    })
    .await;
}
