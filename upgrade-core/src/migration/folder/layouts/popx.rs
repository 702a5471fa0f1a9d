//! popx: `VERSION_name[.dialect][.autocommit].up.sql`. A file for Postgres wins over one for all
//! dialects; those for other dialects do not count. Every file is a Go template.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Direction, Found, Id, Input, Piece, Step, digits, direction_of, piece};
use crate::migration::folder::SkippedFile;
use crate::migration::folder::error::FolderError;
use crate::migration::folder::file::TransactionMode;
use crate::migration::folder::layout::Layout;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    All,
    Postgres,
    Other,
}

struct Name<'a> {
    version: &'a str,
    name: &'a str,
    dialect: Dialect,
    /// The dialect as written.
    suffix: Option<&'a str>,
    autocommit: bool,
    direction: Direction,
    fizz: bool,
}

fn parse(file_name: &str) -> Option<Name<'_>> {
    let (stem, extension) = file_name.rsplit_once('.')?;
    if extension != "sql" && extension != "fizz" {
        return None;
    }
    let (stem, direction) = direction_of(stem);
    let (version, rest) = digits(stem)?;
    let mut parts = rest.strip_prefix('_')?.split('.');
    let name = parts.next()?;
    let mut suffix = parts.next();
    let mut autocommit = parts.next();
    if suffix == Some("autocommit") && autocommit.is_none() {
        (suffix, autocommit) = (None, suffix);
    }
    if name.is_empty() || parts.next().is_some() || autocommit.is_some_and(|a| a != "autocommit") {
        return None;
    }
    let dialect = match suffix {
        None => Dialect::All,
        Some("postgres" | "postgresql" | "pg" | "pgx") => Dialect::Postgres,
        Some(_) => Dialect::Other,
    };
    Some(Name {
        version,
        name,
        dialect,
        suffix,
        autocommit: autocommit.is_some(),
        direction: direction?,
        fizz: extension == "fizz",
    })
}

/// Whether only popx would name a file so.
pub(in crate::migration::folder) fn is_popx_name(file_name: &str) -> bool {
    const DIALECTS: [&str; 9] = [
        "postgres",
        "postgresql",
        "cockroach",
        "cockroachdb",
        "mysql",
        "mariadb",
        "sqlite",
        "sqlite3",
        "pg",
    ];
    parse(file_name).is_some_and(|name| {
        name.fizz
            || name.autocommit
            || name.suffix.is_some_and(|suffix| DIALECTS.contains(&suffix))
            // Neither 64 bits with a sign nor without hold twenty digits of a date.
            || name.version.parse::<u64>().is_err()
    })
}

pub(super) fn read(
    input: &Input,
    path: &Path,
    file_name: &str,
    content: &[u8],
) -> Result<Vec<Found>, FolderError> {
    let Some(name) = parse(file_name) else {
        let go = super::code(file_name).and_then(|(stem, what)| {
            let (version, rest) = digits(stem)?;
            let name = direction_of(rest.strip_prefix('_')?).0;
            Some((Id::versioned(Layout::Popx, version, name)?, what))
        });
        return Ok(match go {
            Some((id, what)) => vec![Found::Step(Step::new(id, path, what))],
            None => Found::skip("popx reads `VERSION_name.up.sql` and `.down.sql` only"),
        });
    };
    if name.dialect == Dialect::Other {
        return Ok(Found::skip(&format!(
            "it is for {}",
            name.suffix.unwrap_or_default()
        )));
    }
    let id = Id::versioned(Layout::Popx, name.version, name.name)
        .expect("any digits are a popx version");
    if name.fizz {
        return Ok(vec![Found::Step(Step::new(id, path, "is written in fizz"))]);
    }
    // A file for all dialects that one for Postgres replaces need not be readable.
    if name.dialect == Dialect::All && replaced(input, &name) {
        return Ok(Found::skip("a file for postgres replaces it"));
    }
    let mut found = piece(input, Layout::Popx, id, name.direction, path, content)?;
    if let Found::Piece(piece) = &mut found
        && name.autocommit
    {
        piece.script.transaction = TransactionMode::None;
    }
    Ok(vec![found])
}

fn replaced(input: &Input, name: &Name<'_>) -> bool {
    input.files.iter().any(|(path, _)| {
        parse(&super::file_name(path)).is_some_and(|other| {
            other.dialect == Dialect::Postgres
                && other.version == name.version
                && other.direction == name.direction
        })
    })
}

/// A down migration for Postgres without an up migration belongs to a version that only other dialects
/// have; popx never takes it.
pub(super) fn choose_dialect(pieces: Vec<Piece>, skipped: &mut Vec<SkippedFile>) -> Vec<Piece> {
    let ups: BTreeSet<_> = pieces
        .iter()
        .filter(|piece| piece.direction == Direction::Up)
        .map(|piece| piece.id.version.clone())
        .collect();
    let (kept, dropped): (Vec<_>, Vec<_>) = pieces
        .into_iter()
        .partition(|piece| ups.contains(&piece.id.version));
    skipped.extend(dropped.into_iter().map(|piece| SkippedFile {
        path: piece.script.path,
        reason: "its version has no up migration for postgres".to_owned(),
    }));
    kept
}
