//! goose: both directions in one file, each behind an annotation, and numbers as versions.

use std::path::Path;

use super::annotated::{self, Annotation, Invalid, Part, Rules};
use super::{Direction, Found, Id, Input, Piece, Step, code, readable};
use crate::migration::folder::checksum::FileChecksum;
use crate::migration::folder::error::FolderError;
use crate::migration::folder::file::{Delivery, Script, TransactionMode};
use crate::migration::folder::layout::Layout;
use crate::migration::folder::problem::{FolderProblem, ProblemKind};

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
    let Some(stem) = file_name.strip_suffix(".sql") else {
        return Ok(Found::skip("goose reads `VERSION_name.sql` only"));
    };
    let Some(id) = parse(stem) else {
        let message =
            format!("goose refuses the folder: `{file_name}` has no version above 0 before a `_`");
        return Ok(vec![Found::Problem(FolderProblem::new(
            ProblemKind::InvalidFile,
            None,
            path,
            message,
            "rename the file or move it out of the folder",
        ))]);
    };
    let raw = input.text(path, content)?;
    let text = input.filled(raw);
    if let Some((line, variable)) = environment_variable(&text) {
        let reason = format!("fills in environment variables (`{variable}`)");
        return Ok(vec![Found::Step(Step::new(id, path, reason).at(line))]);
    }
    let rules = Rules {
        prefix: "-- +goose",
        strict: true,
        annotation: &annotation,
    };
    let parts = match annotated::cut(&text, &rules) {
        Ok(parts) => parts,
        Err(invalid) => return Ok(vec![refused(Layout::Goose, &id, path, file_name, &invalid)]),
    };
    let transaction = if text.lines().any(is_no_transaction) {
        TransactionMode::None
    } else {
        TransactionMode::Wrapped
    };
    Ok(pieces(
        Layout::Goose,
        &id,
        path,
        raw,
        parts.map(|part| part.map(|part| (part, transaction))),
    ))
}

/// The directions of a file that holds both; a problem where it has no up.
pub(super) fn pieces(
    layout: Layout,
    id: &Id,
    path: &Path,
    raw: &str,
    parts: [Option<(Part, TransactionMode)>; 2],
) -> Vec<Found> {
    if parts[0].is_none() {
        let name = super::file_name(path);
        let missing = Invalid::new(1, "it has no part for the way up");
        return vec![refused(layout, id, path, &name, &missing)];
    }
    let checksum = FileChecksum::blake3(raw.as_bytes());
    [Direction::Up, Direction::Down]
        .into_iter()
        .zip(parts)
        .filter_map(|(direction, part)| {
            let (part, transaction) = part?;
            let script = Script {
                path: path.to_owned(),
                sql: part.sql,
                first_line: part.first_line,
                transaction,
                delivery: Delivery::PerStatement,
            };
            let piece = Piece {
                id: id.clone(),
                direction,
                script,
                checksum: checksum.clone(),
            };
            Some(readable(layout, piece))
        })
        .collect()
}

/// A file that its tool refuses.
pub(super) fn refused(
    layout: Layout,
    id: &Id,
    path: &Path,
    file_name: &str,
    invalid: &Invalid,
) -> Found {
    let problem = FolderProblem::new(
        ProblemKind::InvalidFile,
        Some(&id.version_text),
        path,
        format!("{layout} refuses `{file_name}`: {}", invalid.message),
        "write each direction behind its annotation, and end each statement with a semicolon",
    );
    Found::Problem(problem.at(invalid.line))
}

fn parse(stem: &str) -> Option<Id> {
    let (version, name) = stem.split_once('_')?;
    version.parse::<i64>().ok().filter(|version| *version > 0)?;
    Id::versioned(Layout::Goose, version, name)
}

/// What stands behind `-- +goose`, in upper case; an error where goose refuses the line.
fn said(line: &str) -> Option<Result<String, String>> {
    let trimmed = line.trim();
    if !trimmed.starts_with("--") || !trimmed.contains("+goose") {
        return None;
    }
    if line.starts_with(char::is_whitespace) {
        return Some(Err("an annotation has blanks before it".to_owned()));
    }
    let said = trimmed.replace("--", "").replacen("+goose", "", 1);
    Some(Ok(said.trim().to_ascii_uppercase()))
}

fn annotation(line: &str) -> Result<Option<Annotation>, String> {
    let Some(said) = said(line) else {
        return Ok(None);
    };
    Ok(Some(match said?.as_str() {
        "UP" => Annotation::Begin(Direction::Up),
        "DOWN" => Annotation::Begin(Direction::Down),
        "STATEMENTBEGIN" => Annotation::StatementBegin,
        "STATEMENTEND" => Annotation::StatementEnd,
        "NO TRANSACTION" | "ENVSUB ON" | "ENVSUB OFF" => Annotation::Other,
        _ => return Err(format!("it knows no annotation `{}`", line.trim())),
    }))
}

fn is_no_transaction(line: &str) -> bool {
    matches!(said(line), Some(Ok(said)) if said == "NO TRANSACTION")
}

/// The first line between `ENVSUB ON` and `ENVSUB OFF` with a `$`, with the text from there on.
fn environment_variable(text: &str) -> Option<(usize, &str)> {
    let mut on = false;
    for (index, line) in text.lines().enumerate() {
        match said(line) {
            Some(Ok(said)) => match said.as_str() {
                "ENVSUB ON" => on = true,
                "ENVSUB OFF" => on = false,
                _ => {}
            },
            _ if on => {
                if let Some(at) = line.find('$') {
                    let variable = line[at..].split([' ', ';', '\'', '"', ',', ')']).next();
                    return Some((index + 1, variable.unwrap_or("$")));
                }
            }
            _ => {}
        }
    }
    None
}
