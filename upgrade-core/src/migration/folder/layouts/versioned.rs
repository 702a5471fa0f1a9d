//! refinery and Flyway: `V1__name.sql`. They share the form of a name, but not the meaning of its
//! parts: `U` is a late migration to refinery and the down migration to Flyway.

use std::path::Path;

use super::{Direction, Found, Id, Input, Step, code, piece};
use crate::migration::folder::error::FolderError;
use crate::migration::folder::file::{MigrationKind, Script, TransactionMode, VersionKey};
use crate::migration::folder::layout::Layout;
use crate::migration::folder::problem::{FolderProblem, ProblemKind};
use crate::postgres::sql::split;

/// The letter before the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::migration::folder) enum Prefix {
    V,
    U,
    R,
    B,
}

/// Prefix, version (empty for `R`) and name of a file name without its ending.
pub(in crate::migration::folder) fn parse_name(stem: &str) -> Option<(Prefix, &str, &str)> {
    let prefix = match stem.chars().next()? {
        'V' => Prefix::V,
        'U' => Prefix::U,
        'R' => Prefix::R,
        'B' => Prefix::B,
        _ => return None,
    };
    let (version, name) = stem[1..].split_once("__")?;
    let digits = version.starts_with(|c: char| c.is_ascii_digit())
        && version
            .chars()
            .all(|c| c.is_ascii_digit() || c == '.' || c == '_');
    (digits != (prefix == Prefix::R) && (digits || version.is_empty()))
        .then_some((prefix, version, name))
}

pub(super) fn read(
    input: &Input,
    layout: Layout,
    path: &Path,
    file_name: &str,
    content: &[u8],
) -> Result<Vec<Found>, FolderError> {
    if let Some((stem, what)) = code(file_name) {
        return Ok(match parse_name(stem).and_then(|name| id(layout, name)) {
            Some((id, _)) => vec![Found::Step(Step::new(id, path, what))],
            None => Found::skip("it is not SQL"),
        });
    }
    let Some(name) = file_name.strip_suffix(".sql").and_then(parse_name) else {
        return Ok(Found::stray(
            file_name,
            &format!("{layout} reads `V1__name.sql` and the like only"),
        ));
    };
    if name.0 == Prefix::B && layout == Layout::Flyway {
        return Ok(Found::skip("a baseline is for new databases only"));
    }
    let invalid = |message: String, help: &str| {
        Found::Problem(FolderProblem::new(
            ProblemKind::InvalidFile,
            Some(name.1),
            path,
            message,
            help,
        ))
    };
    if layout == Layout::Refinery && !name.2.chars().all(|c| c.is_alphanumeric() || c == '_') {
        let message = format!("refinery passes `{file_name}` over in silence");
        return Ok(vec![invalid(
            message,
            "use letters, digits and `_` only in its name",
        )]);
    }
    let Some((id, direction)) = id(layout, name) else {
        let message = format!("{layout} cannot read the version of `{file_name}`");
        return Ok(vec![invalid(
            message,
            "rename it, or read the folder as flyway if it is",
        )]);
    };
    let mut found = piece(input, layout, id, direction, path, content)?;
    let mut problem = None;
    if let (Layout::Flyway, Found::Piece(piece)) = (layout, &mut found) {
        let conf = path.with_file_name(format!("{file_name}.conf"));
        let outside = first_outside_transaction(&piece.script);
        if let (Some(line), true) = (outside.line, outside.mixed) {
            let message = format!(
                "flyway refuses `{file_name}`: only some of its statements can run in a transaction"
            );
            problem = Some(
                FolderProblem::new(
                    ProblemKind::InvalidFile,
                    Some(&piece.id.version_text),
                    path,
                    message,
                    "move the statement into a separate migration",
                )
                .at(line),
            );
        }
        if outside.line.is_some() || input.side_file(&conf)?.is_some_and(turns_transaction_off) {
            piece.script.transaction = TransactionMode::None;
        }
    }
    Ok(std::iter::once(found)
        .chain(problem.map(Found::Problem))
        .collect())
}

fn id(layout: Layout, (prefix, version, name): (Prefix, &str, &str)) -> Option<(Id, Direction)> {
    let mut direction = Direction::Up;
    let kind = match (layout, prefix) {
        (_, Prefix::V) => MigrationKind::Versioned,
        (Layout::Refinery, Prefix::U) => MigrationKind::Unversioned,
        (Layout::Flyway, Prefix::U) => {
            direction = Direction::Down;
            MigrationKind::Versioned
        }
        (Layout::Flyway, Prefix::R) => MigrationKind::Repeatable,
        _ => return None,
    };
    let version_text = match kind {
        MigrationKind::Repeatable => format!("R__{name}"),
        _ => match layout {
            // As Flyway writes it into its table.
            Layout::Flyway => version.replace('_', "."),
            _ => version.to_owned(),
        },
    };
    let version: VersionKey = layout.version_key(&version_text)?;
    Some((
        Id {
            version,
            version_text,
            name: name.to_owned(),
            kind,
        },
        direction,
    ))
}

struct Outside {
    /// The line of the first statement that cannot run in a transaction.
    line: Option<usize>,
    /// Whether there are also others.
    mixed: bool,
}

fn first_outside_transaction(script: &Script) -> Outside {
    let lines: Vec<_> = split(&script.sql)
        .iter()
        .map(|statement| needs_no_transaction(statement.text).then_some(statement.line))
        .collect();
    Outside {
        line: lines.iter().flatten().next().copied(),
        mixed: lines.iter().any(Option::is_none),
    }
}

/// The statements for which Flyway automatically omits the transaction.
fn needs_no_transaction(statement: &str) -> bool {
    let words: Vec<_> = crate::postgres::sql::keywords(statement, 5);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [
            "CREATE" | "DROP",
            "DATABASE" | "TABLESPACE" | "SUBSCRIPTION",
            ..,
        ]
        | ["ALTER", "SYSTEM", ..]
        | ["VACUUM", ..]
        | ["DISCARD", "ALL", ..]
        | ["CREATE" | "DROP", "INDEX", "CONCURRENTLY", ..]
        | ["CREATE", "UNIQUE", "INDEX", "CONCURRENTLY", ..]
        | ["REINDEX", "SCHEMA" | "DATABASE" | "SYSTEM", ..]
        | ["REINDEX", "VERBOSE", "SCHEMA" | "DATABASE" | "SYSTEM", ..] => true,
        ["REINDEX", ..] => words.contains(&"CONCURRENTLY"),
        _ => false,
    }
}

/// `executeInTransaction=false` in the `.conf` beside a script.
fn turns_transaction_off(conf: &str) -> bool {
    conf.lines()
        .filter_map(|line| line.split_once('='))
        .any(|(key, value)| {
            key.trim() == "executeInTransaction" && value.trim().eq_ignore_ascii_case("false")
        })
}
