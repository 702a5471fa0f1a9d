//! How the values that the seeder draws spread.

use crate::support::{Server, number, texts};
use upgrade_testkit::seed::{Distribution, Seeder};

const SCHEMA: &str = "
    CREATE TABLE customers (id serial PRIMARY KEY, name varchar(30) NOT NULL, code text UNIQUE, boss int REFERENCES customers);
    CREATE TABLE orders (id serial PRIMARY KEY, customer int NOT NULL REFERENCES customers, rep int REFERENCES customers,
      note text NOT NULL, small smallint NOT NULL, big bigint NOT NULL, at timestamptz NOT NULL, ratio float8 NOT NULL, maybe int, maybe_not date);";

#[tokio::test]
async fn few_parents_have_many_children_unless_told_otherwise() {
    let server = Server::start().await;
    let children = |column: &str| {
        format!(
            "SELECT count(*) FROM orders WHERE {column} IS NOT NULL GROUP BY {column} ORDER BY 1 DESC LIMIT 1"
        )
    };
    let seeder = || Seeder::new(1).rows(100).table_rows("orders", 4_000);
    let mut conn = server.database("skewed", SCHEMA).await;
    seeder().fill(&mut conn).await.unwrap();
    for column in ["customer", "rep"] {
        let most = number(&mut conn, &children(column)).await;
        assert!(
            most > 400,
            "the first of 100 {column}s has {most} of 4,000 orders"
        );
        let some = format!("SELECT count(DISTINCT {column}) FROM orders");
        assert!(number(&mut conn, &some).await > 90, "{column}");
    }
    let same = "SELECT count(*) FROM (SELECT mode() WITHIN GROUP (ORDER BY customer) AS c, mode() WITHIN GROUP (ORDER BY rep) AS r FROM orders) m WHERE c = r";
    assert_eq!(
        number(&mut conn, same).await,
        0,
        "each key has its own most frequent parent"
    );
    let mut conn = server.database("even", SCHEMA).await;
    let even = Distribution::default().skewed(false);
    seeder()
        .table_distribution("orders", even)
        .fill(&mut conn)
        .await
        .unwrap();
    for column in ["customer", "rep"] {
        let most = number(&mut conn, &children(column)).await;
        assert!(
            most < 80,
            "the first of 100 {column}s has {most} of 4,000 orders"
        );
    }
    assert!(
        number(
            &mut conn,
            "SELECT count(*) FROM customers GROUP BY boss ORDER BY 1 DESC LIMIT 1"
        )
        .await
            > 8
    );
}

#[tokio::test]
async fn nulls_have_their_share() {
    let server = Server::start().await;
    for (null_in, few, many) in [(0, 0, 0), (2, 430, 570), (8, 80, 175), (1, 1_000, 1_000)] {
        let mut conn = server.database(&format!("nulls_{null_in}"), SCHEMA).await;
        let distribution = Distribution::default().null_in(null_in);
        let seeder = Seeder::new(2).rows(1_000).distribution(distribution);
        seeder.fill(&mut conn).await.unwrap();
        for column in ["rep", "maybe", "maybe_not"] {
            let nulls = number(
                &mut conn,
                &format!("SELECT count(*) FROM orders WHERE {column} IS NULL"),
            )
            .await;
            assert!(
                (few..=many).contains(&nulls),
                "one in {null_in}: {nulls} of {column}"
            );
        }
    }
}

#[tokio::test]
async fn limits_long_texts_and_letters_are_met() {
    let server = Server::start().await;
    let mut conn = server.database("limits", SCHEMA).await;
    Seeder::new(3)
        .rows(2_500)
        .extremes()
        .fill(&mut conn)
        .await
        .unwrap();
    for met in [
        "customers WHERE name = ''",
        "customers WHERE length(name) = 30",
        "orders WHERE length(note) BETWEEN 4200 AND 20000 AND pg_column_size(note) > 2048",
        // Four bytes, combining, written from right to left.
        "orders WHERE note ~ '[\u{1f600}-\u{1f64f}]'",
        "orders WHERE note ~ '[\u{300}-\u{304}]'",
        "orders WHERE note ~ '[\u{5d0}-\u{5ea}]' AND note ~ '[\u{627}-\u{64a}]'",
        "orders WHERE note LIKE '%''%' OR note LIKE '%\\\\%'",
        "orders WHERE small = -32768",
        "orders WHERE small = 32767",
        "orders WHERE big = 9223372036854775807",
        "orders WHERE at = 'infinity'",
        "orders WHERE at < '0001-01-01 BC'",
        "orders WHERE ratio = 'NaN'",
    ] {
        assert!(
            number(&mut conn, &format!("SELECT count(*) FROM {met}")).await > 0,
            "{met}"
        );
    }
    let toast = "SELECT count(*) FROM pg_class WHERE oid = 'orders'::regclass AND pg_relation_size(reltoastrelid) > 0";
    assert_eq!(
        number(&mut conn, toast).await,
        1,
        "some text is out of line"
    );
    assert_eq!(
        number(
            &mut conn,
            "SELECT count(*) FROM customers WHERE length(code) > 600"
        )
        .await,
        0,
        "an indexed one stays short"
    );
    let none = Distribution::default().long_text_in(0);
    let mut conn = server.database("short", SCHEMA).await;
    Seeder::new(3)
        .rows(1_000)
        .distribution(none)
        .fill(&mut conn)
        .await
        .unwrap();
    assert_eq!(
        texts(
            &mut conn,
            "SELECT note FROM orders WHERE length(note) > 100"
        )
        .await,
        [""; 0]
    );
}
