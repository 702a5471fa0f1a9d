//! Objects and facts that are excluded by name or by path, and the order of columns.

use upgrade_core::observation::Scope;
use upgrade_core::postgres::Observer;
use upgrade_core::postgres::catalog::{Catalog, CatalogScope, Waivers};

use crate::support::{run, servers};
use crate::{changes, read};

const BEFORE: &str =
    "CREATE TABLE orders (id int, note text, total int); CREATE INDEX orders_tmp ON orders (id)";
const AFTER: &str = "DROP INDEX orders_tmp; COMMENT ON COLUMN orders.note IS 'x';
    ALTER TABLE orders ALTER note SET DEFAULT '', ALTER total TYPE bigint";

#[tokio::test]
async fn what_is_waived_by_path_is_no_difference_and_a_stale_waiver_is_told() {
    let server = &servers()[0];
    let mut conn = server.database().await;
    run(&mut conn, BEFORE).await;
    let base = read(&mut conn).await;
    run(&mut conn, AFTER).await;
    let waivers = Waivers::new()
        .with("index public.orders_*", "made by hand")
        .with("column public.orders.*: comment", "for people")
        .with("column public.orders.gone", "it was removed");
    let (left, used) = base.diff(&read(&mut conn).await).without_waived(&waivers);
    assert_eq!(
        changes(&left),
        [
            "~ column public.orders.note: default",
            "~ column public.orders.total: type"
        ]
    );
    let stale = waivers
        .iter()
        .filter(|(pattern, _)| !used.contains(*pattern));
    assert_eq!(
        stale.collect::<Vec<_>>(),
        [("column public.orders.gone", "it was removed")]
    );
}

#[tokio::test]
async fn an_observer_waives_and_remembers_what_it_has_seen() {
    let server = &servers()[0];
    let mut conn = server.database().await;
    run(&mut conn, BEFORE).await;
    let observer = Observer::default()
        .without_object("index public.orders_tmp", "made by hand")
        .without_object("column public.orders.note", "in flux")
        .without_object("column public.orders.total: type", "in flux")
        .without_object("view *", "there was one");
    let clone = observer.clone();
    let before = observer.observe(&mut conn, &Scope::Schema).await.unwrap();
    run(&mut conn, AFTER).await;
    let after = clone.observe(&mut conn, &Scope::Schema).await.unwrap();
    assert_eq!(before, after);
    // The index was seen before it went.
    assert_eq!(observer.stale_waivers(), [("view *", "there was one")]);
    let all = Observer::default().observe(&mut conn, &Scope::Schema).await;
    assert_ne!(all.unwrap(), after);
}

#[tokio::test]
async fn the_order_of_columns_fails_where_a_team_asks_for_it() {
    let server = &servers()[0];
    let mut conn = server.database().await;
    run(&mut conn, "CREATE TABLE orders (id int, note text, \"To tal\" int); CREATE VIEW v AS SELECT 1 AS b, 2 AS a").await;
    let base = read(&mut conn).await;
    let (lenient, strict) = (Observer::default(), Observer::default().with_column_order());
    let schema = Scope::Schema;
    let before = (
        lenient.observe(&mut conn, &schema).await.unwrap(),
        strict.observe(&mut conn, &schema).await.unwrap(),
    );
    run(
        &mut conn,
        "ALTER TABLE orders DROP note; ALTER TABLE orders ADD note text",
    )
    .await;
    let moved = read(&mut conn).await;
    let diff = base.diff(&moved);
    assert!(diff.is_empty() && diff.position_changes().len() == 1);
    let diff = base.with_column_order().diff(&moved.with_column_order());
    assert_eq!(changes(&diff), ["~ table public.orders: column order"]);
    assert!(diff.position_changes().is_empty(), "it is said once");
    assert!(
        diff.render()
            .contains("-column order: id, note, \"To tal\"\n"),
        "{diff}"
    );
    let seen = lenient.observe(&mut conn, &schema).await.unwrap();
    assert_eq!(seen.objects, before.0.objects);
    assert_ne!(seen.column_order, before.0.column_order);
    let findings = before.1.schema_findings(
        &strict.observe(&mut conn, &schema).await.unwrap(),
        "down/schema-differs",
    );
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].subject, "table public.orders");
}

#[tokio::test]
async fn what_is_waived_is_no_difference() {
    let server = &servers()[0];
    let mut conn = server.database().await;
    run(&mut conn, "CREATE TABLE t (id int, a text)").await;
    let base = read(&mut conn).await;
    run(
        &mut conn,
        "ALTER TABLE t ALTER a SET NOT NULL, ALTER a SET DEFAULT ''; CREATE TABLE tmp (x int)",
    )
    .await;
    let diff = base.diff(&read(&mut conn).await);
    let left = diff
        .clone()
        .without(|_, attribute| attribute == Some("default"));
    assert_eq!(
        changes(&left),
        [
            "+ column public.tmp.x",
            "+ table public.tmp",
            "~ column public.t.a: not null"
        ]
    );
    let left = diff
        .clone()
        .without(|id, _| id.name == "tmp" || id.parent.as_deref() == Some("tmp"));
    assert_eq!(
        changes(&left),
        [
            "~ column public.t.a: default",
            "~ column public.t.a: not null"
        ]
    );
    assert!(diff.without(|_, _| true).is_empty());
}

#[tokio::test]
async fn what_is_out_of_scope_is_out_with_all_that_belongs_to_it() {
    for server in servers() {
        let mut conn = server.database().await;
        let empty = read(&mut conn).await;
        run(
            &mut conn,
            "CREATE TABLE _sqlx_migrations (version bigserial PRIMARY KEY, n int CHECK (n > 0));
             CREATE INDEX ON _sqlx_migrations (n);
             CREATE FUNCTION part.f() RETURNS int LANGUAGE sql AS 'select 1'"
                .replace("CREATE FUNCTION", "CREATE SCHEMA part; CREATE FUNCTION")
                .as_str(),
        )
        .await;
        let scope = CatalogScope::new()
            .without_table("public", "_sqlx_migrations", "bookkeeping")
            .without_table("public", "not there", "nothing")
            .without_schema("part", "bookkeeping");
        let diff = empty.diff(&Catalog::read(&mut conn, &scope).await.unwrap());
        assert!(diff.is_empty(), "{diff}");
        assert!(read(&mut conn).await.objects().len() > 6);
    }
}
