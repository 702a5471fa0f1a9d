//! The previous release: which migrations were applied where the upgrade begins.

mod cargo;
mod git;
mod pending;

use std::fmt;
use std::path::{Path, PathBuf};

pub use cargo::Package;
pub use pending::{Pending, PendingProblem, PendingProblemKind, pending};

use super::folder::{FolderError, MigrationFile, MigrationFolder};

/// Why the previous release could not be found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The text names no source.
    #[error(
        "`{text}` names no release: {reason} (write git:REV, version:0007, folder:PATH, crate:NAME[@VERSION][/PATH] or latest tag)"
    )]
    Syntax {
        /// The text as given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Bare text is neither a version nor a revision.
    #[error(
        "`{text}` is neither a migration of `{folder}` (newest is `{newest}`) nor a git revision{hint}"
    )]
    Neither {
        /// The text as given.
        text: String,
        /// The folder that was searched.
        folder: String,
        /// Its newest version.
        newest: String,
        /// What to write or to do instead; empty, or with a semicolon before it.
        hint: String,
        /// What git said.
        #[source]
        source: Box<Self>,
    },
    /// The folder has no such version.
    #[error("`{folder}` has no migration `{version}` (newest is `{newest}`)")]
    NoVersion {
        /// The version as given.
        version: String,
        /// The folder that was searched.
        folder: String,
        /// Its newest version.
        newest: String,
    },
    /// The folder did not come from disk, so it is in no git repository.
    #[error(
        "`{origin}` is not a folder on disk, so git knows no older release of it (name a folder or a crate)"
    )]
    NotOnDisk {
        /// Where the folder came from.
        origin: String,
    },
    /// The folder is not there in the revision.
    #[error("git revision `{revision}` has no files in `{}`", folder.display())]
    NotInRevision {
        /// The revision as given.
        revision: String,
        /// The folder.
        folder: PathBuf,
    },
    /// No reachable tag holds a migration.
    #[error("no git tag before this commit has a migration in `{}`{hint}", folder.display())]
    NoTag {
        /// The folder.
        folder: PathBuf,
        /// What to do; empty, or with a semicolon before it.
        hint: String,
    },
    /// A program could not be started.
    #[error("cannot run `{command}`")]
    Spawn {
        /// Program and arguments.
        command: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A program failed or said what makes no sense.
    #[error("`{command}` failed: {message}")]
    Command {
        /// Program and arguments.
        command: String,
        /// The last line of its error output.
        message: String,
    },
    /// Cargo knows no such package, or several.
    #[error(
        "cargo knows no single package `{wanted}` here: {found} (add it as a dependency, or name its version)"
    )]
    Package {
        /// Name and version as given.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// The answer of cargo cannot be read.
    #[error("cannot read the answer of `cargo metadata`")]
    Metadata {
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The previous release's folder cannot be read.
    #[error("cannot read the previous release")]
    Folder {
        /// Why.
        #[source]
        source: FolderError,
    },
}

impl From<FolderError> for SourceError {
    fn from(source: FolderError) -> Self {
        Self::Folder { source }
    }
}

/// How a user names the previous release.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Up to and with a migration of the folder itself.
    Version(String),
    /// The folder as it is in a git revision.
    Git(String),
    /// The folder as it is in the newest tag before this commit.
    LatestTag,
    /// Another folder.
    Folder(PathBuf),
    /// The folder of a package that cargo knows.
    Crate {
        /// The package.
        name: String,
        /// Its version; needed if there are several.
        version: Option<String>,
        /// The folder in it.
        path: PathBuf,
    },
    /// A version if the folder has it, otherwise a git revision.
    Bare(String),
}

impl Source {
    /// Reads `git:REV`, `version:0007`, `folder:PATH`, `crate:NAME[@VERSION][/PATH]`,
    /// `latest tag`, or bare text.
    ///
    /// # Errors
    /// The text, or what is behind its colon, is empty or begins with a dash.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let invalid = |reason| {
            Err(SourceError::Syntax {
                text: text.to_owned(),
                reason,
            })
        };
        let trimmed = text.trim();
        let (scheme, value) = match trimmed.split_once(':') {
            Some((scheme @ ("git" | "version" | "folder" | "crate"), value)) => {
                (scheme, value.trim())
            }
            _ => ("", trimmed),
        };
        if value.is_empty() {
            return invalid("the name is empty");
        }
        // Git would take it for an option.
        if value.starts_with('-') && scheme != "folder" {
            return invalid("a name cannot begin with a dash");
        }
        Ok(match scheme {
            "git" => Self::Git(value.to_owned()),
            "version" => Self::Version(value.to_owned()),
            "folder" => Self::Folder(PathBuf::from(value)),
            "crate" => {
                let (package, path) = value.split_once('/').unwrap_or((value, "migrations"));
                let (name, version) = match package.split_once('@') {
                    Some((name, version)) => (name, Some(version.to_owned())),
                    None => (package, None),
                };
                if name.is_empty() || path.is_empty() || version.as_deref() == Some("") {
                    return invalid("a part of it is empty");
                }
                Self::Crate {
                    name: name.to_owned(),
                    version,
                    path: PathBuf::from(path),
                }
            }
            _ if value.eq_ignore_ascii_case("latest tag") => Self::LatestTag,
            _ => Self::Bare(value.to_owned()),
        })
    }

    /// Finds the release. `head` is the folder of the release that the upgrade leads to.
    ///
    /// # Errors
    /// There is no such release, or its folder cannot be read.
    pub fn resolve(&self, head: &MigrationFolder) -> Result<Release, SourceError> {
        let reason = format!("{self} was asked for");
        match self {
            Self::Version(version) => by_version(version, head, reason),
            Self::Git(revision) => by_revision(revision, head, reason),
            Self::LatestTag => latest_tag(head)?.ok_or_else(|| SourceError::NoTag {
                folder: head.path().unwrap_or(Path::new("")).to_owned(),
                hint: missing_in_clone(head),
            }),
            Self::Folder(path) => {
                let folder = MigrationFolder::read_as(path, head.layout())?;
                Ok(Release {
                    name: path.display().to_string(),
                    folder,
                    upto: None,
                    reason,
                })
            }
            Self::Crate {
                name,
                version,
                path,
            } => {
                let package = Package::find(name, version.as_deref(), head.path())?;
                let folder = MigrationFolder::read_as(package.folder.join(path), head.layout())?;
                Ok(Release {
                    name: format!("{name} {}", package.version),
                    folder,
                    upto: None,
                    reason,
                })
            }
            Self::Bare(text) => match by_version(text, head, reason.clone()) {
                Ok(release) => Ok(release),
                Err(_) => by_revision(text, head, reason).map_err(|source| SourceError::Neither {
                    text: text.clone(),
                    folder: head.origin().to_owned(),
                    newest: newest(head),
                    hint: instead_of(text, head),
                    source: Box::new(source),
                }),
            },
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version:{version}"),
            Self::Git(revision) => write!(f, "git:{revision}"),
            Self::LatestTag => f.write_str("latest tag"),
            Self::Folder(path) => write!(f, "folder:{}", path.display()),
            Self::Crate {
                name,
                version: Some(version),
                path,
            } => {
                write!(f, "crate:{name}@{version}/{}", path.display())
            }
            Self::Crate {
                name,
                version: None,
                path,
            } => write!(f, "crate:{name}/{}", path.display()),
            Self::Bare(text) => f.write_str(text),
        }
    }
}

/// The release that the upgrade begins at.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Release {
    /// The name for reports: a tag, a version, a path.
    pub name: String,
    /// The release's own migrations.
    pub folder: MigrationFolder,
    /// The last version that is applied; without one all of the folder is.
    pub upto: Option<String>,
    /// Why this release was taken, in a sentence without a period.
    pub reason: String,
}

impl Release {
    /// The previous release where the user names none: the newest tag with a migration, otherwise
    /// the first migration alone.
    ///
    /// # Errors
    /// Git found a release, but it cannot be read.
    pub fn previous_of(head: &MigrationFolder) -> Result<Self, SourceError> {
        let why = match latest_tag(head) {
            Ok(Some(release)) => return Ok(release),
            Ok(None) => format!(
                "no git tag before this commit has a migration{}",
                missing_in_clone(head)
            ),
            Err(error @ (SourceError::NotOnDisk { .. } | SourceError::Spawn { .. })) => {
                error.to_string()
            }
            Err(error @ SourceError::Command { .. }) => error.to_string(),
            Err(error) => return Err(error),
        };
        let first = head
            .migrations()
            .first()
            .map(|file| file.version_text.clone());
        let version = first.ok_or_else(|| no_version("", head))?;
        by_version(
            &version,
            head,
            format!("the first migration alone is taken: {why}"),
        )
    }

    /// The migrations that are applied in this release, in order.
    pub fn applied(&self) -> &[MigrationFile] {
        let all = self.folder.migrations();
        match self
            .upto
            .as_deref()
            .and_then(|version| self.folder.position(version))
        {
            Some(last) => &all[..=last],
            None => all,
        }
    }
}

fn newest(head: &MigrationFolder) -> String {
    head.migrations()
        .last()
        .map_or_else(|| "none".to_owned(), |file| file.version_text.clone())
}

/// What to write instead of a text that names nothing: the version of the migration at that place, or
/// how to fetch what the clone lacks.
fn instead_of(text: &str, head: &MigrationFolder) -> String {
    let place: Option<usize> = text.parse().ok();
    let at = place.and_then(|place| head.migrations().get(place.checked_sub(1)?));
    match at {
        Some(file) => {
            let version = &file.version_text;
            format!("; migration number {text} is `{version}`: write `from = \"{version}\"`")
        }
        None => missing_in_clone(head),
    }
}

/// How to fetch the history or the tags that a clone lacks.
fn missing_in_clone(head: &MigrationFolder) -> String {
    let path = head.path();
    let missing = path.and_then(git::missing_in_clone);
    missing.map_or_else(String::new, |missing| format!("; {missing}"))
}

fn no_version(version: &str, head: &MigrationFolder) -> SourceError {
    SourceError::NoVersion {
        version: version.to_owned(),
        folder: head.origin().to_owned(),
        newest: newest(head),
    }
}

fn by_version(
    version: &str,
    head: &MigrationFolder,
    reason: String,
) -> Result<Release, SourceError> {
    let file = head.get(version).ok_or_else(|| no_version(version, head))?;
    Ok(Release {
        name: file.title(),
        upto: Some(file.version_text.clone()),
        folder: head.clone(),
        reason,
    })
}

fn on_disk(head: &MigrationFolder) -> Result<&Path, SourceError> {
    head.path().ok_or_else(|| SourceError::NotOnDisk {
        origin: head.origin().to_owned(),
    })
}

fn by_revision(
    revision: &str,
    head: &MigrationFolder,
    reason: String,
) -> Result<Release, SourceError> {
    let path = on_disk(head)?;
    let files = git::files_at(path, revision)?;
    if files.is_empty() {
        return Err(SourceError::NotInRevision {
            revision: revision.to_owned(),
            folder: path.to_owned(),
        });
    }
    let origin = format!("{revision}:{}", path.display());
    let folder = MigrationFolder::from_files_as(&origin, files, head.layout())?;
    Ok(Release {
        name: revision.to_owned(),
        folder,
        upto: None,
        reason,
    })
}

/// The newest tag with a migration; a tag on this very commit is this release, not the previous.
fn latest_tag(head: &MigrationFolder) -> Result<Option<Release>, SourceError> {
    let path = on_disk(head)?;
    let mut from = "HEAD".to_owned();
    while let Some(tag) = git::latest_tag(path, &from)? {
        let is_head = from == "HEAD" && git::commit(path, &tag)? == git::commit(path, "HEAD")?;
        if !is_head {
            let reason = format!("`{tag}` is the newest tag with a migration");
            match by_revision(&tag, head, reason) {
                Ok(release) => return Ok(Some(release)),
                Err(SourceError::NotInRevision { .. }) => {}
                Err(SourceError::Folder {
                    source: FolderError::Unrecognised { .. },
                }) => {}
                Err(error) => return Err(error),
            }
        }
        from = format!("{tag}^");
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
