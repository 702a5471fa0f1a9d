//! Fingerprints of real tables.
#![cfg(feature = "postgres")]
#![expect(
    clippy::unwrap_used,
    reason = "a test helper that fails should fail the test"
)]

mod exact;
#[path = "../support/mod.rs"]
mod support;

use sqlx::{Connection as _, PgConnection};
use support::{run, servers};
use upgrade_core::postgres::catalog::CatalogScope;
use upgrade_core::postgres::fingerprint::{
    ColumnPick, Fingerprint, FingerprintError, HashMode, SequenceState, TableName, Tables,
    fingerprint, fingerprint_all, sequence_values, shared_columns,
};

const MODES: [HashMode; 2] = [HashMode::Native, HashMode::Portable];

fn t() -> TableName {
    TableName::new("public", "t")
}

async fn tables(conn: &mut PgConnection) -> Tables {
    Tables::read(conn, &CatalogScope::new()).await.unwrap()
}

/// The fingerprint of all columns of table `t`.
async fn of_t(conn: &mut PgConnection, mode: HashMode) -> Fingerprint {
    let columns = tables(conn).await.tables[&t()].picks();
    fingerprint(conn, &t(), &columns, mode).await.unwrap()
}

/// Makes `t` by one script and asks whether another one changes its fingerprint.
async fn check(before: &str, change: &str, same: bool) {
    for server in servers() {
        for mode in MODES {
            let mut conn = server.database().await;
            run(&mut conn, before).await;
            let one = of_t(&mut conn, mode).await;
            run(&mut conn, change).await;
            let two = of_t(&mut conn, mode).await;
            assert_eq!(
                one.same_data(&two).unwrap(),
                same,
                "{before}\n{change}\n{mode} on {}\n{one:?}\n{two:?}",
                server.major
            );
        }
    }
}

const PEOPLE: &str = "CREATE TABLE t (id int, name text, n int);
    INSERT INTO t SELECT i, 'name ' || i, i % 3 FROM generate_series(1, 50) i;";

#[tokio::test]
async fn a_change_of_the_rows_is_seen() {
    for change in [
        "INSERT INTO t VALUES (51, 'x', 0)",
        "DELETE FROM t WHERE id = 7",
        "UPDATE t SET name = 'Name 7' WHERE id = 7",
        "UPDATE t SET name = NULL WHERE id = 7",
        "UPDATE t SET n = CASE id WHEN 1 THEN 2 ELSE 1 END WHERE id IN (1, 2)",
        "UPDATE t SET name = n::text, n = 7 WHERE id = 3",
        "INSERT INTO t SELECT * FROM t",
        "INSERT INTO t SELECT * FROM t WHERE id = 9; INSERT INTO t SELECT * FROM t WHERE id = 9",
        "UPDATE t SET id = 4 WHERE id = 3; UPDATE t SET name = 'name 4', n = 1 WHERE id = 4",
        "TRUNCATE t",
    ] {
        check(PEOPLE, change, false).await;
    }
}

#[tokio::test]
async fn what_is_no_change_of_the_rows_is_not_seen() {
    for change in [
        "CREATE TABLE u AS SELECT * FROM t ORDER BY random(); DROP TABLE t; ALTER TABLE u RENAME TO t",
        "CREATE TABLE u AS SELECT n, name, id FROM t; DROP TABLE t; ALTER TABLE u RENAME TO t",
        "ALTER TABLE t ALTER name TYPE varchar(20)",
        "ALTER TABLE t ALTER n TYPE bigint",
        "VACUUM FULL t",
        "CREATE INDEX ON t (n); SET search_path = ''; SET TimeZone = 'Asia/Tokyo'",
    ] {
        check(PEOPLE, change, true).await;
    }
}

/// Each type by a value and another value.
const TYPES: &[(&str, &str, &str)] = &[
    ("bool", "true", "false"),
    ("smallint", "1", "2"),
    ("numeric(10,2)", "1.50", "1.51"),
    ("float8", "'NaN'", "0.1"),
    ("text", "'a'", "'A'"),
    ("varchar(9)", "'a'", "''"),
    ("char(9)", "'a'", "'b'"),
    ("\"char\"", "'a'", "'b'"),
    ("name", "'a'", "'b'"),
    ("bytea", r"'\x00'", r"'\x01'"),
    (
        "uuid",
        "gen_random_uuid()",
        "'00000000-0000-0000-0000-000000000000'",
    ),
    ("date", "'2024-02-29'", "'infinity'"),
    (
        "timestamptz",
        "'2024-02-29 12:00+02'",
        "'2024-02-29 12:00+03'",
    ),
    ("time", "'12:00'", "'24:00'"),
    ("interval", "'1 day'", "'24 hours'"),
    ("inet", "'10.0.0.1/8'", "'10.0.0.1/9'"),
    ("cidr", "'10.0.0.0/8'", "'10.0.0.0/9'"),
    ("oid", "1", "2"),
    ("pg_lsn", "'0/1'", "'0/2'"),
    ("jsonb", r#"'{"a": 1}'"#, r#"'{"a": 2}'"#),
    ("json", r#"'{"a": 1}'"#, r#"'{"a":  1}'"#),
    ("point", "'(1,2)'", "'(2,1)'"),
    ("polygon", "'((0,0),(1,1),(1,0))'", "'((0,0),(1,1),(2,0))'"),
    ("tsvector", "'a b'", "'a c'"),
    ("tsquery", "'a & b'", "'a | b'"),
    ("bit(3)", "B'101'", "B'100'"),
    ("varbit", "B'101'", "B'1010'"),
    ("money", "1", "2"),
    ("regclass", "'pg_class'", "'pg_type'"),
    ("int[]", "'{1,NULL}'", "'{1,2}'"),
    ("json[]", "ARRAY['1'::json]", "ARRAY['2'::json]"),
    ("int4range", "'[1,5)'", "'[1,6)'"),
    ("int4multirange", "'{[1,5)}'", "'{[1,5),[7,9)}'"),
    ("mood", "'sad'", "'ok'"),
    ("mood[]", "'{sad}'", "'{ok}'"),
    ("word", "'a'", "'b'"),
    ("doc", "'1'", "'2'"),
    ("pair", "'(1,a)'", "'(1,b)'"),
    ("odd", "'(1,\"(1,2)\")'", "'(1,\"(1,3)\")'"),
    ("odd[]", "ARRAY['(1,\"(1,2)\")'::odd]", "'{}'"),
    ("spot", "ROW('(1,\"(1,2)\")'::odd, 1)::spot", "NULL"),
    ("places", "'{[\"(1,a)\",\"(2,a)\")}'", "'{}'"),
];

const USER_TYPES: &str = "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN word AS text; CREATE DOMAIN doc AS json;
    CREATE TYPE pair AS (a int, b text); CREATE TYPE odd AS (a int, b point); CREATE TYPE spot AS (o odd, n int);
    CREATE TYPE place AS RANGE (subtype = pair, multirange_type_name = places);";

#[tokio::test]
async fn every_type_works() {
    for server in servers() {
        let mut conn = server.database().await;
        run(&mut conn, USER_TYPES).await;
        for (type_name, one, other) in TYPES {
            run(&mut conn, &format!("DROP TABLE IF EXISTS t; CREATE TABLE t (v {type_name}); INSERT INTO t VALUES ({one}), (NULL)")).await;
            for mode in MODES {
                let before = of_t(&mut conn, mode).await;
                assert!(before.same_data(&of_t(&mut conn, mode).await).unwrap());
                let mut transaction = conn.begin().await.unwrap();
                run(
                    &mut transaction,
                    &format!("UPDATE t SET v = {other} WHERE v IS NOT NULL"),
                )
                .await;
                let after = of_t(&mut transaction, mode).await;
                transaction.rollback().await.unwrap();
                assert!(
                    !before.same_data(&after).unwrap(),
                    "{type_name}: {one} -> {other}, {mode} on {}",
                    server.major
                );
            }
        }
    }
}

/// What only some builds of the server have.
#[tokio::test]
async fn optional_types_work() {
    const OPTIONAL: &[(&str, &str, &str)] = &[
        ("CREATE TABLE t (v xml); INSERT INTO t VALUES ('<a/>')", "UPDATE t SET v = '<a></a>'", "xml"),
        ("CREATE EXTENSION citext; CREATE TABLE t (v citext); INSERT INTO t VALUES ('a')", "UPDATE t SET v = 'A'", "citext"),
        (
            "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE TABLE t (v text COLLATE loose); INSERT INTO t VALUES ('a')",
            "UPDATE t SET v = 'A'",
            "nondeterministic",
        ),
        (
            "CREATE EXTENSION hstore; CREATE TABLE t (v hstore); INSERT INTO t VALUES ('a=>1')",
            "UPDATE t SET v = 'a=>2'",
            "hstore",
        ),
    ];
    for (make, change, what) in OPTIONAL {
        let mut tried = 0;
        for server in servers() {
            let mut conn = server.database().await;
            if sqlx::raw_sql(*make).execute(&mut conn).await.is_err() {
                continue;
            }
            tried += 1;
            for mode in MODES {
                let before = of_t(&mut conn, mode).await;
                let mut transaction = conn.begin().await.unwrap();
                run(&mut transaction, change).await;
                assert!(
                    !before
                        .same_data(&of_t(&mut transaction, mode).await)
                        .unwrap(),
                    "{what} {mode}"
                );
                transaction.rollback().await.unwrap();
            }
        }
        assert!(tried > 0, "no server has {what}");
    }
}

/// An enum's own hash is that of a number which the new type does not share.
#[tokio::test]
async fn an_enum_that_is_made_again_holds_the_same_values() {
    check(
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (v mood, w mood[]); INSERT INTO t VALUES ('ok', '{sad}')",
        "ALTER TYPE mood RENAME TO old; CREATE TYPE mood AS ENUM ('ok', 'sad');
         ALTER TABLE t ALTER v TYPE mood USING v::text::mood, ALTER w TYPE mood[] USING w::text::mood[]",
        true,
    )
    .await;
}

#[tokio::test]
async fn tables_of_no_one_and_strange_columns_work() {
    check(
        "CREATE TABLE t (); INSERT INTO t DEFAULT VALUES",
        "INSERT INTO t DEFAULT VALUES",
        false,
    )
    .await;
    check("CREATE TABLE t (id int)", "SELECT 1", true).await;
    check(
        r#"CREATE TABLE t ("A ""b" int, "t" int)"#,
        r#"INSERT INTO t VALUES (1, 2)"#,
        false,
    )
    .await;
    check(
        "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2) STORED); INSERT INTO t VALUES (1)",
        "ALTER TABLE t ALTER b DROP EXPRESSION; UPDATE t SET b = 3",
        false,
    )
    .await;
    for server in servers().iter().filter(|server| server.major >= 18) {
        let mut conn = server.database().await;
        run(&mut conn, "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL); INSERT INTO t VALUES (1)").await;
        assert!(tables(&mut conn).await.tables[&t()].columns["b"].generated);
        let before = of_t(&mut conn, HashMode::Native).await;
        run(&mut conn, "ALTER TABLE t ALTER b SET EXPRESSION AS (a * 3)").await;
        assert!(
            !before
                .same_data(&of_t(&mut conn, HashMode::Native).await)
                .unwrap()
        );
    }
}

#[tokio::test]
async fn a_partitioned_table_is_one_and_a_parent_is_itself() {
    for server in servers() {
        let mut conn = server.database().await;
        run(
            &mut conn,
            "CREATE TABLE t (id int) PARTITION BY RANGE (id);
             CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
             CREATE TABLE lowest PARTITION OF low DEFAULT; CREATE TABLE rest PARTITION OF t DEFAULT;
             INSERT INTO t VALUES (1), (20);
             CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent); INSERT INTO child VALUES (1);
             CREATE VIEW v AS SELECT 1 AS a; CREATE MATERIALIZED VIEW m AS SELECT 1 AS a",
        )
        .await;
        let all = tables(&mut conn).await;
        let names: Vec<String> = all.tables.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["public.child", "public.parent", "public.t"]);
        let requests: Vec<_> = all
            .tables
            .iter()
            .map(|(name, shape)| (name.clone(), shape.picks()))
            .collect();
        let prints = fingerprint_all(&mut conn, &requests, HashMode::Native)
            .await
            .unwrap();
        let rows: Vec<u64> = prints.values().map(|print| print.rows).collect();
        assert_eq!(rows, [1, 0, 2]);
        let scope = CatalogScope::new().without_table("public", "child", "not ours");
        assert_eq!(
            Tables::read(&mut conn, &scope).await.unwrap().tables.len(),
            2
        );
    }
}

/// Columns of one name and two types, and whether their values stay the same.
#[tokio::test]
async fn retyped_columns_are_compared_by_what_both_types_have_in_common() {
    const CHANGES: &[(&str, &str, &str, bool)] = &[
        ("int", "'5'", "text", true),
        ("int", "'5'", "bigint", true),
        ("int", "'5'", "numeric(10,2)", true),
        ("int", "NULL", "bigint USING 0", false),
        ("numeric(10,2)", "'1.50'", "numeric(12,4)", true),
        ("numeric(10,2)", "'1.50'", "numeric(10,1)", true),
        ("numeric(10,2)", "'1.55'", "numeric(10,1)", false),
        ("numeric(10,2)", "'1.55'", "text", true),
        ("numeric", "'NaN'", "float8", true),
        ("real", "'0.1'", "double precision", true),
        ("real", "'0.1'", "numeric", true),
        (
            "double precision",
            "'0.30000000000000004'",
            "numeric",
            false,
        ),
        ("float8", "NULL", "real USING 0", false),
        ("varchar(20)", "'a'", "text", true),
        ("text", "'abc'", "varchar(2) USING left(v, 2)", false),
        ("char(5)", "'a'", "text", true),
        ("char(5)", "'a'", "char(9)", true),
        ("bool", "'t'", "text", true),
        ("inet", "'10.0.0.1'", "text", true),
        (
            "timestamp",
            "'2024-01-01 12:00'",
            "timestamptz USING v AT TIME ZONE 'UTC'",
            true,
        ),
        (
            "timestamp",
            "'2024-01-01 12:00'",
            "timestamptz USING v AT TIME ZONE 'Asia/Tokyo'",
            false,
        ),
        ("jsonb", "'[1, 2]'", "json", true),
        ("jsonb", "'{}'", "jsonb USING '[]'", false),
        ("mood", "'sad'", "text", true),
        ("text", "'sad'", "mood USING v::mood", true),
        ("word", "'a'", "text", true),
        ("int[]", "'{1,NULL}'", "bigint[]", true),
        (
            "int[]",
            "'{1,2}'",
            "bigint[] USING array[array[1], array[2]]",
            false,
        ),
        ("text", "NULL", "varchar(9) USING ''", false),
    ];
    for server in servers() {
        for (before, value, after, same) in CHANGES {
            let mut conn = server.database().await;
            run(&mut conn, USER_TYPES).await;
            run(
                &mut conn,
                &format!("CREATE TABLE t (v {before}); INSERT INTO t VALUES ({value})"),
            )
            .await;
            let then = tables(&mut conn).await;
            // The states of before and after have to be read at once: both types are known only then.
            run(
                &mut conn,
                "CREATE SCHEMA kept; CREATE TABLE kept.t AS TABLE t",
            )
            .await;
            run(&mut conn, &format!("ALTER TABLE t ALTER v TYPE {after}")).await;
            let shared = &shared_columns(&then, &tables(&mut conn).await)[&t()];
            let kept = TableName::new("kept", "t");
            let [one, two] = [kept, t()].map(|name| (name, shared.picks()));
            let prints = fingerprint_all(&mut conn, &[one, two], HashMode::Native).await;
            let prints: Vec<Fingerprint> = prints.unwrap().into_values().collect();
            assert_eq!(
                prints[0].same_data(&prints[1]).unwrap(),
                *same,
                "{before} {value} to {after} on {}",
                server.major
            );
        }
    }
}

#[tokio::test]
async fn what_became_of_columns_is_told() {
    let mut conn = servers()[0].database().await;
    run(&mut conn, "CREATE TABLE t (a int, b jsonb, c text)").await;
    let before = tables(&mut conn).await;
    let one = of_t(&mut conn, HashMode::Native).await;
    run(
        &mut conn,
        "ALTER TABLE t ALTER a TYPE text, ALTER b TYPE json, ADD d int, DROP c, ADD c text",
    )
    .await;
    let shared = &shared_columns(&before, &tables(&mut conn).await)[&t()];
    let retyped: Vec<_> = shared
        .retyped
        .iter()
        .map(|c| format!("{} {} {}", c.name, c.before, c.after))
        .collect();
    assert_eq!(retyped, ["a integer text", "b jsonb json"]);
    assert_eq!(shared.added, ["d"]);
    let two = fingerprint(&mut conn, &t(), &shared.picks(), HashMode::Native).await;
    let error = one.same_data(&two.unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "fingerprints of columns `a, b, c` and `a::text, b::text, c` cannot be compared (take the \
         shared columns of both)"
    );
}

#[tokio::test]
async fn what_cannot_be_compared_is_an_error() {
    let server = &servers()[0];
    let mut conn = server.database().await;
    run(&mut conn, PEOPLE).await;
    let native = of_t(&mut conn, HashMode::Native).await;
    let portable = of_t(&mut conn, HashMode::Portable).await;
    assert!(matches!(
        native.same_data(&portable),
        Err(FingerprintError::Modes { .. })
    ));
    let mut other = native.clone();
    other.server_major += 1;
    let error = native.same_data(&other).unwrap_err();
    assert!(
        error.to_string().ends_with("(make both in portable mode)"),
        "{error}"
    );
    let mut other = portable.clone();
    other.server_major += 1;
    assert!(portable.same_data(&other).unwrap());

    let missing = fingerprint(
        &mut conn,
        &TableName::new("public", "no"),
        &[],
        HashMode::Native,
    )
    .await;
    assert!(matches!(
        missing,
        Err(FingerprintError::UnknownTable { .. })
    ));
    let missing = fingerprint(&mut conn, &t(), &[ColumnPick::new("no")], HashMode::Native).await;
    assert_eq!(
        missing.unwrap_err().to_string(),
        "table `public.t` has no column `no`"
    );
    // The connection is usable after an error.
    assert_eq!(of_t(&mut conn, HashMode::Native).await.sum, native.sum);
}

/// Servers of several majors compute one portable fingerprint.
#[tokio::test]
async fn portable_fingerprints_are_portable() {
    let mut first: Option<Fingerprint> = None;
    for server in servers() {
        let mut conn = server.database().await;
        run(&mut conn, USER_TYPES).await;
        let columns: Vec<String> = TYPES
            .iter()
            .enumerate()
            .map(|(index, (type_name, ..))| format!("c{index} {type_name}"))
            .collect();
        let values: Vec<&str> = TYPES
            .iter()
            .map(|(name, one, other)| if *name == "uuid" { *other } else { *one })
            .collect();
        run(
            &mut conn,
            &format!(
                "CREATE TABLE t ({}); INSERT INTO t VALUES ({})",
                columns.join(", "),
                values.join(", ")
            ),
        )
        .await;
        let print = of_t(&mut conn, HashMode::Portable).await;
        if let Some(first) = &first {
            assert!(first.same_data(&print).unwrap(), "{first:?}\n{print:?}");
        } else {
            first = Some(print);
        }
    }
}

#[tokio::test]
async fn hidden_rows_are_an_error_and_not_a_smaller_table() {
    let server = &servers()[0];
    let mut conn = server.database().await;
    run(&mut conn, PEOPLE).await;
    run(
        &mut conn,
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id < 10);
         GRANT SELECT ON t TO app; SET ROLE app",
    )
    .await;
    let columns = tables(&mut conn).await.tables[&t()].picks();
    let result = fingerprint(&mut conn, &t(), &columns, HashMode::Native).await;
    assert!(
        matches!(result, Err(FingerprintError::Rows { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn all_fingerprints_are_of_one_state() {
    let server = &servers()[0];
    let mut conn = server.database().await;
    run(&mut conn, PEOPLE).await;
    let before = of_t(&mut conn, HashMode::Native).await;
    let mut transaction = conn.begin().await.unwrap();
    run(&mut transaction, "DELETE FROM t WHERE id = 1").await;
    let inside = of_t(&mut transaction, HashMode::Native).await;
    assert_eq!(inside.rows, 49, "what the caller's transaction did is seen");
    run(&mut transaction, "DELETE FROM t WHERE id = 2").await;
    transaction.rollback().await.unwrap();
    assert_eq!(of_t(&mut conn, HashMode::Native).await, before);
}

#[tokio::test]
async fn the_value_of_a_sequence_that_is_made_again_is_lost() {
    let at = |state: SequenceState| (state.last_value, state.is_called);
    for server in servers() {
        let mut conn = server.database().await;
        run(
            &mut conn,
            "CREATE TABLE t (id serial); INSERT INTO t SELECT FROM generate_series(1, 11); CREATE SEQUENCE free START 5;
             CREATE TABLE _sqlx_migrations (id bigserial)",
        )
        .await;
        let scope = CatalogScope::new().without_table("public", "_sqlx_migrations", "bookkeeping");
        let values = sequence_values(&mut conn, &scope).await.unwrap();
        let names: Vec<String> = values.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["public.free", "public.t_id_seq"]);
        let (free, id) = (
            TableName::new("public", "free"),
            TableName::new("public", "t_id_seq"),
        );
        assert_eq!(at(values[&free]), (5, false));
        assert_eq!(at(values[&id]), (11, true));
        run(
            &mut conn,
            "ALTER TABLE t DROP id; ALTER TABLE t ADD id serial; SELECT nextval('free')",
        )
        .await;
        let again = sequence_values(&mut conn, &scope).await.unwrap();
        assert_eq!(at(again[&free]), (5, true));
        run(&mut conn, "DROP TABLE t; CREATE TABLE t (id serial)").await;
        let again = sequence_values(&mut conn, &scope).await.unwrap();
        assert_eq!(at(again[&id]), (1, false));
    }
}

#[tokio::test]
async fn sequences_of_others_are_read_if_that_is_allowed_and_else_named() {
    for server in servers() {
        let mut conn = server.database().await;
        run(
            &mut conn,
            "CREATE SCHEMA s AUTHORIZATION auditor; SET ROLE auditor;
             CREATE SEQUENCE s.a START 7; CREATE TABLE s.t (id bigint GENERATED ALWAYS AS IDENTITY);
             GRANT USAGE ON SCHEMA s TO app; GRANT SELECT ON SEQUENCE s.a TO app; RESET ROLE",
        )
        .await;
        if server.major >= 15 {
            run(
                &mut conn,
                "CREATE UNLOGGED SEQUENCE s.u; SELECT nextval('s.u'); GRANT SELECT ON s.u TO app",
            )
            .await;
        }
        let scope = CatalogScope::new();
        let all = sequence_values(&mut conn, &scope).await.unwrap();
        let mut app = server.as_role(&mut conn, "app").await;
        let error = sequence_values(&mut app, &scope).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the role may not read sequence `s.t_id_seq` (it needs `select` on it and `usage` on its schema)"
        );
        // Only what the role cannot see is in its way, and its session goes on.
        let scope = scope.without_table("s", "t", "not ours");
        let some = sequence_values(&mut app, &scope).await.unwrap();
        assert!(
            all.len() == some.len() + 1 && some.iter().all(|(name, value)| all[name] == *value)
        );
        run(&mut conn, "REVOKE USAGE ON SCHEMA s FROM app").await;
        let error = sequence_values(&mut app, &scope).await.unwrap_err();
        assert!(matches!(error, FingerprintError::Sequence { sequence } if sequence.name == "a"));
    }
}
