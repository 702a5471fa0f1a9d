//! What users of the new release wrote, followed through the rollback.

use upgrade_core::report::FoundIn;
use upgrade_core::{Finding, Report, Scenario, Severity, UpgradeContext, Writes, writes_fn};

use crate::support::{Shop, findings};

const T: &str = "create table t (id serial primary key, a text not null);
    insert into t (a) values ('x'), ('y'); create table log (line text); insert into log values ('made');";

/// Users who run this SQL at the new release, and add a row at the old one.
fn users(sql: &'static str) -> Writes {
    writes_fn("users", move |cx: UpgradeContext| async move {
        let sql = if cx.is_upgraded() {
            sql
        } else {
            "insert into t (a) values ('old')"
        };
        let mut connection = cx.connect().await?;
        sqlx::raw_sql(sql).execute(&mut connection).await?;
        Ok(())
    })
}

async fn run(
    shop: &Shop,
    up: &str,
    down: &str,
    writes: &'static str,
    scenario: Scenario,
) -> Report {
    let files = [
        ("1_t.up.sql", T),
        ("1_t.down.sql", "drop table t; drop table log;"),
        ("2_u.up.sql", up),
        ("2_u.down.sql", down),
    ];
    shop.go(shop.folder(&files), scenario, |upgrade| {
        upgrade.with_writes(users(writes))
    })
    .await
}

fn found<'r>(report: &'r Report, id: &str) -> &'r Finding {
    let mut all = report.findings.iter().map(|found| &found.finding);
    all.find(|finding| finding.id == id)
        .unwrap_or_else(|| panic!("no {id}\n{report}"))
}

const WRITE: &str =
    "insert into t (a) values ('late'), ('later'); insert into log values ('made'), ('late')";

#[tokio::test]
async fn a_down_that_keeps_what_users_wrote_passes_every_scenario() {
    let shop = Shop::start().await;
    let (up, down) = (
        "alter table t add b int default 7;",
        "alter table t drop b;",
    );
    for scenario in Scenario::ALL.into_iter().filter(|it| !it.needs_services()) {
        let report = run(&shop, up, down, WRITE, scenario).await;
        assert!(report.passed, "{scenario}\n{report}");
        let wrote = report
            .steps
            .iter()
            .filter(|step| step.title.starts_with("users write") && step.outcome.is_done())
            .count();
        let expected = match scenario {
            Scenario::RoundTrip | Scenario::SkipRelease => 1,
            // By a kept copy, and by the downs.
            Scenario::Rollback => 2,
            _ => 0,
        };
        assert_eq!(wrote, expected, "{scenario}\n{report}");
    }
}

#[tokio::test]
async fn rows_that_a_down_loses_only_if_they_are_new_are_named() {
    let shop = Shop::start().await;
    let (up, down) = (
        "create table t_old as select * from t; alter table t add b int;",
        "alter table t drop b; delete from t where id not in (select id from t_old); drop table t_old;",
    );
    let report = run(&shop, up, down, WRITE, Scenario::RoundTrip).await;
    assert_eq!(
        findings(&report),
        [("down/new-rows-lost", "table public.t")],
        "{report}"
    );
    let finding = found(&report, "down/new-rows-lost");
    assert_eq!(finding.message, "2 rows lost, of 4 after users wrote");
    assert_eq!(
        finding.evidence.as_deref(),
        Some("- id = 3: a = 'late'\n- id = 4: a = 'later'\n")
    );
}

#[tokio::test]
async fn equal_rows_without_a_key_are_missed_by_their_number() {
    let shop = Shop::start().await;
    let (up, down) = (
        "alter table log add at timestamptz;",
        "create table log2 as select distinct line from log; drop table log; alter table log2 rename to log;",
    );
    let report = run(&shop, up, down, WRITE, Scenario::RoundTrip).await;
    let finding = found(&report, "down/new-rows-lost");
    assert_eq!(finding.subject, "table public.log");
    assert_eq!(finding.message, "1 row lost, of 3 after users wrote");
}

#[tokio::test]
async fn what_users_changed_and_deleted_is_followed_as_well() {
    let shop = Shop::start().await;
    let writes = "update t set a = 'mine' where id = 1; delete from t where id = 2;
        insert into t (a) values ('late')";
    let (up, down) = ("alter table t add b int;", "alter table t drop b;");
    for scenario in [Scenario::RoundTrip, Scenario::Rollback] {
        let report = run(&shop, up, down, writes, scenario).await;
        assert!(report.passed, "{scenario}\n{report}");
    }
    let kept = "create table t_old as select * from t; alter table t add b int;";
    let restoring = |sql: &str| format!("alter table t drop b; {sql} drop table t_old;");
    let undone = restoring("update t set a = t_old.a from t_old where t_old.id = t.id;");
    let report = run(&shop, kept, &undone, writes, Scenario::RoundTrip).await;
    let finding = found(&report, "down/new-rows-lost");
    assert_eq!(
        (finding.severity, finding.evidence.as_deref()),
        (Severity::Error, Some("~ id = 1: a 'mine' -> 'x'\n")),
        "{report}"
    );
    let back = restoring("insert into t select * from t_old on conflict do nothing;");
    for scenario in [Scenario::RoundTrip, Scenario::Rollback] {
        let report = run(&shop, kept, &back, writes, scenario).await;
        assert_eq!(
            findings(&report),
            [("down/new-rows-lost", "table public.t")],
            "{scenario}\n{report}"
        );
        let finding = found(&report, "down/new-rows-lost");
        assert_eq!(finding.evidence.as_deref(), Some("+ id = 2: a = 'y'\n"));
    }
}

#[tokio::test]
async fn rows_that_the_up_put_aside_may_come_back() {
    let shop = Shop::start().await;
    let up = "create table t_old as select * from t where a = 'y'; delete from t where a = 'y';
        -- upgrade: loses public.t: kept aside";
    let down = "insert into t select * from t_old; drop table t_old;";
    for scenario in [Scenario::RoundTrip, Scenario::Rollback] {
        let report = run(&shop, up, down, "update t set a = 'mine'", scenario).await;
        assert!(report.passed, "{scenario}\n{report}");
        let finding = found(&report, "down/new-rows-lost");
        assert_eq!(finding.severity, Severity::Warning, "{scenario}\n{report}");
    }
}

#[tokio::test]
async fn a_down_that_fails_on_new_rows_is_told_from_one_that_always_fails() {
    let shop = Shop::start().await;
    let (up, down) = (
        "alter table t alter a drop not null;",
        "alter table t alter a set not null;",
    );
    let writes = "insert into t (a) values (null)";
    let report = run(&shop, up, down, writes, Scenario::RoundTrip).await;
    assert_eq!(
        findings(&report),
        [("down/fails-on-new-rows", "migration 2_u")],
        "{report}"
    );
    let report = run(&shop, up, "drop table no;", writes, Scenario::RoundTrip).await;
    assert!(
        findings(&report).contains(&("down/failed", "migration 2_u")),
        "{report}"
    );
}

#[tokio::test]
async fn values_that_a_down_gives_up_are_an_error_unless_they_are_declared() {
    let shop = Shop::start().await;
    let up = "alter table t alter a drop not null;";
    let down = "update t set a = 'none' where a is null; alter table t alter a set not null;";
    let writes = "insert into t (a) values (null)";
    let report = run(&shop, up, down, writes, Scenario::RoundTrip).await;
    let finding = found(&report, "down/new-rows-lost");
    assert_eq!(finding.severity, Severity::Error);
    assert_eq!(
        finding.evidence.as_deref(),
        Some("~ id = 3: a NULL -> 'none'\n")
    );
    let declared = format!("-- upgrade: loses public.t.a: 'none' stands for null\n{down}");
    let report = run(&shop, up, &declared, writes, Scenario::RoundTrip).await;
    assert!(report.passed, "{report}");
}

#[tokio::test]
async fn values_that_the_up_changes_and_the_down_changes_back_are_for_a_person_to_look_at() {
    let shop = Shop::start().await;
    let (up, down) = (
        "-- upgrade: changes public.t.a: it is marked\nupdate t set a = '+' || a;",
        "update t set a = substr(a, 2);",
    );
    let report = run(
        &shop,
        up,
        down,
        "insert into t (a) values ('+late')",
        Scenario::RoundTrip,
    )
    .await;
    assert!(report.passed, "{report}");
    let finding = found(&report, "down/new-rows-lost");
    assert_eq!(finding.severity, Severity::Warning, "{report}");
}

#[tokio::test]
async fn rows_of_a_table_with_another_name_and_another_type_are_followed() {
    let shop = Shop::start().await;
    let (up, down) = (
        "alter table t rename to u; alter table u alter id type bigint;",
        "alter table u alter id type int; alter table u rename to t;",
    );
    let writes = "insert into u (a) values ('late')";
    let report = run(&shop, up, down, writes, Scenario::RoundTrip).await;
    assert!(report.passed, "{report}");
    let losing = "delete from u where a = 'late'; alter table u alter id type int; alter table u rename to t;";
    let report = run(&shop, up, losing, writes, Scenario::RoundTrip).await;
    assert_eq!(
        findings(&report),
        [("down/new-rows-lost", "table public.u")],
        "{report}"
    );
}

#[tokio::test]
async fn a_sequence_that_the_down_makes_again_would_repeat_what_users_got() {
    let shop = Shop::start().await;
    let (up, down) = (
        "alter table t add b int;",
        "alter table t drop b; select setval('t_id_seq', 2);",
    );
    let report = run(&shop, up, down, WRITE, Scenario::RoundTrip).await;
    assert_eq!(
        findings(&report),
        [("down/sequence-reused", "sequence public.t_id_seq")],
        "{report}"
    );
}

#[tokio::test]
async fn what_a_kept_copy_loses_is_named_before_and_is_no_failure() {
    let shop = Shop::start().await;
    let (up, down) = (
        "alter table t add b int;",
        "alter table t drop b; delete from t where a = 'late';",
    );
    let report = run(&shop, up, down, WRITE, Scenario::Rollback).await;
    // The downs lose a row that nobody has named.
    assert_eq!(
        findings(&report),
        [("down/new-rows-lost", "table public.t")],
        "{report}"
    );
    let all = report.findings.iter().map(|found| &found.finding);
    let lost: Vec<_> = all
        .filter(|finding| finding.id == "down/new-rows-lost")
        .map(|finding| finding.message.as_str())
        .collect();
    assert_eq!(lost, ["1 row lost, of 4 after users wrote"], "{report}");
    let said = |found: &&FoundIn| {
        found.finding.id == "rollback/loses" && found.finding.subject == "snapshot swap"
    };
    let said = report.findings.iter().find(said).unwrap();
    assert!(
        said.finding.message.contains("public.t since the copy"),
        "{report}"
    );
}

#[tokio::test]
async fn users_who_cannot_write_prove_nothing() {
    let shop = Shop::start().await;
    let (up, down) = ("alter table t add b int;", "alter table t drop b;");
    let report = run(
        &shop,
        up,
        down,
        "insert into nowhere values (1)",
        Scenario::RoundTrip,
    )
    .await;
    assert!(!report.passed && findings(&report).is_empty(), "{report}");
    assert!(
        report.to_string().contains("users could not write"),
        "{report}"
    );
}
