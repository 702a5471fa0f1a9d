//! Catalogs that are large, strange, or not the reader's own.

use std::collections::BTreeSet;
use std::time::Instant;

use sqlx::Connection as _;
use upgrade_core::postgres::catalog::{Catalog, ObjectId, ObjectKind, TableName};

use crate::support::{run, servers};
use crate::{changes, read, shop};

fn fact<'a>(catalog: &'a Catalog, id: &ObjectId, name: &str) -> Option<&'a str> {
    let object = catalog.objects().get(id);
    let object = object.unwrap_or_else(|| panic!("there is no {id}"));
    object.attributes.get(name).map(String::as_str)
}

#[tokio::test]
async fn names_in_quotes_in_other_alphabets_and_of_63_bytes_survive() {
    // 63 bytes: the longest name, in letters of one byte and of three.
    for long in ["x".repeat(63), "名".repeat(21)] {
        for server in servers() {
            let mut conn = server.database().await;
            // The schema's is one of 61 bytes, and the index is not the table's namesake.
            let (short, index) = (&long[..57], format!("{}idx", &long[..60]));
            run(
                &mut conn,
                &format!(
                    r#"CREATE SCHEMA "S .""{short}";
                    SET search_path = "S .""{short}";
                    CREATE TABLE "{long}" ("{long}" int CONSTRAINT "{long}" CHECK ("{long}" > 0), "select" text);
                    CREATE INDEX "{index}" ON "{long}" ("select");
                    CREATE FUNCTION "{long}"() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END';
                    CREATE TRIGGER "{long}" BEFORE INSERT ON "{long}" FOR EACH ROW EXECUTE FUNCTION "{long}"();
                    CREATE POLICY "{long}" ON "{long}";
                    CREATE PUBLICATION "{long}" FOR TABLE "{long}";
                    CREATE TYPE "Ünum" AS ENUM ('it''s');
                    CREATE CAST ("Ünum" AS int) WITH INOUT;
                    CREATE FOREIGN DATA WRAPPER "{long}";
                    CREATE SERVER "{long}" FOREIGN DATA WRAPPER "{long}";
                    CREATE USER MAPPING FOR PUBLIC SERVER "{long}";
                    CREATE STATISTICS "{long}" ON "{long}", "select" FROM "{long}""#
                ),
            )
            .await;
            let schema = format!("S .\"{short}");
            let catalog = read(&mut conn).await;
            let id = ObjectId::new(ObjectKind::Index, &*schema, index).of(&*long);
            assert!(catalog.objects().contains_key(&id), "{id}");
            for kind in [
                ObjectKind::Column,
                ObjectKind::Constraint,
                ObjectKind::Trigger,
                ObjectKind::Policy,
                ObjectKind::PublishedTable,
                ObjectKind::Statistics,
            ] {
                let id = ObjectId::new(kind, &*schema, &*long).of(&*long);
                assert!(catalog.objects().contains_key(&id), "{id}");
            }
            let paths: BTreeSet<String> =
                catalog.objects().keys().map(ToString::to_string).collect();
            assert_eq!(
                paths.len(),
                catalog.objects().len(),
                "a path names one object"
            );
            let quoted = format!("{:?}", schema).replace("\\\"", "\"\"");
            for path in [
                format!("cast ({quoted}.\"Ünum\" AS integer)"),
                format!("type {quoted}.\"Ünum\""),
            ] {
                assert!(paths.contains(&path), "{path} not in {paths:#?}");
            }
            assert_eq!(
                Catalog::from_json(&catalog.to_json_pretty()).unwrap(),
                catalog
            );
        }
    }
}

/// Slow queries show here first. The figure is printed, not judged.
#[tokio::test]
async fn five_thousand_tables_are_read() {
    const TABLES: usize = 5000;
    let server = &servers()[0];
    let mut conn = server.database().await;
    run(
        &mut conn,
        &format!(
            "DO $$ BEGIN FOR i IN 1..{TABLES} LOOP
                EXECUTE format('CREATE TABLE t%s (id bigserial PRIMARY KEY, a text NOT NULL, b int DEFAULT 1 CHECK (b > 0))', i);
                EXECUTE format('CREATE INDEX ON t%s (a)', i);
                IF i % 100 = 0 THEN COMMIT; END IF;
            END LOOP; END $$"
        ),
    )
    .await;
    let begun = Instant::now();
    let catalog = read(&mut conn).await;
    println!(
        "{} objects of {TABLES} tables read in {:?}",
        catalog.objects().len(),
        begun.elapsed()
    );
    let count = |kind| {
        let of_kind = catalog.objects().keys().filter(|id| id.kind == kind);
        of_kind.count()
    };
    assert_eq!(count(ObjectKind::Table), TABLES);
    assert_eq!(count(ObjectKind::Sequence), TABLES);
    assert_eq!(count(ObjectKind::Column), 3 * TABLES);
    assert_eq!(count(ObjectKind::Index), 2 * TABLES);
    assert_eq!(count(ObjectKind::Constraint), 2 * TABLES);
    run(&mut conn, "ALTER TABLE t4711 ALTER a DROP NOT NULL").await;
    let diff = catalog.diff(&read(&mut conn).await);
    assert_eq!(changes(&diff), ["~ column public.t4711.a: not null"]);
}

#[tokio::test]
async fn a_table_of_1600_columns_is_read() {
    for server in servers() {
        let mut conn = server.database().await;
        let columns: Vec<String> = (1..=1600).map(|n| format!("c{n} int")).collect();
        run(
            &mut conn,
            &format!("CREATE TABLE wide ({})", columns.join(", ")),
        )
        .await;
        let base = read(&mut conn).await;
        let order = &base.column_order()[&TableName::new("public", "wide")];
        assert_eq!((order.len(), order[1599].as_str()), (1600, "c1600"));
        run(&mut conn, "ALTER TABLE wide ALTER c1599 SET DEFAULT 7").await;
        assert_eq!(
            changes(&base.diff(&read(&mut conn).await)),
            ["~ column public.wide.c1599: default"]
        );
    }
}

#[tokio::test]
async fn partitions_of_partitions_of_partitions_are_read() {
    const DEEP: &str = "
        CREATE TABLE p (a int, b int, c int, d text, PRIMARY KEY (a, b, c)) PARTITION BY RANGE (a);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10) PARTITION BY LIST (b);
        CREATE TABLE p11 PARTITION OF p1 FOR VALUES IN (1, 2) PARTITION BY HASH (c);
        CREATE TABLE p111 PARTITION OF p11 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE p112 PARTITION OF p11 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE INDEX p_d ON p (d);";
    let mut first: Option<Catalog> = None;
    for server in servers() {
        let mut conn = server.database().await;
        run(&mut conn, DEEP).await;
        let base = read(&mut conn).await;
        let table = |name: &str| ObjectId::new(ObjectKind::Table, "public", name);
        assert_eq!(fact(&base, &table("p11"), "inherits"), Some("public.p1"));
        assert_eq!(
            fact(&base, &table("p11"), "partition key"),
            Some("HASH (c)")
        );
        assert_eq!(
            fact(&base, &table("p112"), "partition bound"),
            Some("FOR VALUES WITH (modulus 2, remainder 1)")
        );
        run(&mut conn, "DROP INDEX p_d").await;
        assert_eq!(
            changes(&base.diff(&read(&mut conn).await)),
            [
                "- index public.p111_d_idx",
                "- index public.p112_d_idx",
                "- index public.p11_d_idx",
                "- index public.p1_d_idx",
                "- index public.p_d",
            ]
        );
        if let Some(first) = &first {
            let diff = first.diff(&base);
            assert!(diff.is_empty(), "{}\n{diff}", server.major);
        } else {
            first = Some(base);
        }
    }
}

/// Whoever may connect reads all of it, but for the options of user mappings, which the server
/// shows to their users and to superusers only.
#[tokio::test]
async fn a_plain_role_reads_what_a_superuser_reads() {
    for server in servers() {
        let mut conn = shop(server).await;
        let base = read(&mut conn).await;
        run(
            &mut conn,
            "REVOKE ALL ON SCHEMA shop FROM PUBLIC, app; REVOKE ALL ON ALL TABLES IN SCHEMA shop FROM app",
        )
        .await;
        let owned = read(&mut conn).await;
        assert!(!base.diff(&owned).is_empty());
        let mut app = server.as_role(&mut conn, "app").await;
        let seen = read(&mut app).await;
        assert_eq!(
            changes(&owned.diff(&seen)),
            ["~ user mapping for app server shelf: options"]
        );
    }
}

#[tokio::test]
async fn objects_of_other_roles_are_read_with_their_owners() {
    for server in servers() {
        let mut conn = server.database().await;
        run(
            &mut conn,
            "CREATE SCHEMA theirs AUTHORIZATION auditor; SET ROLE auditor;
             CREATE TABLE theirs.t (id serial PRIMARY KEY); CREATE VIEW theirs.v AS SELECT 1 AS a;
             CREATE TYPE theirs.e AS ENUM ('a'); RESET ROLE",
        )
        .await;
        let mut app = server.as_role(&mut conn, "app").await;
        let catalog = read(&mut app).await;
        for (kind, name) in [
            (ObjectKind::Table, "t"),
            (ObjectKind::View, "v"),
            (ObjectKind::Type, "e"),
            (ObjectKind::Sequence, "t_id_seq"),
        ] {
            let id = ObjectId::new(kind, "theirs", name);
            assert_eq!(fact(&catalog, &id, "owner"), Some("auditor"));
        }
    }
}

#[tokio::test]
async fn a_search_path_of_the_role_or_the_database_changes_nothing() {
    for server in servers() {
        let mut conn = shop(server).await;
        run(
            &mut conn,
            "DO $$ BEGIN
                EXECUTE format('ALTER ROLE app IN DATABASE %I SET search_path = shop', current_database());
                EXECUTE format('ALTER DATABASE %I SET search_path = shop, public', current_database());
            END $$",
        )
        .await;
        let base = read(&mut conn).await;
        for role in ["app", "postgres"] {
            let mut session = server.as_role(&mut conn, role).await;
            let path: String = sqlx::query_scalar("SHOW search_path")
                .fetch_one(&mut session)
                .await
                .unwrap();
            assert!(path.starts_with("shop"), "{path}");
            let diff = base.diff(&read(&mut session).await);
            let left = diff.without(|id, _| id.kind == ObjectKind::UserMapping);
            assert!(left.is_empty(), "{role}\n{left}");
        }
    }
}

#[tokio::test]
async fn event_triggers_that_forbid_every_ddl_do_not_disturb() {
    for server in servers() {
        let mut conn = shop(server).await;
        run(
            &mut conn,
            "CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
             CREATE EVENT TRIGGER forbid_start ON ddl_command_start EXECUTE FUNCTION forbid()",
        )
        .await;
        let ddl = sqlx::raw_sql("CREATE TABLE refused ()")
            .execute(&mut conn)
            .await;
        assert!(ddl.is_err());
        let base = read(&mut conn).await;
        let id = ObjectId::new(ObjectKind::EventTrigger, "", "forbid_start");
        assert_eq!(fact(&base, &id, "event"), Some("ddl_command_start"));
        let mut transaction = conn.begin().await.unwrap();
        assert!(base.diff(&read(&mut transaction).await).is_empty());
        transaction.rollback().await.unwrap();
    }
}

/// Passwords stand in options and settings; a catalog is committed and printed.
#[tokio::test]
async fn no_secret_is_in_a_catalog() {
    for server in servers() {
        let mut conn = shop(server).await;
        let text = read(&mut conn).await.to_json_pretty();
        assert!(text.contains("password=(not told)"), "{text}");
        assert!(text.contains("api_key=(not told)"), "{text}");
        assert!(text.contains("shop.jwt_secret=(not told)"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
