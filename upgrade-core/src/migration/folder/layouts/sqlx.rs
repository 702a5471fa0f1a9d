//! sqlx: everything before the first `_` is the version, a 64-bit integer. Files without a `_` or
//! with another ending are passed over; any other name makes sqlx refuse the whole folder.

use std::path::Path;

use super::{Direction, Found, Id, Input, Step, code, direction_of, piece};
use crate::migration::folder::error::FolderError;
use crate::migration::folder::file::TransactionMode;
use crate::migration::folder::layout::Layout;
use crate::migration::folder::problem::{FolderProblem, ProblemKind};

/// sqlx looks for exactly this at the very start of a file.
pub(in crate::migration::folder) const NO_TRANSACTION: &str = "-- no-transaction";

pub(super) fn read(
    input: &Input,
    path: &Path,
    file_name: &str,
    content: &[u8],
) -> Result<Vec<Found>, FolderError> {
    if let Some((stem, what)) = code(file_name) {
        let id = stem
            .split_once('_')
            .and_then(|(version, name)| Id::versioned(Layout::Sqlx, version, direction_of(name).0));
        return Ok(match id {
            Some(id) => vec![Found::Step(Step::new(id, path, what))],
            None => Found::skip("it is not SQL"),
        });
    }
    let Some((version, name)) = file_name
        .strip_suffix(".sql")
        .and_then(|stem| stem.split_once('_'))
    else {
        return Ok(Found::stray(
            file_name,
            "sqlx reads `VERSION_name.sql` only",
        ));
    };
    let (name, direction) = direction_of(name);
    let Some(id) = Id::versioned(Layout::Sqlx, version, name) else {
        return Ok(vec![Found::Problem(FolderProblem::new(
            ProblemKind::InvalidFile,
            None,
            path,
            format!("sqlx refuses the folder: `{version}` in `{file_name}` is not an integer"),
            "rename the file or move it out of the folder",
        ))]);
    };
    let mut found = piece(
        input,
        Layout::Sqlx,
        id,
        direction.unwrap_or(Direction::Up),
        path,
        content,
    )?;
    if let Found::Piece(piece) = &mut found
        && piece.script.sql.starts_with(NO_TRANSACTION)
    {
        piece.script.transaction = TransactionMode::None;
    }
    Ok(vec![found])
}
