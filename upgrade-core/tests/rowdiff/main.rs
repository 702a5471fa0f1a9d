//! Rows that differ between two databases, on a real server.
#![cfg(feature = "postgres")]
#![expect(
    clippy::unwrap_used,
    reason = "a test helper that fails should fail the test"
)]

mod pair;
mod random;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the helpers are those of several tests")]
mod support;

use pair::{Pair, t};
use support::run;
use upgrade_core::observation::{Columns, Reading, RowChangeKind, RowDiffRequest};
use upgrade_core::postgres::catalog::TableName;
use upgrade_core::postgres::rowdiff::{RowDiffError, RowDiffOptions, diff, diff_all};

const PEOPLE: &str = "CREATE TABLE t (id int PRIMARY KEY, name text, phone text);
    INSERT INTO t SELECT i, 'name ' || i, '+49 ' || i FROM generate_series(1, 50) i;";

#[tokio::test]
async fn nothing_changed_is_no_difference() {
    let mut pair = Pair::new(PEOPLE, "UPDATE t SET name = name; VACUUM FULL t").await;
    let found = pair.diff().await;
    assert!(found.is_empty(), "{found}");
    assert_eq!((found.before, found.after), (50, 50));
    assert_eq!(found.summary(), "no row differs, of 50");
}

#[tokio::test]
async fn rows_are_named_by_their_primary_key_and_columns_before_and_after() {
    let mut pair = Pair::new(
        PEOPLE,
        "DELETE FROM t WHERE id IN (3, 30, 9);
         UPDATE t SET phone = NULL WHERE id = 7; UPDATE t SET name = E'a\\tb', phone = '' WHERE id = 8;
         INSERT INTO t VALUES (51, NULL, 'new')",
    )
    .await;
    let found = pair.diff().await;
    assert_eq!(found.key, ["id"]);
    assert_eq!(
        found.summary(),
        "3 rows lost, 2 changed in `name`, `phone`, 1 added, of 50"
    );
    assert_eq!(
        found.to_string(),
        "- id = 3: name = 'name 3', phone = '+49 3'\n\
         - id = 9: name = 'name 9', phone = '+49 9'\n\
         - id = 30: name = 'name 30', phone = '+49 30'\n\
         ~ id = 7: phone '+49 7' -> NULL\n\
         ~ id = 8: name 'name 8' -> 'a\\tb', phone '+49 8' -> ''\n\
         + id = 51: name = NULL, phone = 'new'\n"
    );
    let options = RowDiffOptions::default().with_named(1).with_buckets(1);
    let short = pair.diff_with(&options).await;
    assert_eq!((short.lost, short.changed, short.added), (3, 2, 1));
    assert_eq!(
        short.to_string(),
        "- id = 3: name = 'name 3', phone = '+49 3'\n~ id = 7: phone '+49 7' -> NULL\n\
         + id = 51: name = NULL, phone = 'new'\n- and 2 more\n~ and 1 more\n"
    );
}

#[tokio::test]
async fn equal_rows_without_a_key_are_counted() {
    let mut pair = Pair::new(
        "CREATE TABLE t (a int, b text);
         INSERT INTO t SELECT 1, 'x' FROM generate_series(1, 5); INSERT INTO t VALUES (2, NULL), (2, NULL), (3, 'z')",
        "DELETE FROM t WHERE ctid IN (SELECT ctid FROM t WHERE a = 1 LIMIT 3); INSERT INTO t VALUES (2, NULL)",
    )
    .await;
    let found = pair.diff().await;
    assert!(found.key.is_empty());
    assert_eq!((found.lost, found.changed, found.added), (3, 0, 1));
    assert_eq!(
        found.to_string(),
        "- a = 1, b = 'x' (3 rows)\n+ a = 2, b = NULL\n"
    );
}

#[tokio::test]
async fn a_unique_index_over_columns_that_are_not_null_names_rows_and_another_does_not() {
    let rows = "INSERT INTO t SELECT i, i % 7, 'v' FROM generate_series(1, 20) i";
    let change = "UPDATE t SET v = 'w' WHERE a = 5";
    for (table, key) in [
        (
            "CREATE TABLE t (a int NOT NULL UNIQUE, b int NOT NULL, v text);",
            &["a"][..],
        ),
        ("CREATE TABLE t (a int UNIQUE, b int, v text);", &[]),
        (
            "CREATE TABLE t (a int NOT NULL, b int NOT NULL, v text); CREATE UNIQUE INDEX ON t (b, a);",
            &["b", "a"],
        ),
        (
            "CREATE TABLE t (a int NOT NULL, b int NOT NULL, v text); CREATE UNIQUE INDEX ON t (a) INCLUDE (v);",
            &["a"],
        ),
        (
            "CREATE TABLE t (a int NOT NULL, b int, v text); CREATE UNIQUE INDEX ON t (a) WHERE b > 2;",
            &[],
        ),
        (
            "CREATE TABLE t (a int NOT NULL, b int, v text); CREATE UNIQUE INDEX ON t ((a + 1));",
            &[],
        ),
        (
            "CREATE TABLE t (a int, b int, v text, PRIMARY KEY (b, a), UNIQUE (a));",
            &["b", "a"],
        ),
    ] {
        let mut pair = Pair::new(&format!("{table}{rows}"), change).await;
        let found = pair.diff().await;
        assert_eq!(found.key, key, "{table}");
        if key.is_empty() {
            assert_eq!(
                (found.lost, found.changed, found.added),
                (1, 0, 1),
                "{table}"
            );
        } else {
            assert_eq!(
                (found.lost, found.changed, found.added),
                (0, 1, 0),
                "{table}"
            );
            assert!(found.to_string().contains("v 'v' -> 'w'"), "{found}");
        }
    }
}

#[tokio::test]
async fn a_composite_key_reads_in_its_own_order() {
    let mut pair = Pair::new(
        "CREATE TABLE t (a text, b int, n numeric, PRIMARY KEY (b, a)); INSERT INTO t VALUES ('x,(\"', 1, 1.0), ('y', 1, 2.0)",
        "UPDATE t SET n = 3 WHERE a <> 'y'",
    )
    .await;
    assert_eq!(
        pair.diff().await.to_string(),
        "~ b = 1, a = 'x,(\"': n 1.0 -> 3\n"
    );
}

#[tokio::test]
async fn a_key_that_only_one_side_has_serves_both() {
    let change = "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ALTER id DROP NOT NULL;
        INSERT INTO t VALUES (7, 'again', NULL); UPDATE t SET id = NULL WHERE id IN (1, 2)";
    let mut pair = Pair::new(PEOPLE, change).await;
    let found = pair.diff().await;
    assert_eq!(found.key, ["id"]);
    assert_eq!(
        (found.lost, found.changed, found.added),
        (2, 0, 3),
        "{found}"
    );
    assert!(
        found.to_string().contains("+ id = 7: name = 'again'"),
        "{found}"
    );
    pair.swap();
    let found = pair.diff().await;
    assert_eq!(
        (found.lost, found.changed, found.added),
        (3, 0, 2),
        "{found}"
    );
}

#[tokio::test]
async fn only_the_columns_that_are_asked_for_count() {
    let mut pair = Pair::new(
        PEOPLE,
        "ALTER TABLE t RENAME phone TO mobile; ALTER TABLE t ADD extra int DEFAULT 1; UPDATE t SET mobile = 'x'",
    )
    .await;
    assert!(pair.diff().await.is_empty());
    let columns = Columns::from([("mobile".to_owned(), Reading::Value)]);
    let error = pair.try_diff(&t(), &columns).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "table `public.t` has no column `mobile` before"
    );
    let error = pair
        .try_diff(&TableName::new("public", "no"), &columns)
        .await;
    assert!(matches!(error, Err(RowDiffError::UnknownTable { .. })));
}

#[tokio::test]
async fn the_values_of_a_column_that_is_gone_are_counted() {
    let mut pair = Pair::new(
        &format!("{PEOPLE} UPDATE t SET phone = NULL WHERE id > 30 OR id % 2 = 0"),
        "ALTER TABLE t DROP phone, DROP name; DELETE FROM t WHERE id = 1",
    )
    .await;
    let columns = ["id", "name", "phone"].map(|column| (column.to_owned(), Reading::Value));
    let found = pair.try_diff(&t(), &columns.into()).await.unwrap();
    assert_eq!(found.to_string(), "- id = 1\n");
    let dropped: Vec<(&str, u64, usize)> = found
        .dropped
        .iter()
        .map(|dropped| (dropped.column.as_str(), dropped.values, dropped.rows.len()))
        .collect();
    assert_eq!(dropped, [("name", 50, 10), ("phone", 15, 10)]);
    let first: Vec<String> = found.dropped[1].rows[..2]
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        first,
        ["~ id = 1: phone = '+49 1'", "~ id = 3: phone = '+49 3'"]
    );
}

#[tokio::test]
async fn a_table_with_another_name_is_compared_and_one_that_is_gone_has_lost_all() {
    let mut pair = Pair::new(
        PEOPLE,
        "ALTER TABLE t RENAME TO \"T 2\"; DELETE FROM \"T 2\" WHERE id = 4",
    )
    .await;
    let columns = Columns::from([
        ("id".to_owned(), Reading::Value),
        ("name".to_owned(), Reading::Value),
    ]);
    let requests = [RowDiffRequest::new("public.t", columns.clone()).renamed_to("public.\"T 2\"")];
    let found = pair.diff_all(&requests).await;
    assert_eq!(found["public.t"].to_string(), "- id = 4: name = 'name 4'\n");
    let gone = pair.try_diff(&t(), &columns).await.unwrap();
    assert_eq!((gone.before, gone.after, gone.lost), (50, 0, 50));
    assert_eq!(gone.rows.len(), 10);
    assert!(
        gone.to_string()
            .starts_with("- id = 1: name = 'name 1'\n- id = 2:"),
        "{gone}"
    );
    assert!(
        gone.to_string()
            .ends_with("- id = 10: name = 'name 10'\n- and 40 more\n"),
        "{gone}"
    );
    pair.swap();
    let new = pair.try_diff(&t(), &columns).await.unwrap();
    assert_eq!((new.before, new.after, new.added), (0, 50, 50));
}

#[tokio::test]
async fn a_column_of_another_type_is_compared_as_it_is_asked_for() {
    let mut pair = Pair::new(
        "CREATE TABLE t (id int PRIMARY KEY, a int, b numeric(10, 2)); INSERT INTO t VALUES (1, 5, 1.50), (2, 6, 2)",
        "ALTER TABLE t ALTER id TYPE bigint, ALTER a TYPE text, ALTER b TYPE numeric(10, 4); UPDATE t SET a = '7' WHERE id = 2",
    )
    .await;
    let columns = |a| {
        Columns::from([
            ("id".to_owned(), Reading::Value),
            ("a".to_owned(), a),
            ("b".to_owned(), Reading::Value),
        ])
    };
    let found = pair.try_diff(&t(), &columns(Reading::Text)).await.unwrap();
    assert_eq!(found.to_string(), "~ id = 2: a 6 -> 7\n");
    let found = pair.try_diff(&t(), &columns(Reading::Value)).await.unwrap();
    assert_eq!(found.changed, 2, "an integer and a text have other hashes");
}

#[tokio::test]
async fn equal_keys_meet_however_they_are_written() {
    let mut pair = Pair::new(
        "CREATE TABLE t (k numeric PRIMARY KEY, v int); INSERT INTO t VALUES (1.50, 1), (2, 1), (30, 1)",
        "UPDATE t SET k = 1.5000 WHERE v = 1 AND k = 1.5; UPDATE t SET k = 2.0, v = 2 WHERE k = 2; UPDATE t SET v = 3 WHERE k = 30",
    )
    .await;
    // In one bucket, so that every key is looked at.
    let found = pair
        .diff_with(&RowDiffOptions::default().with_buckets(1))
        .await;
    // They meet; that a reader sees another number is a change all the same.
    assert_eq!(
        found.to_string(),
        "~ k 2 -> 2.0, v 1 -> 2\n~ k = 30: v 1 -> 3\n~ k 1.50 -> 1.5000\n"
    );
    let mut pair = Pair::new(
        "CREATE TABLE t (k float8 PRIMARY KEY, v int); INSERT INTO t VALUES ('-0', 1), ('NaN', 1)",
        "UPDATE t SET k = 0, v = 2 WHERE k = 0; UPDATE t SET v = 2 WHERE k = 'NaN'",
    )
    .await;
    assert_eq!(pair.diff().await.changed, 2);
}

/// Types with a hash and without, in columns and in keys.
#[tokio::test]
async fn every_type_is_compared() {
    const TYPES: &[(&str, &str, &str)] = &[
        ("json", r#"'{"a": 1}'"#, r#"'{"a":  1}'"#),
        ("jsonb", r#"'{"a": 1}'"#, r#"'{"a": 2}'"#),
        ("point", "'(1,2)'", "'(2,1)'"),
        ("tsvector", "'a b'", "'a c'"),
        ("bit(3)", "B'101'", "B'100'"),
        ("money", "1", "2"),
        ("interval", "'1 day'", "'24 hours'"),
        ("bytea", r"'\x00'", r"'\x01'"),
        (
            "uuid",
            "'00000000-0000-0000-0000-000000000001'",
            "'00000000-0000-0000-0000-000000000000'",
        ),
        ("timestamptz", "'2024-02-29 12:00+02'", "'infinity'"),
        ("int4range", "'[1,5)'", "'[1,6)'"),
        ("text[]", "'{a,NULL}'", "'{a}'"),
        ("json[]", "ARRAY['1'::json]", "ARRAY['2'::json]"),
        ("mood", "'sad'", "'ok'"),
        ("inet", "'10.0.0.1/8'", "'10.0.0.1/9'"),
        ("\"char\"", "'a'", "'b'"),
    ];
    let columns: Vec<String> = TYPES
        .iter()
        .enumerate()
        .map(|(index, (type_name, ..))| format!("c{index} {type_name}"))
        .collect();
    let values: Vec<&str> = TYPES.iter().map(|(_, one, _)| *one).collect();
    let before = format!(
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (id int PRIMARY KEY, {});
         INSERT INTO t VALUES (1, {values}), (2, {values})",
        columns.join(", "),
        values = values.join(", ")
    );
    for keyed in [true, false] {
        let before = if keyed {
            before.clone()
        } else {
            before.replace(" PRIMARY KEY", "")
        };
        let mut pair = Pair::new(&before, "").await;
        for (index, (type_name, one, other)) in TYPES.iter().enumerate() {
            let set = |value| format!("UPDATE t SET c{index} = {value} WHERE id = 1");
            run(&mut pair.after, &set(other)).await;
            let found = pair.diff().await;
            if keyed {
                assert_eq!(found.changed, 1, "{type_name}: {found}");
                assert_eq!(found.rows[0].columns.len(), 1, "{type_name}: {found}");
                assert_eq!(found.rows[0].columns[0].column, format!("c{index}"));
            } else {
                assert_eq!((found.lost, found.added), (1, 1), "{type_name}: {found}");
            }
            run(&mut pair.after, &set(one)).await;
        }
    }
    let mut pair = Pair::new("CREATE TYPE mood AS ENUM ('sad', 'ok')", "").await;
    for (type_name, one, other) in TYPES
        .iter()
        .filter(|(name, ..)| !["json", "point", "json[]", "interval"].contains(name))
    {
        let before = format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (k {type_name} PRIMARY KEY, v int);
             INSERT INTO t VALUES ({one}, 1), ({other}, 2)"
        );
        run(&mut pair.before, &before).await;
        run(&mut pair.after, &before).await;
        run(
            &mut pair.after,
            "UPDATE t SET v = 3 WHERE v = 1; DELETE FROM t WHERE v = 2",
        )
        .await;
        let found = pair.diff().await;
        assert_eq!((found.changed, found.lost), (1, 1), "{type_name}: {found}");
    }
}

#[tokio::test]
async fn a_partitioned_table_is_one_and_its_rows_may_move() {
    let mut pair = Pair::new(
        "CREATE TABLE t (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
         CREATE TABLE lower PARTITION OF low FOR VALUES FROM (0) TO (50) PARTITION BY LIST (id);
         CREATE TABLE lowest PARTITION OF lower DEFAULT; CREATE TABLE rest_low PARTITION OF low DEFAULT;
         CREATE TABLE rest PARTITION OF t DEFAULT;
         INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 200) i",
        "CREATE TABLE moved AS SELECT * FROM t; DROP TABLE t;
         CREATE TABLE t (v text, id int PRIMARY KEY) PARTITION BY HASH (id);
         CREATE TABLE h0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE h1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO t SELECT v, id FROM moved; UPDATE t SET v = NULL WHERE id IN (2, 150); DELETE FROM t WHERE id = 60",
    )
    .await;
    assert_eq!(
        pair.diff().await.to_string(),
        "- id = 60: v = 'v60'\n~ id = 2: v 'v2' -> NULL\n~ id = 150: v 'v150' -> NULL\n"
    );
}

#[tokio::test]
async fn tables_of_other_kinds_are_compared() {
    // The parent alone, and what is written to no log.
    let mut pair = Pair::new(
        "CREATE UNLOGGED TABLE t (id int PRIMARY KEY); CREATE TABLE child () INHERITS (t);
         INSERT INTO t VALUES (1), (2); INSERT INTO child VALUES (7)",
        "DELETE FROM ONLY t WHERE id = 1; DELETE FROM child",
    )
    .await;
    assert_eq!(pair.diff().await.to_string(), "- id = 1\n");

    let mut pair = Pair::new(
        "CREATE TABLE t (); INSERT INTO t DEFAULT VALUES; INSERT INTO t DEFAULT VALUES; INSERT INTO t DEFAULT VALUES",
        "DELETE FROM t WHERE ctid <> '(0,2)'",
    )
    .await;
    assert_eq!(
        pair.diff().await.to_string(),
        "- a row without columns (2 rows)\n"
    );

    let mut pair = Pair::new(
        "CREATE TABLE t (id int PRIMARY KEY, b int GENERATED ALWAYS AS (id * 2) STORED); INSERT INTO t VALUES (1)",
        "ALTER TABLE t ALTER b DROP EXPRESSION; UPDATE t SET b = 3",
    )
    .await;
    assert_eq!(pair.diff().await.to_string(), "~ id = 1: b 2 -> 3\n");
}

#[tokio::test]
async fn a_table_of_1600_columns_is_compared() {
    let columns: Vec<String> = (1..1600).map(|n| format!("c{n} int")).collect();
    let mut pair = Pair::new(
        &format!(
            "CREATE TABLE t (id int, {}); INSERT INTO t (id, c1) VALUES (1, 1), (2, 2)",
            columns.join(", ")
        ),
        "UPDATE t SET c1599 = 5 WHERE id = 1",
    )
    .await;
    let found = pair.diff().await;
    assert_eq!((found.lost, found.added), (1, 1), "{found}");
    assert!(found.to_string().contains("1592 columns more"), "{found}");
    for pair in [&mut pair.before, &mut pair.after] {
        run(pair, "ALTER TABLE t ADD PRIMARY KEY (id)").await;
    }
    assert_eq!(pair.diff().await.to_string(), "~ id = 1: c1599 NULL -> 5\n");
}

#[tokio::test]
async fn strange_names_and_long_values_are_shown() {
    let long = "ü".repeat(31);
    let mut pair = Pair::new(
        &format!(
            "CREATE SCHEMA \"Größe \"\"x\"\"\"; CREATE TABLE \"Größe \"\"x\"\"\".\"{long}\" (\"der 'Schlüssel'\" text PRIMARY KEY, \"a\"\"b\" text);
             INSERT INTO \"Größe \"\"x\"\"\".\"{long}\" VALUES ('日本', repeat('€', 100) || 'x')"
        ),
        &format!("UPDATE \"Größe \"\"x\"\"\".\"{long}\" SET \"a\"\"b\" = repeat('€', 100) || 'y'"),
    )
    .await;
    let table = TableName::new("Größe \"x\"", &long);
    let columns = ["der 'Schlüssel'", "a\"b"].map(|name| (name.to_owned(), Reading::Value));
    let found = pair.try_diff(&table, &columns.into()).await.unwrap();
    let cut = format!("'{}…'", "€".repeat(60));
    assert_eq!(
        found.to_string(),
        format!("~ der 'Schlüssel' = '日本': a\"b {cut} -> {cut}\n")
    );
}

#[tokio::test]
async fn rows_that_a_role_may_not_see_are_an_error_that_names_the_table() {
    for (grant, cause) in [
        ("", "permission denied"),
        (
            "GRANT SELECT ON t TO app; ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id < 10);",
            "row-level security",
        ),
    ] {
        let mut pair = Pair::new(&format!("{PEOPLE}{grant}"), "DELETE FROM t WHERE id = 1").await;
        let columns = Columns::from([("id".to_owned(), Reading::Value)]);
        run(&mut pair.after, "SET ROLE app").await;
        let error = pair.try_diff(&t(), &columns).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot compare the rows of table `public.t` (the role must see all of them)"
        );
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(cause), "{source}");
        // Both connections are usable afterwards.
        run(&mut pair.after, "RESET ROLE").await;
        assert_eq!(pair.diff().await.lost, 1);
    }
}

#[tokio::test]
async fn many_tables_are_compared_at_once_and_one_connection_sees_its_own_transaction() {
    let mut pair = Pair::new(
        &format!("{PEOPLE} CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1), (2)"),
        "DELETE FROM u WHERE id = 1",
    )
    .await;
    let columns = Columns::from([("id".to_owned(), Reading::Value)]);
    let requests = ["public.t", "public.u"].map(|name| RowDiffRequest::new(name, columns.clone()));
    run(&mut pair.after, "BEGIN; DELETE FROM t WHERE id = 2; COMMIT").await;
    let found = diff_all(
        &mut pair.before,
        &mut pair.after,
        &requests,
        &RowDiffOptions::default(),
    )
    .await
    .unwrap();
    let lines: Vec<String> = found.values().map(ToString::to_string).collect();
    assert_eq!(lines, ["- id = 2\n", "- id = 1\n"]);
    let kinds: Vec<RowChangeKind> = found.values().map(|diff| diff.rows[0].kind).collect();
    assert_eq!(kinds, [RowChangeKind::Lost; 2]);
    let again = diff(
        &mut pair.before,
        &mut pair.after,
        &t(),
        &columns,
        &RowDiffOptions::default(),
    )
    .await;
    assert_eq!(again.unwrap(), found["public.t"]);
}

/// The planner computes an index that depends on no column; a superuser's rights would be the
/// function's.
#[tokio::test]
async fn what_a_table_computes_is_not_computed_by_a_superuser() {
    let armed = "CREATE TABLE t (id int PRIMARY KEY);
        INSERT INTO t VALUES (1);
        CREATE FUNCTION own() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
            IF current_setting('own.armed', true) = 'on'
                AND current_setting('is_superuser') = 'on'
            THEN RAISE EXCEPTION 'own function called by a superuser'; END IF;
            RETURN 1; END $$;
        CREATE INDEX own ON t ((own()));
        SET own.armed = 'on'";
    let arm = "SET own.armed = 'on'";
    let mut pair = Pair::new(armed, arm).await;
    let direct = sqlx::raw_sql("SELECT * FROM t")
        .execute(&mut pair.before)
        .await;
    let message = direct.unwrap_err().to_string();
    assert!(message.contains("called by a superuser"), "{message}");
    assert!(pair.diff().await.is_empty());
    // The session goes on as before.
    let who: String = sqlx::query_scalar("SELECT current_setting('is_superuser')")
        .fetch_one(&mut pair.before)
        .await
        .unwrap();
    assert_eq!(who, "on");
}

/// A role that may read everything sees nothing of a table with row security.
#[tokio::test]
async fn rows_behind_row_security_are_all_read() {
    let mut pair = Pair::new(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);
         ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
         CREATE POLICY none ON t USING (false)",
        "DELETE FROM t WHERE id = 2",
    )
    .await;
    assert_eq!(pair.diff().await.summary(), "1 row lost, of 2");
}
