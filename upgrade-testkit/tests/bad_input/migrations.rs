//! Folders that are not there, files that contradict each other, SQL that fails, tables that
//! cannot be filled.

use upgrade_core::{Error, ErrorKind, Report, Scenario};

use crate::support::{Place, says};

const SHOP: (&str, &str) = (
    "0001_shop.sql",
    "create table customers (id bigint primary key, name text not null)",
);

#[tokio::test]
async fn a_folder_that_does_not_exist_is_named() {
    let place = Place::new();
    let folder = place.path().join("nowhere");
    let error = place.rehearsal_of(&folder).rehearse().await.unwrap_err();
    let named = format!("`{}` does not exist", folder.display());
    says(
        &error,
        ErrorKind::InvalidInput,
        &[&named, "a relative path starts at the package"],
    );
    place.is_clean();
}

#[tokio::test]
async fn an_empty_folder_is_named_with_what_was_looked_for() {
    let place = Place::new();
    let error = place.rehearsal(&[]).rehearse().await.unwrap_err();
    let folder = place.path().join("migrations").display().to_string();
    says(
        &error,
        ErrorKind::InvalidInput,
        &[&folder, "is empty", "looked for", ".up.sql"],
    );
}

#[tokio::test]
async fn a_folder_of_other_files_is_named_with_what_is_in_it() {
    let place = Place::new();
    let error = place
        .rehearsal(&[("notes.txt", "to do")])
        .rehearse()
        .await
        .unwrap_err();
    says(
        &error,
        ErrorKind::InvalidInput,
        &["no migrations in", "`notes.txt`", "known are"],
    );
}

#[tokio::test]
async fn a_previous_release_that_is_no_version_is_named() {
    let place = Place::new();
    let rehearsal = place.rehearsal(&[SHOP, ("0002_b.sql", "select 1")]);
    let error = rehearsal.from("0009").rehearse().await.unwrap_err();
    says(&error, ErrorKind::InvalidInput, &["0009"]);
    let rehearsal = place.rehearsal(&[SHOP]).from("0001").to("0007");
    let error = rehearsal.rehearse().await.unwrap_err();
    says(
        &error,
        ErrorKind::InvalidInput,
        &["`0007`", "name one of the migrations"],
    );
}

/// The report of a rehearsal that has to fail with a finding.
async fn failed(place: &Place, files: &[(&str, &str)], from: &str) -> (Error, Report) {
    let rehearsal = place.rehearsal(files).from(from);
    let error = rehearsal.rehearse().await.unwrap_err();
    let report = error.report().expect("it was run").clone();
    (error, report)
}

#[tokio::test]
async fn two_files_with_one_version_are_both_named() {
    let place = Place::new();
    let files = [
        SHOP,
        ("0002_phone.sql", "alter table customers add phone text"),
        ("0002_mail.sql", "alter table customers add mail text"),
    ];
    let (error, report) = failed(&place, &files, "0001").await;
    let parts = ["file/duplicate-version", "0002_phone.sql", "0002_mail.sql"];
    says(&error, ErrorKind::Failed, &parts);
    // The one that is read is judged all the same.
    assert!(
        report.migrations.iter().any(|one| one.applied > 0),
        "{report}"
    );
    // In the previous release they are found as well.
    let place = Place::new();
    let files = [
        ("0001_shop.sql", SHOP.1),
        ("0001_more.sql", "create table more (id int)"),
        ("0002_mail.sql", "alter table customers add mail text"),
    ];
    let (error, _) = failed(&place, &files, "0001").await;
    let parts = ["file/duplicate-version", "0001_shop.sql", "0001_more.sql"];
    says(&error, ErrorKind::Failed, &parts);
}

#[tokio::test]
async fn sql_that_fails_halfway_is_shown_with_its_line_and_undone() {
    let place = Place::new();
    let files = [
        SHOP,
        (
            "0002_more.sql",
            "alter table customers add mail text;\n\nalter table custmers add phone text;\n",
        ),
    ];
    let (error, report) = failed(&place, &files, "0001").await;
    says(
        &error,
        ErrorKind::Failed,
        &[
            "up/failed",
            "0002_more.sql:3",
            "\"custmers\" does not exist",
        ],
    );
    assert!(report.rows > 0, "migrations met no rows: {report}");
    // The whole rehearsal ends as well, each of its boundaries on its own.
    let rehearsal = place.rehearsal(&files).from("0001");
    let error = rehearsal.scenario(Scenario::Rollback).rehearse().await;
    says(&error.unwrap_err(), ErrorKind::Failed, &["0002_more.sql:3"]);
}

#[tokio::test]
async fn sql_of_the_previous_release_that_fails_leaves_no_template() {
    let place = Place::new();
    let files = [
        (SHOP.0, "create table a (id int);\nselect 1 from nowhere;\n"),
        ("0002_more.sql", "select 1"),
    ];
    let error = place.rehearsal(&files).from("0001").rehearse().await;
    says(
        &error.unwrap_err(),
        ErrorKind::Environment,
        &["could not be built", "0001_shop.sql:2", "\"nowhere\""],
    );
    place.is_clean();
    let rehearsal = place.rehearsal(&[SHOP, files[1]]).from("0001");
    let rehearsal = rehearsal.set_up_sql("create schema \"");
    let error = rehearsal.rehearse().await.unwrap_err();
    says(
        &error,
        ErrorKind::Environment,
        &["the SQL that sets the database up failed", "42601"],
    );
    place.is_clean();
}

#[tokio::test]
async fn a_table_that_cannot_be_filled_is_named_with_the_way_out() {
    let place = Place::new();
    let impossible =
        "create table orders (id bigint primary key, total int check (total * 0 = 1) not null)";
    let files = [("0001_shop.sql", impossible), ("0002_b.sql", "select 1")];
    let error = place.rehearsal(&files).from("0001").rehearse().await;
    says(
        &error.unwrap_err(),
        ErrorKind::Environment,
        &[
            "no table could be filled: public.orders",
            "orders_total_check",
        ],
    );
    place.is_clean();
    // The way out that it names.
    let rehearsal = place.rehearsal(&files).from("0001");
    let skipped = rehearsal.seed_with(|seeder| seeder.skip("public.orders"));
    skipped.rehearse().await.unwrap();
}
