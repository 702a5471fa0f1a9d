//! node-pg-migrate's SQL files: both directions in one file, each behind a comment. The name of the
//! file without its ending is what the table records.

use std::path::Path;

use super::{Direction, Found, Id, Input, Piece, Step, code, direction_of, readable};
use crate::migration::folder::checksum::FileChecksum;
use crate::migration::folder::error::FolderError;
use crate::migration::folder::file::{Delivery, Script, TransactionMode};
use crate::migration::folder::layout::Layout;

pub(super) fn read(
    input: &Input,
    path: &Path,
    file_name: &str,
    content: &[u8],
) -> Result<Vec<Found>, FolderError> {
    let id =
        |stem: &str| Id::versioned(Layout::NodePgMigrate, stem, "").expect("any name is a version");
    if let Some((stem, what)) = code(file_name) {
        return Ok(vec![Found::Step(Step::new(id(stem), path, what))]);
    }
    let Some(stem) = file_name.strip_suffix(".sql") else {
        return Ok(Found::skip("node-pg-migrate runs SQL and code only"));
    };
    let raw = input.text(path, content)?;
    let text = input.filled(raw);
    let transaction = if has_no_transaction(&text) {
        TransactionMode::None
    } else {
        TransactionMode::Wrapped
    };
    let checksum = FileChecksum::blake3(raw.as_bytes());
    let piece = |stem: &str, direction, sql: &str, first_line| {
        let script = Script {
            path: path.to_owned(),
            sql: sql.to_owned(),
            first_line,
            transaction,
            delivery: Delivery::WholeScript,
        };
        let piece = Piece {
            id: id(stem),
            direction,
            script,
            checksum: checksum.clone(),
        };
        readable(Layout::NodePgMigrate, piece)
    };
    // With its strategy `sql` the two directions are two files.
    if let (stem, Some(direction)) = direction_of(stem) {
        return Ok(vec![piece(stem, direction, &text, 1)]);
    }
    let (up, down) = (mark(&text, "up"), mark(&text, "down"));
    let end = |start: usize, other: Option<(usize, usize)>| match other {
        Some((other, _)) if other > start => other,
        _ => text.len(),
    };
    let (start, line) = up.unwrap_or((0, 1));
    let mut found = vec![piece(
        stem,
        Direction::Up,
        &text[start..end(start, down)],
        line,
    )];
    if let Some((start, line)) = down {
        found.push(piece(
            stem,
            Direction::Down,
            &text[start..end(start, up)],
            line,
        ));
    }
    Ok(found)
}

/// Where a direction begins: the byte and the line of the first comment that begins with it, such
/// as `-- Up Migration`.
fn mark(text: &str, direction: &str) -> Option<(usize, usize)> {
    let mut start = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let begins = || {
            let said = line.trim_start().strip_prefix("--")?;
            let said = said.trim_start_matches(|c: char| c == '-' || c.is_whitespace());
            let rest = said.get(..direction.len())?;
            let next = said[direction.len()..].trim_start();
            let apart = next.len() < said.len() - direction.len();
            let is_migration = next
                .get(.."migration".len())
                .is_some_and(|word| word.eq_ignore_ascii_case("migration"));
            (rest.eq_ignore_ascii_case(direction) && apart && is_migration).then_some(())
        };
        if begins().is_some() {
            return Some((start, index + 1));
        }
        start += line.len();
    }
    None
}

/// Whether `-- no transaction` stands among the comments at the head of the file.
fn has_no_transaction(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map_while(|line| line.strip_prefix("--"))
        .any(|said| {
            let said: String = said.split_whitespace().collect();
            said.eq_ignore_ascii_case("notransaction")
        })
}
