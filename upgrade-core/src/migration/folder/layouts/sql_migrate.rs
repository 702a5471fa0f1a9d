//! sql-migrate: both directions in one file, each behind an annotation. The name of the file is
//! what its table records; files are ordered by their number, and by name.

use std::path::Path;

use super::annotated::{self, Annotation, Rules};
use super::goose::{pieces, refused};
use super::{Direction, Found, Id, Input, Step, code};
use crate::migration::folder::error::FolderError;
use crate::migration::folder::file::TransactionMode;
use crate::migration::folder::layout::Layout;

/// What every annotation begins with, at the start of its line.
const PREFIX: &str = "-- +migrate ";

pub(super) fn read(
    input: &Input,
    path: &Path,
    file_name: &str,
    content: &[u8],
) -> Result<Vec<Found>, FolderError> {
    let id = Id::versioned(Layout::SqlMigrate, file_name, "").expect("any name is a version");
    if let Some((_, what)) = code(file_name) {
        // The tool reads SQL alone: code beside it is the program's.
        return Ok(match what {
            "is a template" => vec![Found::Step(Step::new(id, path, what))],
            _ => Found::skip("sql-migrate reads SQL only"),
        });
    }
    if !file_name.ends_with(".sql") {
        return Ok(Found::skip("sql-migrate reads SQL only"));
    }
    let raw = input.text(path, content)?;
    let text = input.filled(raw);
    let rules = Rules {
        prefix: "-- +migrate",
        strict: false,
        annotation: &|line| Ok(annotation(line)),
    };
    Ok(match annotated::cut(&text, &rules) {
        Ok([up, down]) => {
            let mode = |direction| transaction(&text, direction);
            let parts = [
                up.map(|part| (part, mode(Direction::Up))),
                down.map(|part| (part, mode(Direction::Down))),
            ];
            pieces(Layout::SqlMigrate, &id, path, raw, parts)
        }
        Err(invalid) => vec![refused(Layout::SqlMigrate, &id, path, file_name, &invalid)],
    })
}

fn words(line: &str) -> Option<std::str::SplitWhitespace<'_>> {
    Some(line.strip_prefix(PREFIX)?.split_whitespace())
}

fn annotation(line: &str) -> Option<Annotation> {
    Some(match words(line)?.next() {
        Some("Up") => Annotation::Begin(Direction::Up),
        Some("Down") => Annotation::Begin(Direction::Down),
        Some("StatementBegin") => Annotation::StatementBegin,
        Some("StatementEnd") => Annotation::StatementEnd,
        _ => Annotation::Other,
    })
}

fn transaction(text: &str, direction: Direction) -> TransactionMode {
    let begins = |line: &&str| annotation(line) == Some(Annotation::Begin(direction));
    let off =
        |line: &str| words(line).is_some_and(|mut words| words.any(|word| word == "notransaction"));
    if text.lines().filter(begins).any(off) {
        TransactionMode::None
    } else {
        TransactionMode::Wrapped
    }
}
