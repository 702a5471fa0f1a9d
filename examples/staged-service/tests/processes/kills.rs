//! The system as processes on one machine, upgraded by a tool that is killed at random moments, as the
//! services and the server of the database are: no order that was acknowledged is lost, none is worked
//! on twice, and each life comes to its end.
//!
//! The life of an operation is apply, rollback, apply, finalize, under users who place orders all the time.

use std::collections::BTreeSet;
use std::env;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use upgrade_core::environment::{At, Services as _};
use upgrade_core::journal::{Entry, Record, Standing, State};
use upgrade_core::observation::Scope;
use upgrade_core::operation::Act;
use upgrade_core::{Environment as _, Result, UpgradeContext, Version};

use super::machine::{GOOD, Machine, Running, TOOL, machine, server};

/// The same numbers for the same seed (splitmix64).
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

/// Does nothing but where a test has started it: lives until it is killed.
#[tokio::test]
async fn tool() {
    if let Ok(told) = env::var(TOOL) {
        live(&Machine::read(&told)).await.unwrap();
    }
}

fn has_rolled_back(history: &[Record]) -> bool {
    let standing_at = |end: usize| Standing::of(&history[..end]).state;
    let done = |record: &Record| matches!(record.entry, Entry::Done { .. });
    (1..=history.len())
        .filter(|end| done(&history[end - 1]))
        .any(|end| standing_at(end) == State::RolledBack)
}

async fn live(machine: &Machine) -> Result<()> {
    let operation = machine.operation().await?;
    loop {
        let status = operation.status().await;
        let report = if status.acts.contains(&Act::Resume) {
            operation.resume().await?
        } else {
            match status.standing.state {
                State::Soaking if has_rolled_back(&operation.history().await) => {
                    Some(operation.finalize().await?)
                }
                // The server was killed during a rollback. A person would look first.
                State::Soaking | State::Paused => Some(operation.rollback().await?),
                State::Finalized => return operation.close().await.map(drop),
                State::Nothing | State::RolledBack => {
                    let proposal = operation.plan().await?.unwrap();
                    Some(operation.apply(&proposal).await?)
                }
                State::Applying => Some(operation.rollback().await?),
                other => panic!("stuck at {other:?}: {status}"),
            }
        };
        if let Some(report) = report.filter(|report| !report.passed) {
            let back = report
                .steps
                .iter()
                .any(|step| step.title.contains("roll back"));
            assert!(back, "{status}\n{report}");
        }
    }
}

async fn ask(session: &mut PgConnection, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(session).await.unwrap()
}

/// Places orders until it is stopped, and notes what was acknowledged. One that is not is placed again.
async fn user(machine: Machine, user: u32, acknowledged: Arc<Mutex<BTreeSet<String>>>) {
    let http = reqwest::Client::builder().no_proxy();
    let http = http.timeout(Duration::from_secs(5)).build().unwrap();
    for number in 0.. {
        let id = format!("user{user}-{number:06}");
        let url = format!("http://{}/v1/orders/{id}", machine.listen);
        let order = format!(
            r#"{{"id":"{id}","customer":"c{number}","total":"{}.50","labels":{{"channel":"web"}}}}"#,
            number % 97
        );
        loop {
            let put = http.put(&url).header("content-type", "application/json");
            let answer = put.body(order.clone()).send().await;
            tokio::time::sleep(Duration::from_millis(10)).await; // the pace of a user
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                acknowledged.lock().unwrap().insert(id);
                break;
            }
        }
    }
}

/// The objects of the schema.
async fn schema(machine: &Machine) -> impl PartialEq + std::fmt::Debug + use<> {
    let cx = UpgradeContext::new("1", "2");
    let environment = machine.environment();
    environment.prepare(&cx).await.unwrap();
    let seen = environment.observe(&cx, &At::Live, &Scope::Schema).await;
    environment.teardown(&cx).await.unwrap();
    seen.unwrap().objects
}

/// `UPGRADE_KILLS` says how many kills; `UPGRADE_SEED` at which moments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_by_kills_of_tool_services_and_server() {
    let number = |name: &str, usual| env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (wanted, seed) = (number("UPGRADE_KILLS", 10), number("UPGRADE_SEED", 1));
    let mut dice = Dice(seed);
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let whole = {
        let machine = machine(&server, folder.path(), "whole", GOOD).await;
        let _services = Running(machine.folder.clone());
        live(&machine).await.unwrap();
        schema(&machine).await
    };
    let begun = Instant::now();
    let (mut tools, mut services, mut servers) = (0, 0, 0);
    let (mut lives, mut placed) = (0, 0);
    while tools + services + servers < wanted {
        let machine = machine(&server, folder.path(), &format!("life{lives}"), GOOD).await;
        let _services = Running(machine.folder.clone());
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let users: Vec<_> = (0..3)
            .map(|number| tokio::spawn(user(machine.clone(), number, Arc::clone(&acknowledged))))
            .collect();
        let mut processes = 0;
        while machine.stands() != State::Finalized {
            processes += 1;
            let said = || std::fs::read_to_string(machine.folder.join("tool.log")).unwrap();
            assert!(
                processes < 300,
                "stuck at {:?}\n{}",
                machine.stands(),
                said()
            );
            let mut tool = machine.spawn_tool();
            loop {
                let moment = Instant::now() + Duration::from_millis(20 + dice.below(1_200));
                while Instant::now() < moment && tool.try_wait().unwrap().is_none() {
                    tokio::time::sleep(Duration::from_millis(5)).await; // poll
                }
                if tool.try_wait().unwrap().is_some() {
                    break;
                }
                if tools + services + servers >= wanted {
                    tokio::task::block_in_place(|| tool.wait()).unwrap();
                    break;
                }
                match dice.below(8) {
                    0..5 => {
                        tools += 1;
                        tool.kill().unwrap();
                        tool.wait().unwrap();
                        break;
                    }
                    which @ 5..7 => {
                        services += 1;
                        machine.kill(if which == 5 { "api" } else { "worker" });
                    }
                    _ => {
                        servers += 1;
                        server.kill().await.unwrap();
                        server.restart().await.unwrap();
                    }
                }
            }
        }
        for user in users {
            user.abort();
            user.await.unwrap_err();
        }
        let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
        let mut session = machine.database().connect().await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !ask(&mut session, "select order_id from outbox")
            .await
            .is_empty()
        {
            assert!(Instant::now() < deadline, "the worker does not work");
            tokio::time::sleep(Duration::from_millis(20)).await; // poll
        }
        let there: BTreeSet<String> = ask(&mut session, "select id from orders")
            .await
            .into_iter()
            .collect();
        let done: BTreeSet<String> = ask(&mut session, "select order_id from receipts")
            .await
            .into_iter()
            .collect();
        let twice = ask(
            &mut session,
            "select order_id from receipts where times > 1",
        )
        .await;
        let wrong = ask(
            &mut session,
            "select id from orders where total_cents is distinct from round(total * 100) or channel is distinct from 'web'",
        );
        let wrong = wrong.await;
        session.close().await.unwrap();
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert!(
            lost.is_empty(),
            "{lost:?} of {} are lost",
            acknowledged.len()
        );
        assert_eq!((&done, twice.len(), wrong.len()), (&there, 0, 0));
        assert_eq!(schema(&machine).await, whole);
        let cx = UpgradeContext::new("1", "2");
        let running = machine.services().running(&cx).await.unwrap();
        let new = Some(Version::new("2"));
        assert!(
            running.values().all(|release| *release == new),
            "{running:?}"
        );
        placed += acknowledged.len();
        lives += 1;
    }
    println!(
        "seed {seed}: {tools} kills of the tool, {services} of services, {servers} of the server, in {lives} \
         lives and {:?}: stuck 0, wrong 0, lost 0 of {placed} orders",
        begun.elapsed()
    );
}
