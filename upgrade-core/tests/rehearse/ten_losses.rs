//! What a naive down loses: it makes the column or the table again, with its values, and forgets
//! what hung on it. Ten kinds, each of which a round trip sees.

use upgrade_core::{Finding, Scenario};

use crate::support::Shop;

/// The findings of a round trip in which the column `a` of table `t` is dropped and made again with
/// its values, or else the whole table.
async fn naive(around: &str, whole_table: bool) -> Vec<Finding> {
    let made = format!(
        "create table t (id serial primary key, a text, b int); \
         insert into t (a, b) values ('x', 1), ('y', 2), ('z', 3); {around}"
    );
    let (up, down) = if whole_table {
        (
            "-- upgrade: loses public.t: it is kept\n\
             create table kept as table t; drop table t;",
            "create table t (id serial primary key, a text, b int); \
             insert into t select * from kept; drop table kept;",
        )
    } else {
        (
            "-- upgrade: loses public.t.a: it is kept\n\
             create table kept as select id, a from t; alter table t drop column a cascade;",
            "alter table t add column a text; \
             update t set a = kept.a from kept where kept.id = t.id; drop table kept;",
        )
    };
    let shop = Shop::start().await;
    let files = [
        ("1_t.up.sql", made.as_str()),
        ("1_t.down.sql", "drop table t cascade;"),
        ("2_u.up.sql", up),
        ("2_u.down.sql", down),
    ];
    let report = shop.run(shop.folder(&files), Scenario::RoundTrip).await;
    report
        .findings
        .into_iter()
        .map(|found| found.finding)
        .collect()
}

/// Asks for a finding of this id and subject with this in its message or evidence, that fails.
#[track_caller]
fn check(findings: &[Finding], id: &str, subject: &str, says: &str) {
    let seen = findings.iter().any(|finding| {
        let evidence = finding.evidence.as_deref().unwrap_or_default();
        finding.id == id
            && finding.fails()
            && finding.subject == subject
            && (finding.message.contains(says) || evidence.contains(says))
    });
    assert!(seen, "no {id} of {subject} with `{says}`: {findings:#?}");
}

const SCHEMA: &str = "down/schema-differs";

#[tokio::test]
async fn the_position_of_a_column() {
    let findings = naive("", false).await;
    let note = findings
        .iter()
        .find(|finding| finding.id == "down/column-order-differs")
        .unwrap_or_else(|| panic!("{findings:#?}"));
    assert_eq!(note.subject, "table public.t");
    assert!(
        note.message.contains("id, a, b before, id, b, a now"),
        "{note}"
    );
    // It differs legally after a down, so that alone fails nothing.
    assert!(!findings.iter().any(Finding::fails), "{findings:#?}");
}

#[tokio::test]
async fn the_indexes_of_a_column() {
    let findings = naive("create index t_a on t (a);", false).await;
    check(&findings, SCHEMA, "index public.t_a", "is missing");
}

#[tokio::test]
async fn the_checks_of_a_column() {
    let findings = naive(
        "alter table t add constraint a_is_short check (length(a) < 9);",
        false,
    )
    .await;
    check(
        &findings,
        SCHEMA,
        "constraint public.t / a_is_short",
        "is missing",
    );
}

#[tokio::test]
async fn extended_statistics() {
    let findings = naive("create statistics t_stats on a, b from t;", false).await;
    check(&findings, SCHEMA, "statistics public.t_stats", "is missing");
}

#[tokio::test]
async fn the_statistics_target_of_a_column() {
    let findings = naive("alter table t alter a set statistics 500;", false).await;
    check(&findings, SCHEMA, "column public.t.a", "500");
}

#[tokio::test]
async fn the_privileges_on_a_column() {
    let findings = naive("grant update (a) on t to public;", false).await;
    check(&findings, SCHEMA, "column public.t.a", "UPDATE");
}

#[tokio::test]
async fn comments() {
    let findings = naive("comment on column t.a is 'as it is printed';", false).await;
    check(&findings, SCHEMA, "column public.t.a", "as it is printed");
    let findings = naive("comment on table t is 'all of them';", true).await;
    check(&findings, SCHEMA, "table public.t", "all of them");
}

#[tokio::test]
async fn a_view_that_depends_on_a_column() {
    let findings = naive("create view v as select id, a from t;", false).await;
    check(&findings, SCHEMA, "view public.v", "is missing");
}

#[tokio::test]
async fn the_privileges_on_a_table() {
    let findings = naive("grant select on t to public;", true).await;
    check(&findings, SCHEMA, "table public.t", "SELECT");
}

#[tokio::test]
async fn the_value_of_a_sequence() {
    let findings = naive("", true).await;
    check(
        &findings,
        "down/sequence-reused",
        "sequence public.t_id_seq",
        "stood at 3, and would hand out 1 next",
    );
}
