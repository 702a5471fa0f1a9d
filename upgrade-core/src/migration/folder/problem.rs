//! What can be wrong with a folder, as named findings.

use std::path::PathBuf;

/// Whether a problem stops an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// Nothing is wrong; somebody may like to know.
    Note,
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
    /// A down migration without an up migration.
    UpMissing,
    /// No down migration, in a folder where others have one.
    DownMissing,
    /// A down migration that does nothing.
    DownEmpty,
    /// An up migration that does nothing.
    UpEmpty,
    /// A statement that only psql can run.
    UnsupportedStatement,
    /// A file without a transaction has several statements, which are one transaction all the same.
    NoTransactionSeveralStatements,
    /// A file that its tool puts into a transaction begins or ends one itself.
    TransactionControl,
    /// No down migration, between migrations that have one.
    IrreversibleInRange,
    /// The tool's checksum changes with the line endings of the file.
    ChecksumLineEndings,
    /// A comment that should declare a loss and cannot be read.
    InvalidDeclaration,
    /// A SQL file that the tool passes over because of its name.
    StrayFile,
    /// A statement that only a superuser may run.
    NeedsSuperuser,
}

impl ProblemKind {
    /// The id of the finding.
    pub fn id(self) -> &'static str {
        match self {
            Self::DuplicateVersion => "file/duplicate-version",
            Self::UnreadableStep => "file/unreadable",
            Self::InvalidFile => "file/invalid",
            Self::UpMissing => "file/up-missing",
            Self::DownMissing => "file/down-missing",
            Self::DownEmpty => "file/down-empty",
            Self::UpEmpty => "file/up-empty",
            Self::UnsupportedStatement => "file/unsupported-statement",
            Self::NoTransactionSeveralStatements => "file/several-statements",
            Self::TransactionControl => "file/transaction-control",
            Self::IrreversibleInRange => "file/one-way-between",
            Self::ChecksumLineEndings => "file/line-endings",
            Self::InvalidDeclaration => "file/invalid-declaration",
            Self::StrayFile => "file/stray",
            Self::NeedsSuperuser => "file/needs-superuser",
        }
    }

    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::StrayFile | Self::NeedsSuperuser => Severity::Note,
            Self::DownMissing
            | Self::DownEmpty
            | Self::UpEmpty
            | Self::TransactionControl
            | Self::IrreversibleInRange
            | Self::ChecksumLineEndings => Severity::Warning,
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
    /// How bad it is: [`ProblemKind::severity`], unless it is milder here.
    pub severity: Severity,
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
            severity: kind.severity(),
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
