//! Tables that cannot be filled, in a rehearsal: the others are judged, and no migration that
//! touches a table without rows passes.

use std::os::unix::fs::PermissionsExt as _;

use proptest::strategy::Just;
use tempfile::TempDir;
use upgrade_core::Report;
use upgrade_core::postgres::server::Directories;
use upgrade_core::report::StepOutcome;
use upgrade_testkit::pool::PoolOptions;
use upgrade_testkit::prelude::*;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in files {
        std::fs::write(folder.path().join(name), sql).unwrap();
    }
    folder
}

fn rehearsal(folder: &TempDir) -> Rehearsal {
    Rehearsal::new("empty")
        .unwrap()
        .migrations(folder.path())
        .rows(20)
        .without_template()
}

/// Each table without rows, with what is said of it.
fn empty(report: &Report) -> Vec<(&str, String)> {
    let notes = report.findings_of(Severity::Note);
    notes
        .filter(|found| found.finding.id == "data/table-empty")
        .map(|found| {
            let help = found.finding.help.as_deref().unwrap_or_default();
            let text = format!("{}; {help}", found.finding.message);
            (found.finding.subject.as_str(), text)
        })
        .collect()
}

/// Why steps judged nothing.
fn inconclusive(report: &Report) -> Vec<&str> {
    let steps = report.steps.iter();
    steps
        .filter_map(|step| match &step.outcome {
            StepOutcome::Inconclusive(reason) => Some(reason.as_str()),
            _ => None,
        })
        .collect()
}

const EVENTS: &str = "create table orders (id bigint primary key);
    create table events (id bigint not null, at date not null) partition by range (at);";

#[tokio::test]
async fn a_migration_over_a_table_without_rows_never_passes() {
    let cases = [
        ("alter table events add column region text not null;", true),
        ("update events set at = at + 1;", true),
        (
            "do $$ begin execute 'update \"events\" set at = at + 1'; end $$;",
            true,
        ),
        ("alter table events rename to happened;", true),
        ("create index on events (at);", true),
        (
            "alter table orders add column at date; -- as in events",
            false,
        ),
    ];
    for (sql, touches) in cases {
        let folder = folder(&[("1_t.sql", EVENTS), ("2_t.sql", sql)]);
        let report = rehearsal(&folder).report().await.unwrap();
        assert_eq!(report.passed, !touches, "{sql}: {report}");
        let (table, text) = empty(&report)[0].clone();
        assert_eq!(table, "table public.events", "{report}");
        assert!(text.contains("has no partition"), "{text}");
        let reasons = inconclusive(&report);
        assert_eq!(reasons.len(), usize::from(touches), "{sql}: {report}");
        assert!(
            reasons
                .iter()
                .all(|reason| reason.contains("public.events has no rows")),
            "{reasons:?}"
        );
        assert_eq!(report.findings_of(Severity::Error).count(), 0, "{report}");
    }
}

#[tokio::test]
async fn a_warm_template_still_knows_its_tables_without_rows() {
    let folder = folder(&[
        (
            "1_t.sql",
            "create table a (id int); create table b (id int);",
        ),
        ("2_t.sql", "alter table b add column n int not null;"),
    ]);
    // A separate cache, which the server's account can read.
    let machine = Directories::from_env().unwrap();
    let parent = machine.memory.as_deref().unwrap_or(&machine.disk);
    let place = tempfile::tempdir_in(parent).unwrap();
    let readable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path(), readable).unwrap();
    for round in 0..2 {
        let mut options = PoolOptions::from_env().unwrap();
        options.provider.directories = Directories::below(place.path());
        let report = Rehearsal::new("warm")
            .unwrap()
            .migrations(folder.path())
            .pool(options)
            .seed_with(|seeder| seeder.skip("b"))
            .report()
            .await
            .unwrap();
        assert!(!report.passed, "round {round}: {report}");
        assert_eq!(empty(&report)[0].0, "table public.b", "round {round}");
        assert_eq!(inconclusive(&report).len(), 1, "round {round}: {report}");
    }
}

#[tokio::test]
async fn where_no_table_can_be_filled_there_is_nothing_to_judge() {
    let refuse = "create table a (id int);
        create function no() returns trigger language plpgsql as $$ begin raise exception 'never'; end $$;
        create trigger no before insert on a for each row execute function no();";
    let folder = folder(&[("1_t.sql", refuse), ("2_t.sql", "create table b (id int);")]);
    let error = rehearsal(&folder).report().await.unwrap_err();
    let text = format!("{error:?}");
    assert!(
        text.contains("never") && text.contains("public.a"),
        "{text}"
    );
}

#[tokio::test]
async fn an_invariant_that_the_rows_break_at_the_baseline_says_so() {
    let folder = folder(&[
        (
            "1_t.sql",
            "create table a (id int primary key, n int not null);",
        ),
        ("2_t.sql", "alter table a add column more int;"),
    ]);
    let broken = |migrations: &TempDir| {
        let rehearsal = rehearsal(migrations);
        rehearsal.invariant("n is positive", "select id from a where n <= 0")
    };
    let report = broken(&folder).report().await.unwrap();
    let found: Vec<_> = report.findings_of(Severity::Error).collect();
    let [found] = found[..] else {
        panic!("{report}");
    };
    let text = format!("{}; {:?}", found.finding.message, found.finding.help);
    assert!(
        text.contains("before the upgrade began") && text.contains(".column(..)"),
        "{text}"
    );
    let report = broken(&folder)
        .seed_with(|seeder| seeder.column("a.n", 1..1000))
        .report()
        .await
        .unwrap();
    assert!(report.passed, "{report}");
}

#[tokio::test]
async fn c23b_seed_triggers() {
    const BASE: &str = "
create table account (id bigint primary key, owner text not null, balance int not null);
create table entry (id bigint primary key, account_id bigint not null references account, amount int not null);
create function entry_check() returns trigger language plpgsql as $$
begin
  if new.amount = 0 or abs(new.amount) > 1000 then raise exception 'amount % is not between 1 and 1000', new.amount; end if;
  if (select balance from account where id = new.account_id) < 0 then raise exception 'account is closed'; end if;
  return new;
end $$;
create trigger entry_check before insert or update on entry for each row execute function entry_check();
create table current_tenant_row (id bigint primary key, tenant text not null);
create function tenant_check() returns trigger language plpgsql as $$
begin
  if new.tenant <> current_setting('app.tenant') then raise exception 'not your tenant'; end if;
  return new;
end $$;
create trigger tenant_check before insert on current_tenant_row for each row execute function tenant_check();
create table immutable_log (id bigint primary key, line text not null);
create function no_change() returns trigger language plpgsql as $$ begin raise exception 'append only'; end $$;
create trigger no_change before update or delete on immutable_log for each row execute function no_change();";
    let folder = folder(&[
        ("0001_base.up.sql", BASE),
        ("0001_base.down.sql", "select 1;"),
        ("0002_more.up.sql", "create table more (id int);"),
        ("0002_more.down.sql", "drop table more;"),
    ]);
    for scenario in [Scenario::Upgrade, Scenario::RoundTrip] {
        let report = rehearsal(&folder)
            .scenario(scenario)
            .report()
            .await
            .unwrap();
        assert!(report.passed, "{report}");
        let [(table, text)] = &empty(&report)[..] else {
            panic!("{report}");
        };
        assert_eq!(*table, "table public.current_tenant_row");
        for part in [
            "\"app.tenant\"",
            "trigger `tenant_check`",
            ".setting(\"app.tenant\", VALUE)",
        ] {
            assert!(text.contains(part), "`{part}` in {text}");
        }
        let report = rehearsal(&folder)
            .scenario(scenario)
            .seed_with(|seeder| {
                let seeder = seeder.setting("app.tenant", "acme");
                seeder.column("current_tenant_row.tenant", Just("acme"))
            })
            .report()
            .await
            .unwrap();
        assert!(report.passed && empty(&report).is_empty(), "{report}");
    }
}

#[tokio::test]
async fn path() {
    let folder = folder(&[
        ("0001_topics.up.sql", "create extension ltree; create table topics (id bigint primary key, slug text not null unique, path ltree);"),
        ("0001_topics.down.sql", "drop table topics; drop extension ltree;"),
        ("0002_path.up.sql", "create table posts (id bigint primary key, body text);
            create function topic_path() returns trigger language plpgsql as $$
            begin new.path := text2ltree(replace(new.slug, '/', '.')); return new; end $$;
            create trigger topic_path before insert or update on topics for each row execute function topic_path();"),
        ("0002_path.down.sql", "drop trigger topic_path on topics; drop function topic_path(); drop table posts;"),
        ("0003_kind.up.sql", "alter table posts add column kind text not null;"),
        ("0003_kind.down.sql", "alter table posts drop column kind;"),
    ]);
    // Over rows of posts, the last migration fails: they are filled whatever topics refuse.
    let report = rehearsal(&folder).from("0002").report().await.unwrap();
    let failed: Vec<&str> = report
        .findings_of(Severity::Error)
        .map(|found| found.finding.id.as_str())
        .collect();
    assert_eq!(failed, ["up/failed"], "{report}");
    assert_eq!(report.tables, 2, "{report}");
    assert!(report.rows >= 20, "{report}");
}

#[tokio::test]
async fn short() {
    let folder = folder(&[
        (
            "0001_people.up.sql",
            "create table people (uuid varchar(40) primary key); create table logins (person char(36) primary key references people, at timestamptz not null default now()); create table notes (id bigint primary key, body text);",
        ),
        (
            "0001_people.down.sql",
            "drop table notes; drop table logins; drop table people;",
        ),
        (
            "0002_kind.up.sql",
            "alter table notes add column kind text not null default '';",
        ),
        ("0002_kind.down.sql", "alter table notes drop column kind;"),
    ]);
    for seed in 1..=3 {
        let report = rehearsal(&folder).seed(seed).report().await.unwrap();
        assert!(report.passed, "{report}");
        assert_eq!(report.rows, 60, "seed {seed}: {report}");
    }
}
