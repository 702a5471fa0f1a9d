//! Findings of a real run: what they say, and whom they blame.

use upgrade_core::{Finding, Report, Scenario};

use crate::support::Shop;

fn find<'a>(report: &'a Report, id: &str) -> &'a Finding {
    let mut all = report.findings.iter().map(|found| &found.finding);
    all.find(|finding| finding.id == id)
        .unwrap_or_else(|| panic!("no {id}: {report}"))
}

#[tokio::test]
async fn a_down_is_blamed_with_its_file_and_the_fact_that_it_forgets() {
    let shop = Shop::start().await;
    let folder = shop.folder(&[
        (
            "1_t.up.sql",
            "create table t (id int primary key, a text); \
             comment on column t.a is 'net'; create index t_a on t (a);",
        ),
        ("1_t.down.sql", "drop table t;"),
        ("2_u.up.sql", "create table u (id int primary key);"),
        ("2_u.down.sql", "drop table u;"),
        ("3_a.up.sql", "alter table t drop column a;"),
        ("3_a.down.sql", "alter table t add column a text;"),
    ]);
    let report = shop.run(folder, Scenario::RoundTrip).await;
    let index = find(&report, "down/schema-differs");
    let blame = index.blames.as_ref().expect("one migration was reverted");
    assert_eq!(
        blame.to_string(),
        "migration 3_a (3_a.down.sql)",
        "{report}"
    );
    let said: Vec<String> = report
        .findings
        .iter()
        .map(|found| format!("{}: {}", found.finding.subject, found.finding.message))
        .collect();
    for expected in [
        "column public.t.a: has lost its comment, `net`",
        "index public.t_a: is missing",
    ] {
        let times = said.iter().filter(|said| *said == expected).count();
        assert_eq!(times, 2, "alone and in the whole set: {said:?}");
    }
    let text = report.to_string();
    assert_eq!(
        text.matches("index public.t_a: is missing").count(),
        1,
        "{text}"
    );
    assert!(text.contains("  in 2 attempts (steps "), "{text}");
    assert!(text.contains("  help: make the down undo"), "{text}");
}

#[tokio::test]
async fn a_table_that_a_down_forgets_is_one_finding() {
    let shop = Shop::start().await;
    let folder = shop.folder(&[
        ("1_t.up.sql", "create table t (id int primary key);"),
        ("1_t.down.sql", "drop table t;"),
        (
            "2_u.up.sql",
            "create table u (id int primary key, a text); create index u_a on u (a);",
        ),
        ("2_u.down.sql", "alter table u rename to v;"),
    ]);
    let report = shop.run(folder, Scenario::RoundTrip).await;
    let table = find(&report, "down/schema-differs");
    assert_eq!(
        table.to_string(),
        "error[down/schema-differs] table public.v: was not there before, with column \
         public.v.a, column public.v.id, constraint public.v / u_pkey, index public.u_a and 1 more",
        "{report}"
    );
    let evidence = table.evidence.as_deref().unwrap_or_default();
    assert!(
        evidence.ends_with("with index public.u_pkey\n"),
        "{evidence}"
    );
}

#[tokio::test]
async fn sql_that_fails_is_blamed_on_its_file() {
    let shop = Shop::start().await;
    let folder = shop.folder(&[
        ("1_t.sql", "create table t (id int primary key);"),
        ("2_bad.sql", "select nonsense;"),
    ]);
    let report = shop.run(folder, Scenario::Upgrade).await;
    let failed = find(&report, "up/failed");
    let blame = failed.blames.as_ref().expect("it is the one that ran");
    assert_eq!(blame.to_string(), "migration 2_bad (2_bad.sql)");
}
