//! Bad releases, which a policy rolls back while users work with them.

use std::time::{Duration, Instant};

use reqwest::Client;
use upgrade_core::environment::Services as _;
use upgrade_core::journal::State;
use upgrade_core::watch::{Checks, Limit, Rule, WatchPolicy};
use upgrade_core::{
    Error, ErrorKind, Finding, Result, UpgradeContext, Verdict, Version, validator_fn,
};

use super::machine::{Running, machine, server};

/// How long an answer may take.
const QUICK: Duration = Duration::from_millis(400);

const ORDER: &str = r#"{"id":"probe","customer":"c","total":"1.50","labels":{"channel":"web"}}"#;

/// Rolls back when a check fails three times of five, each a fifth of a second after the other.
fn policy() -> WatchPolicy {
    let mut policy = WatchPolicy::new(Duration::from_secs(60), Duration::from_millis(200));
    policy.rules = vec![Rule::RollBack {
        checks: Checks::All,
        failed: Limit::new(3, 5),
    }];
    policy
}

/// Places an order, and reads it again.
async fn order(http: Client, url: String) -> Result<Verdict> {
    let failed = |what: String| {
        Ok(Verdict::Fail(vec![Finding::error(
            "team/orders",
            "orders",
            what,
        )]))
    };
    let begun = Instant::now();
    let put = http.put(&url).header("content-type", "application/json");
    let answers = [put.body(ORDER).send().await, http.get(&url).send().await];
    let took = begun.elapsed();
    let mut last = String::new();
    for answer in answers {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return failed(format!("no answer: {error}")),
        };
        let status = answer.status();
        if !status.is_success() {
            return failed(format!("answered with {status}"));
        }
        last = answer.text().await.map_err(|source| {
            Error::new(ErrorKind::Unavailable, "the answer broke off").with_source(source)
        })?;
    }
    if last != ORDER {
        return failed(format!("the order is read as {last}"));
    }
    match took > QUICK {
        true => failed(format!("took {took:?}")),
        false => Ok(Verdict::Pass),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_releases_are_rolled_back_in_seconds() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    println!("release        detect  decide     act  verify  in ms");
    for (at, how, seen) in [
        (0, "errors", "500 Internal Server Error"),
        (1, "slow", "took "),
        (2, "wrong answers", "the order is read as {}"),
        (3, "crash loop", "no "),
    ] {
        let bad = env!("CARGO_BIN_EXE_orders-bad");
        let mut machine = machine(&server, folder.path(), &format!("bad{at}"), bad).await;
        machine.bad = how.to_owned();
        let _services = Running(machine.folder.clone());
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(5));
        let (http, url) = (
            http.build().unwrap(),
            format!("http://{}/v1/orders/probe", machine.listen),
        );
        let check = validator_fn("orders are placed and read", move |_: UpgradeContext| {
            order(http.clone(), url.clone())
        });
        let operation = machine.operation_with(|upgrade| upgrade.with_validator(check));
        let operation = operation.await.unwrap();
        let proposal = operation.plan().await.unwrap().unwrap();
        let report = operation.apply(&proposal).await.unwrap();
        assert!(report.passed, "{report}");
        // As it is with a leak, or at the hour at which everybody comes.
        std::fs::write(machine.folder.join("bad"), "").unwrap();
        let report = operation.watch(&policy()).await.unwrap();
        let found = &report.findings[0].finding;
        assert!(
            found.id == "watch/failed" && found.message.contains(seen),
            "{report}"
        );
        let rollback = &report.rollbacks[0];
        assert!(rollback.automatic && rollback.confirmed, "{how}: {report}");
        assert_eq!(operation.status().await.standing.state, State::RolledBack);
        let running = machine
            .services()
            .running(&UpgradeContext::new("1", "2"))
            .await
            .unwrap();
        let old = Some(Version::new("1"));
        assert!(
            running.values().all(|release| *release == old),
            "{running:?}"
        );
        println!(
            "{how:<13}  {:>6}  {:>6}  {:>6}  {:>6}",
            rollback.detect_ms, rollback.decide_ms, rollback.act_ms, rollback.verify_ms
        );
    }
}
