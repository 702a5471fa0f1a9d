//! Databases and questions that are odd, not wrong: each gets a right answer or a clear error.

use std::time::Duration;

use upgrade_core::{ErrorKind, Scenario, Severity};
use upgrade_testkit::Rehearsal;

use crate::support::{Place, says};

const SHOP: (&str, &str) = (
    "0001_shop.up.sql",
    "create table customers (id bigint primary key, name text not null);",
);
const MAIL: [(&str, &str); 2] = [
    (
        "0002_mail.up.sql",
        "alter table customers add column mail text;",
    ),
    (
        "0002_mail.down.sql",
        "alter table customers drop column mail;",
    ),
];

/// A rehearsal of one more column, after these statements were run in the first migration.
fn after(place: &Place, sql: &str) -> Rehearsal {
    let first = format!("{}\n{sql}", SHOP.1);
    let folder = place.files("migrations", &[(SHOP.0, &first), MAIL[0], MAIL[1]]);
    // On the ordinary servers of the tests: a separate one takes seconds to make.
    Rehearsal::new("shop")
        .unwrap()
        .rows(5)
        .migrations(folder)
        .from("0001")
        .without_template()
}

/// All scenarios that roll back, without an error or a warning.
async fn is_good(place: &Place, sql: &str) {
    for scenario in [Scenario::RoundTrip, Scenario::Rollback, Scenario::Crash] {
        let report = after(place, sql).scenario(scenario).report().await.unwrap();
        let odd: Vec<_> = report
            .findings
            .iter()
            .filter(|found| found.finding.severity > Severity::Note)
            .collect();
        assert!(report.passed && odd.is_empty(), "{scenario}: {report}");
    }
}

#[tokio::test]
async fn names_of_any_kind_are_names() {
    let place = Place::new();
    let long = "n".repeat(63);
    let sql = format!(
        r#"create schema "Straße 7";
        create table "Straße 7"."an ""odd"" name; drop table x" (
            "Größe in m²" int primary key, "select" text default 'a''b');
        create table "{long}" ("{long}" bigint primary key references customers (id), "." text);
        create index "{}x" on "{long}" ((upper(".")));"#,
        "i".repeat(62)
    );
    is_good(&place, &sql).await;
}

#[tokio::test]
async fn a_table_without_a_key_may_have_equal_rows() {
    let place = Place::new();
    let sql = "create table clicks (at date, what text);
        insert into clicks select '2026-01-01', 'a' from generate_series(1, 100);
        insert into clicks select null, null from generate_series(1, 10);";
    is_good(&place, sql).await;
}

#[tokio::test]
async fn partitions_may_be_three_deep() {
    let place = Place::new();
    let sql = "create table events (at date not null, region text not null, kind int not null,
            primary key (at, region, kind)) partition by range (at);
        create table events_old partition of events
            for values from (minvalue) to ('2026-01-01') partition by list (region);
        create table events_new partition of events default;
        create table events_old_eu partition of events_old
            for values in ('eu') partition by hash (kind);
        create table events_old_else partition of events_old default;
        create table events_old_eu_0 partition of events_old_eu for values with (modulus 2, remainder 0);
        create table events_old_eu_1 partition of events_old_eu for values with (modulus 2, remainder 1);
        insert into events select '2025-01-01', 'eu', n from generate_series(1, 50) n;";
    is_good(&place, sql).await;
}

#[tokio::test]
async fn objects_may_be_owned_by_others() {
    let place = Place::new();
    let sql =
        "do $$ begin create role odd_owner; exception when duplicate_object then null; end $$;
        create schema theirs authorization odd_owner;
        create table theirs.things (id int primary key, secret text);
        alter table theirs.things owner to odd_owner;
        alter table theirs.things enable row level security;
        alter table theirs.things force row level security;
        create policy nobody on theirs.things using (false);";
    is_good(&place, sql).await;
}

#[tokio::test]
async fn a_search_path_of_the_database_changes_no_answer() {
    let place = Place::new();
    let sql = "create schema other;
        create table other.customers (id bigint primary key);
        do $$ begin
            execute format('alter database %I set search_path to public, other', current_database());
            execute format('alter role %I in database %I set search_path to public, other, pg_catalog',
                current_user, current_database());
        end $$;";
    is_good(&place, sql).await;
}

#[tokio::test]
async fn an_event_trigger_that_aborts_is_the_reason_that_is_given() {
    let place = Place::new();
    let sql = "create function no_change() returns event_trigger language plpgsql as
        $$ begin raise exception 'no change on a Friday'; end $$;
        create event trigger friday on ddl_command_start when tag in ('ALTER TABLE')
        execute function no_change();";
    let error = after(&place, sql).rehearse().await.unwrap_err();
    says(
        &error,
        ErrorKind::Failed,
        &["up/failed", "0002_mail.up.sql:1", "no change on a Friday"],
    );
}

#[tokio::test]
async fn an_invariant_that_cannot_be_asked_is_an_error_with_its_name() {
    let place = Place::new();
    let rehearsal = after(&place, "").invariant("all have a mail", "select * from mails");
    let error = rehearsal.rehearse().await.unwrap_err();
    says(
        &error,
        ErrorKind::Database,
        &["`all have a mail`", "\"mails\" does not exist"],
    );
}

#[tokio::test]
async fn an_invariant_that_never_ends_is_given_up() {
    let place = Place::new();
    let rehearsal = after(&place, "")
        .invariant("the answer", "select pg_sleep(1000)")
        .step_within(Duration::from_secs(10));
    let error = rehearsal.rehearse().await.unwrap_err();
    says(&error, ErrorKind::Timeout, &["`the answer`"]);
}
