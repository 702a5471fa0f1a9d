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
                    .into_iter()
                    .find(|token| token.kind == TokenKind::Meta)
                    .map_or(self.text, |token| &self.text[token.start..token.end]);
                let name = command.split_whitespace().next().unwrap_or(command);
                Some(format!(
                    "`{name}` is a command of psql, not SQL (remove it)"
                ))
            }
            StatementKind::Unterminated => {
                let what = lex(self.text)
                    .into_iter()
                    .find_map(|token| match token.kind {
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
struct Current {
    /// Byte offset of the first token that counts.
    first: Option<usize>,
    /// Upper-case words so far, outside of parentheses; the first few and the last two are enough.
    head: Vec<String>,
    last: [String; 2],
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
    current: Current,
}

impl Cutter<'_> {
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
                self.word(self.sql[token.start..token.end].to_ascii_uppercase());
            }
            TokenKind::Quoted => {
                self.current.first.get_or_insert(token.start);
                self.current.last = Default::default();
            }
            TokenKind::Unterminated(_) => {
                self.current.first.get_or_insert(token.start);
                self.current.unterminated = true;
            }
        }
        token.end
    }

    fn word(&mut self, word: String) {
        let current = &mut self.current;
        if current.head.len() < 4 {
            current.head.push(word.clone());
        }
        if current.blocks > 0 {
            match word.as_str() {
                "CASE" => current.blocks += 1,
                "END" => current.blocks -= 1,
                _ => {}
            }
        } else if word == "ATOMIC" && current.last[1] == "BEGIN" && current.makes_routine() {
            current.blocks = 1;
        }
        if current.parentheses == 0
            && word == "STDIN"
            && current.last[1] == "FROM"
            && current.head.first().is_some_and(|first| first == "COPY")
        {
            current.from_stdin = true;
        }
        current.last.swap(0, 1);
        current.last[1] = word;
    }

    /// Ends a statement; behind `COPY .. FROM STDIN` come its rows, up to a line with `\.`.
    fn semicolon(&mut self, end: usize) -> usize {
        if !self.current.from_stdin {
            self.cut(end, StatementKind::Sql);
            return end;
        }
        let rows = self.sql[end..]
            .find('\n')
            .map_or(self.sql.len(), |line| end + line + 1);
        let mut stop = rows;
        for line in self.sql[rows..].split_inclusive('\n') {
            stop += line.len();
            if line.trim_end() == "\\." {
                self.cut(stop, StatementKind::CopyFromStdin);
                return stop;
            }
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
            line: line_at(self.sql, first),
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

impl Current {
    fn makes_routine(&self) -> bool {
        self.head.first().is_some_and(|first| first == "CREATE")
            && self
                .head
                .iter()
                .any(|word| word == "FUNCTION" || word == "PROCEDURE")
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
///
/// ```
/// assert_eq!(upgrade_core::postgres::sql::line_of("select 1;\nselect x;", 18), 2);
/// ```
pub fn line_of(sql: &str, position: usize) -> usize {
    1 + sql
        .chars()
        .take(position.saturating_sub(1))
        .filter(|c| *c == '\n')
        .count()
}

/// The first word of a statement behind comments, in upper case.
pub fn first_keyword(sql: &str) -> Option<String> {
    lex(sql)
        .into_iter()
        .find(|token| !token.is_blank() && token.kind != TokenKind::Symbol('('))
        .filter(|token| token.kind == TokenKind::Word)
        .map(|token| sql[token.start..token.end].to_ascii_uppercase())
}

/// The first words of a statement, in upper case, without comments and whatever is quoted.
pub(crate) fn keywords(sql: &str, count: usize) -> Vec<String> {
    lex(sql)
        .into_iter()
        .filter(|token| token.kind == TokenKind::Word)
        .take(count)
        .map(|token| sql[token.start..token.end].to_ascii_uppercase())
        .collect()
}

/// Whether a script does nothing: white space, comments, semicolons and selects of a constant
/// (`select 1`), which stand where a tool demands a file.
pub fn is_empty_script(sql: &str) -> bool {
    split(sql).iter().all(|statement| {
        let mut words = lex(statement.text)
            .into_iter()
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
pub enum Placeholder {
    /// `:name`, a variable of psql. It is never SQL, so it can be looked for in any script.
    Psql,
    /// `{{ .Name }}`, a template. An array literal may look the same.
    Template,
    /// `${name}`, a property.
    Property,
}

/// The first placeholder of the given styles in a script, with its line.
pub fn first_placeholder(sql: &str, styles: &[Placeholder]) -> Option<(String, usize)> {
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
    let tokens = lex(sql);
    // `a[1:n]` is a slice and `a::text` a cast.
    let mut brackets = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::Symbol('[') => brackets += 1,
            TokenKind::Symbol(']') => brackets = brackets.saturating_sub(1),
            TokenKind::Symbol(':') if brackets == 0 => {
                let before = at.checked_sub(1).map(|before| tokens[before].kind);
                let name = tokens
                    .get(at + 1)
                    .filter(|next| next.kind == TokenKind::Word || next.kind == TokenKind::Quoted);
                if let (true, Some(name)) = (before != Some(TokenKind::Symbol(':')), name) {
                    return Some((sql[token.start..name.end].to_owned(), token.start));
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
