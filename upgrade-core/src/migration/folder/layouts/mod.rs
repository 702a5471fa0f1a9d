//! One sub-module a layout: each turns a file into [`Found`]; what they share is here.

mod annotated;
mod dbmate;
mod diesel;
mod golang_migrate;
mod goose;
mod node_pg_migrate;
mod plain;
mod popx;
mod sql_migrate;
mod sqlx;
mod versioned;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::checksum::FileChecksum;
use super::error::FolderError;
use super::file::{Delivery, MigrationFile, MigrationKind, Script, TransactionMode, VersionKey};
use super::layout::Layout;
use super::problem::{FolderProblem, ProblemKind};
use super::{SkippedFile, Supplied};
use crate::postgres::sql::{Placeholder, first_placeholder};

pub(super) use dbmate::is_up_directive;
pub(super) use golang_migrate::is_dotted_name;
pub(super) use popx::is_popx_name;
pub(super) use versioned::{Prefix, parse_name as parse_versioned_name};

/// What a folder is read from.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) origin: String,
    /// Relative paths, sorted.
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    /// Placeholders and their values.
    pub(super) fills: Vec<(String, String)>,
}

impl Input {
    pub(super) fn new(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            files: Vec::new(),
            fills: Vec::new(),
        }
    }

    fn text<'a>(&self, path: &Path, content: &'a [u8]) -> Result<&'a str, FolderError> {
        std::str::from_utf8(content)
            .map_err(|source| FolderError::not_utf8(&self.origin, path, source))
    }

    /// The text of a file beside another one, for the side files of some layouts.
    fn side_file(&self, path: &Path) -> Result<Option<&str>, FolderError> {
        match self.files.iter().find(|(other, _)| other == path) {
            Some((_, content)) => self.text(path, content).map(Some),
            None => Ok(None),
        }
    }

    fn filled(&self, sql: &str) -> String {
        self.fills
            .iter()
            .fold(sql.to_owned(), |sql, (placeholder, value)| {
                sql.replace(placeholder.as_str(), value)
            })
    }
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) migrations: Vec<MigrationFile>,
    pub(super) unreadable: Vec<Step>,
    pub(super) problems: Vec<FolderProblem>,
    pub(super) skipped: Vec<SkippedFile>,
}

impl Parsed {
    fn skip(&mut self, path: &Path, reason: String) {
        let path = path.to_owned();
        self.skipped.push(SkippedFile { path, reason });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// Which migration a file belongs to.
#[derive(Debug, Clone)]
struct Id {
    version: VersionKey,
    version_text: String,
    name: String,
    kind: MigrationKind,
}

impl Id {
    fn versioned(layout: Layout, version_text: &str, name: &str) -> Option<Self> {
        Some(Self {
            version: layout.version_key(version_text)?,
            version_text: version_text.to_owned(),
            name: name.to_owned(),
            kind: MigrationKind::Versioned,
        })
    }
}

/// A script of one direction.
#[derive(Debug)]
struct Piece {
    id: Id,
    direction: Direction,
    script: Script,
    checksum: FileChecksum,
}

/// A step that cannot be read.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) version: VersionKey,
    pub(super) version_text: String,
    name: String,
    path: PathBuf,
    line: Option<usize>,
    reason: String,
}

impl Step {
    fn new(id: Id, path: &Path, reason: impl Into<String>) -> Self {
        Self {
            version: id.version,
            version_text: id.version_text,
            name: id.name,
            path: path.to_owned(),
            line: None,
            reason: reason.into(),
        }
    }

    fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    pub(super) fn problem(&self) -> FolderProblem {
        let mut problem = FolderProblem::new(
            ProblemKind::UnreadableStep,
            Some(&self.version_text),
            &self.path,
            format!("step `{}` {}", self.version_text, self.reason),
            "give its SQL with `MigrationFolder::supply`, or the value of a placeholder with `MigrationFolder::fill`",
        );
        problem.line = self.line;
        problem
    }

    pub(super) fn with_sql(self, layout: Layout, supplied: &Supplied) -> MigrationFile {
        let script = |sql: &str| Script {
            path: self.path.clone(),
            sql: sql.to_owned(),
            first_line: 1,
            transaction: default_transaction(layout),
            delivery: default_delivery(layout),
        };
        MigrationFile {
            checksum: checksum(layout, &self.version, &self.name, &supplied.up),
            up: script(&supplied.up),
            down: supplied.down.as_deref().map(script),
            version: self.version.clone(),
            version_text: self.version_text.clone(),
            name: self.name.clone(),
            kind: MigrationKind::Versioned,
        }
    }
}

/// What a layout makes of a file.
enum Found {
    Piece(Piece),
    Step(Step),
    Skip(String),
    /// A SQL file that the tool passes over because of its name.
    Stray(String),
    Problem(FolderProblem),
}

impl Found {
    fn skip(reason: &str) -> Vec<Self> {
        vec![Self::Skip(reason.to_owned())]
    }

    /// A file whose name the tool does not read: worth a note if it holds SQL.
    fn stray(file_name: &str, reason: &str) -> Vec<Self> {
        if file_name.ends_with(".sql") {
            vec![Self::Stray(reason.to_owned())]
        } else {
            Self::skip(reason)
        }
    }
}

pub(super) fn default_transaction(layout: Layout) -> TransactionMode {
    match layout {
        Layout::GolangMigrate => TransactionMode::None,
        Layout::Popx => TransactionMode::WrappedSerializable,
        _ => TransactionMode::Wrapped,
    }
}

pub(super) fn default_delivery(layout: Layout) -> Delivery {
    match layout {
        Layout::Flyway | Layout::Goose | Layout::SqlMigrate => Delivery::PerStatement,
        _ => Delivery::WholeScript,
    }
}

fn checksum(layout: Layout, version: &VersionKey, name: &str, raw: &str) -> FileChecksum {
    match (layout, version) {
        (Layout::Sqlx, _) => FileChecksum::sha384(raw.as_bytes()),
        (Layout::Flyway, _) => FileChecksum::crc32_lines(raw),
        (Layout::Refinery, VersionKey::Number(number)) => {
            let number = i64::try_from(*number).expect("refinery versions are read as 64 bits");
            FileChecksum::siphash(name, number, raw)
        }
        _ => FileChecksum::blake3(raw.as_bytes()),
    }
}

/// A script as the layout's tool runs it by default, or an unreadable step if something has to
/// fill it in first.
fn piece(
    input: &Input,
    layout: Layout,
    id: Id,
    direction: Direction,
    path: &Path,
    content: &[u8],
) -> Result<Found, FolderError> {
    let raw = input.text(path, content)?;
    let checksum = checksum(layout, &id.version, &id.name, raw);
    let script = Script {
        path: path.to_owned(),
        sql: input.filled(raw),
        first_line: 1,
        transaction: default_transaction(layout),
        delivery: default_delivery(layout),
    };
    Ok(readable(
        layout,
        Piece {
            id,
            direction,
            script,
            checksum,
        },
    ))
}

fn readable(layout: Layout, piece: Piece) -> Found {
    let styles: &[Placeholder] = match layout {
        Layout::Popx => &[Placeholder::Psql, Placeholder::Template],
        Layout::Flyway => &[Placeholder::Psql, Placeholder::Property],
        _ => &[Placeholder::Psql],
    };
    match first_placeholder(&piece.script.sql, styles) {
        None => Found::Piece(piece),
        Some((placeholder, line)) => {
            let reason = format!("holds the placeholder `{placeholder}`");
            let mut step = Step::new(piece.id, &piece.script.path, reason);
            step.line = Some(piece.script.first_line + line - 1);
            Found::Step(step)
        }
    }
}

/// What a file is, if it is a migration in something other than SQL.
fn code(file_name: &str) -> Option<(&str, &'static str)> {
    const KINDS: [(&str, &str); 14] = [
        (".sql.tmpl", "is a template"),
        (".tmpl", "is a template"),
        (".fizz", "is written in fizz"),
        (".go", "is Go code"),
        (".py", "is Python code"),
        (".rs", "is Rust code"),
        (".rb", "is Ruby code"),
        (".js", "is JavaScript code"),
        (".ts", "is TypeScript code"),
        (".java", "is Java code"),
        (".kt", "is Kotlin code"),
        (".php", "is PHP code"),
        (".ex", "is Elixir code"),
        (".sh", "is a shell script"),
    ];
    KINDS
        .iter()
        .find_map(|(ending, what)| Some((file_name.strip_suffix(ending)?, *what)))
}

/// `name.up` and `name.down`.
fn direction_of(stem: &str) -> (&str, Option<Direction>) {
    if let Some(stem) = stem.strip_suffix(".up") {
        (stem, Some(Direction::Up))
    } else if let Some(stem) = stem.strip_suffix(".down") {
        (stem, Some(Direction::Down))
    } else {
        (stem, None)
    }
}

/// Whether a file is the down of its migration, where its name tells its direction.
pub(super) fn direction_of_file(file_name: &str) -> Option<bool> {
    let stem = file_name.strip_suffix(".sql")?;
    match (stem, direction_of(stem).1) {
        ("up", _) | (_, Some(Direction::Up)) => Some(false),
        ("down", _) | (_, Some(Direction::Down)) => Some(true),
        _ => None,
    }
}

/// The leading digits and what is behind them.
pub(super) fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Whether the file stands in the folder itself.
pub(super) fn is_top(path: &Path) -> bool {
    path.components().count() == 1
}

pub(super) fn parse(layout: Layout, input: &Input) -> Result<Parsed, FolderError> {
    let nested = matches!(
        layout,
        Layout::Diesel | Layout::Refinery | Layout::Flyway | Layout::Popx
    );
    let mut parsed = Parsed::default();
    let mut pieces = Vec::new();
    for (path, content) in &input.files {
        let name = file_name(path);
        let found = if !nested && !is_top(path) {
            Found::skip("the tool does not look into sub-folders")
        } else {
            match layout {
                Layout::Sqlx => sqlx::read(input, path, &name, content)?,
                Layout::Diesel => diesel::read(input, path, &name, content)?,
                Layout::GolangMigrate => golang_migrate::read(input, path, &name, content)?,
                Layout::Refinery | Layout::Flyway => {
                    versioned::read(input, layout, path, &name, content)?
                }
                Layout::Dbmate => dbmate::read(input, path, &name, content)?,
                Layout::Popx => popx::read(input, path, &name, content)?,
                Layout::Goose => goose::read(input, path, &name, content)?,
                Layout::SqlMigrate => sql_migrate::read(input, path, &name, content)?,
                Layout::NodePgMigrate => node_pg_migrate::read(input, path, &name, content)?,
                Layout::Plain => plain::read(input, path, &name, content)?,
            }
        };
        for found in found {
            match found {
                Found::Piece(piece) => pieces.push(piece),
                Found::Step(step) => parsed.unreadable.push(step),
                Found::Problem(problem) => parsed.problems.push(problem),
                Found::Skip(reason) => parsed.skip(path, reason),
                Found::Stray(reason) => {
                    parsed.problems.push(FolderProblem::new(
                        ProblemKind::StrayFile,
                        None,
                        path,
                        format!("`{}` is no migration: {reason}", path.display()),
                        "rename it if it is to run, or move it out of the folder",
                    ));
                    parsed.skip(path, reason);
                }
            }
        }
    }
    if layout == Layout::Popx {
        pieces = popx::choose_dialect(pieces, &mut parsed.skipped);
    }
    join(pieces, &mut parsed);
    Ok(parsed)
}

/// Puts the two directions of each version together.
fn join(pieces: Vec<Piece>, parsed: &mut Parsed) {
    let mut ups: BTreeMap<VersionKey, Piece> = BTreeMap::new();
    let mut downs: BTreeMap<VersionKey, Piece> = BTreeMap::new();
    for piece in pieces {
        let side = if piece.direction == Direction::Up {
            &mut ups
        } else {
            &mut downs
        };
        if let Some(first) = side.get(&piece.id.version) {
            parsed
                .problems
                .push(duplicate(&first.id, &first.script.path, &piece.script.path));
        } else {
            side.insert(piece.id.version.clone(), piece);
        }
    }
    for step in &parsed.unreadable {
        // With one direction unreadable the other one alone would mislead; `supply` gives both.
        ups.remove(&step.version);
        downs.remove(&step.version);
    }
    for (version, up) in ups {
        let down = downs.remove(&version).map(|piece| piece.script);
        parsed.migrations.push(MigrationFile {
            version,
            version_text: up.id.version_text,
            name: up.id.name,
            kind: up.id.kind,
            up: up.script,
            down,
            checksum: up.checksum,
        });
    }
    for (_, down) in downs {
        parsed.problems.push(FolderProblem::new(
            ProblemKind::UpMissing,
            Some(&down.id.version_text),
            &down.script.path,
            format!(
                "`{}` has a down migration but no up migration",
                down.id.version_text
            ),
            "add the file that it undoes, or remove it",
        ));
    }
}

fn duplicate(id: &Id, first: &Path, second: &Path) -> FolderProblem {
    let mut problem = FolderProblem::new(
        ProblemKind::DuplicateVersion,
        Some(&id.version_text),
        second,
        format!(
            "version `{}` is taken twice: by `{}` and by `{}`",
            id.version_text,
            first.display(),
            second.display()
        ),
        "give the newer one its own version; until then only the first is read",
    );
    problem.other = Some(first.to_owned());
    problem
}
