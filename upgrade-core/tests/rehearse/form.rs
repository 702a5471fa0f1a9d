//! Downs that lead back to the same system in another form, and changes of several migrations.

use upgrade_core::{Report, Scenario, Severity};

use crate::support::{Shop, findings};

fn notes(report: &Report) -> Vec<(&str, &str)> {
    let mut notes: Vec<_> = report
        .findings_of(Severity::Note)
        .map(|found| (found.finding.id.as_str(), found.finding.subject.as_str()))
        .collect();
    notes.sort_unstable();
    notes.dedup();
    notes
}

#[tokio::test]
async fn what_differs_in_form_only_is_a_note() {
    let shop = Shop::start().await;
    let case = shop.folder(&[
        (
            "1_ride.up.sql",
            "create table ride (id int primary key, a int, b int, at timestamptz default now());
             create function one() returns int language plpgsql as 'begin return 1; end';
             create view rides as select * from ride;",
        ),
        (
            "1_ride.down.sql",
            "drop view rides; drop table ride; drop function one();",
        ),
        (
            "2_form.up.sql",
            "drop view rides;
             alter table ride drop column a, alter at set default null;
             create or replace function one() returns int language plpgsql as 'begin return 2; end';
             create view rides as select * from ride;",
        ),
        (
            "2_form.down.sql",
            "drop view rides;
             alter table ride add column a int, alter at set default current_timestamp;
             create or replace function one() returns int language plpgsql as 'begin
                 return 1;
             end';
             create view rides as select * from ride;",
        ),
    ]);
    let report = shop.run(case, Scenario::RoundTrip).await;
    assert!(report.passed, "{report}");
    let id = "down/schema-differs";
    let expected = [
        (id, "column public.ride.at"),
        (id, "function public.one()"),
        (id, "view public.rides"),
    ];
    let notes = notes(&report);
    for one in expected {
        assert!(notes.contains(&one), "{one:?} is not in {notes:?}");
    }
}

#[tokio::test]
async fn what_differs_in_more_than_form_fails() {
    let shop = Shop::start().await;
    let case = shop.folder(&[
        (
            "1_ride.up.sql",
            "create table ride (id int primary key);
             create function said() returns text language sql as 'select ''a b''';",
        ),
        ("1_ride.down.sql", "drop function said(); drop table ride;"),
        ("2_form.up.sql", "drop function said();"),
        (
            "2_form.down.sql",
            "create function said() returns text language sql as 'select ''a  b''';",
        ),
    ]);
    let report = shop.run(case, Scenario::RoundTrip).await;
    assert_eq!(
        findings(&report),
        [("down/schema-differs", "function public.said()")]
    );
}

/// popx takes a migration for each statement; here the first of a change has the whole rollback.
#[tokio::test]
async fn the_parts_of_a_change_of_popx_are_undone_together() {
    let files = [
        (
            "20240101000000000000_base.up.sql",
            "create table ride (id int primary key);",
        ),
        ("20240101000000000000_base.down.sql", "drop table ride;"),
        (
            "20240102000000000000_stop.up.sql",
            "create table stop (id int primary key);",
        ),
        (
            "20240102000000000000_stop.down.sql",
            "drop table stop; drop table line;",
        ),
        (
            "20240102000000000001_stop.up.sql",
            "create table line (id int primary key);",
        ),
        (
            "20240102000000000001_stop.down.sql",
            "-- with the one before\nselect 1;",
        ),
    ];
    let shop = Shop::start().await;
    for scenario in [
        Scenario::RoundTrip,
        Scenario::Rollback,
        Scenario::Rerun,
        Scenario::Crash,
    ] {
        let report = shop.run(shop.folder(&files), scenario).await;
        assert!(report.passed, "{scenario}: {report}");
    }
    // What all of them together do not undo is found.
    let mut forgotten = files;
    forgotten[3].1 = "drop table stop;";
    let report = shop.run(shop.folder(&forgotten), Scenario::RoundTrip).await;
    assert!(!report.passed, "{report}");
}
