//! A folder of migrations as data: which tool's layout it has, what it holds, what is wrong.
//!
//! [`MigrationFolder::read`] recognises the layout from the names of the files; nothing has to be
//! configured. The same code reads a folder of another git revision or of a crate, through
//! [`MigrationFolder::from_files`]. Nothing here runs SQL: a [`MigrationFile`] holds everything
//! that whoever runs it needs to know.

pub(super) mod check;
mod checksum;
mod declared;
mod error;
mod file;
mod layout;
mod layouts;
mod marks;
mod migrator;
mod problem;
mod read;
mod recognise;
mod superuser;

use std::path::{Path, PathBuf};

pub use checksum::{ChecksumAlgorithm, FileChecksum};
pub use error::FolderError;
pub use file::{Delivery, MigrationFile, MigrationKind, Script, TransactionMode, VersionKey};
pub use layout::{LateRule, Layout};
pub use problem::{FolderProblem, ProblemKind, Severity};

use layouts::Step;
pub(crate) use read::is_content;

/// A file of the folder that is no migration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedFile {
    /// Relative to the folder.
    pub path: PathBuf,
    /// Why it was left out; reads after "because".
    pub reason: String,
}

/// The migrations of one folder, in the order in which their tool applies them.
#[derive(Debug, Clone)]
pub struct MigrationFolder {
    origin: String,
    path: Option<PathBuf>,
    layout: Layout,
    reason: String,
    /// What it was read from, and what the user added: enough to read it again.
    input: layouts::Input,
    supplied: Vec<Supplied>,
    migrations: Vec<MigrationFile>,
    unreadable: Vec<Step>,
    problems: Vec<FolderProblem>,
    skipped: Vec<SkippedFile>,
}

/// SQL that the user gave for an unreadable step.
#[derive(Debug, Clone)]
struct Supplied {
    version: VersionKey,
    up: String,
    down: Option<String>,
}

impl MigrationFolder {
    /// Reads a folder and recognises its layout.
    ///
    /// # Errors
    /// The path is missing, a file or empty; a migration is not UTF-8; the names fit no layout; a
    /// file is marked for a tool other than that of the layout.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, FolderError> {
        Self::read_path(path.as_ref(), None)
    }

    /// Reads a folder as a given layout, where [`MigrationFolder::read`] would take another one.
    /// A mark of another tool is taken for a comment, unless it begins the down of a file that
    /// the layout would run whole.
    ///
    /// # Errors
    /// As [`MigrationFolder::read`]; also if no file fits the layout.
    pub fn read_as(path: impl AsRef<Path>, layout: Layout) -> Result<Self, FolderError> {
        Self::read_path(path.as_ref(), Some(layout))
    }

    fn read_path(path: &Path, layout: Option<Layout>) -> Result<Self, FolderError> {
        let files = read::files_of(path)?;
        let mut folder = Self::build(&path.display().to_string(), files, layout)?;
        folder.path = Some(path.to_owned());
        Ok(folder)
    }

    /// Reads a list of files that came from elsewhere, such as another git revision. `origin`
    /// names the source in messages; the paths are relative to the folder.
    ///
    /// # Errors
    /// As [`MigrationFolder::read`].
    pub fn from_files(origin: &str, files: Vec<(PathBuf, Vec<u8>)>) -> Result<Self, FolderError> {
        Self::build(origin, files, None)
    }

    /// [`MigrationFolder::from_files`] with a given layout, usually that of a newer release.
    ///
    /// # Errors
    /// As [`MigrationFolder::read_as`].
    pub fn from_files_as(
        origin: &str,
        files: Vec<(PathBuf, Vec<u8>)>,
        layout: Layout,
    ) -> Result<Self, FolderError> {
        Self::build(origin, files, Some(layout))
    }

    fn build(
        origin: &str,
        mut files: Vec<(PathBuf, Vec<u8>)>,
        layout: Option<Layout>,
    ) -> Result<Self, FolderError> {
        files.sort();
        if files.is_empty() {
            return Err(FolderError::Empty {
                origin: origin.to_owned(),
            });
        }
        let asked = layout.is_some();
        let (layout, reason) = match layout {
            Some(layout) => (layout, format!("{layout} was asked for")),
            None => recognise::recognise(&files)
                .ok_or_else(|| FolderError::unrecognised(origin, &files))?,
        };
        marks::refuse_foreign(origin, &files, layout, asked)?;
        let mut folder = Self::bare(origin, layout, reason);
        folder.input.files = files;
        folder.parse()?;
        if folder.migrations.is_empty() && folder.unreadable.is_empty() {
            let refused = |problem: &&FolderProblem| problem.kind == ProblemKind::InvalidFile;
            return Err(match folder.problems.iter().find(refused) {
                Some(problem) => FolderError::refused(origin, problem),
                None => FolderError::unrecognised(origin, &folder.input.files),
            });
        }
        Ok(folder)
    }

    /// A folder without anything in it.
    fn bare(origin: &str, layout: Layout, reason: String) -> Self {
        Self {
            origin: origin.to_owned(),
            path: None,
            layout,
            reason,
            input: layouts::Input::new(origin),
            supplied: Vec::new(),
            migrations: Vec::new(),
            unreadable: Vec::new(),
            problems: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// Reads the input anew.
    fn parse(&mut self) -> Result<(), FolderError> {
        let parsed = layouts::parse(self.layout, &self.input)?;
        self.migrations = parsed.migrations;
        self.unreadable = parsed.unreadable;
        self.problems = parsed.problems;
        self.skipped = parsed.skipped;
        for supplied in &self.supplied {
            let Some(at) = self
                .unreadable
                .iter()
                .position(|s| s.version == supplied.version)
            else {
                continue;
            };
            let step = self.unreadable.remove(at);
            // A step may have an unreadable file for each direction.
            self.unreadable
                .retain(|other| other.version != step.version);
            self.migrations.retain(|file| file.version != step.version);
            self.problems
                .retain(|problem| problem.version.as_deref() != Some(&step.version_text));
            self.migrations.push(step.with_sql(self.layout, supplied));
        }
        self.migrations.sort_by(|a, b| a.version.cmp(&b.version));
        Ok(())
    }

    /// The layout, and so the tool that the folder belongs to.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Why this layout was taken, in a sentence without a period.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Where the files came from, for messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The folder on disk, if that is where the files came from.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The migrations, in the order in which the tool applies them.
    pub fn migrations(&self) -> &[MigrationFile] {
        &self.migrations
    }

    /// The migration with a version, spelt as in the folder or in the tool's table: `0007` finds
    /// `7` where the tool compares numbers.
    pub fn get(&self, version: &str) -> Option<&MigrationFile> {
        self.position(version).map(|at| &self.migrations[at])
    }

    /// The place of a version in [`MigrationFolder::migrations`]. Where the tool records names, the
    /// number in front of a name is enough if no other name begins with it.
    pub fn position(&self, version: &str) -> Option<usize> {
        let place = |is: &dyn Fn(&MigrationFile) -> bool| self.migrations.iter().position(is);
        let key = self.layout.version_key(version);
        place(&|file| file.version_text == version)
            .or_else(|| place(&|file| Some(&file.version) == key.as_ref()))
            .or_else(|| {
                let Some(VersionKey::Named(number, _)) = key else {
                    return None;
                };
                let has = |file: &MigrationFile| matches!(&file.version, VersionKey::Named(n, _) if *n == number);
                let digits = version.bytes().all(|byte| byte.is_ascii_digit());
                let only = self.migrations.iter().filter(|file| has(file)).count() == 1;
                (digits && only).then(|| place(&has)).flatten()
            })
    }

    /// Files that are no migrations.
    pub fn skipped(&self) -> &[SkippedFile] {
        &self.skipped
    }

    /// What is wrong with the folder, by path and line.
    pub fn problems(&self) -> Vec<FolderProblem> {
        let mut problems = self.problems.clone();
        problems.extend(self.unreadable.iter().map(Step::problem));
        problems.extend(check::of_scripts(self.layout, &self.migrations));
        problems.extend(self.migrations.iter().flat_map(declared::problems));
        problems.sort_by(|a, b| (&a.path, a.line, a.kind).cmp(&(&b.path, b.line, b.kind)));
        problems
    }

    /// Gives the SQL of a step that could not be read because it is code or a template.
    ///
    /// # Errors
    /// There is no unreadable step of this version.
    pub fn supply(
        &mut self,
        version: &str,
        up_sql: impl Into<String>,
        down_sql: Option<String>,
    ) -> Result<(), FolderError> {
        let at = self
            .unreadable
            .iter()
            .position(|step| step.version_text == version)
            .ok_or_else(|| FolderError::NothingToSupply {
                origin: self.origin.clone(),
                version: version.to_owned(),
                unreadable: self
                    .unreadable
                    .iter()
                    .map(|step| step.version_text.clone())
                    .collect(),
            })?;
        let version = self.unreadable[at].version.clone();
        self.supplied.push(Supplied {
            version,
            up: up_sql.into(),
            down: down_sql,
        });
        self.parse()
    }

    /// Fills a placeholder in, in every script: `:schema`, `${schema}` and the like, given as it
    /// stands in the files. Returns how many files hold it. Checksums stay those of the files.
    ///
    /// # Errors
    /// As [`MigrationFolder::read`].
    pub fn fill(&mut self, placeholder: &str, value: &str) -> Result<usize, FolderError> {
        self.input
            .fills
            .push((placeholder.to_owned(), value.to_owned()));
        self.parse()?;
        let holds = |content: &[u8]| {
            std::str::from_utf8(content).is_ok_and(|text| text.contains(placeholder))
        };
        Ok(self
            .input
            .files
            .iter()
            .filter(|(_, content)| holds(content))
            .count())
    }
}

#[cfg(test)]
mod tests;
