//! diesel: a sub-folder for each migration. The version is the part before the first `_`, without
//! dashes, and is compared as text.

use std::path::Path;

use super::{Direction, Found, Id, Input, Step, code, piece};
use crate::migration::folder::error::FolderError;
use crate::migration::folder::file::TransactionMode;
use crate::migration::folder::layout::Layout;
use crate::migration::folder::problem::{FolderProblem, ProblemKind};

pub(super) fn read(
    input: &Input,
    path: &Path,
    file_name: &str,
    content: &[u8],
) -> Result<Vec<Found>, FolderError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    if folder.components().count() != 1 {
        return Ok(Found::stray(
            file_name,
            "diesel reads `VERSION_name/up.sql` only",
        ));
    }
    let folder_name = super::file_name(folder);
    let (version, name) = folder_name.split_once('_').unwrap_or((&folder_name, ""));
    let version = version.replace('-', "");
    let id = Id::versioned(Layout::Diesel, &version, name).expect("any text is a diesel version");
    let direction = match file_name {
        "up.sql" => Direction::Up,
        "down.sql" => Direction::Down,
        "metadata.toml" => return metadata_problem(input, path, content, &id),
        other => {
            return Ok(match code(other) {
                Some(("up" | "down", what)) => vec![Found::Step(Step::new(id, path, what))],
                _ => Found::skip("diesel reads up.sql, down.sql and metadata.toml only"),
            });
        }
    };
    let mut found = piece(input, Layout::Diesel, id, direction, path, content)?;
    if let Found::Piece(piece) = &mut found {
        let metadata = input.side_file(&folder.join("metadata.toml"))?;
        if metadata.and_then(runs_in_transaction) == Some(false) {
            piece.script.transaction = TransactionMode::None;
        }
    }
    Ok(vec![found])
}

/// As diesel reads it: a file that lacks the key turns the transaction off, a file that cannot be
/// parsed leaves it on.
fn runs_in_transaction(metadata: &str) -> Option<bool> {
    let table: toml::Table = metadata.parse().ok()?;
    match table.get("run_in_transaction") {
        None => Some(false),
        Some(value) => value.as_bool(),
    }
}

fn metadata_problem(
    input: &Input,
    path: &Path,
    content: &[u8],
    id: &Id,
) -> Result<Vec<Found>, FolderError> {
    if runs_in_transaction(input.text(path, content)?).is_some() {
        return Ok(Found::skip("it was read with its migration"));
    }
    Ok(vec![Found::Problem(FolderProblem::new(
        ProblemKind::InvalidFile,
        Some(&id.version_text),
        path,
        format!(
            "diesel cannot read the metadata of `{}` and uses a transaction",
            id.version_text
        ),
        "write `run_in_transaction = false` or `true`",
    ))])
}
