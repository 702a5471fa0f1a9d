//! One migration, tested with chosen rows.

use proptest::prelude::Just;
use upgrade_core::Report;
use upgrade_testkit::prelude::*;

use super::{failures, folder, rehearsal};

/// A backfill that takes the second word for the last name, and a down that knows no middle name.
const NAMES: [(&str, &str); 4] = [
    (
        "1_people.up.sql",
        "create table people (id bigint primary key, name text not null);",
    ),
    ("1_people.down.sql", "drop table people;"),
    (
        "2_last_name.up.sql",
        "alter table people add column last_name text; \
         update people set last_name = split_part(name, ' ', 2);",
    ),
    (
        "2_last_name.down.sql",
        "update people set name = split_part(name, ' ', 1) || ' ' || last_name; \
         alter table people drop column last_name;",
    ),
];

async fn named(name: &str, scenario: Scenario) -> Report {
    let folder = folder(&NAMES);
    let given = format!("insert into people (id, name) values (-4711, '{name}')");
    let last = name.rsplit_once(' ').unwrap().1;
    let wrong =
        format!("select name, last_name from people where id = -4711 and last_name <> '{last}'");
    let back = format!("select name from people where id = -4711 and name <> '{name}'");
    rehearsal(folder.path())
        .seed_with(|seeder| seeder.column("public.people.name", Just("Grace Hopper".to_owned())))
        .scenario(scenario)
        .writes(writes_fn("nothing", |_| async { Ok(()) }))
        .migration("2", |test| test.given(given).then(wrong).after_revert(back))
        .report()
        .await
        .unwrap()
}

#[tokio::test]
async fn one_migration_is_tested_with_chosen_rows() {
    let scenarios = [
        Scenario::Upgrade,
        Scenario::RoundTrip,
        Scenario::Rollback,
        Scenario::Rerun,
    ];
    for scenario in scenarios {
        let report = named("Ada Lovelace", scenario).await;
        assert!(report.passed, "{report}");
        let report = named("Ada King Lovelace", scenario).await;
        assert!(!report.passed, "{report}");
        if scenario == Scenario::Rollback {
            // After the up once for each strategy; then the comparison of rows finds the down before
            // the check does.
            let invariant = "validator/invariant-broken";
            assert_eq!(
                failures(&report),
                [invariant, invariant, "rollback/rows-changed"],
                "{report}"
            );
            continue;
        }
        let broken: Vec<_> = report
            .findings_of(Severity::Error)
            .filter(|found| found.finding.id == "validator/invariant-broken")
            .map(|found| &found.finding)
            .collect();
        let files: Vec<&str> = broken
            .iter()
            .map(|finding| finding.blames.as_ref().unwrap().file.as_deref().unwrap())
            .collect();
        let expected: &[&str] = match scenario {
            Scenario::Upgrade => &["2_last_name.up.sql"],
            Scenario::Rerun => &["2_last_name.up.sql", "2_last_name.down.sql"],
            _ => &[
                "2_last_name.up.sql",
                "2_last_name.down.sql",
                "2_last_name.up.sql",
            ],
        };
        assert_eq!(files, expected, "{report}");
        let evidence = broken[0].evidence.as_deref().unwrap_or_default();
        assert!(evidence.contains("King"), "{report}");
    }
}

/// What is lost or changed on purpose may be so in the given rows only: it is declared, and happens.
#[tokio::test]
async fn what_only_given_rows_lose_is_declared_like_any_loss() {
    let files = [
        (
            "1_people.up.sql",
            "create table people (id bigint primary key, name text not null); \
             create table pets (id bigint primary key, name text not null, nick text);",
        ),
        ("1_people.down.sql", "drop table people, pets;"),
        ("2_more.up.sql", "alter table people add column more int;"),
        ("2_more.down.sql", "alter table people drop column more;"),
        (
            "3_tidy.up.sql",
            "-- upgrade: loses public.people: test accounts\n\
             -- upgrade: changes public.pets.nick: in small letters\n\
             delete from people where name = 'test'; update pets set nick = lower(nick);",
        ),
        (
            "3_tidy.down.sql",
            "-- upgrade: loses public.people: test accounts stay away\n\
             -- upgrade: changes public.pets.nick: it stays small\n\
             select 1;",
        ),
    ];
    let folder = folder(&files);
    let given = "insert into people values (-4711, 'test'); \
                 insert into pets values (-4712, 'Ada', 'ADA')";
    for scenario in [Scenario::Upgrade, Scenario::RoundTrip, Scenario::Rollback] {
        let report = rehearsal(folder.path())
            .seed_with(|seeder| {
                seeder
                    .column("public.people.name", Just("Grace".to_owned()))
                    .column("public.pets.nick", Just("gr".to_owned()))
            })
            .writes(writes_fn("nothing", |_| async { Ok(()) }))
            .scenario(scenario)
            .migration("3", |test| test.given(given))
            .report()
            .await
            .unwrap();
        assert!(report.passed, "{scenario}: {report}");
    }
}

#[tokio::test]
async fn the_rows_of_a_test_may_come_from_functions_and_its_checks_too() {
    let folder = folder(&NAMES);
    let given = writes_fn("a hyphen", |cx: UpgradeContext| async move {
        let mut connection = cx.connect().await?;
        sqlx_execute(
            &mut connection,
            "insert into people values (-4711, 'Ada King-Noel')",
        )
        .await
    });
    let then = validator_fn("the whole name is kept", |cx: UpgradeContext| async move {
        let mut connection = cx.connect().await?;
        let sql = "select last_name from people where id = -4711";
        let last: String = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
        Ok(match last.as_str() {
            "King-Noel" => Verdict::Pass,
            _ => Verdict::Fail(vec![Finding::error("last-name", "public.people", last)]),
        })
    });
    let report = rehearsal(folder.path())
        .seed_with(|seeder| seeder.column("public.people.name", Just("Grace Hopper".to_owned())))
        .migration("2", |test| test.given(given).then(then))
        .report()
        .await
        .unwrap();
    assert!(report.passed, "{report}");
}

pub(super) async fn sqlx_execute(
    connection: &mut sqlx::PgConnection,
    sql: &'static str,
) -> Result<()> {
    sqlx::query(sql).execute(connection).await?;
    Ok(())
}

#[tokio::test]
async fn a_test_of_no_migration_or_with_rows_that_do_not_fit_is_an_error() {
    let folder = folder(&NAMES);
    for (version, says) in [
        ("3", "`3` is of no migration"),
        ("1", "of a migration that was released before"),
    ] {
        let error = rehearsal(folder.path())
            .migration(version, |test| test.given("select 1"))
            .report()
            .await
            .unwrap_err();
        let text = format!("{error:?}");
        assert!(text.contains(says) && text.contains("pending: 2"), "{text}");
    }
    let error = rehearsal(folder.path())
        .migration("2", |test| test.given("insert into peple values (1)"))
        .report()
        .await
        .unwrap_err();
    let text = format!("{error:?}");
    assert!(
        text.contains("the rows of the test of 2") && text.contains("peple"),
        "{text}"
    );
}
