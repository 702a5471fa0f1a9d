//! What stands where passwords stand, whatever it is: in URLs, in `password '…'` of a statement, in
//! `password=…` of a connection string.

use std::borrow::Cow;

use super::GONE;

/// Words after which `=` and a secret follow.
const WORDS: [&str; 6] = ["password", "passwd", "secret", "token", "apikey", "api_key"];
/// What stands for a password in help texts.
const PLACEHOLDERS: [&str; 4] = ["password", "***", "…", "..."];

/// The text without what stands where passwords stand.
pub(crate) fn credentials(text: &str) -> Cow<'_, str> {
    let mut found = Vec::new();
    of_urls(text, &mut found);
    after_words(text, &mut found);
    found.retain(|(from, to)| from < to && !PLACEHOLDERS.contains(&&text[*from..*to]));
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    found.sort_unstable();
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (from, to) in found {
        if from >= done {
            out.push_str(&text[done..from]);
            out.push_str(GONE);
            done = to;
        }
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// The passwords of URLs.
fn of_urls(text: &str, found: &mut Vec<(usize, usize)>) {
    for (at, _) in text.match_indices("://") {
        let from = at + 3;
        let end = |char: char| char.is_whitespace() || "/?#'\"`<>(){},".contains(char);
        let to = text[from..]
            .find(end)
            .map_or(text.len(), |length| from + length);
        let Some(host) = text[from..to].rfind('@') else {
            continue;
        };
        if let Some(colon) = text[from..from + host].find(':') {
            found.push((from + colon + 1, from + host));
        }
    }
}

/// What follows one of the words.
fn after_words(text: &str, found: &mut Vec<(usize, usize)>) {
    // Lower case of the same length, so that places are those of the text.
    let lower = text.to_ascii_lowercase();
    for word in WORDS {
        for (at, _) in lower.match_indices(word) {
            let after = at + word.len();
            if let Some(value) = value_after(text, after, word == "password") {
                found.push(value);
            }
        }
    }
}

/// The place of a value after its name: `= value`, `="value"`, `": "value"`; in SQL only a literal.
fn value_after(text: &str, after: usize, in_sql: bool) -> Option<(usize, usize)> {
    let rest = &text[after..];
    let bare = rest.trim_start();
    if let Some(value) = bare.strip_prefix('=') {
        let value = value.trim_start_matches([' ', '\t']);
        return Some(valued(text, text.len() - value.len()));
    }
    for quote in ["\"", "\\\""] {
        if let Some(value) = rest.strip_prefix(quote)
            && let Some(value) = value.trim_start().strip_prefix(':')
            && let Some(value) = value.trim_start().strip_prefix(quote)
        {
            let from = text.len() - value.len();
            let length = value.find(quote).unwrap_or(value.len());
            return Some((from, from + length));
        }
    }
    if !in_sql || bare.len() == rest.len() && !rest.starts_with('\'') {
        return None;
    }
    let literal = bare.strip_prefix(['E', 'e']).unwrap_or(bare);
    if literal.starts_with('\'') || literal.starts_with("$$") {
        return Some(valued(text, text.len() - literal.len()));
    }
    None
}

/// The place of a value that begins here: a literal's inside, or the text up to a delimiter.
fn valued(text: &str, from: usize) -> (usize, usize) {
    let rest = &text[from..];
    if let Some(inside) = rest.strip_prefix("$$") {
        let length = inside.find("$$").unwrap_or(inside.len());
        return (from + 2, from + 2 + length);
    }
    if let Some(quote @ ('\'' | '"')) = rest.chars().next() {
        return (from + 1, from + 1 + quoted(&rest[1..], quote));
    }
    let end = |char: char| char.is_whitespace() || "&;,'\"`)]}".contains(char);
    let length = rest.find(end).unwrap_or(rest.len());
    (from, from + length)
}

/// The length of a literal's inside; a quote that stands twice does not end it.
fn quoted(inside: &str, quote: char) -> usize {
    let mut chars = inside.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        if char == '\\' {
            chars.next();
        } else if char == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at;
        }
    }
    inside.len()
}

/// Lines of a server's log without the values of rows and of literals: what a statement was is
/// readable, what it was about is not.
#[cfg(feature = "postgres")]
pub(crate) fn server_log(text: &str) -> String {
    let mut in_statement = false;
    let mut lines = Vec::new();
    for line in credentials(text).lines() {
        // A message of several lines goes on after a tab.
        if !line.starts_with('\t') {
            in_statement = ["STATEMENT:  ", "QUERY:  ", "statement: ", "CONTEXT:  "]
                .iter()
                .any(|mark| line.contains(mark));
        }
        lines.push(match (in_statement, line.find("DETAIL:  ")) {
            (true, _) => without_literals(line),
            (false, Some(at)) => {
                let (before, detail) = line.split_at(at);
                format!("{before}{}", without_values(detail))
            }
            (false, None) => line.to_owned(),
        });
    }
    lines.join("\n")
}

/// `'…'` as `'***'`, and the value of `COPY t, line 1, column c: "…"`.
#[cfg(feature = "postgres")]
fn without_literals(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(['\'', '"']) {
        let quote = if rest[at..].starts_with('"') {
            '"'
        } else {
            '\''
        };
        let inside = &rest[at + 1..];
        // Names stand in double quotes, too, but not after a colon.
        let is_value = quote == '\'' || rest[..at].ends_with(": ");
        let length = quoted(inside, quote);
        out.push_str(&rest[..=at]);
        out.push_str(if is_value { GONE } else { &inside[..length] });
        rest = inside.get(length + 1..).unwrap_or_default();
        if length < inside.len() {
            out.push(quote);
        }
    }
    out.push_str(rest);
    out
}

/// `Key (a, b)=(…)`, `Failing row contains (…)` and `parameters: $1 = '…'` without their values.
#[cfg(feature = "postgres")]
fn without_values(detail: &str) -> String {
    for mark in [")=(", "row contains ("] {
        if let Some(at) = detail.find(mark) {
            let from = at + mark.len();
            // A value may hold a parenthesis: the last one closes.
            let to = detail.rfind(')').filter(|to| *to >= from);
            let to = to.unwrap_or(detail.len());
            return format!("{}{GONE}{}", &detail[..from], &detail[to..]);
        }
    }
    without_literals(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_where_passwords_stand_is_taken_out() {
        for (text, expected) in [
            (
                "postgres://a:b@c/d and postgres://a:x%40@c",
                "postgres://a:***@c/d and postgres://a:***@c",
            ),
            (
                "at http://127.0.0.1:8080/x@y:z",
                "at http://127.0.0.1:8080/x@y:z",
            ),
            (
                "create role a login password 'x''y' valid",
                "create role a login password '***' valid",
            ),
            (
                "ALTER ROLE a PASSWORD\n  E'x\\'y'",
                "ALTER ROLE a PASSWORD\n  E'***'",
            ),
            (
                "create role a password $$x$$;",
                "create role a password $$***$$;",
            ),
            ("password 'open", "password '***"),
            (
                "connection 'host=h password=abc user=u'",
                "connection 'host=h password=*** user=u'",
            ),
            ("PGPASSWORD=abc psql", "PGPASSWORD=*** psql"),
            (
                r#"{"db_password": "a b", "x": 1}"#,
                r#"{"db_password": "***", "x": 1}"#,
            ),
            ("options (password 'abc')", "options (password '***')"),
            (
                "write it as `postgres://user:password@host/db`",
                "write it as `postgres://user:password@host/db`",
            ),
            (
                "the password of `shop` is wrong",
                "the password of `shop` is wrong",
            ),
            ("password 'ü", "password '***"),
            (
                "needs the variable `TOKEN`, which is not set",
                "needs the variable `TOKEN`, which is not set",
            ),
        ] {
            assert_eq!(credentials(text), expected);
            assert_eq!(credentials(expected), expected, "twice");
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_servers_log_shows_no_values() {
        let log = "LOG:  ready\n\
            ERROR:  duplicate key value violates unique constraint \"t_pkey\"\n\
            DETAIL:  Key (email, \"a b\")=(canary, x) already exists.\n\
            DETAIL:  Failing row contains (1, canary (x), null).\n\
            STATEMENT:  insert into \"T\" values ('canary',\n\t'canary', 7)\n\
            CONTEXT:  COPY t, line 1, column c: \"canary\"\n\
            DETAIL:  parameters: $1 = 'canary', $2 = '1'\n\
            LOG:  done";
        assert_eq!(
            server_log(log),
            "LOG:  ready\n\
            ERROR:  duplicate key value violates unique constraint \"t_pkey\"\n\
            DETAIL:  Key (email, \"a b\")=(***) already exists.\n\
            DETAIL:  Failing row contains (***).\n\
            STATEMENT:  insert into \"T\" values ('***',\n\t'***', 7)\n\
            CONTEXT:  COPY t, line 1, column c: \"***\"\n\
            DETAIL:  parameters: $1 = '***', $2 = '***'\n\
            LOG:  done"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(password|token|://|[ ='\"@:a-z$\\\\ü\n\t(),]|DETAIL:  |\\)=\\(){0,30}") {
            let without = credentials(&text).into_owned();
            proptest::prop_assert_eq!(credentials(&without), without.as_str());
            #[cfg(feature = "postgres")]
            server_log(&text);
        }
    }
}
