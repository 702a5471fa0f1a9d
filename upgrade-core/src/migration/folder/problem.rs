//! What can be wrong with a folder, as named findings.

use std::path::PathBuf;

use super::file::{MigrationFile, Script};
use crate::postgres::sql::is_empty_script;

/// Whether a problem stops an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// The migration runs, but not as one would think.
    Warning,
    /// The tool, or this library, cannot run the migration.
    Error,
}

/// The kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// Two files have one version.
    DuplicateVersion,
    /// A step is code or a template.
    UnreadableStep,
    /// The tool refuses the file's name or form.
    InvalidFile,
    /// A way back without a way forward.
    UpMissing,
    /// No way back, in a folder where others have one.
    DownMissing,
    /// A way back that does nothing.
    DownEmpty,
    /// A way forward that does nothing.
    UpEmpty,
    /// A statement that only psql can run.
    UnsupportedStatement,
    /// A comment that should declare a loss and cannot be read.
    InvalidDeclaration,
}

impl ProblemKind {
    /// The id of the finding.
    pub fn id(self) -> &'static str {
        match self {
            Self::DuplicateVersion => "duplicate-version",
            Self::UnreadableStep => "unreadable-step",
            Self::InvalidFile => "invalid-file",
            Self::UpMissing => "up-missing",
            Self::DownMissing => "down-missing",
            Self::DownEmpty => "down-empty",
            Self::UpEmpty => "up-empty",
            Self::UnsupportedStatement => "unsupported-statement",
            Self::InvalidDeclaration => "invalid-declaration",
        }
    }

    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::DownMissing | Self::DownEmpty | Self::UpEmpty => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

/// Something wrong with a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolderProblem {
    /// What it is.
    pub kind: ProblemKind,
    /// The version it is about, if the name told one.
    pub version: Option<String>,
    /// The file, relative to the folder.
    pub path: PathBuf,
    /// The second file, where the problem is between two.
    pub other: Option<PathBuf>,
    /// The line, from 1, if it is about one.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl FolderProblem {
    pub(super) fn new(
        kind: ProblemKind,
        version: Option<&str>,
        path: impl Into<PathBuf>,
        message: String,
        help: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            version: version.map(str::to_owned),
            path: path.into(),
            other: None,
            line: None,
            message,
            help: help.into(),
        }
    }

    pub(super) fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }
}

/// The problems that the SQL itself shows.
pub(super) fn of_scripts(migrations: &[MigrationFile]) -> Vec<FolderProblem> {
    let some_have_downs = migrations.iter().any(|file| file.down.is_some());
    let mut problems = Vec::new();
    for file in migrations {
        let title = file.title();
        let problem = |kind, script: &Script, message: String, help: &str| {
            FolderProblem::new(kind, Some(&file.version_text), &script.path, message, help)
        };
        if is_empty_script(&file.up.sql) {
            problems.push(problem(
                ProblemKind::UpEmpty,
                &file.up,
                format!("migration `{title}` does nothing"),
                "write its SQL or remove it",
            ));
        }
        match &file.down {
            Some(down) if is_empty_script(&down.sql) && !is_empty_script(&file.up.sql) => {
                problems.push(
                    problem(
                        ProblemKind::DownEmpty,
                        down,
                        format!("the way back of `{title}` does nothing"),
                        "write what undoes the migration, or remove the way back so that tools know there is none",
                    )
                    .at(down.first_line),
                );
            }
            None if some_have_downs && file.kind == super::MigrationKind::Versioned => {
                problems.push(problem(
                    ProblemKind::DownMissing,
                    &file.up,
                    format!("`{title}` has no way back, others in the folder have"),
                    "add one, or say that the migration cannot be reverted",
                ));
            }
            _ => {}
        }
        for script in std::iter::once(&file.up).chain(&file.down) {
            for (line, statement) in script.statements() {
                if let Some(reason) = statement.unsupported() {
                    let message = format!("`{title}` cannot run: {reason}");
                    let help = "a server runs SQL only";
                    problems.push(
                        problem(ProblemKind::UnsupportedStatement, script, message, help).at(line),
                    );
                }
            }
        }
    }
    problems
}
