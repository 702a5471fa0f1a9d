//! Statements of others, as a message may show them: what they do, without the values in them.

use super::lex::{TokenKind, lex};

/// A statement on one line, of at most `limit` characters, without comments and with `?` in place
/// of every value: strings, dollar-quoted bodies and numbers. Names stay, in their quotes.
///
/// Without the semicolon at its end. The text may end anywhere, as the server keeps only the beginning of a long statement.
pub(crate) fn without_values(sql: &str, limit: usize) -> String {
    let mut shown = String::new();
    for token in lex(sql) {
        let text = &sql[token.start..token.end];
        match token.kind {
            TokenKind::Space | TokenKind::Comment | TokenKind::Unterminated("comment") => {
                if !shown.is_empty() && !shown.ends_with(' ') {
                    shown.push(' ');
                }
            }
            TokenKind::Word if !text.starts_with(|c: char| c.is_ascii_digit()) => {
                shown.push_str(text);
            }
            TokenKind::Quoted if text.starts_with('"') => shown.push_str(text),
            TokenKind::Symbol(_) => shown.push_str(text),
            // A number with a fraction is three tokens.
            TokenKind::Word if shown.ends_with("?.") => drop(shown.pop()),
            _ => shown.push('?'),
        }
        // Without `standard_conforming_strings` the string goes on behind such an end, and what
        // follows may be its value. What begins with a backslash belongs to psql, or to such a
        // string.
        if text.ends_with("\\'") || token.kind == TokenKind::Meta {
            shown.push_str(" ..");
            break;
        }
    }
    let shown = shown.trim_end_matches([' ', ';']);
    match shown.char_indices().nth(limit) {
        Some((end, _)) => format!("{} ..", shown[..end].trim_end()),
        None => shown.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_left_out_and_names_stay() {
        for (sql, shown) in [
            ("select 1;", "select ?"),
            (
                "SELECT  name,\n\tage2 from \"My Table\" -- of bob\nwhere id = 17",
                "SELECT name, age2 from \"My Table\" where id = ?",
            ),
            (
                "update t set a = 'it''s', b = E'x\\'y', c = 1.50 where d=$1",
                "update t set a = ?, b = ?, c = ? where d=$?",
            ),
            ("do $x$ begin raise 'secret'; end $x$", "do ?"),
            // Cut by the server.
            ("select 'hunter", "select ?"),
            ("select $$hunter", "select ?"),
            ("select 1 /* hunter", "select ?"),
            ("select \"hunter", "select ?"),
            // With other rules for strings.
            (r"select 'a\'hunter' from t", "select ? .."),
            ("", ""),
        ] {
            assert_eq!(without_values(sql, 200), shown, "{sql}");
        }
    }

    #[test]
    fn a_long_statement_is_cut_between_characters() {
        assert_eq!(without_values("select größe from t", 10), "select grö ..");
        assert_eq!(without_values("select a", 8), "select a");
    }
}
