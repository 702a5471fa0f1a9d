//! The solver as a table: expression in, ways out.

use super::*;

/// A short text form of all ways, so that a case fits on a line.
fn shown(ways: &[Alternative]) -> String {
    let one = |way: &Alternative| {
        let mut parts: Vec<String> = Vec::new();
        for (column, h) in &way.hints {
            let ends = |bounds: &[Bound], sign: &str| -> Vec<String> {
                bounds
                    .iter()
                    .map(|b| {
                        let limit = match &b.limit {
                            Limit::Text(text) => text.as_str(),
                            Limit::Now => "now",
                        };
                        format!(
                            "{column}{sign}{}{limit}",
                            if b.inclusive { "=" } else { "" }
                        )
                    })
                    .collect()
            };
            parts.extend(
                h.null
                    .map(|null| format!("{column} {}null", if null { "" } else { "not " })),
            );
            parts.extend(ends(&h.min, ">"));
            parts.extend(ends(&h.max, "<"));
            parts.extend(
                h.one_of
                    .as_ref()
                    .map(|values| format!("{column} in {}", values.join(","))),
            );
            parts.extend(h.none_of.iter().map(|value| format!("{column}!={value}")));
            parts.extend(h.min_len.map(|n| format!("len {column}>={n}")));
            parts.extend(h.max_len.map(|n| format!("len {column}<={n}")));
            parts.extend(h.regex.as_ref().map(|regex| format!("{column}~{regex}")));
            parts.extend(h.letters.map(|case| format!("{column} {case:?}")));
            parts.extend(h.json.as_ref().map(|json| format!("{column} is {json}")));
            parts.extend(h.keys.iter().map(|(key, value)| match value {
                Some(value) => format!("{column} has {key}={value}"),
                None => format!("{column} has {key}"),
            }));
        }
        parts.extend(
            way.relations
                .iter()
                .map(|r| format!("{} {:?} {}", r.left, r.op, r.right)),
        );
        if parts.is_empty() {
            "any".to_owned()
        } else {
            parts.join(" & ")
        }
    };
    ways.iter().map(one).collect::<Vec<_>>().join(" | ")
}

#[test]
fn checks_give_ways() {
    let cases = [
        ("(x > 0)", "x>0"),
        (
            "((jsonb_typeof(x) = 'object'::text) AND (x ? 'kind'::text))",
            "x is object & x has kind",
        ),
        ("(x ?& ARRAY['a'::text, 'b'::text])", "x has a & x has b"),
        ("((x -> 'kind'::text) IS NOT NULL)", "x has kind"),
        (
            "((x ->> 'kind'::text) = ANY (ARRAY['a'::text, 'b'::text]))",
            "x has kind=a | x has kind=b",
        ),
        ("(0 < x)", "x>0"),
        ("((x >= 1) AND (x <= 5))", "x>=1 & x<=5"),
        ("(NOT (x < 5))", "x>=5"),
        ("(x = 3)", "x in 3"),
        ("(x <> ''::text)", "x!= & len x>=1"),
        ("(x = ANY (ARRAY['a'::text, 'b'::text]))", "x in a,b"),
        ("(x <> ALL (ARRAY[1, 2]))", "x!=1 & x!=2"),
        ("(x = ANY ('{1,2}'::integer[]))", "x in 1,2"),
        ("(NOT (x = ANY (ARRAY[1, 2])))", "x!=1 & x!=2"),
        ("(length((x)::text) >= 3)", "len x>=3"),
        ("(char_length(x) < 3)", "len x<=2"),
        ("(length(btrim(x)) > 0)", "len x>=1 & x Lower"),
        ("(btrim(x) <> ''::text)", "len x>=1 & x Lower"),
        ("(x = upper(x))", "x Upper"),
        ("(lower(x) = x)", "x Lower"),
        ("(x ~ '^[a-z]+$'::text)", "x~^[a-z]+$"),
        ("(x ~~ 'a.%'::text)", r"x~^a\.[a-z0-9]{0,6}$"),
        ("(x <= (now() - '1 day'::interval))", "x<=now"),
        ("(x > CURRENT_DATE)", "x>now"),
        ("(a < b)", "a Lt b"),
        ("((a IS NULL) OR (a > b))", "a null | a Gt b"),
        (
            "((a IS NULL) = (b IS NULL))",
            "a null & b null | a not null & b not null",
        ),
        (
            "((a IS NULL) <> (b IS NULL))",
            "a null & b not null | a not null & b null",
        ),
        (
            "(num_nonnulls(a, b) = 1)",
            "a not null & b null | a null & b not null",
        ),
        ("(num_nulls(a, b) < 1)", "a not null & b not null"),
        ("(jsonb_typeof(j) = 'object'::text)", "j is object"),
        ("(active OR (NOT hidden))", "active in t | hidden in f"),
        ("((x IN_UNKNOWN) AND (y > 0))", "any"),
        ("((f(x) > 3) AND (y > 0))", "y>0"),
        ("((x = 1) AND (x = 2))", "any"),
        (
            "(((k = 'a'::text) AND (v IS NOT NULL)) OR ((k = 'b'::text) AND (v IS NULL)))",
            "k in a & v not null | k in b & v null",
        ),
        (
            "((r IS NOT NULL) AND (r >= '2024-01-01'::date) AND (r < '2025-01-01'::date))",
            "r not null & r>=2024-01-01 & r<2025-01-01",
        ),
        (
            "(NOT ((x IS NOT NULL) AND (x = ANY (ARRAY[1, 2]))))",
            "x null | x!=1 & x!=2",
        ),
    ];
    for (input, expected) in cases {
        assert_eq!(shown(&solve(input)), expected, "{input}");
    }
}

#[test]
fn ways_that_contradict_are_dropped() {
    let kind = solve("((k = 'a'::text) OR (k = 'b'::text))");
    let other = solve("(k <> 'a'::text)");
    assert_eq!(shown(&combine(&kind, &other)), "k in b");
}

#[test]
fn too_many_ways_leave_the_first_as_it_was() {
    let many = solve("(num_nonnulls(a, b, c, d) >= 1)");
    let more = solve("(num_nonnulls(e, f, g) >= 1)");
    assert_eq!(many.len(), 15);
    assert_eq!(combine(&many, &more), many);
}
