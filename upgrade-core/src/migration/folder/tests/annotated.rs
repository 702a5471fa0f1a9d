//! Files that hold both directions: goose, sql-migrate, node-pg-migrate; and marks of others.

use super::*;

const GOOSE: &str = "-- +goose Up
create table account (id bigint primary key);

-- +goose StatementBegin
create function f() returns int language plpgsql as $$
begin
    return 1;
end;
$$;
-- +goose StatementEnd

-- +goose Down
drop function f();
drop table account;
";

#[test]
fn l1b_goose_simple() {
    let folder = folder(&[
        (
            "00002_more.sql",
            "-- +goose Up\ncreate table more (id int);\n-- +goose Down\ndrop table more;\n",
        ),
        ("00001_base.sql", GOOSE),
        (
            "00010_index.sql",
            "-- +goose NO TRANSACTION\n-- +goose up\ncreate index concurrently i on more (id);\n",
        ),
        ("readme.md", ""),
    ])
    .unwrap();
    assert_eq!(folder.layout(), Layout::Goose);
    assert_eq!(folder.reason(), "`00001_base.sql` has `-- +goose Up`");
    assert_eq!(
        titles(&folder),
        ["00001_base <", "00002_more <", "00010_index"]
    );
    let base = folder.get("1").unwrap();
    let down = base.down.as_ref().unwrap();
    assert!(base.up.sql.contains("return 1;") && !base.up.sql.contains("drop"));
    assert!(!down.sql.contains("create"));
    assert_eq!((base.up.first_line, down.first_line), (1, 12));
    let lines: Vec<_> = down.statements().iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [13, 14]);
    assert_eq!(base.up.statements().len(), 2);
    assert_eq!(base.up.delivery, Delivery::PerStatement);
    let modes = [0, 2].map(|at: usize| folder.migrations()[at].up.transaction);
    assert_eq!(modes, [TransactionMode::Wrapped, TransactionMode::None]);
    assert_eq!(
        problems(&folder),
        [("file/down-missing", "00010_index.sql".to_owned(), None)]
    );
}

/// The problems of a goose file, as line and what its message contains.
#[track_caller]
fn check_refused(layout: Layout, text: &str, line: usize, message: &str) {
    let files = vec![(PathBuf::from("1_a.sql"), text.as_bytes().to_vec())];
    let folder = MigrationFolder::from_files_as("m", files, layout);
    // A folder in which no file can be read is refused too; then the problem is seen beside another.
    let other = match layout {
        Layout::Goose => "-- +goose Up\nselect f();\n-- +goose Down\nselect g();",
        _ => "-- +migrate Up\nselect f();\n-- +migrate Down\nselect g();",
    };
    assert!(folder.is_err(), "{text}");
    let files = vec![
        (PathBuf::from("1_a.sql"), text.as_bytes().to_vec()),
        (PathBuf::from("2_b.sql"), other.as_bytes().to_vec()),
    ];
    let folder = MigrationFolder::from_files_as("m", files, layout).unwrap();
    let found = folder.problems();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].kind, found[0].line),
        (ProblemKind::InvalidFile, Some(line)),
        "{text}"
    );
    assert!(found[0].message.contains(message), "{}", found[0].message);
}

#[test]
fn what_goose_refuses_is_a_problem_with_its_line() {
    let cut = "would end the statement in its middle";
    for (text, line, message) in [
        (
            "-- +goose Up\ncreate function f() returns int as $$\nbegin return 1;\nend $$ language plpgsql;\n",
            3,
            cut,
        ),
        (
            "-- +goose Up\nselect f()\n-- +goose Down\n",
            2,
            "does not end with a semicolon",
        ),
        (
            "-- +goose Up\nselect f(); select g()\n",
            2,
            "does not end with a semicolon",
        ),
        (
            "-- +goose Up\n-- +goose StatementBegin\nselect f();\n",
            2,
            "StatementEnd` is missing",
        ),
        (
            "-- +goose Up\nselect f();\n-- +goose StatementEnd\n",
            3,
            "no `-- +goose StatementBegin`",
        ),
        ("-- +goose Up\n-- +goose Upp\n", 2, "knows no annotation"),
        ("-- +goose Up\n  -- +goose Down\n", 2, "blanks before it"),
        ("-- +goose Up\n-- +goose Up\n", 2, "a second time"),
        ("-- +goose Down\n", 1, "does not follow"),
        ("select f();\n-- +goose Up\n", 1, "stands before"),
        ("-- only a comment\n", 1, "no part for the way up"),
    ] {
        check_refused(Layout::Goose, text, line, message);
    }
    check_refused(
        Layout::SqlMigrate,
        "-- +migrate Up\nselect f()\n",
        2,
        "does not end with a semicolon",
    );
    check_refused(
        Layout::SqlMigrate,
        "-- +migrate Down\nselect f();\n",
        1,
        "no part for the way up",
    );
    check_refused(
        Layout::SqlMigrate,
        "-- +migrate Up\ncreate function f() as $$\nbegin return 1;\nend $$ language plpgsql;\n",
        3,
        cut,
    );
}

#[test]
fn goose_statements_may_share_a_line_and_end_with_a_comment() {
    let folder = folder(&[(
        "1_a.sql",
        "-- +goose Up\nselect f(); select g();\nselect h(); -- why; \n-- done\n-- +goose Down\n",
    )])
    .unwrap();
    assert_eq!(folder.migrations()[0].up.statements().len(), 3);
}

#[test]
fn environment_variables_of_goose_have_to_be_filled_in() {
    let text = "-- +goose ENVSUB ON\n-- +goose Up\ncreate schema ${SCHEMA};\n-- +goose ENVSUB OFF\ncreate function f() returns int language sql as $$select 1$$;\n-- +goose Down\ndrop schema s;\n";
    let mut folder = folder(&[("1_a.sql", text), ("2_b.sql", GOOSE)]).unwrap();
    let found = folder.problems();
    assert_eq!(
        (found[0].kind, found[0].line),
        (ProblemKind::UnreadableStep, Some(3))
    );
    assert!(
        found[0].message.contains("`${SCHEMA}`"),
        "{}",
        found[0].message
    );
    assert_eq!(folder.fill("${SCHEMA}", "s").unwrap(), 1);
    assert_eq!(titles(&folder), ["1_a <", "2_b <"]);
}

#[test]
fn sql_migrate_folders() {
    let file = |up: &str, down: &str| {
        format!("-- a comment\n-- +migrate Up\n{up}\n\n-- +migrate Down\n{down}\n")
    };
    let (two, ten) = (
        file("create table t ();", "drop table t;"),
        file("alter table t add a int;", "alter table t drop a;"),
    );
    let folder = folder(&[
        ("10_a.sql", &ten),
        ("2_t.sql", &two),
        ("2_s.sql", &file("select f();", "select g();")),
        ("zz.sql", "-- +migrate Up notransaction\n-- +migrate StatementBegin\ncreate index concurrently i\non t (a);\n-- +migrate StatementEnd\n"),
        ("main.go", ""),
    ])
    .unwrap();
    assert_eq!(folder.layout(), Layout::SqlMigrate);
    assert_eq!(
        titles(&folder),
        ["2_s.sql <", "2_t.sql <", "10_a.sql <", "zz.sql"]
    );
    assert_eq!(folder.get("10").unwrap().version_text, "10_a.sql");
    assert!(folder.get("2").is_none(), "two names begin with it");
    assert_eq!(folder.migrations()[3].up.transaction, TransactionMode::None);
    assert_eq!(
        folder.migrations()[2].up.transaction,
        TransactionMode::Wrapped
    );
    assert_eq!(folder.migrations()[2].down.as_ref().unwrap().first_line, 5);
}

#[test]
fn node_pg_migrate_folders() {
    let folder = folder(&[
        (
            "1391877300255_first.sql",
            "-- Up Migration\ncreate table t ();\n\n-- Down Migration\ndrop table t;\n",
        ),
        (
            "1391877300256_second.sql",
            "-- no transaction\nselect f();\n",
        ),
        (
            "20200513070724505_third.sql",
            "-- down migration\nselect b();\n-- up migration\nselect a();\n",
        ),
    ])
    .unwrap();
    assert_eq!(folder.layout(), Layout::NodePgMigrate);
    assert_eq!(
        titles(&folder),
        [
            "1391877300255_first <",
            "1391877300256_second",
            "20200513070724505_third <"
        ]
    );
    let [first, second, third] = folder.migrations() else {
        panic!()
    };
    assert!(!first.up.sql.contains("drop"));
    assert_eq!(first.down.as_ref().unwrap().first_line, 4);
    assert_eq!(second.up.transaction, TransactionMode::None);
    assert!(third.up.sql.contains("a()") && !third.up.sql.contains("b()"));
    assert!(!third.down.as_ref().unwrap().sql.contains("a()"));
    assert_eq!(folder.get("1391877300255").unwrap().version, first.version);
}

#[track_caller]
fn check_foreign(files: &[(&str, &str)], expected: &str) {
    let error = folder(files).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn files_of_tools_that_cannot_be_read_are_refused_by_name_file_and_line() {
    for (mark, tool) in [
        ("--liquibase formatted sql", "a mark of Liquibase"),
        ("-- rambler up", "a mark of rambler"),
        ("-- +micrate Up", "a mark of micrate"),
        ("---- create above / drop below ----", "a mark of tern"),
        ("# --- !Downs", "a mark of Play evolutions"),
        ("-- //@UNDO", "a mark of MyBatis Migrations"),
    ] {
        let text = format!("create table t ();\n{mark}\n");
        let expected = format!("`2_b.sql:2` in `migrations` has `{mark}`, {tool}");
        check_foreign(&[("1_a.sql", "select f();"), ("2_b.sql", &text)], &expected);
    }
    check_foreign(
        &[("1_a.sql", "-- up\nselect f();\n-- down\nselect g();")],
        "`1_a.sql:1` in `migrations` has `-- up`, a mark of a tool that is not known here",
    );
    // One tool's file in another's folder.
    check_foreign(
        &[
            ("1_a.sql", "-- migrate:up\nselect f();"),
            ("2_b.sql", "-- Down Migration\nselect g();"),
        ],
        "is read as node-pg-migrate's",
    );
    check_foreign(
        &[("V1__a.sql", "-- +goose Up\nselect f();")],
        "`V1__a.sql:1` in `migrations` has `-- +goose Up`, a mark of goose, and the folder is read as refinery's",
    );
}

#[test]
fn a_mark_in_a_file_of_one_direction_is_a_comment() {
    let pair = folder(&[
        ("1_a.up.sql", "-- Up Migration\nselect f();"),
        ("1_a.down.sql", "-- Down Migration\nselect g();"),
        ("2_b.up.sql", "-- +goose Up\nselect f();"),
        ("2_b.down.sql", "-- +goose Down\nselect g();"),
    ])
    .unwrap();
    assert_eq!(pair.layout(), Layout::Sqlx);
    check_foreign(
        &[("1_a.up.sql", "select f();\n-- +goose Down\nselect g();")],
        "`1_a.up.sql:2`",
    );
}

#[test]
fn a_left_over_mark_is_a_comment_where_the_layout_is_named() {
    let read = |text: &str| {
        let files = vec![(PathBuf::from("1_a.sql"), text.as_bytes().to_vec())];
        MigrationFolder::from_files_as("m", files, Layout::Sqlx)
    };
    assert_eq!(titles(&read("-- +goose Up\nselect f();").unwrap()), ["1_a"]);
    assert_eq!(
        titles(&read("-- up\nselect f();\n-- down\n").unwrap()),
        ["1_a"]
    );
    // Whole, it would undo what it does.
    assert!(read("-- +goose Up\nselect f();\n-- +goose Down\nselect g();").is_err());
}

#[test]
fn stray() {
    let found = folder(&[
        (
            "2024-01-01-000000_shops/up.sql",
            "create table shops (id bigint primary key);",
        ),
        ("2024-01-01-000000_shops/down.sql", "drop table shops;"),
        ("fill_by_hand.sql", "select 1;"),
        ("20240102_hotfix.sql", "select f();"),
    ])
    .unwrap();
    assert_eq!(found.layout(), Layout::Diesel);
    assert_eq!(titles(&found), ["20240101000000_shops <"]);
    assert_eq!(
        problems(&found),
        [
            ("file/stray", "20240102_hotfix.sql".to_owned(), None),
            ("file/stray", "fill_by_hand.sql".to_owned(), None),
        ]
    );
    assert_eq!(found.problems()[0].severity, Severity::Note);
}

#[test]
fn files_of_popx_that_share_a_time_are_one_change() {
    let change = |down: &'static str| {
        [
            ("20200101000000000000_a.up.sql", "create table a (id int);"),
            ("20200101000000000000_a.down.sql", down),
            ("20200101000000000001_a.up.sql", "create index i on a (id);"),
            ("20200101000000000001_a.down.sql", "-- nothing"),
            ("20200101000000000002_a.up.sql", ""),
            (
                "20200102000000000000_b.postgres.up.sql",
                "create table b (id int);",
            ),
            (
                "20200102000000000000_b.mysql.up.sql",
                "create table b (id integer);",
            ),
            ("20200102000000000000_b.down.sql", "drop table b;"),
        ]
    };
    assert_eq!(problems(&folder(&change("drop table a;")).unwrap()), []);
    let empty = folder(&change("")).unwrap();
    let ids: Vec<_> = problems(&empty).into_iter().map(|(id, ..)| id).collect();
    assert_eq!(ids, ["file/down-empty", "file/down-empty"]);
}

#[test]
fn a_data_migration_may_have_a_down_that_does_nothing() {
    let of = |up: &str| {
        let folder = folder(&[("1_a.up.sql", up), ("1_a.down.sql", "-- nothing")]).unwrap();
        problems(&folder).len()
    };
    assert_eq!(
        of("insert into t values (1); with x as (select 1) update t set a = 2;"),
        0
    );
    assert_eq!(of("set local role a; delete from t where a = 1;"), 0);
    assert_eq!(of("insert into t values (1); alter table t add b int;"), 1);
    assert_eq!(of("select * into u from t;"), 1);
    assert_eq!(of("do $$ begin execute 'create table t ()'; end $$;"), 1);
}

#[test]
fn a_longer_name_in_a_file_does_not_decide_the_layout() {
    let pair = |sql: &str| {
        folder(&[("1_a.up.sql", sql), ("1_a.down.sql", "select g();")])
            .unwrap()
            .layout()
    };
    assert_eq!(
        pair("insert into __diesel_schema_migrations values (1);"),
        Layout::Sqlx
    );
    assert_eq!(
        pair("-- as in schema_migrations\nselect f();"),
        Layout::Sqlx
    );
    assert_eq!(pair("drop table schema_migrations;"), Layout::GolangMigrate);
}
