//! Differences of form: the text of an object is another one, and what it does is not.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Whether all facts in which an object differs differ in form only: by white space outside of
/// quotes, by `CURRENT_TIMESTAMP` for `now()`, or by the order in which a view has its columns,
/// which follows that of its tables.
pub(super) fn is_form_only(then: &BTreeMap<&str, String>, now: &BTreeMap<&str, String>) -> bool {
    then.keys().eq(now.keys())
        && then
            .iter()
            .all(|(name, was)| now.get(name).is_some_and(|is| same_form(was, is)))
}

fn same_form(was: &str, is: &str) -> bool {
    was == is || plain(was) == plain(is) || same_columns(was, is)
}

/// A text in one form: one space for white space, one name for the time at which a transaction began.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '\'' | '"' => quoted(next, &mut rest, &mut plain),
            '-' if rest.peek() == Some(&'-') => {
                // A comment ends with its line, so its line end is no mere white space.
                plain.push(next);
                plain.extend(std::iter::from_fn(|| rest.next_if(|c| *c != '\n')));
                plain.push('\n');
            }
            _ if next.is_whitespace() => {
                if !plain.ends_with([' ', '\n']) {
                    plain.push(' ');
                }
            }
            _ if next.is_alphabetic() || next == '_' => {
                let mut word = String::from(next);
                let inside = |c: &char| c.is_alphanumeric() || *c == '_';
                word.extend(std::iter::from_fn(|| rest.next_if(inside)));
                let is_now = word.eq_ignore_ascii_case("current_timestamp");
                // With a precision it is another value.
                if is_now && rest.peek() != Some(&'(') {
                    word = "now()".to_owned();
                }
                plain.push_str(&word);
            }
            _ => plain.push(next),
        }
    }
    plain.trim().to_owned()
}

/// Copies what is in quotes as it stands, to its end or that of the text.
fn quoted(quote: char, rest: &mut Peekable<Chars<'_>>, to: &mut String) {
    to.push(quote);
    for next in rest.by_ref() {
        to.push(next);
        if next == quote {
            break;
        }
    }
}

/// Whether two definitions of a view, as Postgres writes them, select the same columns in another
/// order. Where several selects are one (`UNION`), the order decides what belongs together.
fn same_columns(was: &str, is: &str) -> bool {
    match (selected(was), selected(is)) {
        (Some((mut was, from_was)), Some((mut is, from_is))) => {
            was.sort_unstable();
            is.sort_unstable();
            was == is && from_was == from_is
        }
        _ => false,
    }
}

/// The columns that a definition selects, one a line, and everything after them.
fn selected(definition: &str) -> Option<(Vec<&str>, Vec<&str>)> {
    let lines: Vec<&str> = definition.lines().map(str::trim).collect();
    let together = ["UNION", "INTERSECT", "EXCEPT", "WITH "];
    if lines
        .iter()
        .any(|line| together.iter().any(|word| line.starts_with(word)))
    {
        return None;
    }
    let from = lines.iter().position(|line| line.starts_with("FROM "))?;
    let (columns, rest) = lines.split_at(from);
    let mut columns = columns.to_vec();
    let first = columns.first_mut()?;
    *first = first.strip_prefix("SELECT ")?;
    if first.starts_with("DISTINCT ON") {
        return None;
    }
    let columns = columns.iter().map(|line| line.trim_end_matches(','));
    Some((columns.collect(), rest.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(was: &str, is: &str, expected: bool) {
        assert_eq!(same_form(was, is), expected, "`{was}` and `{is}`");
    }

    #[test]
    fn white_space_counts_in_quotes_and_comments_only() {
        check("begin\n  return 1;\nend", "begin return 1;  end", true);
        check("select 'a b'", "select 'a  b'", false);
        check("select \"a b\"", "select \"a  b\"", false);
        check("select 'it''s  x' ", "select 'it''s x'", false);
        check("-- one\nselect 1", "-- one select 1", false);
        check("-- one\n  select 1", "-- one\nselect 1", true);
        check("ab c", "a bc", false);
        check("select 1", "select 2", false);
    }

    #[test]
    fn the_time_of_a_transaction_has_two_names() {
        check("CURRENT_TIMESTAMP", "now()", true);
        check("current_timestamp", "now()", true);
        check("CURRENT_TIMESTAMP(3)", "now()", false);
        check("'CURRENT_TIMESTAMP'", "'now()'", false);
        check("my_current_timestamp", "my_now()", false);
        check("CURRENT_DATE", "now()", false);
    }

    #[test]
    fn the_columns_of_a_view_may_change_places() {
        let view = |columns: &str| format!(" SELECT {columns}\n   FROM t\n  WHERE t.a > 1;");
        check(&view("t.a,\n    t.b"), &view("t.b,\n    t.a"), true);
        check(&view("t.a,\n    t.b"), &view("t.b,\n    t.c"), false);
        check(&view("t.a - t.b AS d"), &view("t.b - t.a AS d"), false);
        check(&view("t.a,\n    t.b"), &view("t.a"), false);
        check(
            " SELECT t.a,\n    t.b\n   FROM t\nUNION\n SELECT t.c,\n    t.d\n   FROM t;",
            " SELECT t.b,\n    t.a\n   FROM t\nUNION\n SELECT t.c,\n    t.d\n   FROM t;",
            false,
        );
        let first = |columns: &str| format!(" SELECT DISTINCT ON (t.a) {columns}\n   FROM t;");
        check(&first("t.a,\n    t.b"), &first("t.b,\n    t.a"), false);
    }

    #[test]
    fn one_fact_that_differs_in_more_is_enough() {
        let facts = |body: &str, owner: &str| {
            BTreeMap::from([("body", body.to_owned()), ("owner", owner.to_owned())])
        };
        assert!(is_form_only(&facts("a  b", "me"), &facts("a b", "me")));
        assert!(!is_form_only(&facts("a  b", "me"), &facts("a b", "you")));
        let less = BTreeMap::from([("body", "a b".to_owned())]);
        assert!(!is_form_only(&facts("a b", "me"), &less));
    }
}
