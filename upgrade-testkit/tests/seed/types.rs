//! The seeder against every type of a real server.

use std::collections::BTreeMap;

use crate::support::{Server, number, run, texts};
use sqlx::{AssertSqlSafe, PgConnection};
use upgrade_testkit::seed::Seeder;

const ROWS: u64 = 60;

/// Types that a column can have and that no client can send a value of: only the server makes such
/// values, for its own catalogs and indexes.
const WITHOUT_INPUT: [&str; 17] = [
    "gbtreekey16",
    "gbtreekey2",
    "gbtreekey32",
    "gbtreekey4",
    "gbtreekey8",
    "gbtreekey_var",
    "ghstore",
    "gtrgm",
    "gtsvector",
    "intbig_gkey",
    "ltree_gist",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
];

/// Every type that a column can have, as `format_type` prints it: scalars, domains, enums, ranges and
/// multiranges, composites that are not rows of a table, and arrays of all of them.
const TYPES: &str = "SELECT format_type(t.oid, -1) FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
    LEFT JOIN pg_class c ON c.oid = coalesce(nullif(t.typrelid, 0), e.typrelid)
    WHERE t.typtype <> 'p' AND coalesce(e.typtype, 'b') <> 'p' AND t.typisdefined AND (c.oid IS NULL OR c.relkind = 'c')
    ORDER BY 1";

/// Fills a table for each type; gives the types that could not be filled, with what was said.
async fn fill(conn: &mut PgConnection, types: &[String]) -> BTreeMap<String, String> {
    run(conn, "CREATE SCHEMA filled").await;
    for (at, ty) in types.iter().enumerate() {
        run(
            conn,
            &format!("CREATE TABLE filled.t{at} (plain {ty} NOT NULL, maybe {ty})"),
        )
        .await;
    }
    let mut failed = BTreeMap::new();
    for seeder in [
        Seeder::new(1).rows(ROWS).lenient(),
        Seeder::new(2).rows(ROWS).lenient().extremes(),
    ] {
        let report = seeder.fill(conn).await.unwrap();
        for (at, ty) in types.iter().enumerate() {
            let label = format!("filled.t{at}");
            match report.table(&label) {
                Some(table) => {
                    assert_eq!(
                        (table.inserted, table.refused),
                        (ROWS, 0),
                        "{ty}: {table:?}"
                    );
                }
                None => {
                    let left_out = report.left_out().iter().find(|item| item.object == label);
                    failed.insert(ty.clone(), left_out.unwrap().reason.clone());
                }
            }
        }
    }
    for (at, ty) in types.iter().enumerate() {
        if failed.contains_key(ty) {
            continue;
        }
        let distinct = format!("SELECT count(DISTINCT plain::text) FROM filled.t{at}");
        assert!(number(conn, &distinct).await > 1, "{ty} has one value only");
        // A domain may forbid NULL.
        let forbidden =
            format!("SELECT count(*) FROM pg_type WHERE typnotnull AND oid = '{ty}'::regtype");
        if number(conn, &forbidden).await == 1 {
            continue;
        }
        let nulls = format!("SELECT count(*) FROM filled.t{at} WHERE maybe IS NULL");
        assert!(number(conn, &nulls).await > 0, "{ty} is never NULL");
    }
    failed
}

/// That the types left over are those that take no value, or are made of one, by the server's word.
async fn check_left_over(conn: &mut PgConnection, failed: &BTreeMap<String, String>) {
    for ty in failed.keys() {
        let known = |name: &&str| ty.strip_suffix("[]").unwrap_or(ty).ends_with(*name);
        assert!(
            WITHOUT_INPUT.iter().any(known),
            "`{ty}` is not filled: {}",
            failed[ty]
        );
        let value = if ty.ends_with("[]") { "{1}" } else { "1" };
        let error = sqlx::query(AssertSqlSafe(format!("SELECT '{value}'::{ty}")))
            .persistent(false)
            .execute(&mut *conn)
            .await
            .unwrap_err();
        let message = error.as_database_error().unwrap().message().to_lowercase();
        assert!(
            message.starts_with("cannot accept a value of type")
                || message.ends_with("not implemented"),
            "{ty}: {message}"
        );
    }
}

#[tokio::test]
async fn every_built_in_type_is_filled_or_takes_no_value() {
    let server = Server::start().await;
    let mut conn = server.database("builtin", "").await;
    let types = texts(&mut conn, TYPES).await;
    assert!(types.len() > 150, "{} types", types.len());
    let failed = fill(&mut conn, &types).await;
    check_left_over(&mut conn, &failed).await;
    assert!(failed.len() <= 8, "{failed:?}");
}

/// The extensions that define types.
const EXTENSIONS: [&str; 13] = [
    "btree_gist",
    "citext",
    "cube",
    "earthdistance",
    "hstore",
    "intarray",
    "isn",
    "lo",
    "ltree",
    "pg_trgm",
    "seg",
    "tablefunc",
    "uuid-ossp",
];

#[tokio::test]
async fn every_type_of_the_common_extensions_is_filled_or_takes_no_value() {
    let server = Server::start().await;
    let mut conn = server.database("extensions", "").await;
    let before = texts(&mut conn, TYPES).await;
    for name in EXTENSIONS {
        run(&mut conn, &format!("CREATE EXTENSION \"{name}\" CASCADE")).await;
    }
    let mut types = texts(&mut conn, TYPES).await;
    types.retain(|ty| !before.contains(ty));
    assert!(types.len() > 40, "{types:?}");
    let failed = fill(&mut conn, &types).await;
    check_left_over(&mut conn, &failed).await;
}

#[tokio::test]
#[ignore = "needs a server with the extension `vector`"]
async fn the_types_of_vector_are_filled() {
    let server = Server::start().await;
    let mut conn = server.database("vectors", "").await;
    run(&mut conn, "CREATE EXTENSION vector").await;
    let types = [
        "vector",
        "vector(7)",
        "halfvec",
        "halfvec(5)",
        "sparsevec",
        "sparsevec(9)",
    ];
    let failed = fill(&mut conn, &types.map(str::to_owned)).await;
    assert_eq!(failed, BTreeMap::new());
}

#[tokio::test]
async fn types_made_of_others_are_filled() {
    let server = Server::start().await;
    let schema = "
        CREATE TYPE mood AS ENUM ('sad', 'it''s', 'a,b \"c\"');
        CREATE DOMAIN positive AS int CHECK (VALUE > 0);
        CREATE DOMAIN few AS positive CHECK (VALUE < 100);
        CREATE DOMAIN fewer AS few NOT NULL CHECK (VALUE <> 7);
        CREATE DOMAIN short_list AS text[] CHECK (cardinality(VALUE) BETWEEN 1 AND 2);
        CREATE DOMAIN named AS text CHECK (VALUE ~ '^[a-z]+$');
        CREATE TYPE pair AS (a fewer, b named, c mood[], d int4range);
        CREATE TYPE nested AS (p pair, q pair[], l short_list, w numeric(4,1)[]);
        CREATE DOMAIN nested_domain AS nested CHECK (cardinality((VALUE).q) < 100);
        CREATE TYPE textrange AS RANGE (subtype = text, collation = \"C\");
        CREATE TYPE moodrange AS RANGE (subtype = mood);
        CREATE TYPE fewrange AS RANGE (subtype = few, multirange_type_name = fews);
        CREATE TABLE rows_of_me (n int, t text);";
    let mut conn = server.database("made", schema).await;
    let types = [
        "fewer",
        "few[]",
        "mood[]",
        "short_list",
        "short_list[]",
        "pair",
        "pair[]",
        "nested",
        "nested[]",
        "nested_domain",
        "textrange",
        "textmultirange",
        "moodrange",
        "moodmultirange",
        "fewrange",
        "fews",
        "fewrange[]",
        "rows_of_me",
        "char(5)[]",
        "varchar(3)[]",
        "numeric(3,1)[]",
        "bit(3)[]",
        "timestamp(2)[]",
        "interval year to month",
        "interval(2)",
        "interval minute to second(1)",
        "time(3)",
        "timetz(1)",
        "timestamptz(4)",
        "numeric(1000)",
        "numeric(2,-3)",
        "numeric(3,7)",
    ];
    let failed = fill(&mut conn, &types.map(str::to_owned)).await;
    assert_eq!(failed, BTreeMap::new());
    let nested = types.iter().position(|ty| *ty == "numeric(3,1)[]").unwrap();
    let dimensions = format!(
        "SELECT count(*) FROM filled.t{nested} WHERE array_ndims(plain) = 2 AND array_lower(plain, 1) = 0"
    );
    assert!(
        number(&mut conn, &dimensions).await > 0,
        "arrays of two dimensions"
    );
}
