//! Rehearsals through the public front, on folders that the tests write.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

mod chosen_rows;
mod operation;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::Just;
use tempfile::TempDir;
use upgrade_core::CommandLine;
use upgrade_core::environment::Capabilities;
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::migration::{CommandMigration, SqlMigration};
use upgrade_core::postgres::server::{Found, ProviderOptions, ServerRequirement, discover};
use upgrade_core::rollback::SnapshotSwap;
use upgrade_core::{Plan, Report};
use upgrade_testkit::Settings;
use upgrade_testkit::prelude::*;
use upgrade_testkit::schema_file::check_with;

const ORDERS: &str = "create table orders (id bigint primary key, note text not null);";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in files {
        std::fs::write(folder.path().join(name), sql).unwrap();
    }
    folder
}

fn rehearsal(folder: &Path) -> Rehearsal {
    Rehearsal::new("orders")
        .unwrap()
        .migrations(folder)
        .rows(30)
        .without_template()
}

fn failures(report: &Report) -> Vec<&str> {
    report
        .findings_of(Severity::Error)
        .map(|found| found.finding.id.as_str())
        .collect()
}

#[tokio::test]
async fn without_a_tag_the_first_migration_is_the_previous_release() {
    let folder = folder(&[
        ("1_orders.sql", ORDERS),
        ("2_more.sql", "alter table orders add column more int;"),
    ]);
    let report = rehearsal(folder.path()).report().await.unwrap();
    assert!(report.passed, "{report}");
    assert_eq!(
        (report.from.as_str(), report.to.as_str()),
        ("1_orders", "2_more")
    );
    assert_eq!((report.tables, report.rows), (1, 30));
}

#[tokio::test]
async fn the_latest_tag_is_the_previous_release() {
    let folder = folder(&[
        ("1_orders.sql", ORDERS),
        ("2_a.sql", "alter table orders add column a int;"),
    ]);
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "one"]);
    git(&["tag", "v1.0.0"]);
    std::fs::write(
        folder.path().join("3_b.sql"),
        "alter table orders add column b int;",
    )
    .unwrap();
    git(&["add", "."]);
    git(&["commit", "-qm", "two"]);
    let report = rehearsal(folder.path()).report().await.unwrap();
    assert!(report.passed, "{report}");
    assert_eq!(report.from.as_str(), "v1.0.0");
    assert_eq!(report.migrations.len(), 1, "{report}");

    // A released migration that is edited is found without running it.
    std::fs::write(
        folder.path().join("2_a.sql"),
        "alter table orders add column a bigint;",
    )
    .unwrap();
    let report = rehearsal(folder.path()).report().await.unwrap();
    assert_eq!(failures(&report), ["history/edited-up"], "{report}");
}

#[tokio::test]
async fn what_lies_above_a_migration_that_fails_over_rows_is_judged() {
    let files = [
        (
            "1_people.up.sql",
            "create table people (id bigint primary key, age text not null);",
        ),
        ("1_people.down.sql", "drop table people;"),
        (
            "2_number.up.sql",
            "alter table people alter column age type int using age::int;",
        ),
        (
            "2_number.down.sql",
            "alter table people alter column age type text;",
        ),
        ("3_index.up.sql", "create index people_age on people (age);"),
        ("3_index.down.sql", "select 1;"),
        // From a state that derives from the rebuilt one.
        ("4_more.up.sql", "alter table people add column more int;"),
        ("4_more.down.sql", "alter table people drop column more;"),
    ];
    let of = |files: &[(&str, &str)]| {
        let folder = folder(files);
        let one_more = writes_fn("somebody comes", |cx: UpgradeContext| async move {
            let mut connection = cx.connect().await?;
            let sql = "insert into people select 4711 + count(*), '7' from people";
            chosen_rows::sqlx_execute(&mut connection, sql).await
        });
        async move {
            let rehearsal = rehearsal(folder.path())
                .seed_with(|seeder| seeder.column("public.people.age", Just("old".to_owned())))
                .scenario(Scenario::RoundTrip)
                .writes(one_more.at_any_release());
            rehearsal.report().await.unwrap()
        }
    };
    let report = of(&files).await;
    let found = failures(&report);
    assert!(found.contains(&"up/failed"), "{report}");
    assert!(found.contains(&"down/schema-differs"), "{report}");
    let notes = report.findings_of(Severity::Note);
    let rebuilt = notes.filter(|found| found.finding.id == "data/state-rebuilt");
    assert_eq!(rebuilt.count(), 1, "{report}");
    // Statements of the previous release are about rows that a rebuilt state does not have.
    let old = report.findings.iter();
    let old = old.filter(|found| found.finding.id.starts_with("statement/old"));
    assert_eq!(old.count(), 0, "{report}");

    // One that fails without rows, too, keeps the rest from being judged.
    let mut broken = files;
    broken[2].1 = "alter table peple add column more int;";
    let report = of(&broken).await;
    assert!(
        !failures(&report).contains(&"down/schema-differs"),
        "{report}"
    );
    let unjudged: Vec<String> = report
        .unjudged
        .iter()
        .flat_map(|one| one.migrations.iter().map(ToString::to_string))
        .collect();
    assert!(unjudged.contains(&"3_index".to_owned()), "{report}");
}

#[tokio::test]
async fn a_loss_fails_unless_it_is_declared() {
    let folder = folder(&[
        ("1_orders.sql", ORDERS),
        ("2_less.sql", "delete from orders;"),
    ]);
    let report = rehearsal(folder.path()).report().await.unwrap();
    assert_eq!(failures(&report), ["up/rows-lost"], "{report}");
    assert!(
        report.rollbacks[0].automatic && report.rollbacks[0].confirmed,
        "{report}"
    );

    let declared = rehearsal(folder.path()).expect_change("public.orders", "they were drafts");
    let report = declared.report().await.unwrap();
    assert!(report.passed, "{report}");
    assert!(
        report.to_string().contains("declared: they were drafts"),
        "{report}"
    );
}

#[tokio::test]
async fn a_saved_plan_is_carried_out_again() {
    let files = [
        ("1_orders.sql", ORDERS),
        ("2_bad.sql", "alter table orders add column a nonsense;"),
    ];
    let folder = folder(&files);
    let first = rehearsal(folder.path()).seed(11).report().await.unwrap();
    assert_eq!(failures(&first), ["up/failed"], "{first}");

    let migrations = MigrationFolder::read(folder.path()).unwrap();
    let pending = SqlMigration::all(&migrations).unwrap().split_off(1);
    let upgrade = Upgrade::new("orders", "1_orders", "2_bad")
        .with_migrations(pending)
        .with_rollback(SnapshotSwap::new());
    let outline = upgrade.outline(Capabilities::none().with_disposable().with_snapshots());
    let saved = Plan::new(&outline, Scenario::Upgrade, 11)
        .unwrap()
        .to_json();

    let again = rehearsal(folder.path())
        .plan(Plan::from_json(&saved).unwrap())
        .report()
        .await
        .unwrap();
    assert_eq!(again.seed, 11);
    let steps = |report: &Report| -> Vec<String> {
        report
            .steps
            .iter()
            .map(|step| format!("{} {:?}", step.title, step.outcome))
            .collect()
    };
    assert_eq!(steps(&first), steps(&again));
}

#[tokio::test]
async fn a_column_gets_the_values_that_the_user_supplies() {
    let folder = folder(&[
        ("1_orders.sql", ORDERS),
        ("2_a.sql", "alter table orders add column a int;"),
    ]);
    // Also in what the seeder writes as a user.
    for scenario in [Scenario::Upgrade, Scenario::SkipRelease] {
        let report = rehearsal(folder.path())
            .scenario(scenario)
            .seed_with(|seeder| seeder.column("orders.note", Just("gift".to_owned())))
            .invariant(
                "every note is ours",
                "select * from orders where note <> 'gift'",
            )
            .report()
            .await
            .unwrap();
        assert!(report.passed, "{report}");
    }
}

#[tokio::test]
async fn what_a_released_file_declares_is_lost_from_an_earlier_release_too() {
    let run = async |less: &str| {
        let folder = folder(&[
            (
                "1_orders.sql",
                "create table orders (id bigint primary key, legacy text not null);",
            ),
            ("2_less.sql", less),
            ("3_more.sql", "alter table orders add column more int;"),
        ]);
        let rehearsal = rehearsal(folder.path())
            .from("2")
            .scenario(Scenario::SkipRelease);
        rehearsal.report().await.unwrap()
    };
    let less = "alter table orders drop column legacy;";
    let report = run(less).await;
    assert_eq!(failures(&report), ["up/column-lost"; 2], "{report}");
    let declared = format!("-- upgrade: loses public.orders.legacy: nobody reads it\n{less}");
    let report = run(&declared).await;
    assert!(report.passed, "{report}");
}

/// What a round trip finds in a down that has the rows of before the up at hand, where users do not
/// write to them.
async fn late(down: &str) -> Vec<(String, String)> {
    let down = format!("{down} drop materialized view kept; alter table orders drop more;");
    let folder = folder(&[
        ("1_orders.up.sql", ORDERS),
        ("1_orders.down.sql", "drop table orders;"),
        (
            "2_more.up.sql",
            "create materialized view kept as table orders; alter table orders add column more int;",
        ),
        ("2_more.down.sql", &down),
    ]);
    let rehearsal = rehearsal(folder.path()).scenario(Scenario::RoundTrip);
    let report = rehearsal.report().await.unwrap();
    let found = report.findings_of(Severity::Error);
    found
        .map(|found| (found.finding.id.clone(), found.finding.message.clone()))
        .collect()
}

#[tokio::test]
async fn a_down_that_undoes_what_users_wrote_is_found_without_a_word_about_users() {
    assert_eq!(late("").await, []);
    let undone = [
        (
            "update orders set note = kept.note from kept where kept.id = orders.id;",
            "changed in `note`",
        ),
        (
            "insert into orders select * from kept on conflict do nothing;",
            "rows added",
        ),
    ];
    for (down, message) in undone {
        let found = late(down).await;
        let [(id, said)] = &found[..] else {
            panic!("{down}: {found:?}");
        };
        assert_eq!(id, "down/new-rows-lost");
        assert!(said.contains(message), "{down}: {said}");
    }
}

#[tokio::test]
async fn what_the_migrations_take_for_granted_is_set_up_before() {
    let folder = folder(&[
        (
            "1_orders.sql",
            "create table app.orders (id bigint primary key);",
        ),
        ("2_a.sql", "alter table app.orders add column a int;"),
    ]);
    let error = rehearsal(folder.path()).report().await.unwrap_err();
    assert!(format!("{error:?}").contains("1_orders.sql:1"), "{error:?}");
    let report = rehearsal(folder.path())
        .set_up_sql("create schema app")
        .report()
        .await
        .unwrap();
    assert!(report.passed, "{report}");
}

/// The programs of the server that the tests use.
fn psql(sql: &str) -> CommandLine {
    let options = ProviderOptions::from_env().unwrap();
    let program = match discover(&ServerRequirement::any(), &options).unwrap() {
        Found::Binaries(binaries) => binaries.program("psql").display().to_string(),
        _ => "psql".to_owned(),
    };
    let script = format!(
        "{program} --no-psqlrc --set ON_ERROR_STOP=1 --command \"{sql}\" \"$DATABASE_URL\""
    );
    CommandLine::new("sh").with_args(["-c", &script])
}

async fn by_command(_: UpgradeContext) -> Result<Upgrade> {
    Ok(Upgrade::new("orders", "1", "2")
        .with_migration(
            CommandMigration::new(
                "2",
                "more",
                psql("alter table orders add column if not exists more int"),
            )
            .with_revert(psql("alter table orders drop column more")),
        )
        .with_rollback(SnapshotSwap::new()))
}

#[upgrade_test(upgrade = by_command, rows = 20)]
async fn commands(cx: UpgradeContext) -> Result<()> {
    cx.upgrade()
        .set_up_sql(ORDERS)
        .invariant(
            "every order has a note",
            "select * from orders where note is null",
        )
        .rehearse()
        .await
}

/// It asks for more than the test does: a down, which its migration does not have.
async fn strict(_: UpgradeContext) -> Result<Upgrade> {
    let more = psql("alter table orders add column more int");
    Ok(Upgrade::new("orders", "1", "2")
        .with_migration(CommandMigration::new("2", "more", more))
        .with_rollback(SnapshotSwap::new())
        .with_reversible())
}

#[upgrade_test(upgrade = strict, rows = 5, scenarios = [upgrade])]
#[should_panic(expected = "file/down-missing")]
async fn what_the_function_asks_for_is_asked(cx: UpgradeContext) -> Result<()> {
    cx.upgrade().set_up_sql(ORDERS).rehearse().await
}

/// It brings the previous release along.
async fn whole(cx: UpgradeContext) -> Result<Upgrade> {
    let orders = CommandMigration::new("1", "orders", psql(ORDERS));
    let upgrade = by_command(cx).await?;
    Ok(upgrade.with_released([Arc::new(orders) as _], [1]))
}

#[upgrade_test(upgrade = whole, rows = 20, scenarios = [upgrade, fresh_install])]
async fn the_function_makes_the_previous_release(cx: UpgradeContext) -> Result<()> {
    let report = cx.upgrade().report().await?;
    assert!(report.passed, "{report}");
    assert_eq!((report.name.as_str(), report.rows), ("orders", 20));
    assert!(
        !format!("{report:#}").contains("to run it again"),
        "{report:#}"
    );
    Ok(())
}

#[tokio::test]
async fn what_a_command_makes_is_made_anew() {
    let folder = folder(&[("previous.sql", ORDERS)]);
    let file = folder.path().join("previous.sql");
    let previous = CommandMigration::new("1", "orders", psql(&format!("\\i {}", file.display())));
    let about = psql("comment on column orders.legacy is 'as it was'");
    let about = CommandMigration::new("2", "about", about);
    let rehearsal = || {
        let (previous, about) = (previous.clone(), about.clone());
        Rehearsal::new("orders")
            .unwrap()
            .built([Arc::new(previous) as _], [Arc::new(about) as _])
            .rows(5)
    };
    let report = rehearsal().report().await.unwrap();
    assert_eq!(failures(&report), ["up/failed"], "{report}");
    // The command line is the same, and makes another release.
    let legacy = ORDERS.replace("note text", "legacy text");
    std::fs::write(&file, legacy).unwrap();
    let report = rehearsal().report().await.unwrap();
    assert!(report.passed, "{report}");
}

#[tokio::test]
async fn the_schema_of_the_newer_release_is_compared_with_a_committed_file() {
    let migrations = folder(&[
        ("1_orders.sql", ORDERS),
        ("2_more.sql", "alter table orders add column more int;"),
    ]);
    let schema = rehearsal(migrations.path()).schema().await.unwrap();
    let paths: Vec<String> = schema.objects().keys().map(ToString::to_string).collect();
    assert!(
        paths.contains(&"column public.orders.more".to_owned()),
        "{paths:?}"
    );
    assert!(!paths.iter().any(|path| path.contains("migrations")));
    let committed = folder(&[]);
    let file = committed.path().join("schema.json");
    let mut settings = Settings::default();
    settings.update_schema = true;
    check_with(&file, &schema, &settings).unwrap();

    std::fs::write(
        migrations.path().join("3_note.sql"),
        "alter table orders alter note drop not null;",
    )
    .unwrap();
    let schema = rehearsal(migrations.path()).schema().await.unwrap();
    settings.update_schema = false;
    let error = check_with(&file, &schema, &settings).unwrap_err();
    let shown = format!("{error:?}");
    assert!(
        shown.contains("changed column public.orders.note")
            && shown.contains("\n-not null: true\n+not null: false\n"),
        "{shown}"
    );
}
