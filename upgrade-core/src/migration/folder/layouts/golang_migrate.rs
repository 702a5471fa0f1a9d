//! golang-migrate: `1_name.up.sql`. A script is sent as one simple query without `BEGIN`.

use std::path::Path;

use super::{Direction, Found, Id, Input, Step, code, digits, direction_of, piece};
use crate::migration::folder::error::FolderError;
use crate::migration::folder::layout::Layout;

pub(super) fn read(
    input: &Input,
    path: &Path,
    file_name: &str,
    content: &[u8],
) -> Result<Vec<Found>, FolderError> {
    if let Some((stem, what)) = code(file_name) {
        return Ok(match parse(direction_of(stem).0) {
            Some(id) => vec![Found::Step(Step::new(id, path, what))],
            None => Found::skip("it is not SQL"),
        });
    }
    let parts = file_name.strip_suffix(".sql").map(direction_of);
    let Some((stem, Some(direction))) = parts else {
        return Ok(Found::stray(
            file_name,
            "golang-migrate reads `VERSION_name.up.sql` and `.down.sql` only",
        ));
    };
    match parse(stem) {
        Some(id) => Ok(vec![piece(
            input,
            Layout::GolangMigrate,
            id,
            direction,
            path,
            content,
        )?]),
        None => Ok(Found::stray(
            file_name,
            "its name does not begin with a version and `_`",
        )),
    }
}

fn parse(stem: &str) -> Option<Id> {
    let (version, name) = match stem.strip_prefix('V') {
        Some(stem) => stem.split_once('.')?,
        None => stem.split_once('_')?,
    };
    digits(version).filter(|(_, rest)| rest.is_empty())?;
    Id::versioned(Layout::GolangMigrate, version, name)
}

/// `V0001.Name.up.sql`, which only a custom name parser of golang-migrate reads.
pub(in crate::migration::folder) fn is_dotted_name(file_name: &str) -> bool {
    let parts = file_name.strip_suffix(".sql").map(direction_of);
    matches!(parts, Some((stem, Some(Direction::Up | Direction::Down)))
        if stem.starts_with('V') && parse(stem).is_some())
}
