//! The seeder on tables that have rows already.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod seed_support;

use seed_support::{SHOP, Server, number, run, texts};
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
    // A few rows with ids of their own, as fixtures have them, are stepped over.
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
