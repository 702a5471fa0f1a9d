//! Files that hold both directions, cut by annotations line by line: goose and sql-migrate.
//!
//! Both tools end a statement where a line ends with a semicolon, unless `StatementBegin` and
//! `StatementEnd` stand around it. A file that they would cut in the middle of a statement is
//! refused, as it fails there.

use super::Direction;
use crate::postgres::sql::split;

/// What an annotation says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Annotation {
    /// A direction begins.
    Begin(Direction),
    StatementBegin,
    StatementEnd,
    /// Anything that does not concern where statements begin and end.
    Other,
}

/// One direction of a file.
#[derive(Debug)]
pub(super) struct Part {
    /// Its text; lines of the other direction within it are empty, so that lines can be counted.
    pub(super) sql: String,
    /// The line of the file, from 1, at which it begins.
    pub(super) first_line: usize,
}

/// What is wrong with a file, and at which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    pub(super) line: usize,
    pub(super) message: String,
}

impl Invalid {
    pub(super) fn new(line: usize, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { line, message }
    }
}

/// How a tool reads such files.
pub(super) struct Rules<'a> {
    /// The prefix of annotations, for messages: `-- +goose`.
    pub(super) prefix: &'a str,
    /// Whether each direction may begin once only, the up before the down, with nothing before it.
    pub(super) strict: bool,
    /// Reads a line.
    pub(super) annotation: &'a dyn Fn(&str) -> Result<Option<Annotation>, String>,
}

/// Cuts a file into its up and its down.
pub(super) fn cut(text: &str, rules: &Rules<'_>) -> Result<[Option<Part>; 2], Invalid> {
    let mut state = State::default();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        state.line(index + 1, line, rules)?;
    }
    state.closed(rules)?;
    let [up, down] = state.halves;
    Ok([up.part(rules)?, down.part(rules)?])
}

#[derive(Default)]
struct State {
    halves: [Half; 2],
    direction: Option<Direction>,
    /// The line of a `StatementBegin` without its end.
    block: Option<usize>,
    /// The line at which a statement began that has no semicolon yet.
    open: Option<usize>,
}

impl State {
    fn line(&mut self, number: usize, line: &str, rules: &Rules<'_>) -> Result<(), Invalid> {
        let prefix = rules.prefix;
        let invalid = |message: String| Err(Invalid::new(number, message));
        let annotation =
            (rules.annotation)(line).map_err(|message| Invalid::new(number, message))?;
        let is_comment = line.trim_start().starts_with("--");
        match annotation {
            Some(Annotation::Begin(direction)) => {
                self.closed(rules)?;
                if rules.strict && direction == Direction::Up && self.direction.is_some() {
                    return invalid(format!("`{prefix} Up` comes a second time"));
                }
                if rules.strict
                    && direction == Direction::Down
                    && self.direction != Some(Direction::Up)
                {
                    return invalid(format!("`{prefix} Down` does not follow `{prefix} Up`"));
                }
                self.direction = Some(direction);
            }
            Some(Annotation::StatementBegin | Annotation::StatementEnd)
                if self.direction.is_none() =>
            {
                return invalid(format!("it stands before `{prefix} Up`"));
            }
            Some(Annotation::StatementBegin) => self.block = Some(number),
            Some(Annotation::StatementEnd) if self.block.is_none() => {
                return invalid(format!("no `{prefix} StatementBegin` stands before it"));
            }
            Some(Annotation::StatementEnd) => self.block = None,
            Some(Annotation::Other) => {}
            None if line.trim().is_empty() => {}
            None if self.direction.is_none() && rules.strict && !is_comment => {
                return invalid(format!("it stands before `{prefix} Up`"));
            }
            None if self.direction.is_none() => {}
            None if self.block.is_none() && !(is_comment && self.open.is_none()) => {
                self.open.get_or_insert(number);
            }
            None => {}
        }
        self.keep(number, line);
        if self.open.is_some() && ends_with_semicolon(line) {
            self.open = None;
            let half = &mut self.halves[self.direction.map_or(0, index_of)];
            let end = half.sql.len() - (line.len() - line.trim_end().len());
            half.cuts.push((end, number));
        }
        Ok(())
    }

    /// Adds a line to its direction, and an empty one to the other.
    fn keep(&mut self, number: usize, line: &str) {
        let Some(direction) = self.direction else {
            return;
        };
        for (index, half) in self.halves.iter_mut().enumerate() {
            if index == index_of(direction) {
                half.first_line.get_or_insert(number);
                half.sql.push_str(line);
            } else if half.first_line.is_some() {
                half.sql.push('\n');
            }
        }
    }

    /// What has to be over where a direction or the file ends.
    fn closed(&self, rules: &Rules<'_>) -> Result<(), Invalid> {
        let prefix = rules.prefix;
        if let Some(line) = self.block {
            let message = format!("`{prefix} StatementEnd` is missing behind it");
            return Err(Invalid::new(line, message));
        }
        match self.open {
            Some(line) => Err(Invalid::new(
                line,
                "the statement that begins here does not end with a semicolon at the end of a line",
            )),
            None => Ok(()),
        }
    }
}

#[derive(Default)]
struct Half {
    sql: String,
    /// The line of the file at which it begins; none where the file has no such part.
    first_line: Option<usize>,
    /// Where the tool ends a statement: behind which byte of `sql`, and in which line of the file.
    cuts: Vec<(usize, usize)>,
}

impl Half {
    /// The part, if the tool would cut it where statements end.
    fn part(mut self, rules: &Rules<'_>) -> Result<Option<Part>, Invalid> {
        let Some(first_line) = self.first_line else {
            return Ok(None);
        };
        self.sql.truncate(self.sql.trim_end().len());
        let statements = split(&self.sql);
        for (end, line) in self.cuts {
            let next = statements.partition_point(|s| s.offset + s.text.len() < end);
            let within = statements.get(next).is_some_and(|statement| {
                first_line + statement.line - 1 <= line
                    && statement.offset + statement.content_end() > end
            });
            if within {
                let prefix = rules.prefix;
                return Err(Invalid::new(
                    line,
                    format!(
                        "the semicolon at the end of this line would end the statement in its \
                         middle: put `{prefix} StatementBegin` and `{prefix} StatementEnd` around it"
                    ),
                ));
            }
        }
        Ok(Some(Part {
            sql: self.sql,
            first_line,
        }))
    }
}

fn index_of(direction: Direction) -> usize {
    match direction {
        Direction::Up => 0,
        Direction::Down => 1,
    }
}

/// Whether the last word before a comment ends with a semicolon, as both tools look for it.
fn ends_with_semicolon(line: &str) -> bool {
    line.split_whitespace()
        .take_while(|word| !word.starts_with("--"))
        .last()
        .is_some_and(|word| word.ends_with(';'))
}
