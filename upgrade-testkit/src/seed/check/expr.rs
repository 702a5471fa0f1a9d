//! A parser for expressions as `pg_get_expr` prints them: fully parenthesised, casts spelled out.
//!
//! Casts are dropped: what matters here is which column is compared with which constant.

/// An expression, as far as the solver cares.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Column(String),
    Text(String),
    Null,
    Now,
    Array(Vec<Self>),
    Call(String, Vec<Self>),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    IsNull(Box<Self>),
    /// `left op right`; the operator as written.
    Binary(String, Box<Self>, Box<Self>),
    /// `left op ANY (right)` or `ALL`.
    Each {
        op: String,
        all: bool,
        left: Box<Self>,
        right: Box<Self>,
    },
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Text(String),
    Number(String),
    Op(String),
    Punct(char),
}

/// Parses a whole expression; nothing if it uses anything unknown.
pub(super) fn parse(text: &str) -> Option<Expr> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
    };
    let expr = parser.or()?;
    (parser.at == parser.tokens.len()).then_some(expr)
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        match c {
            _ if c.is_whitespace() => at += 1,
            'E' if next == Some('\'') => {
                let (value, end) = quoted(&chars, at + 1, '\'', true)?;
                tokens.push(Token::Text(value));
                at = end;
            }
            'B' | 'X' if next == Some('\'') => return None,
            '\'' => {
                let (value, end) = quoted(&chars, at, '\'', false)?;
                tokens.push(Token::Text(value));
                at = end;
            }
            '"' => {
                let (value, end) = quoted(&chars, at, '"', false)?;
                tokens.push(Token::Quoted(value));
                at = end;
            }
            _ if c.is_ascii_digit() || c == '.' && next.is_some_and(|n| n.is_ascii_digit()) => {
                let end = span(&chars, at, |c| c.is_ascii_alphanumeric() || c == '.');
                tokens.push(Token::Number(chars[at..end].iter().collect()));
                at = end;
            }
            _ if c.is_alphabetic() || c == '_' => {
                let end = span(&chars, at, |c| c.is_alphanumeric() || c == '_' || c == '$');
                tokens.push(Token::Word(chars[at..end].iter().collect()));
                at = end;
            }
            '(' | ')' | '[' | ']' | ',' | '.' => {
                tokens.push(Token::Punct(c));
                at += 1;
            }
            ':' if next == Some(':') => {
                tokens.push(Token::Op("::".to_owned()));
                at += 2;
            }
            _ => {
                let end = span(&chars, at, |c| "+-*/<>=~!@#%^&|`?".contains(c));
                if end == at {
                    return None;
                }
                tokens.push(Token::Op(chars[at..end].iter().collect()));
                at = end;
            }
        }
    }
    Some(tokens)
}

fn span(chars: &[char], start: usize, belongs: impl Fn(char) -> bool) -> usize {
    start + chars[start..].iter().take_while(|c| belongs(**c)).count()
}

/// The text between the quote at `start` and its end, and where to go on.
fn quoted(chars: &[char], start: usize, quote: char, escapes: bool) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut at = start + 1;
    loop {
        let c = *chars.get(at)?;
        if c == quote {
            if chars.get(at + 1) != Some(&quote) {
                return Some((value, at + 1));
            }
            at += 1;
        } else if c == '\\' && escapes {
            at += 1;
            // `pg_get_expr` escapes nothing but the backslash itself.
            if *chars.get(at)? != '\\' {
                return None;
            }
        }
        value.push(*chars.get(at)?);
        at += 1;
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(w)) if w.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn punct(&mut self, c: char) -> bool {
        let found = self.peek() == Some(&Token::Punct(c));
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Option<Expr> {
        let mut parts = vec![self.and()?];
        while self.word("or") {
            parts.push(self.and()?);
        }
        if parts.len() == 1 {
            parts.pop()
        } else {
            Some(Expr::Or(parts))
        }
    }

    fn and(&mut self) -> Option<Expr> {
        let mut parts = vec![self.not()?];
        while self.word("and") {
            parts.push(self.not()?);
        }
        if parts.len() == 1 {
            parts.pop()
        } else {
            Some(Expr::And(parts))
        }
    }

    fn not(&mut self) -> Option<Expr> {
        if self.word("not") {
            return Some(Expr::Not(Box::new(self.not()?)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Option<Expr> {
        let mut left = self.postfix()?;
        loop {
            if self.word("is") {
                let not = self.word("not");
                let test = if self.word("null") {
                    Expr::IsNull(Box::new(left))
                } else if self.word("true") {
                    left
                } else if self.word("false") {
                    Expr::Not(Box::new(left))
                } else {
                    return None;
                };
                left = if not { Expr::Not(Box::new(test)) } else { test };
                continue;
            }
            let Some(Token::Op(op)) = self.peek().cloned() else {
                return Some(left);
            };
            self.at += 1;
            let all = self.word("all");
            if all || self.word("any") {
                let right = self.postfix()?;
                left = Expr::Each {
                    op,
                    all,
                    left: Box::new(left),
                    right: Box::new(right),
                };
            } else {
                let right = self.postfix()?;
                left = Expr::Binary(op, Box::new(left), Box::new(right));
            }
        }
    }

    /// A primary, its casts and collations.
    fn postfix(&mut self) -> Option<Expr> {
        let expr = self.primary()?;
        loop {
            if self.peek() == Some(&Token::Op("::".to_owned())) {
                self.at += 1;
                self.type_name()?;
            } else if self.word("collate") {
                self.name()?;
            } else {
                return Some(expr);
            }
        }
    }

    fn primary(&mut self) -> Option<Expr> {
        if self.punct('(') {
            let inner = self.or()?;
            return self.punct(')').then_some(inner);
        }
        let token = self.peek()?.clone();
        self.at += 1;
        match token {
            Token::Text(text) | Token::Number(text) => Some(Expr::Text(text)),
            Token::Op(op) if op == "-" => match self.primary()? {
                Expr::Text(text) => Some(Expr::Text(format!("-{text}"))),
                _ => None,
            },
            Token::Quoted(name) => self.named(name),
            Token::Word(word) => match word.to_ascii_lowercase().as_str() {
                "true" => Some(Expr::Text("t".to_owned())),
                "false" => Some(Expr::Text("f".to_owned())),
                "null" => Some(Expr::Null),
                "current_date" | "current_timestamp" | "localtimestamp" => Some(Expr::Now),
                "array" => {
                    if !self.punct('[') {
                        return None;
                    }
                    Some(Expr::Array(self.list(']')?))
                }
                "case" | "row" | "select" | "exists" | "extract" => None,
                _ => self.named(word),
            },
            Token::Op(_) | Token::Punct(_) => None,
        }
    }

    /// A column, or the call of a possibly qualified function.
    fn named(&mut self, first: String) -> Option<Expr> {
        let mut name = first;
        while self.punct('.') {
            name = self.word_or_quoted()?;
        }
        if !self.punct('(') {
            return Some(Expr::Column(name));
        }
        let arguments = self.list(')')?;
        Some(match name.as_str() {
            "now" | "clock_timestamp" | "statement_timestamp" | "transaction_timestamp" => {
                Expr::Now
            }
            _ => Expr::Call(name, arguments),
        })
    }

    fn list(&mut self, end: char) -> Option<Vec<Expr>> {
        let mut items = Vec::new();
        if self.punct(end) {
            return Some(items);
        }
        loop {
            items.push(self.or()?);
            if self.punct(end) {
                return Some(items);
            }
            if !self.punct(',') {
                return None;
            }
        }
    }

    fn word_or_quoted(&mut self) -> Option<String> {
        let (Token::Word(name) | Token::Quoted(name)) = self.peek()?.clone() else {
            return None;
        };
        self.at += 1;
        Some(name)
    }

    fn name(&mut self) -> Option<()> {
        self.word_or_quoted()?;
        while self.punct('.') {
            self.word_or_quoted()?;
        }
        Some(())
    }

    /// Skips a type: `text`, `character varying(10)[]`, `timestamp(3) without time zone`, `s."T"`.
    fn type_name(&mut self) -> Option<()> {
        self.name()?;
        for word in ["varying", "precision"] {
            self.word(word);
        }
        if self.punct('(') {
            self.list(')')?;
        }
        let zoned = self.word("with") || self.word("without");
        if zoned && !(self.word("time") && self.word("zone")) {
            return None;
        }
        while self.punct('[') {
            if !self.punct(']') {
                return None;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_pg_get_expr_prints() {
        let column = |name: &str| Expr::Column(name.to_owned());
        let text = |value: &str| Expr::Text(value.to_owned());
        let cases = [
            (
                "(price > (0)::numeric)",
                Expr::Binary(">".into(), Box::new(column("price")), Box::new(text("0"))),
            ),
            (
                "((kind)::text = ANY ((ARRAY['a'::character varying, 'it''s'::character varying(3)])::text[]))",
                Expr::Each {
                    op: "=".into(),
                    all: false,
                    left: Box::new(column("kind")),
                    right: Box::new(Expr::Array(vec![text("a"), text("it's")])),
                },
            ),
            (
                "((at)::timestamp without time zone <= '2024-01-01 00:00:00'::timestamp without time zone)",
                Expr::Binary(
                    "<=".into(),
                    Box::new(column("at")),
                    Box::new(text("2024-01-01 00:00:00")),
                ),
            ),
            (
                "(x >= '-5'::integer)",
                Expr::Binary(">=".into(), Box::new(column("x")), Box::new(text("-5"))),
            ),
            (
                "(x >= (- 5))",
                Expr::Binary(">=".into(), Box::new(column("x")), Box::new(text("-5"))),
            ),
            (
                r"(x ~ E'^\\d+$'::text)",
                Expr::Binary("~".into(), Box::new(column("x")), Box::new(text(r"^\d+$"))),
            ),
            (
                r#"("Odd" IS NOT NULL)"#,
                Expr::Not(Box::new(Expr::IsNull(Box::new(column("Odd"))))),
            ),
            (
                "pg_catalog.length(x)",
                Expr::Call("length".into(), vec![column("x")]),
            ),
        ];
        for (input, expected) in cases {
            assert_eq!(parse(input), Some(expected), "{input}");
        }
    }

    #[test]
    fn gives_up_on_what_it_does_not_know() {
        for input in [
            "CASE WHEN a THEN b ELSE c END",
            "(a > ",
            "a b",
            "(a IS DISTINCT FROM b)",
        ] {
            assert_eq!(parse(input), None, "{input}");
        }
    }
}
