//! Random kills of the tool and of the database's server while users write: nothing that was acknowledged
//! is lost, and the upgrade comes to its end.

use std::collections::BTreeSet;
use std::env;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, Executor as _, PgConnection};
use upgrade_core::journal::{Standing, State, verify};
use upgrade_core::postgres::Database;
use upgrade_core::postgres::server::{
    Found, LocalServer, Profile, ProviderOptions, ServerOptions, ServerRequirement, discover,
};

use super::journal::{REVERT, observe};
use super::support::run;
use super::sweep::{CHILD, live_in_memory};

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

async fn server() -> LocalServer {
    let options = ProviderOptions::from_env().unwrap();
    let Found::Binaries(binaries) = discover(&ServerRequirement::any(), &options).unwrap() else {
        panic!("these tests start their own server: unset UPGRADE_PG_URL");
    };
    let options = ServerOptions::new(Profile::Killable);
    LocalServer::start(&binaries, options).await.unwrap()
}

/// The orders of the previous release, and a ledger in which users write all the time.
async fn database(server: &LocalServer, name: &str) -> Database {
    let maintenance = Database::new(&server.connect_options(), "postgres");
    run(&maintenance, &format!("create database {name}")).await;
    let database = Database::new(&server.connect_options(), name);
    let sql = "create table orders (id int primary key, v text); \
         insert into orders values (1, 'a'), (2, 'b'), (3, 'c'); \
         create table ledger (id bigint primary key)";
    run(&database, sql).await;
    database
}

/// Writes until it is stopped, and notes what was acknowledged. A server that is killed, or a database
/// that is closed to connections, is tried again.
async fn writer(database: Database, acknowledged: Arc<Mutex<Vec<i64>>>) {
    let mut session: Option<PgConnection> = None;
    for id in 0_i64.. {
        let connection = match &mut session {
            Some(connection) => connection,
            None => match database.connect().await {
                Ok(connection) => session.insert(connection),
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(20)).await; // poll
                    continue;
                }
            },
        };
        let insert = sqlx::query("insert into ledger values ($1)").bind(id);
        match connection.execute(insert).await {
            Ok(_) => acknowledged.lock().unwrap().push(id),
            Err(_) => session = None,
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // the pace of a user
    }
}

fn spawn(server: &LocalServer, name: &str, journal: &str) -> Child {
    let options = server.connect_options();
    let told = [
        journal.to_owned(),
        REVERT.to_owned(),
        server.socket_dir().display().to_string(),
        options.get_port().to_string(),
        name.to_owned(),
        options.get_username().to_owned(),
    ];
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "sweep::child"])
        .env(CHILD, told.join("\n"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn state(journal: &str) -> State {
    // Killed in the middle of a line, the journal ends with a part of it.
    let bytes = std::fs::read(journal).unwrap_or_default();
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    Standing::of(verify(&bytes[..whole]).unwrap().records()).state
}

/// `UPGRADE_KILLS` says how many kills; `UPGRADE_SEED` at which moments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_by_kills_of_the_tool_and_of_the_server() {
    let number = |name: &str, usual| env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (wanted, seed) = (number("UPGRADE_KILLS", 12), number("UPGRADE_SEED", 1));
    let mut dice = Dice(seed);
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let whole = {
        let database = database(&server, "whole").await;
        live_in_memory(&database, REVERT).await;
        observe(&database).await
    };
    let begun = Instant::now();
    let (mut tools, mut servers, mut lives, mut written) = (0, 0, 0, 0);
    while tools + servers < wanted {
        let name = format!("life{lives}");
        let database = database(&server, &name).await;
        let journal = folder.path().join(&name).display().to_string();
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let users = tokio::spawn(writer(database.clone(), Arc::clone(&acknowledged)));
        let mut processes = 0;
        while state(&journal) != State::Finalized {
            processes += 1;
            assert!(processes < 200, "stuck at {:?}", state(&journal));
            let mut tool = spawn(&server, &name, &journal);
            let moment = Instant::now() + Duration::from_millis(50 + dice.below(1_500));
            while Instant::now() < moment && tool.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await; // poll
            }
            if tool.try_wait().unwrap().is_some() || tools + servers >= wanted {
                // It came to its end, or saw that the server was killed under the one before it.
                tokio::task::block_in_place(|| tool.wait()).unwrap();
                continue;
            }
            if dice.below(4) == 0 {
                servers += 1;
                server.kill().await.unwrap();
                server.restart().await.unwrap();
                // It notices, and has to end without another kill.
                tokio::task::block_in_place(|| tool.wait()).unwrap();
            } else {
                tools += 1;
                tool.kill().unwrap();
                tool.wait().unwrap();
            }
        }
        users.abort();
        users.await.unwrap_err();
        let acknowledged: BTreeSet<i64> = acknowledged.lock().unwrap().iter().copied().collect();
        let mut session = database.connect().await.unwrap();
        let there: Vec<i64> = sqlx::query_scalar("select id from ledger")
            .fetch_all(&mut session)
            .await
            .unwrap();
        session.close().await.unwrap();
        let there: BTreeSet<i64> = there.into_iter().collect();
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert!(
            lost.is_empty(),
            "{lost:?} of {} are lost",
            acknowledged.len()
        );
        assert_eq!(observe(&database).await.objects, whole.objects);
        written += acknowledged.len();
        lives += 1;
    }
    println!(
        "seed {seed}: {tools} kills of the tool, {servers} of the server, in {lives} lives and {:?}: stuck 0, \
         wrong 0, lost 0 of {written} writes",
        begun.elapsed()
    );
}
