//! The seeder on tables that have rows already.

use crate::support::{SHOP, Server, number, run, texts};
use upgrade_testkit::seed::{SeedError, Seeder};

#[tokio::test]
async fn rows_are_added_with_another_seed_and_with_the_same() {
    let server = Server::start().await;
    let mut conn = server.database("again", SHOP).await;
    for (round, seed) in [3, 4, 3, 3].into_iter().enumerate() {
        let report = Seeder::new(seed).rows(150).fill(&mut conn).await.unwrap();
        for table in report.tables() {
            assert_eq!(table.existing, round as u64 * 150, "{report}");
            assert_eq!(table.inserted, 150, "{report}");
            assert!(
                table.refused < 15,
                "{} refused {}",
                table.table,
                table.refused
            );
        }
    }
}

#[tokio::test]
async fn values_that_rows_have_are_found_and_avoided() {
    let server = Server::start().await;
    let schema = "
        CREATE TABLE small (id smallint PRIMARY KEY, c char(3) UNIQUE, n numeric(6,2) NOT NULL, b bit(40) UNIQUE);
        INSERT INTO small SELECT i, 'x' || i % 10 || chr(97 + i / 10 % 26), i, i::int8::bit(40) FROM generate_series(0, 259) i;
        CREATE TABLE letters (letter text PRIMARY KEY CHECK (letter IN ('a', 'b', 'c', 'd')));
        INSERT INTO letters VALUES ('b'), ('d');
        CREATE TABLE parts (id int NOT NULL, kind text CHECK (kind IN ('x', 'y')), PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
        CREATE TABLE parts_x PARTITION OF parts FOR VALUES IN ('x');
        CREATE TABLE parts_y PARTITION OF parts FOR VALUES IN ('y');
        INSERT INTO parts SELECT i, k FROM generate_series(-100, 9000) i, (VALUES ('x'), ('y')) v(k);";
    let mut conn = server.database("avoided", schema).await;
    let report = Seeder::new(1).rows(300).fill(&mut conn).await.unwrap();
    assert_eq!(
        report.table("public.small").unwrap().inserted,
        300,
        "{report}"
    );
    assert_eq!(
        report.table("public.parts").unwrap().inserted,
        300,
        "{report}"
    );
    let letters = report.table("public.letters").unwrap();
    assert_eq!((letters.existing, letters.inserted), (2, 2), "{report}");
    assert!(
        letters.short.as_ref().unwrap().contains("letters_pkey"),
        "{report}"
    );
}

#[tokio::test]
async fn a_sequence_behind_its_rows_is_named() {
    let server = Server::start().await;
    let schema = "CREATE TABLE t (id serial PRIMARY KEY, n int); INSERT INTO t SELECT i, i FROM generate_series(1, 50) i;";
    let mut conn = server.database("behind", schema).await;
    // A few rows with fixed ids, as fixtures have them, are stepped over.
    Seeder::new(1).rows(5).fill(&mut conn).await.unwrap();
    run(&mut conn, "INSERT INTO t SELECT i, i FROM generate_series(1000, 3000) i; SELECT setval('t_id_seq', 1000)").await;
    let error = Seeder::new(1).rows(5).fill(&mut conn).await.unwrap_err();
    assert!(
        matches!(&error, SeedError::CannotFill { hint, sqlstate, .. }
            if sqlstate == "23505" && hint.contains("the sequence of `public.t.id` is behind")),
        "{error}"
    );
    assert_eq!(number(&mut conn, "SELECT count(*) FROM t").await, 2056);
    assert_eq!(
        texts(&mut conn, "SELECT count(*)::text FROM t WHERE id <= 55").await,
        ["55"]
    );
}

/// All rows of all tables, in the order of their text: the server chooses where rows are stored.
const DUMP: &str = "SELECT coalesce(xmlagg(d ORDER BY n)::text, '') FROM (SELECT relname AS n, query_to_xml(format('SELECT * FROM %s AS t ORDER BY t::text COLLATE \"C\"', oid::regclass), true, false, '') AS d
    FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace) x";

#[tokio::test]
async fn writes_add_change_and_delete_and_are_the_same_for_a_seed() {
    let server = Server::start().await;
    let mut dumps = Vec::new();
    for name in ["writes_1", "writes_2"] {
        let mut conn = server.database(name, SHOP).await;
        Seeder::new(3).rows(80).fill(&mut conn).await.unwrap();
        run(&mut conn, "CREATE TABLE before AS SELECT id, name, made FROM tenants; CREATE TABLE lines_before AS TABLE lines").await;
        let writer = || Seeder::new(9).rows(10).skip("before").skip("lines_before");
        let report = writer().write(&mut conn).await.unwrap();
        for table in report.tables() {
            assert_eq!((table.existing, table.inserted), (80, 10), "{report}");
            assert_eq!(table.total, 80 + 10 - table.deleted, "{report}");
            assert!(table.refused < 10, "{report}");
        }
        // The primary key and the unique name stay: of a tenant only `made` can change.
        let changed = "SELECT count(*) FROM tenants t JOIN before b USING (id) WHERE t.made <> b.made AND t.name = b.name";
        assert_eq!(number(&mut conn, changed).await, 10);
        let kept = "SELECT count(*) FROM tenants JOIN before USING (id, name)";
        let tenants = report.table("public.tenants").unwrap();
        assert_eq!(
            number(&mut conn, kept).await,
            80 - i64::try_from(tenants.deleted).unwrap()
        );
        let lines = report.table("public.lines").unwrap();
        assert_eq!(
            (lines.updated, lines.deleted),
            (10, 10),
            "nothing refers to a line"
        );
        assert_eq!(number(&mut conn, "SELECT count(*) FROM lines_before WHERE (order_id, position) NOT IN (SELECT order_id, position FROM lines)").await, 10);
        assert!(report.updated() >= 50 && report.deleted() >= 30, "{report}");
        dumps.extend(texts(&mut conn, DUMP).await);
        writer().write(&mut conn).await.unwrap();
        let other = texts(&mut conn, DUMP).await;
        assert_ne!(other[0], dumps[dumps.len() - 1]);
    }
    assert!(dumps[0].len() > 50_000);
    assert!(dumps[0] == dumps[1], "two writes with one seed differ");
}

#[tokio::test]
async fn writes_leave_alone_what_cannot_be_changed() {
    let server = Server::start().await;
    let schema = "
        CREATE TABLE settings (key text PRIMARY KEY, value text NOT NULL);
        CREATE TABLE accounts (id serial PRIMARY KEY, low int NOT NULL CHECK (low >= 0), high int NOT NULL, CHECK (low < high), state text NOT NULL CHECK (state IN ('open', 'closed')),
          closed_on date, CHECK ((state = 'closed') = (closed_on IS NOT NULL)), code bpchar(4));
        CREATE TABLE entries (account_id int NOT NULL REFERENCES accounts, position int NOT NULL, PRIMARY KEY (account_id, position));
        CREATE TABLE frozen (id serial PRIMARY KEY, note text);
        CREATE TABLE loose (note text);
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'frozen'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON frozen FOR EACH ROW EXECUTE FUNCTION refuse();";
    let mut conn = server.database("alone", schema).await;
    let fixed = || {
        vec![upgrade_testkit::seed::Row::from([
            ("key", "currency"),
            ("value", "EUR"),
        ])]
    };
    let seeder = |seed| {
        Seeder::new(seed)
            .rows(40)
            .tries(5)
            .table("settings", fixed())
    };
    seeder(1).fill(&mut conn).await.unwrap();
    let report = seeder(2)
        .updates(30)
        .deletes(7)
        .write(&mut conn)
        .await
        .unwrap();
    let numbers = |name: &str| {
        let table = report.table(name).unwrap();
        (table.inserted, table.updated, table.deleted, table.refused)
    };
    assert_eq!(numbers("public.settings"), (0, 0, 0, 0), "{report}");
    assert_eq!(numbers("public.frozen"), (40, 0, 0, 37), "{report}");
    assert_eq!(
        numbers("public.entries").1,
        0,
        "all columns are keys: {report}"
    );
    assert_eq!(numbers("public.loose"), (40, 30, 7, 0), "{report}");
    let accounts = numbers("public.accounts");
    assert_eq!((accounts.0, accounts.1), (40, 30), "{report}");
    assert_eq!(numbers("public.entries").2, 7);
    assert!(
        report
            .to_string()
            .contains("public.loose: 40 rows, 30 updated, 7 deleted"),
        "{report}"
    );
}
