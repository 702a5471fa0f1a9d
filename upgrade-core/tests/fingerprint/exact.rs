//! That no two values have one fingerprint, for every type that a server has; and that what is the
//! same has the same one in every database.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, PgConnection};
use upgrade_core::postgres::catalog::CatalogScope;
use upgrade_core::postgres::fingerprint::{
    Fingerprint, HashMode, TableName, Tables, fingerprint_all,
};

use crate::support::{run, servers};

/// Literals that are tried for every type. The first ones are those that types have most of.
const LITERALS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "10",
    "4294967295",
    "4294967296",
    "-4294967297",
    "8589934593",
    "2147483647",
    "-2147483648",
    "32767",
    "-32768",
    "65535",
    "9223372036854775807",
    "-9223372036854775808",
    "NaN",
    "{1:1}/2",
    "{2:1}/2",
    "Infinity",
    "-Infinity",
    "-0",
    "0.0",
    "1.0",
    "1.00",
    "0.1",
    "1e-300",
    "1e300",
    "",
    " ",
    "a",
    "A",
    "b",
    "ab",
    "ba",
    "a ",
    "ä",
    "true",
    "false",
    "null",
    "{}",
    "[]",
    "[[]]",
    "{\"a\": 1}",
    "{\"a\":1}",
    "{\"a\": 2}",
    "{\"a\": {\"b\": 1}, \"c\": {}}",
    "{\"a\": {}, \"c\": {\"b\": 1}}",
    "[[1], 2]",
    "[1, [2]]",
    "[1, 2]",
    "[null]",
    "[0]",
    "[\"0\"]",
    "[false]",
    "1 day",
    "24 hours",
    "1 month",
    "30 days",
    "(1,2)",
    "(2,1)",
    "(-0,1)",
    "((1,2),(3,4))",
    "((1,2),(4,3))",
    "<(1,2),3>",
    "<(2,1),3>",
    "{1,2,3}",
    "{1,3,2}",
    "[(1,2),(3,4)]",
    "[(3,4),(1,2)]",
    "((0,0),(1,1),(1,0))",
    "((0,0),(1,0),(1,1))",
    "2024-02-29",
    "2024-03-01",
    "2024-02-29 12:00:00",
    "infinity",
    "-infinity",
    "12:00",
    "24:00",
    "12:00+01",
    "11:00+00",
    "10.0.0.1",
    "10.0.0.1/8",
    "10.0.0.0/8",
    "10.0.0.0/9",
    "::1",
    "08:00:2b:01:02:03",
    "08:00:2b:01:02:04",
    "08:00:2b:01:02:03:04:05",
    "08:00:2b:01:02:03:04:06",
    "00000000-0000-0000-0000-000000000000",
    "00000000-0000-0000-0000-000000000001",
    "0/0",
    "0/1",
    "1/0",
    "1:1:",
    "1:2:",
    "1:3:1,2",
    "(0,0)",
    "(0,1)",
    "(1,0)",
    "101",
    "1010",
    "100",
    "\\x00",
    "\\x01",
    "\\x0001",
    "<a/>",
    "<a></a>",
    "a b",
    "b a",
    "'a':1",
    "a & b",
    "a | b",
    "!a",
    "a=>1",
    "a=>2",
    "a=>NULL",
    "a=>\"\"",
    "a.b",
    "a.*",
    "a@ & b",
    "1..2",
    "~1",
    "1&2",
    "1|2",
    "(1),(2)",
    "(2),(1)",
    "9780393040029",
    "978-0-393-04002-9",
    "0-393-04002-X",
    "979-0-060-11561-5",
    "M-060-11561-5",
    "1436-4522",
    "977-1436-452-00-8",
    "220500896370",
    "9780393040036",
    "3-540-62205-2",
    "pg_class",
    "pg_type",
    "int4",
    "text",
    "sum(integer)",
    "+(integer,integer)",
    "pg_catalog",
    "english",
    "simple",
    "\"C\"",
    "\"POSIX\"",
    "empty",
    "[1,5)",
    "(1,5)",
    "[1,6)",
    "{[1,5)}",
    "{[1,3),[4,5)}",
    "[a,b]",
    "[2024-01-01,2024-01-02)",
    "[2024-01-01,2024-01-03)",
    "{[2024-01-01,2024-01-02)}",
    "{[2024-01-01,2024-01-03)}",
    "postgres=r/postgres",
    "=r/postgres",
    "(1,1,1)",
    "2 1",
    "1 2",
    "YES",
    "NO",
    "220356483481",
    "(6378168,0,0)",
    "(0,6378168,0)",
];

/// Types of all makes, in which the others can lie.
const TYPES: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok', '', 'SAD', '1');
    CREATE DOMAIN word AS text; CREATE DOMAIN moody AS mood; CREATE DOMAIN words AS word;
    CREATE TYPE pair AS (a int, b text); CREATE TYPE odd AS (a point, b float8); CREATE TYPE spot AS (o odd, m mood);
    CREATE TYPE deep AS (s spot, l mood[], p pair[]);
    CREATE DOMAIN paired AS pair; CREATE TYPE place AS RANGE (subtype = pair);
    CREATE TYPE moods AS RANGE (subtype = mood); CREATE TYPE wordrange AS RANGE (subtype = word);";

/// Types that the server has no value of but null.
const NEVER_WRITTEN: &[&str] = &[
    "gbtreekey",
    "ghstore",
    "gtrgm",
    "gtsvector",
    "ltree_gist",
    "intbig_gkey",
    "pg_brin_",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
    // Some servers are built without it.
    "xml",
];

/// Tries an expression, and answers with the text of its value.
const ATTEMPT: &str = r#"CREATE FUNCTION attempt(expression text) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE found text;
    BEGIN
        EXECUTE format('SELECT format(''%%s'', x) FROM (SELECT %s AS x) y WHERE num_nulls(x) = 0', expression) INTO found;
        RETURN found;
    EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$"#;

/// The expressions of these that have a value, each with its text.
async fn valid(conn: &mut PgConnection, expressions: Vec<String>) -> Vec<(String, String)> {
    sqlx::query_as("SELECT x, t FROM (SELECT x, public.attempt(x) AS t FROM unnest($1::text[]) WITH ORDINALITY y(x, n) ORDER BY n) z WHERE t IS NOT NULL")
        .bind(expressions)
        .fetch_all(conn)
        .await
        .unwrap()
}

/// A database with all extensions that can be made, and with types of all makes.
async fn prepare(conn: &mut PgConnection, others_first: bool) {
    if others_first {
        // The numbers of all that follows are other ones then.
        run(conn, "CREATE SCHEMA other; SET search_path = other").await;
        run(conn, TYPES).await;
        run(conn, "RESET search_path").await;
    }
    run(
        conn,
        "SET client_min_messages = error;
        DO $$ DECLARE e text; BEGIN
            FOR e IN SELECT name FROM pg_available_extensions ORDER BY name LOOP
                BEGIN EXECUTE format('CREATE EXTENSION IF NOT EXISTS %I', e); EXCEPTION WHEN OTHERS THEN END;
            END LOOP;
        END $$",
    )
    .await;
    run(conn, TYPES).await;
    run(conn, ATTEMPT).await;
}

/// A type with expressions of which no two have the same value; null comes last.
struct Values {
    type_name: String,
    expressions: Vec<String>,
}

/// Only what differs in its text.
fn distinct(type_name: &str, valid: Vec<(String, String)>) -> Values {
    let mut seen = BTreeSet::new();
    let expressions = valid
        .into_iter()
        .filter(|(_, text)| seen.insert(text.clone()));
    let mut expressions: Vec<String> = expressions.map(|(value, _)| value).collect();
    expressions.push(format!("NULL::{type_name}"));
    Values {
        type_name: type_name.to_owned(),
        expressions,
    }
}

/// Makes of a type a domain and a composite type, as far as that can be done.
async fn derive(conn: &mut PgConnection, name: &str, number: usize) {
    let make = format!(
        "DO $$ BEGIN CREATE DOMAIN domain_{number} AS {name}; EXCEPTION WHEN OTHERS THEN END $$;
         DO $$ BEGIN CREATE TYPE composite_{number} AS (a {name}, b {name}[], c int); EXCEPTION WHEN OTHERS THEN END $$"
    );
    run(conn, &make).await;
}

/// The type and all that is made of it here.
async fn values(conn: &mut PgConnection, name: &str, number: usize) -> Vec<Values> {
    // Numbers at which one database may have an object of a user, and the other none.
    let of_users =
        |literal: &&&str| name.starts_with("reg") && ["32767", "65535"].contains(literal);
    let literals = LITERALS.iter().filter(|literal| !of_users(literal));
    let literals = literals.map(|literal| {
        let literal = literal.replace('\'', "''");
        format!("'{literal}'::{name}")
    });
    let composites = [
        "row(1,'a')",
        "row(1,NULL)",
        "row(NULL,'a')",
        "row(NULL,'')",
        "row(NULL,NULL)",
        "row('(1,2)','-0')",
        "row('(1,2)','0')",
        "row('(2,1)',NULL)",
        "row(row('(1,2)','0'),'sad')",
        "row(row('(1,2)',NULL),'sad')",
        "row(row('(1,2)','0'),'ok')",
        "row('a',NULL,'b',NULL)",
        "row('a','b',NULL,NULL)",
        "row('a',NULL,'b',NULL,'c')",
        "row('a','b',NULL,NULL,'c')",
        "row(NULL,'ok')",
        "row(NULL,'{sad}','{\"(1,a)\"}')",
        "row(NULL,'{sad,ok}',NULL)",
        "row(NULL,NULL,'{\"(1,a)\",\"(1,b)\"}')",
    ];
    let composites = composites.iter().map(|row| format!("{row}::{name}"));
    let rest = [
        "'[sad,ok]'",
        "'[sad,sad]'",
        "'[\"(1,a)\",\"(2,a)\")'",
        "'[\"(1,a)\",\"(3,a)\")'",
        "'sad'",
        "'ok'",
    ];
    let rest = rest.iter().map(|value| format!("{value}::{name}"));
    let found = valid(conn, rest.chain(literals).chain(composites).collect()).await;
    let base = distinct(name, found);
    let [x, y] = match base.expressions.as_slice() {
        [x, y, .., _] => [x, y],
        _ => return vec![base],
    };
    let mut all = Vec::new();
    let domain = format!("public.domain_{number}");
    let composite = format!("public.composite_{number}");
    derive(conn, name, number).await;
    let arrays = [
        format!("'{{}}'::{name}[]"),
        format!("ARRAY[{x}]"),
        format!("ARRAY[{y}]"),
        format!("ARRAY[{x}, {y}]"),
        format!("ARRAY[{y}, {x}]"),
        format!("ARRAY[ARRAY[{x}], ARRAY[{y}]]"),
        format!("ARRAY[ARRAY[{x}, {y}]]"),
        format!("ARRAY[{x}, NULL]"),
        format!("ARRAY[NULL, {x}]"),
        format!("ARRAY[NULL::{name}]"),
        format!("array_fill({x}, ARRAY[2], ARRAY[2])"),
        format!("array_fill({x}, ARRAY[2], ARRAY[1])"),
    ];
    let of = format!("{name}[]");
    let found = valid(conn, arrays.to_vec()).await;
    all.push(distinct(&of, found));
    let domains: Vec<String> = [x, y].map(|value| format!("({value})::{domain}")).to_vec();
    let found = valid(conn, domains).await;
    all.push(distinct(&domain, found));
    let rows = [
        format!("ROW({x}, NULL, 1)::{composite}"),
        format!("ROW({y}, NULL, 1)::{composite}"),
        format!("ROW(NULL, NULL, 1)::{composite}"),
        format!("ROW(NULL, NULL, NULL)::{composite}"),
        format!("ROW(NULL, ARRAY[{x}], 1)::{composite}"),
        format!("ROW({x}, ARRAY[{x}, {y}], 1)::{composite}"),
        format!("ROW({x}, ARRAY[{y}, {x}], 1)::{composite}"),
        format!("ROW({x}, '{{}}', 1)::{composite}"),
    ];
    let found = valid(conn, rows.to_vec()).await;
    all.push(distinct(&composite, found));
    let rows = rows[..3].iter().map(|row| format!("ARRAY[{row}]"));
    let found = valid(conn, rows.collect()).await;
    all.push(distinct(&format!("{composite}[]"), found));
    all.insert(0, base);
    all
}

/// The types that a column can have and that are made of no others.
async fn types(conn: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT format_type(t.oid, -1) FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
         JOIN pg_namespace n ON n.oid = t.typnamespace
         WHERE t.typtype IN ('b', 'd', 'e', 'r', 'm', 'c') AND (t.typtype <> 'c' OR c.relkind = 'c') AND t.typisdefined
            AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid) AND n.nspname <> 'other'
            AND n.nspname <> 'pg_toast'
         ORDER BY 1",
    )
    .fetch_all(conn)
    .await
    .unwrap()
}

/// The fingerprints of the tables of schema `pairs`, by name.
async fn prints(conn: &mut PgConnection) -> BTreeMap<TableName, Fingerprint> {
    let scope = CatalogScope::new().without_schema("public", "not asked for");
    let tables = Tables::read(conn, &scope).await.unwrap();
    let tables = tables
        .tables
        .iter()
        .filter(|(name, _)| name.schema == "pairs");
    let requests: Vec<_> = tables
        .map(|(name, shape)| (name.clone(), shape.picks()))
        .collect();
    fingerprint_all(conn, &requests, HashMode::Native)
        .await
        .unwrap()
}

/// For each type every value in a separate table: no two of them may have one fingerprint, and each
/// must have the same one in a database in which all types have other numbers.
#[tokio::test]
async fn no_two_values_of_any_type_have_one_fingerprint() {
    for server in servers() {
        let (mut conn, mut other) = (server.database().await, server.database().await);
        prepare(&mut conn, false).await;
        prepare(&mut other, true).await;
        let names = types(&mut conn).await;
        let (mut pairs, mut collisions, mut kinds) = (0, Vec::new(), BTreeSet::new());
        let mut empty = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let all = values(&mut conn, name, number).await;
            derive(&mut other, name, number).await;
            let only_null = all[0].expressions.len() == 1;
            if only_null && !NEVER_WRITTEN.iter().any(|never| name.contains(never)) {
                empty.push(name);
            }
            let mut script =
                "DROP SCHEMA IF EXISTS pairs CASCADE; CREATE SCHEMA pairs;\n".to_owned();
            for (kind, values) in all.iter().enumerate() {
                let of = &values.type_name;
                if values.expressions.len() > 1 {
                    kinds.insert(of.clone());
                }
                for (index, value) in values.expressions.iter().enumerate() {
                    writeln!(
                        script,
                        "CREATE TABLE pairs.k{kind}_{index} (v {of}); INSERT INTO pairs.k{kind}_{index} VALUES ({value});"
                    )
                    .unwrap();
                }
                // Values that change places, between columns and between rows.
                let (x, null) = (
                    &values.expressions[0],
                    &values.expressions[values.expressions.len() - 1],
                );
                let y = &values.expressions[1.min(values.expressions.len() - 1)];
                let moved = [
                    format!("({x}, {y}, 1)"),
                    format!("({y}, {x}, 1)"),
                    format!("({x}, {null}, 1)"),
                    format!("({null}, {x}, 1)"),
                    format!("({x}, {null}, 1), ({y}, {null}, 2)"),
                    format!("({x}, {null}, 2), ({y}, {null}, 1)"),
                    format!("({x}, {x}, 1), ({y}, {y}, 2)"),
                    format!("({x}, {y}, 1), ({y}, {x}, 2)"),
                ];
                if values.expressions.len() > 2 && kind < 2 {
                    for (index, rows) in moved.iter().enumerate() {
                        writeln!(
                            script,
                            "CREATE TABLE pairs.m{kind}_{index} (v {of}, w {of}, n int); INSERT INTO pairs.m{kind}_{index} VALUES {rows};"
                        )
                        .unwrap();
                    }
                }
            }
            let found = async |conn: &mut PgConnection| {
                sqlx::raw_sql(AssertSqlSafe(script.clone()))
                    .execute(&mut *conn)
                    .await
                    .unwrap_or_else(|error| panic!("{error}\n{script}"));
                prints(conn).await
            };
            let (one, two) = (found(&mut conn).await, found(&mut other).await);
            for (table, print) in &one {
                assert!(
                    print.same_data(&two[table]).unwrap(),
                    "{name}: {table} differs between databases on {}\n{script}",
                    server.major
                );
            }
            let mut groups: BTreeMap<&str, Vec<(&TableName, &Fingerprint)>> = BTreeMap::new();
            for (table, print) in &one {
                let group = table.name.split_once('_').unwrap().0;
                groups.entry(group).or_default().push((table, print));
            }
            for (_, tables) in groups {
                for (index, (one, print)) in tables.iter().enumerate() {
                    for (two, other) in &tables[index + 1..] {
                        pairs += 1;
                        if print.same_data(other).unwrap() {
                            let create = |table: &TableName| {
                                let of = script
                                    .lines()
                                    .find(|line| line.contains(&format!("pairs.{} ", table.name)));
                                of.unwrap_or_default().to_owned()
                            };
                            collisions.push(format!("{name}: {} and {}", create(one), create(two)));
                        }
                    }
                }
            }
        }
        println!(
            "PostgreSQL {}: {} types, {pairs} pairs of values, {} collisions",
            server.major,
            kinds.len(),
            collisions.len()
        );
        assert!(
            kinds.len() > 400 && pairs > 100_000,
            "{} types, {pairs} pairs",
            kinds.len()
        );
        assert_eq!(collisions, Vec::<String>::new(), "on {}", server.major);
        assert_eq!(
            empty,
            Vec::<&str>::new(),
            "types without a value on {}",
            server.major
        );
    }
}
