//! dbmate: both directions in one file, each behind a directive. Files are ordered by name.

use std::path::Path;

use super::{Direction, Found, Id, Input, Piece, Step, code, digits, readable};
use crate::migration::folder::checksum::FileChecksum;
use crate::migration::folder::error::FolderError;
use crate::migration::folder::file::{Delivery, Script, TransactionMode};
use crate::migration::folder::layout::Layout;
use crate::migration::folder::problem::{FolderProblem, ProblemKind};
use crate::postgres::sql::is_empty_script;

pub(super) fn read(
    input: &Input,
    path: &Path,
    file_name: &str,
    content: &[u8],
) -> Result<Vec<Found>, FolderError> {
    if let Some((stem, what)) = code(file_name) {
        return Ok(match parse(stem) {
            Some(id) => vec![Found::Step(Step::new(id, path, what))],
            None => Found::skip("it is not SQL"),
        });
    }
    let Some(id) = file_name.strip_suffix(".sql").and_then(parse) else {
        return Ok(Found::stray(
            file_name,
            "dbmate reads `VERSION_name.sql` only",
        ));
    };
    let raw = input.text(path, content)?;
    let text = input.filled(raw);
    let invalid = |message: &str| {
        let problem = FolderProblem::new(
            ProblemKind::InvalidFile,
            Some(&id.version_text),
            path,
            format!("dbmate refuses `{file_name}`: {message}"),
            "write `-- migrate:up`, the SQL, `-- migrate:down`, the SQL",
        );
        Ok(vec![Found::Problem(problem)])
    };
    let directives = directives(&text);
    let (up, down) = match directives.as_slice() {
        [up] if up.direction == Direction::Up => (up, None),
        [up, down] if up.direction == Direction::Up && down.direction == Direction::Down => {
            (up, Some(down))
        }
        [] => return invalid("it has no `-- migrate:up`"),
        [first, ..] if first.direction == Direction::Down => {
            return invalid("`-- migrate:down` comes before `-- migrate:up`");
        }
        _ => return invalid("it has more than one part for a direction"),
    };
    if !is_empty_script(&text[..up.start]) {
        return invalid("it has statements before `-- migrate:up`");
    }
    let checksum = FileChecksum::blake3(raw.as_bytes());
    let piece = |directive: &Directive, end: usize| {
        let script = Script {
            path: path.to_owned(),
            sql: text[directive.start..end].to_owned(),
            first_line: directive.line,
            transaction: directive.transaction,
            delivery: Delivery::WholeScript,
        };
        let (id, checksum) = (id.clone(), checksum.clone());
        readable(
            Layout::Dbmate,
            Piece {
                id,
                direction: directive.direction,
                script,
                checksum,
            },
        )
    };
    let mut found = vec![piece(up, down.map_or(text.len(), |down| down.start))];
    found.extend(down.map(|down| piece(down, text.len())));
    Ok(found)
}

/// The version in the table is the digits; the order is that of the file names.
fn parse(stem: &str) -> Option<Id> {
    let (version, rest) = digits(stem)?;
    let name = rest.trim_start_matches(['_', '-', '.', ' ']);
    Id::versioned(Layout::Dbmate, version, name)
}

struct Directive {
    direction: Direction,
    transaction: TransactionMode,
    start: usize,
    line: usize,
}

fn directives(text: &str) -> Vec<Directive> {
    let mut start = 0;
    let mut directives = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if let Some((direction, options)) = directive(line) {
            let transaction = if options.split_whitespace().any(|o| o == "transaction:false") {
                TransactionMode::None
            } else {
                TransactionMode::Wrapped
            };
            directives.push(Directive {
                direction,
                transaction,
                start,
                line: index + 1,
            });
        }
        start += line.len();
    }
    directives
}

fn directive(line: &str) -> Option<(Direction, &str)> {
    let rest = line.strip_prefix("--")?.trim_start();
    let (direction, options) = match (
        rest.strip_prefix("migrate:up"),
        rest.strip_prefix("migrate:down"),
    ) {
        (Some(options), _) => (Direction::Up, options),
        (_, Some(options)) => (Direction::Down, options),
        _ => return None,
    };
    let bounded = options.is_empty() || options.starts_with(char::is_whitespace);
    bounded.then_some((direction, options))
}

/// Whether a line begins the up migration of a dbmate file.
pub(in crate::migration::folder) fn is_up_directive(line: &str) -> bool {
    matches!(directive(line), Some((Direction::Up, _)))
}
