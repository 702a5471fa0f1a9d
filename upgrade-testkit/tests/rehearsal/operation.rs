//! The life of an operation with tools that die.

use upgrade_testkit::prelude::*;

use super::{folder, rehearsal};

const SHOP: [(&str, &str); 2] = [
    (
        "1_people.up.sql",
        "create table people (id bigint primary key, name text not null);",
    ),
    ("1_people.down.sql", "drop table people;"),
];

#[tokio::test]
async fn a_good_upgrade_comes_to_its_end_whenever_the_tool_dies() {
    let good = [
        ("2_note.up.sql", "alter table people add column note text;"),
        ("2_note.down.sql", "alter table people drop column note;"),
        (
            "3_index.up.sql",
            "create index people_name on people (name);",
        ),
        ("3_index.down.sql", "drop index people_name;"),
    ];
    let folder = folder(&[SHOP.as_slice(), &good].concat());
    let report = rehearsal(folder.path())
        .scenario(Scenario::Operation)
        .report()
        .await
        .unwrap();
    assert!(report.passed, "{report}");
    assert_eq!(report.scenario, Scenario::Operation);
    assert!(report.rollbacks[0].confirmed);
    // Once, and once more after the rollback.
    let applied: Vec<u32> = report.migrations.iter().map(|one| one.applied).collect();
    assert_eq!(applied, [2, 2], "{report}");
}

#[tokio::test]
async fn a_migration_that_cannot_be_run_again_is_found() {
    // Dead between two of its statements, it is not known to have begun, and does not go on. With this
    // number of them one of the deaths comes between two.
    let inserts: Vec<String> = (1..200)
        .map(|id| {
            format!(
                "insert into people (id, name) values ({}, 'n');",
                -7_000_000 - id
            )
        })
        .collect();
    let more = format!(
        "-- +goose NO TRANSACTION\n-- +goose Up\n{}\n-- +goose Down\ndelete from people where id between -7000200 and -7000001;",
        inserts.join("\n")
    );
    let people = format!("-- +goose Up\n{}\n-- +goose Down\n{}", SHOP[0].1, SHOP[1].1);
    let folder = folder(&[("00001_people.sql", &people), ("00002_more.sql", &more)]);
    let rehearsal = rehearsal(folder.path()).scenario(Scenario::Operation);
    let report = rehearsal.report().await.unwrap();
    let found = |id: &str| report.findings.iter().any(|found| found.finding.id == id);
    assert!(!report.passed && found("operation/stuck"), "{report}");
}
