//! The statements of both releases, tried on the new schema.

use upgrade_core::environment::{At, Existing, PostgresEnvironment};
use upgrade_core::postgres::Database;
use upgrade_core::{Environment, Finding, Report, Scenario, UpgradeContext};

use crate::support::Shop;

async fn run(shop: &Shop, base: &str, up: &str, scenario: Scenario, overlap: bool) -> Report {
    let files = [
        ("1_base.up.sql", base),
        ("1_base.down.sql", "select 1;"),
        ("2_next.up.sql", up),
        ("2_next.down.sql", "select 1;"),
    ];
    shop.go(shop.folder(&files), scenario, |upgrade| {
        if overlap {
            upgrade.with_overlapping_releases()
        } else {
            upgrade
        }
    })
    .await
}

fn of<'r>(report: &'r Report, id: &str) -> Vec<&'r Finding> {
    let all = report.findings.iter().map(|found| &found.finding);
    all.filter(|finding| finding.id == id).collect()
}

const ITEM: &str = "create table item (id bigint primary key, qty int not null);
    create table stock_log (id bigint generated always as identity primary key, item_id bigint not null, n int not null);
    create function log_stock() returns trigger language plpgsql as $$ begin insert into stock_log (item_id, n) values (new.id, new.qty); return new; end $$;
    create trigger log_stock after insert or update on item for each row execute function log_stock();
    insert into item values (1, 2), (2, 3);";

#[tokio::test]
async fn c33c_fn_renamed_up_only() {
    let shop = Shop::start().await;
    let up = "alter table item rename column qty to quantity;";
    for scenario in [Scenario::Upgrade, Scenario::RoundTrip, Scenario::Rollback] {
        let report = run(&shop, ITEM, up, scenario, false).await;
        let found = of(&report, "statement/write-fails");
        assert!(!report.passed, "{scenario}\n{report}");
        assert_eq!(found[0].subject, "table public.item", "{report}");
        assert!(found[0].fails());
        assert_eq!(
            found[0].message,
            "`insert into public.item (id, quantity) values (..)` fails at the new release: \
             record \"new\" has no field \"qty\", and another kind of statement as well",
            "{report}"
        );
        let words = found[0].evidence.as_deref().unwrap();
        assert!(words.contains("log_stock()"), "{words}");
    }
    let mended = format!(
        "{up} create or replace function log_stock() returns trigger language plpgsql as $$ begin insert into stock_log (item_id, n) values (new.id, new.quantity); return new; end $$;"
    );
    let report = run(&shop, ITEM, &mended, Scenario::Upgrade, false).await;
    assert!(report.passed, "{report}");
}

#[tokio::test]
async fn what_was_refused_before_is_no_matter_of_the_upgrade() {
    let shop = Shop::start().await;
    let base = "create table fixed (id int primary key, a text); insert into fixed values (1, 'x');
        create function refuse() returns trigger language plpgsql as $$ begin raise 'never'; end $$;
        create trigger refuse before insert or update or delete on fixed for each row execute function refuse();
        create table parent (id int primary key); create table child (id int primary key, parent_id int not null references parent);
        insert into parent values (1); insert into child values (1, 1);";
    let up = "alter table fixed add column b int; alter table parent add column b int;";
    let report = run(&shop, base, up, Scenario::Upgrade, true).await;
    assert!(report.passed, "{report}");
    assert!(of(&report, "statement/old-fails").is_empty(), "{report}");
}

#[tokio::test]
async fn c17_old_insert() {
    let shop = Shop::start().await;
    let base = "create table parcel (id bigint generated always as identity primary key, weight int not null, note text);
        insert into parcel (weight, note) values (1, 'a'), (2, null);";
    let fails = |statement: &str, answer: &str| {
        Some(format!(
            "`{statement}` of the previous release fails on the new schema: {answer}"
        ))
    };
    let insert = "insert into public.parcel (weight, note) values (..)";
    for (up, expected) in [
        (
            "alter table parcel add column region text; update parcel set region = 'eu'; alter table parcel alter column region set not null;",
            fails(
                insert,
                "null value in column \"region\" of relation \"parcel\" violates not-null constraint",
            ),
        ),
        (
            "alter table parcel rename column weight to grams;",
            fails(
                "select id, weight, note from public.parcel",
                "column \"weight\" does not exist, and 2 other kinds of statements as well",
            ),
        ),
        (
            "-- upgrade: changes public.parcel.weight: in grams\nupdate parcel set weight = weight * 1000; alter table parcel add check (weight >= 1000);",
            fails(
                insert,
                "new row for relation \"parcel\" violates check constraint \"parcel_weight_check\", and another kind of statement as well",
            ),
        ),
        (
            "alter table parcel rename to box; create view parcel as select * from box;",
            None,
        ),
        (
            "alter table parcel add column region text not null default 'eu';",
            None,
        ),
    ] {
        for overlap in [false, true] {
            let report = run(&shop, base, up, Scenario::Upgrade, overlap).await;
            let found = of(&report, "statement/old-fails");
            let messages: Vec<&String> = found.iter().map(|it| &it.message).collect();
            assert_eq!(messages, Vec::from_iter(&expected), "{up}\n{report}");
            let fails = found.iter().all(|it| it.fails());
            assert!(found.is_empty() || fails == overlap, "{report}");
            let passes = !overlap || expected.is_none();
            assert_eq!(report.passed, passes, "{up}\n{report}");
        }
    }
}

#[tokio::test]
async fn a_role_that_is_no_superuser_can_try_statements_too() {
    let shop = Shop::start().await;
    let owner = Database::new(&shop.connect_options(), "postgres");
    let mut admin = owner.connect().await.unwrap();
    let script = "create role plain login; create table own (id bigint primary key, note text);
        alter table own owner to plain; insert into own values (1, 'a')";
    sqlx::raw_sql(script).execute(&mut admin).await.unwrap();
    let options = shop.connect_options().username("plain");
    let database = Database::new(&options, "postgres");
    let environment = PostgresEnvironment::new("plain", Existing::disposable(database));
    let cx = UpgradeContext::new("1", "2");
    environment.prepare(&cx).await.unwrap();
    let trial = environment.statement_trial().unwrap();
    for _ in 0..2 {
        let refused = trial.try_statements(&cx, &At::Live).await.unwrap();
        assert!(refused.is_empty(), "{refused:?}");
    }
}

/// The plan that a session has cached for a trigger fits the old type only; a service that opens a
/// session after the upgrade has none.
#[tokio::test]
async fn a_type_that_changes_below_a_trigger_refuses_nothing() {
    let shop = Shop::start().await;
    let base = "create table part (id bigint primary key, qty int not null);
        create function check_qty() returns trigger language plpgsql as $$ begin if new.qty < 0 then raise 'negative'; end if; return new; end $$;
        create trigger check_qty before insert or update on part for each row execute function check_qty();
        insert into part values (1, 2), (2, 3);";
    let up = "alter table part alter column qty type bigint;";
    let report = run(&shop, base, up, Scenario::Upgrade, true).await;
    for id in ["statement/write-fails", "statement/old-fails"] {
        assert!(of(&report, id).is_empty(), "{report}");
    }
}
