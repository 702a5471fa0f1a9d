//! Catalogs of real databases.
#![cfg(feature = "postgres")]
#![expect(
    clippy::unwrap_used,
    reason = "a test helper that fails should fail the test"
)]
#![expect(
    clippy::print_stdout,
    reason = "what was tried and how long it took is for a person to read"
)]

mod hard;
mod mutations;
#[path = "../support/mod.rs"]
mod support;
mod waivers;

use std::collections::BTreeSet;

use sqlx::{Connection as _, PgConnection};
use support::{Server, run, servers};
use upgrade_core::postgres::catalog::{
    Catalog, CatalogDiff, CatalogScope, ChangeKind, ObjectId, ObjectKind, TableName,
};

/// A schema with something of every kind.
const SHOP: &str = include_str!("shop.sql");

/// More of it, for servers since 15.
const SHOP_15: &str = include_str!("shop_15.sql");

async fn read(conn: &mut PgConnection) -> Catalog {
    Catalog::read(conn, &CatalogScope::new()).await.unwrap()
}

/// A new database with the shop in it.
async fn shop(server: &Server) -> PgConnection {
    let mut conn = server.database().await;
    run(&mut conn, SHOP).await;
    if server.major >= 15 {
        run(&mut conn, SHOP_15).await;
    }
    conn
}

/// A difference in the notation of the alterations.
fn changes(diff: &CatalogDiff) -> Vec<String> {
    let mut lines = Vec::new();
    for change in diff.changes() {
        match change.kind {
            ChangeKind::Added(_) => lines.push(format!("+ {}", change.id)),
            ChangeKind::Removed(_) => lines.push(format!("- {}", change.id)),
            ChangeKind::Changed { .. } => {
                for attribute in change.attributes() {
                    lines.push(format!("~ {}: {}", change.id, attribute.name));
                }
            }
        }
    }
    lines.sort();
    lines
}

#[tokio::test]
async fn every_kind_shows_up() {
    for server in servers() {
        let mut conn = shop(server).await;
        let catalog = read(&mut conn).await;
        let kinds: BTreeSet<ObjectKind> = catalog.objects().keys().map(|id| id.kind).collect();
        let missing: Vec<_> = ObjectKind::ALL
            .iter()
            .filter(|kind| !kinds.contains(kind))
            .filter(|kind| server.major >= 15 || **kind != ObjectKind::PublishedSchema)
            .collect();
        assert!(missing.is_empty(), "{missing:?} on {}", server.major);
    }
}

#[tokio::test]
async fn settings_of_the_session_change_nothing_and_stay() {
    const SETTINGS: &[&str] = &[
        "search_path = shop, public",
        "search_path = ''",
        "quote_all_identifiers = on",
        "DateStyle = 'German, DMY'",
        "IntervalStyle = 'iso_8601'",
        "TimeZone = 'Asia/Kathmandu'",
        "extra_float_digits = -3",
        "bytea_output = 'escape'",
    ];
    for server in servers() {
        let mut conn = shop(server).await;
        let base = read(&mut conn).await;
        for setting in SETTINGS {
            run(&mut conn, &format!("SET {setting}")).await;
            let diff = base.diff(&read(&mut conn).await);
            assert!(diff.is_empty(), "{setting}\n{diff}");
        }
        let style: String = sqlx::query_scalar("SHOW IntervalStyle")
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert_eq!(style, "iso_8601", "the session keeps its settings");
        run(
            &mut conn,
            "CREATE TEMP TABLE pg_class (x int); CREATE TEMP TABLE orders (x int)",
        )
        .await;
        let diff = base.diff(&read(&mut conn).await);
        assert!(
            diff.is_empty(),
            "temporary tables are no part of it\n{diff}"
        );
    }
}

#[tokio::test]
async fn the_order_of_making_changes_nothing() {
    const TABLES: [&str; 3] = [
        "CREATE TABLE a (id int PRIMARY KEY, b text DEFAULT 'x'); COMMENT ON TABLE a IS 'first'",
        "CREATE TABLE b (id bigint PRIMARY KEY, n int CHECK (n > 0)); CREATE INDEX b_n ON b (n)",
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql RETURN $1 + 1",
    ];
    for server in servers() {
        let mut conn = server.database().await;
        run(&mut conn, &TABLES.join(";")).await;
        let forwards = read(&mut conn).await;
        run(&mut conn, "DROP TABLE a, b; DROP FUNCTION f").await;
        assert!(!forwards.diff(&read(&mut conn).await).is_empty());
        run(
            &mut conn,
            &TABLES.iter().rev().copied().collect::<Vec<_>>().join(";"),
        )
        .await;
        let backwards = read(&mut conn).await;
        let diff = forwards.diff(&backwards);
        assert!(diff.is_empty(), "{diff}");
        assert_eq!(forwards.digest(), backwards.digest());
        assert_eq!(forwards.to_json_pretty(), backwards.to_json_pretty());
    }
}

#[tokio::test]
async fn a_moved_column_is_told_and_is_no_difference() {
    for server in servers() {
        let mut conn = server.database().await;
        run(&mut conn, "CREATE TABLE t (id int, a text, b text)").await;
        let base = read(&mut conn).await;
        run(
            &mut conn,
            "ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a text",
        )
        .await;
        let diff = base.diff(&read(&mut conn).await);
        assert!(diff.is_empty(), "{diff}");
        let moved = &diff.position_changes()[0];
        assert_eq!(moved.table, TableName::new("public", "t"));
        assert_eq!(
            (moved.expected.join(","), moved.actual.join(",")),
            ("id,a,b".into(), "id,b,a".into())
        );
        run(&mut conn, "ALTER TABLE t ADD COLUMN c int").await;
        let diff = read(&mut conn).await.diff(&base);
        assert_eq!(changes(&diff), ["- column public.t.c"]);
        run(&mut conn, "ALTER TABLE t DROP COLUMN c").await;
        let again = read(&mut conn).await;
        assert!(
            again
                .diff(&read(&mut conn).await)
                .position_changes()
                .is_empty()
        );
    }
}

/// A down migration that makes the same names and types again does not undo it.
#[tokio::test]
async fn a_naive_down_loses_what_names_do_not_show() {
    for server in servers() {
        let mut conn = shop(server).await;
        let base = read(&mut conn).await;
        let mut transaction = conn.begin().await.unwrap();
        run(
            &mut transaction,
            "ALTER TABLE shop.orders DROP COLUMN total CASCADE; ALTER TABLE shop.orders ADD COLUMN total numeric(10,2) NOT NULL DEFAULT 0",
        )
        .await;
        let diff = base.diff(&read(&mut transaction).await);
        transaction.rollback().await.unwrap();
        assert_eq!(
            changes(&diff),
            [
                "- column shop.big_orders.id",
                "- column shop.big_orders.total",
                "- column shop.joined.name",
                "- column shop.joined.orders",
                "- column shop.joined.total",
                "- column shop.totals.customer",
                "- column shop.totals.total",
                "- constraint shop.orders / orders_total_check",
                "- index shop.orders_total_idx",
                "- index shop.totals_customer",
                "- materialized view shop.totals",
                "- statistics shop.orders_stats",
                "- view shop.big_orders",
                "- view shop.joined",
                "~ column shop.orders.total: acl",
                "~ column shop.orders.total: comment",
                "~ column shop.orders.total: options",
                "~ column shop.orders.total: statistics target",
            ]
        );
        assert_eq!(diff.position_changes().len(), 1);

        run(
            &mut conn,
            "CREATE TABLE shop.keep (LIKE shop.notes INCLUDING ALL); DROP TABLE shop.notes CASCADE; ALTER TABLE shop.keep RENAME TO notes",
        )
        .await;
        let diff = base.diff(&read(&mut conn).await);
        let seen = changes(&diff);
        for expected in [
            "~ table shop.notes: acl",
            "~ table shop.notes: comment",
            "- sequence shop.notes_id_seq",
        ] {
            assert!(
                seen.iter().any(|line| line == expected),
                "{expected} not in {seen:#?}"
            );
        }
    }
}

#[tokio::test]
async fn strange_names_survive() {
    let long = "x".repeat(63);
    for server in servers() {
        let mut conn = server.database().await;
        run(
            &mut conn,
            &format!(
                r#"CREATE SCHEMA "Sch ema"; CREATE TABLE "Sch ema"."T""a.b" ("größe" int, "select" text, "a'b" int, "{long}" int);
                CREATE INDEX "i'x" ON "Sch ema"."T""a.b" ("größe");
                CREATE TYPE "Sch ema"."Ünum" AS ENUM ('it''s', 'a"b', E'b\\c', E'two\nlines');
                CREATE FUNCTION "Sch ema"."F"("Sch ema"."Ünum") RETURNS int LANGUAGE sql AS 'select 1';
                COMMENT ON COLUMN "Sch ema"."T""a.b"."größe" IS E'line\nline "quoted" \\ \u2603'"#
            ),
        )
        .await;
        let catalog = read(&mut conn).await;
        let column = |name: &str| ObjectId::new(ObjectKind::Column, "Sch ema", name).of("T\"a.b");
        assert!(catalog.objects().contains_key(&column(&long)));
        assert!(catalog.objects().contains_key(&column("select")));
        assert_eq!(
            catalog.objects()[&column("größe")].attributes["comment"],
            "line\nline \"quoted\" \\ ☃"
        );
        let labels = &catalog.objects()[&ObjectId::new(ObjectKind::Type, "Sch ema", "Ünum")]
            .attributes["labels"];
        assert!(labels.starts_with("'it''s'\n'a\"b'\n"), "{labels}");
        let names: Vec<String> = catalog.objects().keys().map(ToString::to_string).collect();
        assert!(
            names.contains(&r#"function "Sch ema"."F"("Sch ema"."Ünum")"#.to_owned()),
            "{names:#?}"
        );
        assert_eq!(
            Catalog::from_json(&catalog.to_json_pretty()).unwrap(),
            catalog
        );
    }
}

#[tokio::test]
async fn a_failed_concurrent_build_shows() {
    for server in servers() {
        let mut conn = server.database().await;
        run(
            &mut conn,
            "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)",
        )
        .await;
        let build = sqlx::raw_sql("CREATE UNIQUE INDEX CONCURRENTLY t_a ON t (a)")
            .execute(&mut conn)
            .await;
        assert!(build.is_err());
        let index = &read(&mut conn).await.objects()
            [&ObjectId::new(ObjectKind::Index, "public", "t_a").of("t")]
            .clone();
        assert_eq!(index.attributes["valid"], "false");
    }
}

#[tokio::test]
async fn members_of_extensions_are_not_listed() {
    for server in servers() {
        let mut conn = server.database().await;
        let has: bool = sqlx::query_scalar(
            "SELECT count(*) > 0 FROM pg_available_extensions WHERE name = 'citext'",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap();
        if !has {
            assert!(servers().len() > 1, "no server of this test has citext");
            continue;
        }
        let base = read(&mut conn).await;
        run(&mut conn, "CREATE EXTENSION citext").await;
        assert_eq!(
            changes(&base.diff(&read(&mut conn).await)),
            ["+ extension citext"]
        );
    }
}

/// Servers of several majors say the same of the same schema.
#[tokio::test]
async fn every_major_says_the_same() {
    let mut first: Option<(u16, Catalog)> = None;
    for server in servers() {
        let mut conn = shop(server).await;
        let catalog = read(&mut conn).await;
        if let Some((major, expected)) = &first {
            // What SHOP_15 makes is not there before.
            let newer = |id: &ObjectId| *major < 15 && id.name == "part_of_it";
            let diff = expected.diff(&catalog).without(|id, _| newer(id));
            assert!(
                diff.is_empty(),
                "{major} - against {} +\n{diff}",
                server.major
            );
            if *major >= 15 {
                assert_eq!(expected.to_json_pretty(), catalog.to_json_pretty());
            }
        } else {
            first = Some((server.major, catalog));
        }
    }
}

#[tokio::test]
async fn a_difference_reads_well() {
    let server = &servers()[0];
    let mut conn = server.database().await;
    run(
        &mut conn,
        "CREATE TABLE t (id int PRIMARY KEY, a int); CREATE VIEW v AS SELECT id FROM t",
    )
    .await;
    let base = read(&mut conn).await;
    run(
        &mut conn,
        "CREATE OR REPLACE VIEW v AS SELECT id FROM t WHERE id > 1; ALTER TABLE t ALTER a TYPE bigint; CREATE TABLE u (x int)",
    )
    .await;
    let text = base.diff(&read(&mut conn).await).render();
    assert_eq!(
        text,
        "added table public.u
+kind: table
+owner: postgres
+persistence: permanent
  with column x

changed view public.v
@@ -1,4 +1,5 @@
 definition:
    SELECT id
-     FROM public.t;
+     FROM public.t
+    WHERE (id > 1);
 owner: postgres

changed column public.t.a
@@ -1,2 +1,2 @@
 not null: false
-type: integer
+type: bigint
"
    );
}
