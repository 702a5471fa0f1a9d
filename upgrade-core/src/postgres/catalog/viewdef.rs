//! Makes the view definitions of older servers read as those of newer ones.
//!
//! Up to 15 the server writes `SELECT orders.id FROM orders`, from 16 on `SELECT id FROM orders`,
//! whenever the outermost query reads from one thing only. The same view must not differ between
//! the two, so what an older server says is brought to the newer form.

/// A view definition without the qualifiers that a newer server leaves out. Any definition whose
/// outermost query reads from several things, or combines queries, comes back as it is.
pub(super) fn without_needless_qualifiers(definition: &str) -> String {
    let tokens = tokens(definition);
    let Some((from, alias)) = single_source(&tokens) else {
        return definition.to_owned();
    };
    let mut text = String::with_capacity(definition.len());
    let mut skip = 0;
    for (index, token) in tokens.iter().enumerate() {
        if skip > 0 {
            skip -= 1;
        } else if !from.contains(&index) && is_needless(&tokens, index, alias) {
            skip = 1;
        } else {
            text.push_str(token.text);
        }
    }
    text
}

/// A piece of the definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token<'a> {
    text: &'a str,
    kind: Kind,
    /// How many parentheses are open around it; its own do not count.
    depth: usize,
    /// Whether it is part of a query inside the outermost one.
    nested: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    Name,
    Text,
    Other,
}

/// Cuts a definition, all of whose characters come back in the tokens. What the server writes
/// holds no comments and no dollar quotes, and a backslash or a quote inside quotes is doubled.
fn tokens(definition: &str) -> Vec<Token<'_>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let mut open: Vec<bool> = Vec::new();
    let mut rest = definition;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let (kind, length) = match first {
            '"' => (Kind::Name, quoted(rest, '"')),
            '\'' => (Kind::Text, quoted(rest, '\'')),
            c if c.is_whitespace() => (
                Kind::Space,
                rest.find(|c: char| !c.is_whitespace())
                    .unwrap_or(rest.len()),
            ),
            c if c.is_ascii_digit() => (Kind::Text, rest.find(|c| !word(c)).unwrap_or(rest.len())),
            c if word(c) => (Kind::Name, rest.find(|c| !word(c)).unwrap_or(rest.len())),
            c => (Kind::Other, c.len_utf8()),
        };
        let (text, after) = rest.split_at(length);
        if text == ")" {
            open.pop();
        }
        let nested = open.last().copied().unwrap_or(false);
        tokens.push(Token {
            text,
            kind,
            depth: open.len(),
            nested,
        });
        if text == "(" {
            let next = after.trim_start();
            let query = ["SELECT", "WITH", "VALUES"]
                .iter()
                .any(|word| next.starts_with(word));
            open.push(nested || query);
        }
        rest = after;
    }
    tokens
}

/// The length of what begins with a quote, up to the quote that ends it.
fn quoted(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return at + c.len_utf8();
        }
    }
    text.len()
}

/// Where the `FROM` clause of the outermost query stands and the name by which the query calls
/// what it reads from, if that is one thing.
fn single_source<'a>(tokens: &[Token<'a>]) -> Option<(std::ops::Range<usize>, &'a str)> {
    let outer = |token: &Token<'_>, words: &[&str]| token.depth == 0 && words.contains(&token.text);
    if tokens
        .iter()
        .any(|token| outer(token, &["UNION", "INTERSECT", "EXCEPT"]))
    {
        return None;
    }
    let from = tokens.iter().position(|token| outer(token, &["FROM"]))?;
    let ends = [
        "WHERE", "GROUP", "HAVING", "WINDOW", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR", ";",
    ];
    let end = from
        + tokens[from..]
            .iter()
            .position(|token| outer(token, &ends))
            .unwrap_or(tokens.len() - from);
    let clause = &tokens[from + 1..end];
    if clause.iter().any(|token| outer(token, &[",", "JOIN"])) {
        return None;
    }
    let sample = clause
        .iter()
        .position(|token| outer(token, &["TABLESAMPLE"]));
    let source: Vec<&Token<'_>> = clause[..sample.unwrap_or(clause.len())]
        .iter()
        .filter(|token| token.kind != Kind::Space)
        .collect();
    // A parenthesis that is no query encloses joins.
    let first = source.first()?;
    if first.text == "(" && !source.get(1)?.nested {
        return None;
    }
    let alias = source
        .iter()
        .rev()
        .find(|token| token.depth == 0 && token.kind == Kind::Name)?;
    Some((from..end, alias.text))
}

/// Whether the token at `index` is the alias in `alias.column`.
fn is_needless(tokens: &[Token<'_>], index: usize, alias: &str) -> bool {
    let token = tokens[index];
    let at = |offset: usize| tokens.get(index + offset);
    let before = tokens[..index]
        .iter()
        .rev()
        .find(|token| token.kind != Kind::Space);
    token.text == alias
        && token.kind == Kind::Name
        && !token.nested
        && at(1).is_some_and(|dot| dot.text == ".")
        && at(2).is_some_and(|column| column.kind == Kind::Name)
        && at(3).is_none_or(|next| next.text != "(")
        && before.is_none_or(|before| !matches!(before.text, "." | ":" | "COLLATE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(older: &str, newer: &str) {
        assert_eq!(without_needless_qualifiers(older), newer);
    }

    #[test]
    fn one_source_needs_no_qualifiers() {
        check(
            " SELECT orders.id,\n    orders.total\n   FROM public.orders;",
            " SELECT id,\n    total\n   FROM public.orders;",
        );
        check(
            r#" SELECT "T x"."A" FROM public."T x" WHERE ("T x"."A" > 1);"#,
            r#" SELECT "A" FROM public."T x" WHERE ("A" > 1);"#,
        );
        check(
            " SELECT o.id FROM public.orders o(id);",
            " SELECT id FROM public.orders o(id);",
        );
        check(
            " SELECT g.n FROM generate_series(1, 2) g(n);",
            " SELECT n FROM generate_series(1, 2) g(n);",
        );
        check(
            " SELECT s.a FROM ( SELECT t.a FROM t) s;",
            " SELECT a FROM ( SELECT t.a FROM t) s;",
        );
        check(
            " WITH w AS ( SELECT t.a FROM t) SELECT w.a FROM w;",
            " WITH w AS ( SELECT t.a FROM t) SELECT a FROM w;",
        );
    }

    #[test]
    fn a_query_inside_keeps_its_own() {
        check(
            " SELECT t.a FROM t WHERE (EXISTS ( SELECT 1 FROM u WHERE (u.a = t.a)));",
            " SELECT a FROM t WHERE (EXISTS ( SELECT 1 FROM u WHERE (u.a = t.a)));",
        );
    }

    #[test]
    fn what_only_looks_like_a_qualifier_stays() {
        check(
            " SELECT (s.a)::s.mood, s.f(s.a), s.*, 's.a' FROM s.s;",
            " SELECT (a)::s.mood, s.f(a), s.*, 's.a' FROM s.s;",
        );
    }

    #[test]
    fn several_sources_stay_as_they_are() {
        for text in [
            " SELECT t.a FROM t, u;",
            " SELECT t.a FROM (t JOIN u ON ((t.a = u.a)));",
            " SELECT t.a FROM t UNION SELECT u.a FROM u;",
            " SELECT 1 AS one;",
        ] {
            check(text, text);
        }
    }
}
