//! SQL as text: quoting names and values, cutting scripts into statements.

mod lex;
mod shown;
mod split;

pub(crate) use shown::without_values;
pub(crate) use split::{
    Placeholder, builds_concurrently, first_placeholder, is_empty_script, keywords, line_of,
    mentions, same_statements, statement_words, words,
};
pub use split::{Statement, StatementKind, split};

/// Quotes an identifier for use in a statement; always in double quotes.
///
/// ```
/// assert_eq!(upgrade_core::postgres::sql::quote_ident(r#"my "table""#), r#""my ""table""""#);
/// ```
pub fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a string literal; backslashes are kept under any `standard_conforming_strings`.
///
/// ```
/// assert_eq!(upgrade_core::postgres::sql::quote_literal("it's"), "'it''s'");
/// assert_eq!(upgrade_core::postgres::sql::quote_literal(r"a\b"), r"E'a\\b'");
/// ```
pub fn quote_literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}
