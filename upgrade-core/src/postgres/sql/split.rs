//! Cuts a script into statements, so that each can be run, timed and blamed by its line.

use super::lex::{Token, TokenKind, lex, token_at};

/// What kind of thing a [`Statement`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatementKind {
    /// Plain SQL, which can be sent to a server.
    Sql,
    /// `COPY .. FROM STDIN`, with its rows if they stand in the script. Only psql can run it.
    CopyFromStdin,
    /// A command of psql, such as `\connect`. A server does not know it.
    MetaCommand,
    /// A string, quoted name, body or comment that has no end.
    Unterminated,
}

/// One statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statement<'a> {
    /// The statement with its semicolon and the comments before it, without outer white space.
    pub text: &'a str,
    /// The line of the script, from 1, on which its first word stands.
    pub line: usize,
    /// Where `text` begins in the script, in bytes.
    pub offset: usize,
    /// Whether it is SQL at all.
    pub kind: StatementKind,
}

impl Statement<'_> {
    /// Behind which byte of the text nothing comes but comments and semicolons.
    pub(crate) fn content_end(&self) -> usize {
        lex(self.text)
            .filter(|token| !token.is_blank() && token.kind != TokenKind::Symbol(';'))
            .last()
            .map_or(0, |token| token.end)
    }

    /// Why a server cannot run this statement, if it cannot.
    pub fn unsupported(&self) -> Option<String> {
        match self.kind {
            StatementKind::Sql => None,
            StatementKind::CopyFromStdin => Some(
                "`COPY .. FROM STDIN` needs psql to send the rows (write them as INSERT)"
                    .to_owned(),
            ),
            StatementKind::MetaCommand => {
                let command = lex(self.text)
                    .find(|token| token.kind == TokenKind::Meta)
                    .map_or(self.text, |token| &self.text[token.start..token.end]);
                let name = command.split_whitespace().next().unwrap_or(command);
                Some(format!(
                    "`{name}` is a command of psql, not SQL (remove it)"
                ))
            }
            StatementKind::Unterminated => {
                let what = lex(self.text).find_map(|token| match token.kind {
                    TokenKind::Unterminated(what) => Some(what),
                    _ => None,
                });
                Some(format!("a {} is never closed", what.unwrap_or("quote")))
            }
        }
    }
}

/// Cuts a script into its statements.
///
/// Semicolons inside of quotes, comments, parentheses and `BEGIN ATOMIC` bodies do not cut. No
/// text is lost: comments stand with the statement behind them, those at the end with the last
/// statement. Only a script without any statement gives an empty list.
///
/// ```
/// use upgrade_core::postgres::sql::split;
/// let statements = split("create table t (a text default ';');\n-- why\ncreate index on t (a)");
/// assert_eq!(statements.len(), 2);
/// assert_eq!((statements[1].line, statements[1].text), (3, "-- why\ncreate index on t (a)"));
/// ```
pub fn split(sql: &str) -> Vec<Statement<'_>> {
    let mut cut = Cutter {
        sql,
        statements: Vec::new(),
        start: 0,
        current: Current::default(),
        lines: Lines::default(),
        rows_end: true,
    };
    let mut at = 0;
    while let Some(token) = token_at(sql, at) {
        at = cut.step(token);
    }
    cut.end(sql.len());
    cut.statements
}

/// State of the statement that is being read.
#[derive(Default)]
struct Current<'a> {
    /// Byte offset of the first token that counts.
    first: Option<usize>,
    /// The first words, in any case.
    head: Vec<&'a str>,
    /// The last word, unless something in quotes came after it.
    last: &'a str,
    parentheses: usize,
    /// Open `BEGIN ATOMIC` and `CASE` blocks.
    blocks: usize,
    from_stdin: bool,
    unterminated: bool,
}

struct Cutter<'a> {
    sql: &'a str,
    statements: Vec<Statement<'a>>,
    start: usize,
    current: Current<'a>,
    lines: Lines,
    /// Whether a line with `\.` may still come, where the rows of a `COPY` end.
    rows_end: bool,
}

/// Counts lines up to offsets that only grow, so that no byte is read twice.
#[derive(Default)]
struct Lines {
    offset: usize,
    before: usize,
}

impl Lines {
    /// The line of an offset, from 1.
    fn at(&mut self, sql: &str, offset: usize) -> usize {
        let between = &sql.as_bytes()[self.offset..offset];
        work::add(between.len());
        self.before += between.iter().filter(|byte| **byte == b'\n').count();
        self.offset = offset;
        1 + self.before
    }
}

impl<'a> Cutter<'a> {
    /// Takes one token in; returns where the next one begins.
    fn step(&mut self, token: Token) -> usize {
        match token.kind {
            TokenKind::Space | TokenKind::Comment => {}
            TokenKind::Meta => {
                self.current.first.get_or_insert(token.start);
                self.cut(token.end, StatementKind::MetaCommand);
            }
            TokenKind::Symbol(';') if self.current.parentheses == 0 && self.current.blocks == 0 => {
                // A lone semicolon joins its neighbour, so that every statement does something.
                if self.current.first.is_some() {
                    return self.semicolon(token.end);
                }
            }
            TokenKind::Symbol(symbol) => {
                self.current.first.get_or_insert(token.start);
                match symbol {
                    '(' => self.current.parentheses += 1,
                    ')' => self.current.parentheses = self.current.parentheses.saturating_sub(1),
                    _ => {}
                }
            }
            TokenKind::Word => {
                self.current.first.get_or_insert(token.start);
                self.word(&self.sql[token.start..token.end]);
            }
            TokenKind::Quoted => {
                self.current.first.get_or_insert(token.start);
                self.current.last = "";
            }
            TokenKind::Unterminated(_) => {
                self.current.first.get_or_insert(token.start);
                self.current.unterminated = true;
            }
        }
        token.end
    }

    fn word(&mut self, word: &'a str) {
        let is = |other: &str| word.eq_ignore_ascii_case(other);
        let current = &mut self.current;
        if current.head.len() < 4 {
            current.head.push(word);
        }
        if current.blocks > 0 {
            if is("CASE") {
                current.blocks += 1;
            } else if is("END") {
                current.blocks -= 1;
            }
        } else if is("ATOMIC")
            && current.last.eq_ignore_ascii_case("BEGIN")
            && current.makes_routine()
        {
            current.blocks = 1;
        }
        if current.parentheses == 0
            && is("STDIN")
            && current.last.eq_ignore_ascii_case("FROM")
            && current.begins_with("COPY")
        {
            current.from_stdin = true;
        }
        current.last = word;
    }

    /// Ends a statement; behind `COPY .. FROM STDIN` come its rows, up to a line with `\.`.
    fn semicolon(&mut self, end: usize) -> usize {
        if !self.current.from_stdin {
            self.cut(end, StatementKind::Sql);
            return end;
        }
        if self.rows_end {
            let rows = self.sql[end..]
                .find('\n')
                .map_or(self.sql.len(), |line| end + line + 1);
            let mut stop = rows;
            for line in self.sql[rows..].split_inclusive('\n') {
                work::add(line.len());
                stop += line.len();
                if line.trim_end() == "\\." {
                    self.cut(stop, StatementKind::CopyFromStdin);
                    return stop;
                }
            }
            // What is not found up to the end is not looked for again.
            self.rows_end = false;
        }
        // Without an end mark there are no rows: the statement alone is what cannot run.
        self.cut(end, StatementKind::CopyFromStdin);
        end
    }

    fn cut(&mut self, end: usize, kind: StatementKind) {
        let first = self.current.first.unwrap_or(self.start);
        let kind = if self.current.unterminated {
            StatementKind::Unterminated
        } else {
            kind
        };
        let whole = &self.sql[self.start..end];
        let text = trim(whole);
        let lead = whole.len() - whole.trim_start_matches(blank).len();
        self.statements.push(Statement {
            text,
            line: self.lines.at(self.sql, first),
            offset: self.start + lead,
            kind,
        });
        self.start = end;
        self.current = Current::default();
    }

    /// The end of the script: a last statement without semicolon, or comments to keep.
    fn end(&mut self, end: usize) {
        if self.current.first.is_some() {
            let kind = if self.current.from_stdin {
                StatementKind::CopyFromStdin
            } else {
                StatementKind::Sql
            };
            self.cut(end, kind);
        } else if let Some(last) = self.statements.last_mut() {
            last.text = trim(&self.sql[last.offset..end]);
        }
    }
}

impl Current<'_> {
    fn begins_with(&self, word: &str) -> bool {
        let first = self.head.first();
        first.is_some_and(|first| first.eq_ignore_ascii_case(word))
    }

    fn makes_routine(&self) -> bool {
        let is_routine = |word: &&str| {
            word.eq_ignore_ascii_case("FUNCTION") || word.eq_ignore_ascii_case("PROCEDURE")
        };
        self.begins_with("CREATE") && self.head.iter().any(is_routine)
    }
}

fn blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{feff}'
}

fn trim(text: &str) -> &str {
    text.trim_matches(blank)
}

fn line_at(sql: &str, offset: usize) -> usize {
    1 + sql.as_bytes()[..offset]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

/// The line, from 1, of a position that Postgres reports for a script: a count of characters,
/// from 1. A position behind the end gives the last line.
pub(crate) fn line_of(sql: &str, position: usize) -> usize {
    1 + sql
        .chars()
        .take(position.saturating_sub(1))
        .filter(|c| *c == '\n')
        .count()
}

/// The first words of a statement, in upper case, without comments and whatever is quoted.
pub(crate) fn keywords(sql: &str, count: usize) -> Vec<String> {
    lex(sql)
        .filter(|token| token.kind == TokenKind::Word)
        .take(count)
        .map(|token| sql[token.start..token.end].to_ascii_uppercase())
        .collect()
}

/// Whether a statement of a script builds an index concurrently, so that it waits for the snapshots
/// of other sessions.
pub(crate) fn builds_concurrently(sql: &str) -> bool {
    split(sql).iter().any(|statement| {
        let words = keywords(statement.text, 6);
        let is_build = words
            .first()
            .is_some_and(|first| first == "CREATE" || first == "REINDEX");
        is_build && words.iter().any(|word| word == "CONCURRENTLY")
    })
}

/// The words of a statement, in upper case, with names and strings in their quotes as they stand.
pub(crate) fn words(sql: &str) -> Vec<String> {
    lex(sql)
        .filter_map(|token| {
            let text = &sql[token.start..token.end];
            match token.kind {
                TokenKind::Word => Some(text.to_ascii_uppercase()),
                TokenKind::Quoted => Some(text.to_owned()),
                _ => None,
            }
        })
        .collect()
}

/// The words of each statement of a script: names and keywords in lower case, quoted names as they are,
/// and the words of whatever is in a string or a quoted body.
pub(crate) fn statement_words(sql: &str) -> Vec<Vec<String>> {
    fn add(text: &str, words: &mut Vec<String>) {
        for token in lex(text) {
            let part = &text[token.start..token.end];
            match token.kind {
                TokenKind::Word => words.push(part.to_lowercase()),
                TokenKind::Quoted if part.starts_with('"') => {
                    words.push(part[1..part.len() - 1].replace("\"\"", "\""));
                }
                TokenKind::Quoted => {
                    // `$tag$` on both sides, or a quote behind what may stand before it.
                    let dollars = part.strip_prefix('$');
                    let open = dollars.map_or_else(
                        || part.find('\'').map_or(0, |at| at + 1),
                        |rest| rest.find('$').map_or(0, |at| at + 2),
                    );
                    let end = part.len() - dollars.map_or(1, |_| open);
                    if open <= end {
                        add(&part[open..end], words);
                    }
                }
                _ => {}
            }
        }
    }
    let statements = split(sql).into_iter();
    statements
        .map(|statement| {
            let mut words = Vec::new();
            add(statement.text, &mut words);
            words
        })
        .collect()
}

/// Whether two scripts differ in white space and comments at most.
pub(crate) fn same_statements(one: &str, other: &str) -> bool {
    fn words(sql: &str) -> impl Iterator<Item = &str> {
        lex(sql)
            .filter(|token| !token.is_blank())
            .map(|token| &sql[token.start..token.end])
    }
    words(one).eq(words(other))
}

/// Whether a script names an object outside of its comments: without quotes, or within quotes,
/// where strings and bodies of functions hold statements.
pub(crate) fn mentions(sql: &str, name: &str) -> bool {
    let of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    lex(sql).any(|token| {
        let text = &sql[token.start..token.end];
        match token.kind {
            TokenKind::Word => text.eq_ignore_ascii_case(name),
            TokenKind::Quoted => text.match_indices(name).any(|(at, _)| {
                !text[..at].ends_with(of_name) && !text[at + name.len()..].starts_with(of_name)
            }),
            _ => false,
        }
    })
}

/// Whether a script does nothing: white space, comments, semicolons and selects of a constant
/// (`select 1`), which stand where a tool demands a file.
pub(crate) fn is_empty_script(sql: &str) -> bool {
    split(sql).iter().all(|statement| {
        let mut words = lex(statement.text)
            .filter(|token| !token.is_blank() && token.kind != TokenKind::Symbol(';'));
        let text = |token: Token| statement.text[token.start..token.end].to_ascii_uppercase();
        statement.kind == StatementKind::Sql
            && words.next().map(text).is_none_or(|word| word == "SELECT")
            && words.next().is_none_or(|token| {
                token.kind == TokenKind::Quoted
                    || matches!(text(token).as_str(), "NULL" | "TRUE" | "FALSE")
                    || text(token).bytes().all(|byte| byte.is_ascii_digit())
            })
            && words.next().is_none()
    })
}

/// Who fills a placeholder in before the script reaches a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// `:name`, a variable of psql. It is never SQL, so it can be looked for in any script.
    Psql,
    /// `{{ .Name }}`, a template. An array literal may look the same.
    Template,
    /// `${name}`, a property.
    Property,
}

/// The first placeholder of the given styles in a script, with its line.
pub(crate) fn first_placeholder(sql: &str, styles: &[Placeholder]) -> Option<(String, usize)> {
    let between = |open: &str, close: &str| {
        let start = sql.find(open)?;
        let end = sql[start..].find(close)? + start + close.len();
        Some((sql[start..end].to_owned(), start))
    };
    styles
        .iter()
        .filter_map(|style| match style {
            Placeholder::Psql => psql_variable(sql),
            Placeholder::Template => between("{{", "}}"),
            Placeholder::Property => between("${", "}"),
        })
        .min_by_key(|(_, start)| *start)
        .map(|(text, start)| (text, line_at(sql, start)))
}

fn psql_variable(sql: &str) -> Option<(String, usize)> {
    let mut tokens = lex(sql).peekable();
    // `a[1:n]` is a slice and `a::text` a cast.
    let mut brackets = 0usize;
    let mut before = None;
    while let Some(token) = tokens.next() {
        match token.kind {
            TokenKind::Symbol('[') => brackets += 1,
            TokenKind::Symbol(']') => brackets = brackets.saturating_sub(1),
            TokenKind::Symbol(':') if brackets == 0 && before != Some(TokenKind::Symbol(':')) => {
                let is_name =
                    |next: &&Token| matches!(next.kind, TokenKind::Word | TokenKind::Quoted);
                if let Some(name) = tokens.peek().filter(is_name) {
                    return Some((sql[token.start..name.end].to_owned(), token.start));
                }
            }
            _ => {}
        }
        before = Some(token.kind);
    }
    None
}

/// Counts the bytes that are read, so that a test can tell that a script is read a fixed number of
/// times, whatever is in it. Outside of tests it does nothing.
pub(super) mod work {
    #[cfg(test)]
    thread_local! {
        static BYTES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    #[cfg(test)]
    pub(in crate::postgres::sql) fn add(bytes: usize) {
        BYTES.set(BYTES.get() + bytes);
    }

    #[cfg(not(test))]
    pub(in crate::postgres::sql) fn add(_: usize) {}

    /// What was read since this was called last.
    #[cfg(test)]
    pub(in crate::postgres::sql) fn take() -> usize {
        BYTES.replace(0)
    }
}

#[cfg(test)]
mod tests;
