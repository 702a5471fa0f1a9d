//! Looks that are not taken twice, and the sessions that are kept for them.

use upgrade_core::{Result, Scenario, Severity, UpgradeContext, validator_fn};

use super::support::{Shop, findings};

async fn run(cx: UpgradeContext, sql: &'static str) -> Result<()> {
    let mut session = cx.connect().await?;
    sqlx::raw_sql(sql).execute(&mut session).await?;
    Ok(())
}

#[tokio::test]
async fn what_changes_between_two_looks_is_seen() {
    let shop = Shop::start().await;
    // The plan observes, validates, and compares without any migration in between.
    for (sql, changed) in [
        (
            "insert into customers (email, full_name) values (gen_random_uuid()::text, 'Ada')",
            "table public.customers",
        ),
        (
            "create table if not exists orphans (id int)",
            "table public.orphans",
        ),
    ] {
        let case = shop.quickstart();
        let writes = validator_fn("users go on", move |cx| run(cx, sql));
        let report = shop
            .go(case, Scenario::Control, |u| u.with_validator(writes))
            .await;
        let found = findings(&report);
        assert!(
            found.iter().any(|(_, subject)| *subject == changed),
            "{report}"
        );
    }
}

#[tokio::test]
async fn sessions_that_somebody_ends_are_opened_again() {
    let shop = Shop::start().await;
    let ends = validator_fn("nobody stays connected", |cx| {
        run(
            cx,
            "select pg_terminate_backend(pid) from pg_stat_activity
            where backend_type = 'client backend' and pid <> pg_backend_pid()",
        )
    });
    let case = shop.quickstart();
    let report = shop
        .go(case, Scenario::RoundTrip, |u| u.with_validator(ends))
        .await;
    assert!(report.passed, "{report}");
    assert_eq!(report.findings_of(Severity::Error).count(), 0, "{report}");
}
