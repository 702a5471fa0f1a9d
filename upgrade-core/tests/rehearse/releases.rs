//! Earlier releases, directly and one after the other.

use upgrade_core::{Finding, Verdict};
use upgrade_core::{Report, Scenario, UpgradeContext, Validator, Writes, validator_fn, writes_fn};

use crate::support::{Shop, findings};

const CUSTOMERS: &str = "create table customers (id serial primary key, name text);";
const REGION: &str = "alter table customers add region text;";

/// A customer signs up at each release; from the second on, a job fills in where they live.
fn users() -> Writes {
    let write = |cx: UpgradeContext| async move {
        let mut connection = cx.connect().await?;
        let job = "insert into customers (name) values ('Ada');
            do $$ begin
                if exists (select from pg_attribute where attrelid = 'customers'::regclass
                           and attname = 'region') then
                    update customers set region = 'unknown' where region is null;
                end if;
            end $$";
        sqlx::raw_sql(job).execute(&mut connection).await?;
        Ok(())
    };
    writes_fn("users", write).at_any_release()
}

async fn run(shop: &Shop, last: &str, validator: impl Validator) -> Report {
    let files = [
        ("1_customers.sql", CUSTOMERS),
        ("2_region.sql", REGION),
        ("3_last.sql", last),
    ];
    let case = shop.folder(&files).released(2);
    shop.go(case, Scenario::SkipRelease, |upgrade| {
        upgrade.with_writes(users()).with_validator(validator)
    })
    .await
}

fn content() -> impl Validator {
    validator_fn("content", |_| async { Ok(Verdict::Pass) })
}

/// In which attempts something fails.
fn failed_in(report: &Report) -> Vec<u32> {
    let steps = report.steps.iter();
    let mut attempts: Vec<u32> = steps
        .filter(|step| step.outcome == upgrade_core::report::StepOutcome::Failed)
        .map(|step| step.attempt)
        .collect();
    attempts.dedup();
    attempts
}

// The first attempt goes to the head, the second from the first release directly, the third by way
// of the second release, the fourth from the second release.

#[tokio::test]
async fn a_migration_that_looks_at_the_rows_leads_elsewhere_where_a_job_never_ran() {
    let shop = Shop::start().await;
    let careful = "do $$ begin
        if not exists (select from customers where region is null) then
            alter table customers alter region set not null;
        end if;
    end $$;";
    let report = run(&shop, careful, content()).await;
    assert_eq!(
        findings(&report),
        [(
            "order/release-path-differs",
            "column public.customers.region"
        )],
        "{report}"
    );
    assert_eq!(failed_in(&report), [2], "{report}");

    let mended = "update customers set region = 'unknown' where region is null;
        alter table customers alter region set not null;";
    let report = run(&shop, mended, content()).await;
    assert!(report.passed, "{report}");
}

#[tokio::test]
async fn rows_of_a_release_on_the_way_are_followed_to_the_head() {
    let shop = Shop::start().await;
    let losing = "delete from customers where region = 'unknown';";
    let report = run(&shop, losing, content()).await;
    assert_eq!(
        findings(&report),
        [("up/rows-lost", "table public.customers")],
        "{report}"
    );
    assert_eq!(failed_in(&report), [3, 4], "{report}");
}

#[tokio::test]
async fn validators_are_asked_at_the_end_of_each_path() {
    let shop = Shop::start().await;
    let one_customer = validator_fn("loners", |cx: UpgradeContext| async move {
        let mut connection = cx.connect().await?;
        let count: i64 = sqlx::query_scalar("select count(*) from customers where name = 'Ada'")
            .fetch_one(&mut connection)
            .await?;
        let message = format!("{count} customers");
        Ok(Verdict::from_findings(if count > 1 {
            vec![Finding::error("too-many", "customers", message)]
        } else {
            Vec::new()
        }))
    });
    let report = run(&shop, "create table other (id int);", one_customer).await;
    assert_eq!(findings(&report), [("too-many", "customers")], "{report}");
    // Only by way of the second release there are two of them.
    assert_eq!(failed_in(&report), [3], "{report}");
    let asked = |attempt| {
        let mut steps = report.steps.iter();
        steps.any(|step| step.attempt == attempt && step.title == "validate")
    };
    assert!(asked(2) && asked(4), "{report}");
}
