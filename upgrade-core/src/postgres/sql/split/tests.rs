use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(sql: &str, expected: &[(usize, &str)]) {
    let found: Vec<_> = split(sql).into_iter().map(|s| (s.line, s.text)).collect();
    assert_eq!(found, expected);
}

#[test]
fn semicolons_cut_only_between_statements() {
    check("select 1; select 2", &[(1, "select 1;"), (1, "select 2")]);
    check(
        "select ';', \"a;b\" -- ; no\n;select 2",
        &[(1, "select ';', \"a;b\" -- ; no\n;"), (2, "select 2")],
    );
    check("select 'it''s;';", &[(1, "select 'it''s;';")]);
    check(
        r"select E'a\';', 'b\'; select 2",
        &[(1, r"select E'a\';', 'b\';"), (1, "select 2")],
    );
    check(
        "select E'a'\n'b\\';'; x",
        &[(1, "select E'a'\n'b\\';';"), (2, "x")],
    );
    check(
        "/* a /* ; */ ; */ select 1;",
        &[(1, "/* a /* ; */ ; */ select 1;")],
    );
    check(
        "do $$ begin; end $$; do $a$ $$;$$ $a$;",
        &[(1, "do $$ begin; end $$;"), (1, "do $a$ $$;$$ $a$;")],
    );
    check("select a$1, $2; x", &[(1, "select a$1, $2;"), (1, "x")]);
    check("select größe$$ ; x", &[(1, "select größe$$ ;"), (1, "x")]);
    check(
        "select U&'\\0041;', B'1', 1e'; '",
        &[(1, "select U&'\\0041;', B'1', 1e'; '")],
    );
}

#[test]
fn blocks_keep_their_statements() {
    let routine = "create or replace function f(a int) returns int begin atomic select case when a > 1 then 2 end; select 3; end;";
    check(
        &format!("{routine}\nselect 1;"),
        &[(1, routine), (2, "select 1;")],
    );
    let rule = "create rule r as on insert to t do also (insert into a values (1); insert into b values (2));";
    check(&format!("{rule} select 1"), &[(1, rule), (1, "select 1")]);
    // Outside of a routine these words are names or a transaction.
    check(
        "begin; select atomic; end;",
        &[(1, "begin;"), (1, "select atomic;"), (1, "end;")],
    );
}

#[test]
fn comments_and_lone_semicolons_stay() {
    check(
        "-- head\n\nselect 1; -- tail\n",
        &[(3, "-- head\n\nselect 1; -- tail")],
    );
    check(";; select 1;;", &[(1, ";; select 1;;")]);
    check("-- nothing\n;", &[]);
    check("", &[]);
    check("\u{feff}select 1", &[(1, "select 1")]);
    check(
        "select 1;\r\nselect 2;\r\n",
        &[(1, "select 1;"), (2, "select 2;")],
    );
}

#[track_caller]
fn check_unsupported(sql: &str, expected: &[(usize, &str)]) {
    let found: Vec<_> = split(sql)
        .iter()
        .filter_map(|s| Some((s.line, s.unsupported()?)))
        .collect();
    let found: Vec<_> = found
        .iter()
        .map(|(line, text)| (*line, text.as_str()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn what_only_psql_can_run_is_named() {
    let copy = "`COPY .. FROM STDIN` needs psql to send the rows (write them as INSERT)";
    check_unsupported(
        "select 1;\nCOPY t (a) FROM stdin;\n1\tit's\n\\.\nselect 2;",
        &[(2, copy)],
    );
    check_unsupported("copy t from stdin with csv", &[(1, copy)]);
    check_unsupported("copy (select 1) to stdout; copy t from 'f'", &[]);
    check_unsupported(
        "\\connect app\nselect 1;",
        &[(1, "`\\connect` is a command of psql, not SQL (remove it)")],
    );
    check_unsupported(
        "select 1\n\\gexec\n",
        &[(1, "`\\gexec` is a command of psql, not SQL (remove it)")],
    );
    check_unsupported("select 1; select 'a;", &[(1, "a string is never closed")]);
    check_unsupported("select 1;\n/* a", &[(2, "a comment is never closed")]);
    check_unsupported(
        "do $x$ begin",
        &[(1, "a dollar-quoted body is never closed")],
    );
    assert_eq!(
        split("copy t from stdin;\n1\tit's\n\\.\nselect 2;")[1].text,
        "select 2;"
    );
}

#[test]
fn empty_scripts_are_seen() {
    for sql in [
        "",
        "-- no rollback\n",
        "/* a */;;",
        "select 1;",
        "SELECT 'nothing';",
        "select null",
    ] {
        assert!(is_empty_script(sql), "{sql}");
    }
    for sql in [
        "drop table t",
        "select f();",
        "select 1 from t",
        "select 1, 2; select x",
        "\\q",
        "begin",
    ] {
        assert!(!is_empty_script(sql), "{sql}");
    }
}

#[test]
fn keywords_lines_and_placeholders() {
    assert_eq!(keywords("-- a\n/* b */ (select 1)", 1), ["SELECT"]);
    assert_eq!(line_of("a\nß\nc", 5), 3);
    assert_eq!(line_of("a\nb", 99), 2);
    let cases = [
        ("create table :schema.t ()", Some((":schema", 1))),
        ("select a::text, a[1:n], x := 1, ':no'", None),
        ("\nselect {{ .Name }}", Some(("{{ .Name }}", 2))),
        (
            "set search_path to ${flyway:defaultSchema}",
            Some(("${flyway:defaultSchema}", 1)),
        ),
        ("select '{}'::jsonb, '{\"a\":{\"b\":1}}'", None),
    ];
    for (sql, expected) in cases {
        let every = [
            Placeholder::Psql,
            Placeholder::Template,
            Placeholder::Property,
        ];
        let found = first_placeholder(sql, &every);
        assert_eq!(
            found.as_ref().map(|(text, line)| (text.as_str(), *line)),
            expected,
            "{sql}"
        );
    }
}

/// How many bytes a function reads of a script that repeats a piece `count` times.
fn bytes_read(piece: &str, count: usize, read: &dyn Fn(&str)) -> usize {
    let script = piece.repeat(count);
    work::take();
    read(&script);
    work::take()
}

/// Twice the script is twice the work, whatever is in it: nothing here depends on a clock.
#[test]
fn a_script_is_read_a_fixed_number_of_times() {
    let pieces = [
        "insert into t (a, b) values (1, 'it''s');\n",
        "copy t from stdin;\n",
        "select 1\\gexec\n",
        "create function f() returns int begin atomic select case when true then 1 end; end;\n",
        "do $a$ begin; end $a$; $b $c$d\n",
        "-- a comment\n\n",
        "/* a /* b */ */",
        "E'a'   \n   'b'",
        "E'a'    ",
        "('a;",
        "$a",
        ";",
        "\n",
    ];
    let functions: [&dyn Fn(&str); 4] = [
        &|sql| drop(split(sql)),
        &|sql| {
            std::hint::black_box(is_empty_script(sql));
        },
        &|sql| drop(keywords(sql, usize::MAX)),
        &|sql| drop(first_placeholder(sql, &[Placeholder::Psql])),
    ];
    for piece in pieces {
        for (index, function) in functions.iter().enumerate() {
            let (once, twice) = (
                bytes_read(piece, 500, function),
                bytes_read(piece, 1000, function),
            );
            assert!(
                twice <= 2 * once + 2 * piece.len() + 64,
                "{piece:?} {index}: {once}, {twice}"
            );
            assert!(
                twice <= 5 * 1000 * piece.len() + 64,
                "{piece:?} {index}: {twice}"
            );
        }
    }
    assert_eq!(
        bytes_read("select 1; ", 1000, &|sql| drop(keywords(sql, 1))),
        6
    );
}

#[test]
fn copies_without_an_end_mark_are_found_behind_one_with_it() {
    let statements =
        split("copy t from stdin;\n1\n\\.\ncopy t from stdin;\n2\n; select 1; copy t from stdin;");
    let lines: Vec<_> = statements.iter().map(|s| (s.line, s.kind)).collect();
    let copy = StatementKind::CopyFromStdin;
    assert_eq!(
        lines,
        [
            (1, copy),
            (4, copy),
            (5, StatementKind::Sql),
            (6, StatementKind::Sql),
            (6, copy)
        ]
    );
}

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            ";",
            "'",
            "''",
            "\"",
            "$$",
            "$a$",
            "--",
            "\n",
            "/*",
            "*/",
            "(",
            ")",
            "\\",
            "E'",
            " ",
            "begin atomic",
            "case",
            "end",
            "create function f()",
            "copy t from stdin",
            "\\.\n",
            "select 1",
            "ß",
            "\u{feff}",
        ])
        .prop_map(str::to_owned),
        "[a-z;'$ ]{0,6}",
    ]
}

proptest! {
    #[test]
    fn no_text_is_lost_and_splitting_is_stable(parts in proptest::collection::vec(fragment(), 0..24)) {
        let sql = parts.concat();
        let statements = split(&sql);
        let dense = |text: &str| text.chars().filter(|c| !blank(*c)).collect::<String>();
        if !statements.is_empty() {
            let joined: String = statements.iter().map(|s| dense(s.text)).collect();
            prop_assert_eq!(joined, dense(&sql));
        }
        for statement in &statements {
            prop_assert_eq!(&sql[statement.offset..][..statement.text.len()], statement.text);
            if statement.kind == StatementKind::Sql {
                let again = split(statement.text);
                prop_assert_eq!(again.len(), 1);
                prop_assert_eq!(again[0].text, statement.text);
            }
        }
    }
}

#[test]
fn words_are_those_of_names_keywords_and_quoted_bodies() {
    let sql = "DROP POLICY Own ON \"My \"\"Table\"\"\"; -- drop it\ndo $x$ begin execute 'alter table t'; end $x$; select '', $$$$, e'a b'";
    let found = statement_words(sql);
    assert_eq!(found[0], ["drop", "policy", "own", "on", "My \"Table\""]);
    assert_eq!(
        found[1],
        ["do", "begin", "execute", "alter", "table", "t", "end"]
    );
    assert_eq!(found[2], ["select", "a", "b"]);
}

#[test]
fn a_script_mentions_names_but_not_in_comments() {
    let cases = [
        ("alter table events add column a int", true),
        ("alter table public.EVENTS add column a int", true),
        ("alter table \"events\" add column a int", true),
        (
            "do $$ begin execute 'update events set a = 1'; end $$",
            true,
        ),
        (
            "-- as in events\nalter table orders add column a int",
            false,
        ),
        ("alter table my_events add column events_count int", false),
        ("select 'eventsource'", false),
    ];
    for (sql, expected) in cases {
        assert_eq!(mentions(sql, "events"), expected, "{sql}");
    }
}
