//! Requests of users while an upgrade is under way, without any service.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use upgrade_core::finding::Finding;
use upgrade_core::report::Report;
use upgrade_core::{
    Error, ErrorKind, Scenario, Severity, Traffic, UpgradeContext, Verdict, validator_fn,
};

use super::support::Shop;

/// An upgrade under these requests.
async fn under(traffic: Traffic) -> Report {
    let shop = Shop::start().await;
    let case = shop.quickstart();
    shop.go(case, Scenario::Upgrade, |u| u.with_traffic(traffic))
        .await
}

fn of(report: &Report, id: &str) -> Vec<Severity> {
    let all = report.findings.iter().map(|found| &found.finding);
    all.filter(|finding| finding.id == id)
        .map(|finding| finding.severity)
        .collect()
}

#[tokio::test]
async fn good_requests_are_counted_and_not_during_the_baseline() {
    let made = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&made);
    let requests = validator_fn("good", move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok(Verdict::Pass) }
    });
    let report = under(Traffic::new(requests).with_users(3)).await;
    assert!(report.passed, "{report}");
    let seen: u64 = report.traffic.iter().map(|seen| seen.requests).sum();
    assert_eq!(seen, made.load(Ordering::SeqCst));
    assert!(!report.traffic.is_empty());
    assert!(report.traffic.iter().all(|seen| seen.requests >= 3));
    let steps = |id| report.steps.iter().find(|step| step.id == id);
    for seen in &report.traffic {
        let title = &steps(seen.step).expect("a step").title;
        assert!(title == "validate" || title.starts_with("apply"), "{title}");
        assert_ne!(seen.phase, upgrade_core::Phase::Baseline);
    }
}

#[tokio::test]
async fn wrong_answers_and_panics_fail_the_upgrade() {
    let wrong = validator_fn("wrong", |_| async {
        let finding = Finding::error("total", "cart", "is 3, not 4");
        Ok(Verdict::Fail(vec![finding]))
    });
    let report = under(Traffic::new(wrong)).await;
    assert!(!report.passed);
    assert_eq!(of(&report, "traffic/wrong")[0], Severity::Error);
    assert!(report.to_string().contains("is 3, not 4"), "{report}");

    let panics = validator_fn("panics", |_| async {
        let page: Option<Verdict> = "".parse::<u8>().ok().map(|_| Verdict::Pass);
        Ok(page.expect("no such page"))
    });
    let report = under(Traffic::new(panics)).await;
    assert_eq!(of(&report, "traffic/wrong")[0], Severity::Error);
    assert!(report.to_string().contains("no such page"), "{report}");
}

#[tokio::test]
async fn lost_requests_fail_the_upgrade_but_for_as_many_as_may_be() {
    let lost = || {
        validator_fn("lost", |_| async {
            Err::<Verdict, _>(Error::new(ErrorKind::Unavailable, "connection reset"))
        })
    };
    let report = under(Traffic::new(lost()).with_users(1)).await;
    assert!(!report.passed);
    assert_eq!(of(&report, "traffic/lost")[0], Severity::Error);
    assert!(report.to_string().contains("connection reset"), "{report}");

    let report = under(Traffic::new(lost()).with_most_lost(1_000_000)).await;
    assert!(report.passed, "{report}");
    assert_eq!(of(&report, "traffic/lost")[0], Severity::Note);

    let silent = validator_fn("silent", |_| {
        std::future::pending::<upgrade_core::Result<Verdict>>()
    });
    let report = under(Traffic::new(silent).with_lost_after(Duration::from_millis(20))).await;
    assert_eq!(of(&report, "traffic/lost")[0], Severity::Error);
    assert!(report.to_string().contains("no answer in 20ms"), "{report}");
}

#[tokio::test]
async fn slow_requests_are_a_warning() {
    let slow = validator_fn("slow", |_| async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        Ok(Verdict::Pass)
    });
    let report = under(Traffic::new(slow).with_slow_after(Duration::from_millis(10))).await;
    assert!(report.passed, "{report}");
    assert_eq!(of(&report, "traffic/slow")[0], Severity::Warning);
    assert!(
        report
            .traffic
            .iter()
            .all(|seen| seen.slow == seen.requests && seen.median_ms >= 30)
    );
}

/// Severity and help of what is said of the table `counts` after users have done this to it.
async fn said_of_counts(sql: &'static str, declared: bool) -> Vec<(Severity, String)> {
    let shop = Shop::start().await;
    let case = shop.folder(&[
        (
            "1_counts.up.sql",
            "create table counts (id int primary key, n int not null);
             insert into counts select id, 0 from generate_series(1, 3) id;",
        ),
        ("1_counts.down.sql", "drop table counts;"),
        ("2_other.up.sql", "create table other (id int);"),
        ("2_other.down.sql", "drop table other;"),
    ]);
    let requests = validator_fn("counts", move |cx: UpgradeContext| async move {
        let mut connection = cx.connect().await?;
        sqlx::raw_sql(sql).execute(&mut connection).await?;
        Ok(Verdict::Pass)
    });
    let mut traffic = Traffic::new(requests).with_users(1);
    if declared {
        traffic = traffic.with_changes("public.counts", "requests are counted");
    }
    let report = shop
        .go(case, Scenario::Upgrade, |u| u.with_traffic(traffic))
        .await;
    let all = report.findings.iter().map(|found| &found.finding);
    let of_table = all.filter(|finding| finding.subject == "table public.counts");
    of_table
        .map(|finding| (finding.severity, finding.help.clone().unwrap_or_default()))
        .collect()
}

#[tokio::test]
async fn rows_that_requests_change_are_excused_where_that_is_declared() {
    let counts = "update counts set n = n + 1 where id = 1";
    let said = said_of_counts(counts, false).await;
    assert_eq!(said[0].0, Severity::Error);
    let [(severity, help)] = &said_of_counts(counts, true).await[..] else {
        panic!("one finding")
    };
    assert_eq!(*severity, Severity::Note);
    assert_eq!(help, "users change it: requests are counted");

    let loses = "delete from counts where id = 2";
    // The runner then rolls back automatically, and may find it once more.
    let said = said_of_counts(loses, true).await;
    assert!(
        said.iter()
            .any(|(severity, _)| *severity == Severity::Error)
    );
}
