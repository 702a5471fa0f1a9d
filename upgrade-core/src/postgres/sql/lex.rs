//! Cuts SQL text into tokens, by the rules of Postgres' own scanner with
//! `standard_conforming_strings` on. Total: any text lexes, and the tokens cover it without gaps.

use super::split::work;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    Space,
    Comment,
    /// A keyword or an unquoted name.
    Word,
    /// A string, a dollar-quoted body or a quoted name.
    Quoted,
    /// A psql command: from a backslash to the end of its line.
    Meta,
    /// Any other single character.
    Symbol(char),
    /// A comment or a quoted thing without its end; it runs to the end of the text.
    Unterminated(&'static str),
}

/// A piece of the text, by byte range.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Token {
    /// Whether the token is white space or a complete comment.
    pub(super) fn is_blank(&self) -> bool {
        matches!(self.kind, TokenKind::Space | TokenKind::Comment)
    }
}

/// The tokens of a text, cut one by one as they are asked for.
pub(super) fn lex(sql: &str) -> impl Iterator<Item = Token> + '_ {
    let mut end = 0;
    std::iter::from_fn(move || {
        let token = token_at(sql, end)?;
        end = token.end;
        Some(token)
    })
}

/// The token that begins at a byte offset; none at the end of the text.
pub(super) fn token_at(sql: &str, start: usize) -> Option<Token> {
    let rest = &sql[start..];
    let (kind, length) = next(rest, rest.chars().next()?);
    work::add(length);
    Some(Token {
        kind,
        start,
        end: start + length,
    })
}

fn next(rest: &str, first: char) -> (TokenKind, usize) {
    let bytes = rest.as_bytes();
    match first {
        c if c.is_ascii_whitespace() || c == '\u{feff}' => (
            TokenKind::Space,
            run(rest, |c| c.is_ascii_whitespace() || c == '\u{feff}'),
        ),
        '-' if bytes.get(1) == Some(&b'-') => {
            (TokenKind::Comment, rest.find('\n').unwrap_or(rest.len()))
        }
        '/' if bytes.get(1) == Some(&b'*') => block_comment(bytes),
        '\'' => quoted(bytes, 1, b'\'', false, "string"),
        '"' => quoted(bytes, 1, b'"', false, "quoted name"),
        '$' => dollar(rest).unwrap_or((TokenKind::Symbol('$'), 1)),
        '\\' => (TokenKind::Meta, rest.find('\n').unwrap_or(rest.len())),
        c if is_word_start(c) => {
            if (c == 'e' || c == 'E') && bytes.get(1) == Some(&b'\'') {
                return escape_string(bytes);
            }
            (
                TokenKind::Word,
                run(rest, |c| is_word_start(c) || c.is_ascii_digit() || c == '$'),
            )
        }
        // A number swallows its letters, so that `1e'` or `0x1F` never looks like a string prefix.
        c if c.is_ascii_digit() => (
            TokenKind::Word,
            run(rest, |c| c.is_ascii_alphanumeric() || c == '_'),
        ),
        c => (TokenKind::Symbol(c), c.len_utf8()),
    }
}

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || (!c.is_ascii() && c != '\u{feff}')
}

fn run(rest: &str, belongs: impl Fn(char) -> bool) -> usize {
    rest.find(|c| !belongs(c)).unwrap_or(rest.len())
}

/// Block comments nest in Postgres.
fn block_comment(bytes: &[u8]) -> (TokenKind, usize) {
    let (mut depth, mut at) = (0usize, 0);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return (TokenKind::Comment, at);
                }
            }
            _ => at += 1,
        }
    }
    (TokenKind::Unterminated("comment"), bytes.len())
}

/// Scans from behind an opening quote to behind the closing one; a doubled quote stands for itself.
fn quoted(
    bytes: &[u8],
    from: usize,
    quote: u8,
    backslash: bool,
    what: &'static str,
) -> (TokenKind, usize) {
    let mut at = from;
    while at < bytes.len() {
        if backslash && bytes[at] == b'\\' {
            at += 2;
        } else if bytes[at] == quote {
            if bytes.get(at + 1) != Some(&quote) {
                return (TokenKind::Quoted, at + 1);
            }
            at += 2;
        } else {
            at += 1;
        }
    }
    (TokenKind::Unterminated(what), bytes.len())
}

/// `E'..'`, with the parts that follow on later lines: they keep the backslash rules of the first.
fn escape_string(bytes: &[u8]) -> (TokenKind, usize) {
    let (mut kind, mut end) = quoted(bytes, 2, b'\'', true, "string");
    while kind == TokenKind::Quoted {
        let spaces = bytes[end..]
            .iter()
            .take_while(|b| b.is_ascii_whitespace())
            .count();
        work::add(spaces);
        let next_part = end + spaces;
        if !bytes[end..next_part].contains(&b'\n') || bytes.get(next_part) != Some(&b'\'') {
            break;
        }
        (kind, end) = quoted(bytes, next_part + 1, b'\'', true, "string");
    }
    (kind, end)
}

fn dollar(rest: &str) -> Option<(TokenKind, usize)> {
    let tag_length = run(&rest[1..], |c| is_word_start(c) || c.is_ascii_digit());
    work::add(tag_length);
    if !rest[1 + tag_length..].starts_with('$')
        || rest[1..].starts_with(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    let open = &rest[..tag_length + 2];
    Some(match rest[open.len()..].find(open) {
        Some(body) => (TokenKind::Quoted, open.len() + body + open.len()),
        None => (TokenKind::Unterminated("dollar-quoted body"), rest.len()),
    })
}
