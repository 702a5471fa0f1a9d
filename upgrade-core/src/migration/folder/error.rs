//! Why a folder cannot be read.

use std::path::{Path, PathBuf};

use super::layout::Layout;
use super::problem::FolderProblem;

/// Why a migration folder cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// Nothing is at the path.
    #[error("migration folder `{}` does not exist (name the folder that holds the migrations; in a test a relative path starts at the package)", path.display())]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// The path is not a folder.
    #[error("`{}` is a file, not a folder of migrations (name the folder that holds it)", path.display())]
    NotAFolder {
        /// The path as given.
        path: PathBuf,
    },
    /// The folder or a file in it cannot be read.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The folder holds no file at all.
    #[error("migration folder `{origin}` is empty (looked for {})", examples())]
    Empty {
        /// Where the files should have come from.
        origin: String,
    },
    /// The file names fit no layout.
    #[error(
        "no migrations in `{origin}`: found {} (known are {})",
        list(found),
        examples()
    )]
    Unrecognised {
        /// Where the files came from.
        origin: String,
        /// The first files.
        found: Vec<PathBuf>,
    },
    /// The tool would refuse every file of the folder; this is the first.
    #[error("no migration in `{origin}` can be read: `{place}`: {message} ({help})")]
    Refused {
        /// Where the files came from.
        origin: String,
        /// The file, relative to the folder, and the line.
        place: String,
        /// What is wrong with it.
        message: String,
        /// What to do about it.
        help: String,
    },
    /// A file is written for another tool than the rest: read as the layout says, both of its
    /// directions would run.
    #[error(
        "`{}:{line}` in `{origin}` has `{mark}`, a mark of {tool}, and the folder is read as {layout}'s ({help})",
        path.display()
    )]
    ForeignMark {
        /// Where the files came from.
        origin: String,
        /// The file, relative to the folder.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The line's text.
        mark: String,
        /// The tool that the mark belongs to.
        tool: &'static str,
        /// The layout as which the folder would be read.
        layout: Layout,
        /// What to do.
        help: &'static str,
    },
    /// A migration is not text.
    #[error("`{}` in `{origin}` is not UTF-8 at byte {offset} (save it as UTF-8)", path.display())]
    NotUtf8 {
        /// Where the files came from.
        origin: String,
        /// The file, relative to the folder.
        path: PathBuf,
        /// The first byte that is not UTF-8, from 0.
        offset: usize,
        /// What the decoder said.
        #[source]
        source: std::str::Utf8Error,
    },
    /// SQL was supplied for a step that needs none.
    #[error(
        "`{origin}` has no unreadable step `{version}` (unreadable are {})",
        names(unreadable)
    )]
    NothingToSupply {
        /// Where the files came from.
        origin: String,
        /// The version as given.
        version: String,
        /// The versions that can be supplied.
        unreadable: Vec<String>,
    },
}

impl FolderError {
    pub(super) fn unrecognised(origin: &str, files: &[(PathBuf, Vec<u8>)]) -> Self {
        Self::Unrecognised {
            origin: origin.to_owned(),
            found: files.iter().map(|(path, _)| path.clone()).collect(),
        }
    }

    pub(super) fn refused(origin: &str, problem: &FolderProblem) -> Self {
        let path = problem.path.display();
        Self::Refused {
            origin: origin.to_owned(),
            place: match problem.line {
                Some(line) => format!("{path}:{line}"),
                None => path.to_string(),
            },
            message: problem.message.clone(),
            help: problem.help.clone(),
        }
    }

    pub(super) fn not_utf8(origin: &str, path: &Path, source: std::str::Utf8Error) -> Self {
        Self::NotUtf8 {
            origin: origin.to_owned(),
            path: path.to_owned(),
            offset: source.valid_up_to(),
            source,
        }
    }
}

fn examples() -> String {
    let all: Vec<_> = Layout::ALL
        .iter()
        .map(|layout| format!("{layout}: {}", layout.example()))
        .collect();
    all.join("; ")
}

fn list(found: &[PathBuf]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = found
        .iter()
        .take(SHOWN)
        .map(|path| format!("`{}`", path.display()))
        .collect();
    match found.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn names(versions: &[String]) -> String {
    match versions {
        [] => "none".to_owned(),
        versions => versions.join(", "),
    }
}

impl From<FolderError> for crate::Error {
    fn from(source: FolderError) -> Self {
        let message = "the migrations cannot be used";
        Self::new(crate::ErrorKind::InvalidInput, message).with_source(source)
    }
}
