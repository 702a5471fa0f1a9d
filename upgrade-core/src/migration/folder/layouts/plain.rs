//! Numbered SQL files of no known tool: `001-name.sql`, `1.sql`, `m000001.sql`.

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
    let Some((stem, direction)) = file_name.strip_suffix(".sql").map(direction_of) else {
        return Ok(Found::skip("it is not SQL"));
    };
    match parse(stem) {
        Some(id) => {
            let direction = direction.unwrap_or(Direction::Up);
            Ok(vec![piece(
                input,
                Layout::Plain,
                id,
                direction,
                path,
                content,
            )?])
        }
        None => Ok(Found::stray(
            file_name,
            "its name does not begin with a number",
        )),
    }
}

/// An optional letter, the number, a separator, the name.
pub(super) fn parse(stem: &str) -> Option<Id> {
    let numbered = stem
        .strip_prefix(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(stem);
    let (number, rest) = digits(numbered)?;
    let name = rest.trim_start_matches(['-', '_', '.', ' ']);
    if name.len() == rest.len() && !rest.is_empty() {
        return None;
    }
    let version = &stem[..stem.len() - numbered.len() + number.len()];
    Id::versioned(Layout::Plain, version, name)
}
