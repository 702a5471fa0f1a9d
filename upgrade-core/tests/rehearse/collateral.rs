//! What an up removes silently, what it leaves unfinished, and that the report has all that it
//! changes in the schema.

use upgrade_core::upgrade::ExpectedChange;
use upgrade_core::{Report, Scenario, Severity, UpgradeContext, writes_fn};

use crate::support::Shop;

const UPS: [Scenario; 2] = [Scenario::Upgrade, Scenario::RoundTrip];

/// The findings that are no notes: severity, id, subject; each once.
fn found(report: &Report) -> Vec<String> {
    let mut found: Vec<String> = report
        .findings
        .iter()
        .map(|found| &found.finding)
        .filter(|finding| finding.severity > Severity::Note)
        .map(|finding| format!("{} {} {}", finding.severity, finding.id, finding.subject))
        .collect();
    found.sort();
    found.dedup();
    found
}

async fn check(
    files: &[(&str, &str)],
    rows: &'static str,
    scenarios: &[Scenario],
    expected: &[&str],
) {
    let shop = Shop::start().await;
    for scenario in scenarios {
        let report = shop
            .run(shop.folder(files).with_rows(rows), *scenario)
            .await;
        assert_eq!(found(&report), expected, "{scenario}\n{report}");
    }
}

const INVOICES: &str = "
    do $$ begin create role c10_tenant; exception when duplicate_object then null; end $$;
    do $$ begin create role c10_owner; exception when duplicate_object then null; end $$;
    create table invoice (id integer primary key, tenant text not null, cents int not null);
    alter table invoice owner to c10_owner;
    comment on table invoice is 'one row for each bill';
    grant select on invoice to c10_tenant;
    alter table invoice enable row level security;
    create policy own_invoices on invoice using (tenant = current_user);
    create function no_negative() returns trigger language plpgsql as $$ begin new.cents := abs(new.cents); return new; end $$;
    create trigger invoice_no_negative before insert on invoice for each row execute function no_negative();
    create index invoice_tenant on invoice (tenant);";

#[tokio::test]
async fn c10_up_loses_rls() {
    let up = "create table invoice_new (id bigint primary key, tenant text not null, cents int not null);
        insert into invoice_new select id, tenant, cents from invoice;
        drop table invoice; alter table invoice_new rename to invoice;";
    check(
        &[("1_base.up.sql", INVOICES), ("2_bigint.up.sql", up)],
        "insert into invoice values (1, 'a', 5), (2, 'b', 7)",
        &[Scenario::Upgrade],
        &[
            "error up/protection-lost policy public.invoice / own_invoices",
            "error up/protection-lost table public.invoice",
            "warning up/lost-as-side-effect index public.invoice_tenant",
            "warning up/lost-as-side-effect table public.invoice",
            "warning up/lost-as-side-effect trigger public.invoice / invoice_no_negative",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_table_that_is_made_again_with_all_that_it_had_has_lost_nothing() {
    let up = format!(
        "drop table invoice; drop function no_negative(); {}
         insert into invoice values (1, 'a', 5)",
        INVOICES.replace("id integer", "id bigint")
    );
    check(
        &[("1_base.up.sql", INVOICES), ("2_bigint.up.sql", &up)],
        "insert into invoice values (1, 'a', 5)",
        &[Scenario::Upgrade],
        &[],
    )
    .await;
}

#[tokio::test]
async fn what_a_cascade_takes_along_is_seen() {
    let base = "create table shop (id int primary key); create table sale (id int primary key, shop int references shop);
        create view shops with (security_barrier) as select id from shop;";
    let up = "drop table shop cascade; create table shop (id int primary key); insert into shop values (1);";
    check(
        &[("1_base.up.sql", base), ("2_again.up.sql", up)],
        "insert into shop values (1); insert into sale values (1, 1)",
        &[Scenario::Upgrade],
        &[
            "error up/protection-lost constraint public.sale / sale_shop_fkey",
            "warning up/lost-as-side-effect view public.shops",
        ],
    )
    .await;
}

#[tokio::test]
async fn c39_trigger_left_disabled() {
    let base = "create table stock (id bigint primary key, qty int not null, touched timestamptz);
        create table part (id bigint primary key, stock bigint references stock);
        create function touch() returns trigger language plpgsql as $$ begin new.touched := now(); return new; end $$;
        create trigger stock_touch before update on stock for each row execute function touch();";
    let rows = "insert into stock values (1, 5)";
    let up = "alter table stock add column note text; alter table stock disable trigger user;
        update stock set note = 'n';";
    check(
        &[("1_base.up.sql", base), ("2_backfill.up.sql", up)],
        rows,
        &[Scenario::Upgrade],
        &["warning up/trigger-disabled trigger public.stock / stock_touch"],
    )
    .await;
    let up = "alter table part disable trigger all;";
    check(
        &[("1_base.up.sql", base), ("2_backfill.up.sql", up)],
        rows,
        &[Scenario::Upgrade],
        &["error up/protection-lost constraint public.part / part_stock_fkey"],
    )
    .await;
    let up = "alter table stock disable trigger all; alter table stock enable trigger all;";
    check(
        &[("1_base.up.sql", base), ("2_backfill.up.sql", up)],
        rows,
        &[Scenario::Upgrade],
        &[],
    )
    .await;
}

#[tokio::test]
async fn c19b_matview_up_empty() {
    let base = "create table sale (id bigint primary key, shop int not null, cents int not null);
        create materialized view sale_by_shop as select shop, sum(cents) as cents from sale group by shop;
        create unique index sale_by_shop_key on sale_by_shop (shop);";
    let again = "drop materialized view sale_by_shop;
        create materialized view sale_by_shop as select shop, sum(cents) as cents, count(*) as n from sale group by shop";
    let key = "create unique index sale_by_shop_key on sale_by_shop (shop);";
    for (data, expected) in [
        (
            "with no data",
            &["warning up/view-not-populated materialized view public.sale_by_shop"][..],
        ),
        ("with data", &[]),
    ] {
        let up = format!("{again} {data}; {key}");
        check(
            &[("1_base.up.sql", base), ("2_wide.up.sql", &up)],
            "insert into sale values (1, 1, 5)",
            &[Scenario::Upgrade],
            expected,
        )
        .await;
    }
}

#[tokio::test]
async fn c07c_seq_up_only() {
    let base = "create table ticket (id integer generated by default as identity primary key, title text not null);";
    let up = "create table ticket_new (id bigint generated by default as identity primary key, title text not null);
        insert into ticket_new (id, title) select id, title from ticket;
        drop table ticket; alter table ticket_new rename to ticket;";
    let rows = "insert into ticket (title) values ('a'), ('b')";
    check(
        &[("1_base.up.sql", base), ("2_bigint.up.sql", up)],
        rows,
        &[Scenario::Upgrade],
        &["error up/sequence-behind sequence public.ticket_new_id_seq"],
    )
    .await;
    let set = format!("{up} select setval('ticket_new_id_seq', (select max(id) from ticket));");
    check(
        &[("1_base.up.sql", base), ("2_bigint.up.sql", &set)],
        rows,
        &[Scenario::Upgrade],
        &[],
    )
    .await;
}

#[tokio::test]
async fn seq_a_sequence_that_the_up_makes_begins_again_with_it() {
    let shop = Shop::start().await;
    let files = [
        (
            "1_shops.up.sql",
            "create table shops (id bigint primary key);",
        ),
        ("1_shops.down.sql", "drop table shops;"),
        (
            "2_orders.up.sql",
            "create table orders (id bigserial primary key, note text);",
        ),
        ("2_orders.down.sql", "drop table orders;"),
        (
            "3_lines.up.sql",
            "create table lines (id bigint generated always as identity primary key, note text);",
        ),
        ("3_lines.down.sql", "drop table lines;"),
    ];
    let writes = "do $$ begin if to_regclass('orders') is not null then insert into orders (note) values ('a'), ('b'); end if;
        if to_regclass('lines') is not null then insert into lines (note) values ('a'); end if; end $$";
    let report = shop
        .go(
            shop.folder(&files)
                .with_rows("insert into shops values (1)"),
            Scenario::RoundTrip,
            |upgrade| {
                upgrade.with_writes(writes_fn("users", move |cx: UpgradeContext| async move {
                    let mut connection = cx.connect().await?;
                    sqlx::raw_sql(writes).execute(&mut connection).await?;
                    Ok(())
                }))
            },
        )
        .await;
    let went_back = report
        .findings
        .iter()
        .any(|found| found.finding.id == "down/sequence-reused");
    assert!(!went_back, "{report}");
}

#[tokio::test]
async fn large_objects_that_an_up_changes_or_removes_are_seen() {
    let base = "create table scan (id int primary key, file oid);";
    let rows =
        "insert into scan values (1, lo_from_bytea(4711, 'abc')), (2, lo_from_bytea(4712, 'def'))";
    for (up, expected) in [
        (
            "select lo_unlink(4711);",
            &["error data/large-objects-differ large objects"][..],
        ),
        (
            "select lo_put(4711, 0, 'x');",
            &["warning data/large-objects-differ large objects"],
        ),
        ("create table t (id int primary key);", &[]),
    ] {
        check(
            &[("1_base.up.sql", base), ("2_files.up.sql", up)],
            rows,
            &[Scenario::Upgrade],
            expected,
        )
        .await;
    }
}

#[tokio::test]
async fn large_objects_that_are_meant_to_go_can_be_declared() {
    let shop = Shop::start().await;
    let files = [
        (
            "1_base.up.sql",
            "create table scan (id int primary key, file oid, body bytea);",
        ),
        (
            "2_files.up.sql",
            "update scan set body = lo_get(file); select lo_unlink(file) from scan;",
        ),
    ];
    let rows = "insert into scan values (1, lo_from_bytea(4711, 'abc'))";
    let declared = [
        ExpectedChange::new("large objects", "they are in the table now"),
        ExpectedChange::new("public.scan", "the files are in it now"),
    ];
    let report = shop
        .go(
            shop.folder(&files).with_rows(rows),
            Scenario::Upgrade,
            |upgrade| upgrade.with_expected_changes(declared),
        )
        .await;
    assert!(report.passed, "{report}");
}

#[tokio::test]
async fn every_change_of_the_schema_stands_in_the_report() {
    let shop = Shop::start().await;
    let files = [
        (
            "1_t.up.sql",
            "create table t (id int primary key, a text); create index t_a on t (a);",
        ),
        ("1_t.down.sql", "drop table t;"),
        (
            "2_t.up.sql",
            "alter table t alter a set not null; drop index t_a;",
        ),
        (
            "2_t.down.sql",
            "alter table t alter a drop not null; create index t_a on t (a);",
        ),
        ("3_u.up.sql", "create table u (id int primary key);"),
        ("3_u.down.sql", "drop table u;"),
    ];
    for scenario in UPS {
        let case = shop
            .folder(&files)
            .with_rows("insert into t values (1, 'a')");
        let report = shop.run(case, scenario).await;
        assert!(report.passed, "{report}");
        let lines: Vec<String> = report
            .schema
            .iter()
            .map(|change| format!("{} {}", change.object, change.change))
            .collect();
        assert_eq!(
            lines,
            [
                "column public.t.a not null: was `false`, is `true`",
                "index public.t_a is missing",
                "table public.u was not there before, with column public.u.id, constraint public.u / u_pkey, index public.u_pkey",
            ],
            "{scenario}"
        );
        let text = report.to_string();
        assert!(text.contains("\nchanges of the schema\n"), "{text}");
        assert_eq!(
            text.contains("\n  2_t\n    column public.t.a"),
            scenario == Scenario::RoundTrip,
            "{text}"
        );
        assert!(
            report
                .to_json()
                .contains("\"object\": \"index public.t_a\"")
        );
    }
}
