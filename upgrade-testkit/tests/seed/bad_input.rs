//! The seeder on schemas as no tutorial has them: a right fill, or an error that says what to do.

use crate::support::{Server, number, run};
use upgrade_testkit::seed::{Distribution, SeedError, Seeder};

#[tokio::test]
async fn names_of_every_kind() {
    let server = Server::start().await;
    let long = "n".repeat(62) + "€";
    let sixty_three: String = long.chars().take(60).chain(['€']).collect();
    let names = [
        "select",
        "Mixed Case",
        "a.b",
        "it's",
        "quo\"te",
        "$1",
        "ключ",
        "表\u{1f600}",
        "back\\slash",
        "tab\there",
        &sixty_three,
    ];
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let mut schema = String::new();
    for (at, name) in names.iter().enumerate() {
        let (name, parent) = (quote(name), quote(names[at.saturating_sub(1)]));
        schema.push_str(&format!("CREATE SCHEMA {name}; CREATE DOMAIN {name}.\"{at} d\" AS text CHECK (VALUE <> ''); CREATE TYPE {name}.\"{at} e\" AS ENUM ('a');
            CREATE TABLE {name}.{name} ({name} {name}.\"{at} d\" PRIMARY KEY CONSTRAINT {name} CHECK (length({name}) < 50), \"at\" {name}.\"{at} e\", \"r\" text REFERENCES {parent}.{parent},
              \"c0\" int NOT NULL, \"v\" int UNIQUE, \"value\" text, FOREIGN KEY ({name}) REFERENCES {name}.{name});"));
    }
    let mut conn = server.database("names", &schema).await;
    let seeder = Seeder::new(1).rows(30).table_rows("quo\"te.quo\"te", 31);
    for existing in [0, 1] {
        let report = seeder.fill(&mut conn).await.unwrap();
        assert_eq!(report.tables().len(), names.len());
        assert_eq!(report.inserted(), 30 * 11 + 1, "{existing}: {report}");
    }
    let report = seeder.write(&mut conn).await.unwrap();
    assert_eq!(report.updated(), 30 * 11, "{report}");
}

#[tokio::test]
async fn a_table_of_as_many_columns_as_there_can_be() {
    let server = Server::start().await;
    let columns = |ty: &str| {
        (0..1600)
            .map(|at| format!("c{at} {ty}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let schema = format!(
        "CREATE TABLE wide ({}); CREATE TABLE text_only ({});",
        columns("int"),
        columns("text")
    );
    let mut conn = server.database("wide", &schema).await;
    let seeder = || Seeder::new(1).rows(100).tries(3);
    let report = seeder().skip("text_only").fill(&mut conn).await.unwrap();
    assert_eq!(report.inserted(), 100);
    // A row has to fit a page, and 1,600 texts do not.
    let error = seeder().skip("wide").fill(&mut conn).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("row is too big") && text.contains("null_in(2)"),
        "{text}"
    );
    let sparse = Distribution::default().null_in(2);
    let report = seeder()
        .skip("wide")
        .distribution(sparse)
        .fill(&mut conn)
        .await
        .unwrap();
    assert_eq!(report.inserted(), 100);
}

#[tokio::test]
async fn five_thousand_tables() {
    let roomy = Server::start().await;
    many_tables(&roomy, 5_000).await.unwrap();
    // A server may have no room for the locks of one transaction over all tables.
    let error = many_tables(&Server::start_with_locks(10).await, 1_500)
        .await
        .unwrap_err();
    assert!(matches!(error, SeedError::OutOfLocks { .. }), "{error}");
    assert!(
        error.to_string().contains("max_locks_per_transaction"),
        "{error}"
    );
}

async fn many_tables(server: &Server, count: u32) -> Result<(), SeedError> {
    let mut conn = server.database("many", "").await;
    for part in 0..count / 250 {
        let tables = (part * 250..(part + 1) * 250).map(|at| {
            let parent = at.saturating_sub(1 + at % 7);
            format!("CREATE TABLE t{at} (id serial PRIMARY KEY, parent int NOT NULL REFERENCES t{parent} DEFERRABLE, note text);")
        });
        run(&mut conn, &tables.collect::<String>()).await;
    }
    let report = Seeder::new(1).rows(2).fill(&mut conn).await?;
    assert_eq!(report.tables().len(), count as usize);
    assert_eq!(report.inserted(), u64::from(count) * 2);
    Ok(())
}

#[tokio::test]
async fn privileges_that_are_missing_are_named() {
    let server = Server::start().await;
    let schema = "
        CREATE ROLE app; CREATE ROLE other;
        CREATE TABLE granted (id int PRIMARY KEY, n int); CREATE TABLE read_only (id int); CREATE TABLE hidden (id int);
        CREATE TABLE owned (id serial PRIMARY KEY, granted int REFERENCES granted); ALTER TABLE owned OWNER TO other;
        CREATE TABLE guarded (id int, owner text NOT NULL DEFAULT current_user);
        ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON guarded USING (true) WITH CHECK (owner <> 'x');
        CREATE SCHEMA closed; CREATE TABLE closed.inside (id int);
        GRANT SELECT, INSERT ON granted, guarded TO app; GRANT SELECT ON read_only TO app;";
    let mut conn = server.database("privileges", schema).await;
    let all = Seeder::new(1).rows(20).fill(&mut conn).await.unwrap();
    assert_eq!(all.inserted(), 6 * 20, "a superuser fills all: {all}");
    run(&mut conn, "SET ROLE app").await;
    let rest = ["hidden", "owned", "closed.inside"];
    let without = |names: &[&str]| {
        names
            .iter()
            .fold(Seeder::new(2).rows(20), |seeder, name| seeder.skip(*name))
    };
    let report = without(&[&rest[..], &["read_only"]].concat())
        .fill(&mut conn)
        .await
        .unwrap();
    assert_eq!(
        report.inserted(),
        2 * 20,
        "row-level security too: {report}"
    );
    for (skipped, expected) in [
        (
            &["hidden", "owned", "closed.inside"][..],
            "the role `app` cannot fill `public.read_only`: it lacks INSERT",
        ),
        (
            &["read_only", "owned", "closed.inside"],
            "the role `app` cannot fill `public.hidden`: it lacks SELECT",
        ),
        (
            &["read_only", "owned", "hidden"],
            "the role `app` cannot fill `closed.inside`: it lacks USAGE of its schema",
        ),
    ] {
        let error = without(skipped).fill(&mut conn).await.unwrap_err();
        assert!(matches!(error, SeedError::Forbidden { .. }), "{error}");
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    let report = Seeder::new(3)
        .rows(20)
        .lenient()
        .fill(&mut conn)
        .await
        .unwrap();
    assert_eq!(report.left_out().len(), 4, "{report}");
    let error = without(&[&rest[..], &["read_only"]].concat())
        .write(&mut conn)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("permission denied for table"), "{error}");
    run(&mut conn, "RESET ROLE").await;
    assert_eq!(number(&mut conn, "SELECT count(*) FROM granted").await, 60);
}

#[tokio::test]
async fn tables_without_keys_columns_or_anything() {
    let server = Server::start().await;
    let schema = "CREATE TABLE nothing (); CREATE TABLE bare (a int, b text); CREATE UNLOGGED TABLE unlogged (a int);
        CREATE TABLE dropped (a int, b int, c int NOT NULL); ALTER TABLE dropped DROP a, DROP b;
        CREATE TABLE only_generated (id int GENERATED ALWAYS AS IDENTITY); CREATE TABLE defaults (a int DEFAULT 7, b xml, c json);";
    let mut conn = server.database("bare", schema).await;
    for _ in 0..2 {
        let report = Seeder::new(1).rows(40).fill(&mut conn).await.unwrap();
        assert_eq!(report.inserted(), 6 * 40, "{report}");
    }
    let report = Seeder::new(1).rows(8).write(&mut conn).await.unwrap();
    assert_eq!((report.inserted(), report.deleted()), (48, 48), "{report}");
    assert_eq!(report.updated(), 4 * 8, "{report}");
}
