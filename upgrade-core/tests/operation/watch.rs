//! A new release is watched: it may stay, a person is asked, or it is rolled back.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use upgrade_core::event::EventRecord;
use upgrade_core::journal::{Actor, Journal, MemoryStore, State};
use upgrade_core::operation::{Act, Attestation, Consent, Operation};
use upgrade_core::postgres::Database;
use upgrade_core::report::StepOutcome;
use upgrade_core::watch::{Checks, Condition, Limit, Rule, WatchPolicy};
use upgrade_core::{
    Error, ErrorKind, Event, Finding, Report, UpgradeContext, Verdict, validator_fn,
};

use super::journal::{REVERT, observe, release_of, upgrade, with_service};
use super::life::{proposed, state};
use super::support::{run, shop};

/// What the check sees.
#[derive(Debug, Clone, Default)]
struct Health(Arc<AtomicU8>);

const GOOD: u8 = 0;
const BAD: u8 = 1;
const UNKNOWN: u8 = 2;
const BROKEN: u8 = 3;
const WARNED: u8 = 4;

impl Health {
    fn turns(&self, now: u8) {
        self.0.store(now, Ordering::SeqCst);
    }

    fn seen(&self) -> upgrade_core::Result<Verdict> {
        match self.0.load(Ordering::SeqCst) {
            GOOD => Ok(Verdict::Pass),
            BAD => {
                let finding = Finding::error("team/errors", "the API", "9 of 10 requests fail");
                Ok(Verdict::Fail(vec![finding]))
            }
            WARNED => {
                let finding = Finding::warning("team/slow", "the API", "answers slowly");
                Ok(Verdict::Fail(vec![finding]))
            }
            UNKNOWN => Ok(Verdict::Inconclusive("no request was made".to_owned())),
            _ => Err(Error::new(
                ErrorKind::Unavailable,
                "the monitor does not answer",
            )),
        }
    }
}

async fn operation(database: &Database, health: &Health) -> Operation {
    let journal = Journal::open(MemoryStore::new(), database.name(), Actor::new("ann"));
    let (reached, health) = (database.clone(), health.clone());
    let served = database.clone();
    let check = move |_: UpgradeContext| {
        // It is the new release that turns bad.
        let seen = match release_of(&served).as_str() {
            "1" => Ok(Verdict::Pass),
            _ => health.seen(),
        };
        async move { seen }
    };
    let upgrade =
        upgrade(database, REVERT, false).with_validator(validator_fn("few errors", check));
    Operation::new(journal.await.unwrap(), upgrade, move || {
        with_service(&reached)
    })
}

/// Rolls back at the third failure of five, and asks at the second answer that says nothing.
fn policy() -> WatchPolicy {
    let mut policy = WatchPolicy::new(Duration::from_millis(400), Duration::from_millis(20));
    policy.rules = vec![
        Rule::RollBack {
            checks: Checks::All,
            failed: Limit::new(3, 5),
        },
        Rule::Ask {
            checks: Checks::All,
            on: Condition::Inconclusive(Limit::new(2, 3)),
        },
        Rule::Ask {
            checks: Checks::All,
            on: Condition::Error(Limit::new(2, 3)),
        },
    ];
    policy
}

async fn applied(health: &Health) -> (Database, Operation) {
    let database = shop().await;
    let operation = operation(&database, health).await;
    assert!(
        operation
            .apply(&proposed(&operation).await)
            .await
            .unwrap()
            .passed
    );
    (database, operation)
}

/// How the watch ended.
fn outcome(report: &Report) -> &StepOutcome {
    let watch = report
        .steps
        .iter()
        .find(|step| step.title.starts_with("watch"));
    &watch.unwrap().outcome
}

#[tokio::test]
async fn a_good_release_stays_and_can_be_watched_again() {
    let health = Health::default();
    let (database, operation) = applied(&health).await;
    // A warning is no failure, here as elsewhere.
    for how in [GOOD, WARNED] {
        health.turns(how);
        let report = operation.watch(&policy()).await.unwrap();
        assert!(report.passed && report.rollbacks.is_empty(), "{report}");
    }
    assert_eq!(release_of(&database), "2");
    assert!(operation.finalize().await.unwrap().passed);
    let error = operation.watch(&policy()).await.unwrap_err();
    assert!(error.to_string().contains("nothing to watch"), "{error}");
}

#[tokio::test]
async fn a_release_that_fails_is_rolled_back_with_its_time_in_four_parts() {
    let health = Health::default();
    let (database, operation) = applied(&health).await;
    health.turns(BAD);
    let report = operation.watch(&policy()).await.unwrap();
    assert!(!report.passed, "{report}");
    let found = &report.findings[0].finding;
    assert_eq!(found.id, "watch/failed");
    assert!(
        found
            .message
            .contains("`few errors` failed the last 3 times"),
        "{}",
        found.message
    );
    assert!(
        found.message.contains("9 of 10 requests fail"),
        "{}",
        found.message
    );
    let rollback = &report.rollbacks[0];
    assert!(rollback.automatic && rollback.confirmed, "{report}");
    // From the first of three failures, not from the beginning of the watch.
    assert!((40..10_000).contains(&rollback.detect_ms), "{report}");
    assert_eq!(release_of(&database), "1");
    assert_eq!(state(&operation).await.0, State::RolledBack);
}

#[tokio::test]
async fn what_says_nothing_asks_and_never_rolls_back() {
    for (how, said) in [
        (UNKNOWN, "no request was made"),
        (BROKEN, "the monitor does not answer"),
    ] {
        let health = Health::default();
        let (database, operation) = applied(&health).await;
        health.turns(how);
        let report = operation.watch(&policy()).await.unwrap();
        assert!(!report.passed && report.rollbacks.is_empty(), "{report}");
        assert!(
            matches!(outcome(&report), StepOutcome::Inconclusive(why) if why.contains(said)),
            "{report}"
        );
        let soaking = (State::Soaking, vec![Act::RollBack, Act::Finalize]);
        assert_eq!(state(&operation).await, soaking);
        assert_eq!(release_of(&database), "2");
    }
}

#[tokio::test]
async fn a_service_that_does_not_run_the_new_release_is_seen() {
    let (database, operation) = applied(&Health::default()).await;
    // Somebody has started the old release, by hand.
    let cx = UpgradeContext::new("1", "2");
    let environment = with_service(&database);
    let services = upgrade_core::Environment::services(&environment).unwrap();
    let _ = services
        .replace(&cx, &"1".into())
        .await
        .unwrap()
        .into_result()
        .unwrap();
    let report = operation.watch(&policy()).await.unwrap();
    let found = &report.findings[0].finding;
    assert!(
        found.message.contains("service `api` runs 1, not 2"),
        "{}",
        found.message
    );
    assert!(report.rollbacks[0].confirmed, "{report}");
}

#[tokio::test]
async fn a_rollback_that_loses_what_nobody_agreed_to_waits_for_a_person() {
    let health = Health::default();
    let (database, operation) = applied(&health).await;
    run(
        &database,
        "update orders set note = 'call first' where id = 1",
    )
    .await;
    let before = observe(&database).await;
    health.turns(BAD);
    let report = operation.watch(&policy()).await.unwrap();
    let ids: Vec<&str> = report
        .findings
        .iter()
        .map(|found| found.finding.id.as_str())
        .collect();
    assert!(
        ids.contains(&"rollback/unsafe") && report.rollbacks.is_empty(),
        "{report}"
    );
    assert_eq!(observe(&database).await, before);
    assert_eq!(release_of(&database), "2");
    let soaking = (State::Soaking, vec![Act::RollBack, Act::Finalize]);
    assert_eq!(state(&operation).await, soaking);
    let refused = operation.rollback().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    let operation = operation.with_consent(Consent::to(["column public.orders.note"]));
    health.turns(GOOD);
    let report = operation.rollback().await.unwrap();
    assert!(report.passed, "{report}");
    assert_eq!(release_of(&database), "1");
}

#[tokio::test]
async fn a_watch_that_is_cancelled_changes_nothing() {
    let health = Health::default();
    let (database, operation) = applied(&health).await;
    let token = CancellationToken::new();
    let operation = operation.with_cancellation(token.clone());
    let mut long = policy();
    long.for_ms = 3_600_000;
    let (report, ()) = tokio::join!(operation.watch(&long), async {
        tokio::time::sleep(Duration::from_millis(200)).await; // some rounds
        token.cancel();
    });
    let report = report.unwrap();
    assert!(
        matches!(outcome(&report), StepOutcome::Inconclusive(why) if why.contains("ended before"))
    );
    assert_eq!(state(&operation).await.0, State::Soaking);
    assert_eq!(release_of(&database), "2");
}

#[tokio::test]
async fn how_long_a_rollback_would_take_is_told_while_the_data_grows() {
    let health = Health::default();
    let database = shop().await;
    let tool = operation(&database, &health)
        .await
        .with_consent(Consent::Everything);
    let mut reports = Vec::new();
    for megabytes in [0, 15, 45] {
        let ballast = format!(
            "drop table if exists ballast; create table ballast as \
             select i, repeat(md5(i::text), 30) as t from generate_series(1, {megabytes} * 1000) i"
        );
        run(&database, &ballast).await;
        reports.push(tool.apply(&proposed(&tool).await).await.unwrap());
        reports.push(tool.rollback().await.unwrap());
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let tool = tool
        .with_attestation(Attestation::of(&reports).unwrap(), [])
        .with_sink(move |record: &EventRecord| {
            if let Event::RollbackPredicted { estimate } = &record.event {
                heard.lock().unwrap().push(estimate.clone());
            }
        });
    tool.apply(&proposed(&tool).await).await.unwrap();
    assert!(tool.watch(&policy()).await.unwrap().passed);
    let small = told.lock().unwrap().last().cloned().unwrap();
    // The longest that a failure can last before the third one of the policy.
    assert_eq!(small.detect_ms, 60);
    run(
        &database,
        "insert into ballast select i, repeat(md5(i::text), 30) from generate_series(1, 90000) i",
    )
    .await;
    assert!(tool.watch(&policy()).await.unwrap().passed);
    let large = told.lock().unwrap().last().cloned().unwrap();
    assert!(large.bytes > 2 * small.bytes, "{small}\n{large}");
    assert!(large.total_ms() > small.total_ms(), "{small}\n{large}");
}
