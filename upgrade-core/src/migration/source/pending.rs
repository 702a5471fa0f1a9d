//! What an upgrade has to apply: the difference of two releases. Pure.

use std::path::PathBuf;

use super::Release;
use crate::migration::folder::{
    LateRule, Layout, MigrationFile, MigrationFolder, MigrationKind, Script, Severity,
};
use crate::postgres::sql::same_statements;

/// What lies between two releases.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Pending {
    /// The previous release's own migrations, in order: what made the schema that is there.
    pub applied: Vec<MigrationFile>,
    /// The new release's migrations that are to be applied, in order.
    pub pending: Vec<MigrationFile>,
    /// Where the two releases do not fit together.
    pub problems: Vec<PendingProblem>,
}

/// The kinds of [`PendingProblem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PendingProblemKind {
    /// A migration was changed after its release.
    EditedAppliedMigration,
    /// The down migration of a migration was changed after its release; tools do not notice.
    EditedAppliedDown,
    /// A pending version is lower than one that is applied.
    LateVersion,
    /// The previous release has a migration that the new one lacks.
    RemovedMigration,
}

impl PendingProblemKind {
    /// The id of the finding.
    pub fn id(self) -> &'static str {
        match self {
            Self::EditedAppliedMigration => "history/edited-up",
            Self::EditedAppliedDown => "history/edited-down",
            Self::LateVersion => "history/late-version",
            Self::RemovedMigration => "history/removed",
        }
    }
}

/// Something that does not fit between two releases.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingProblem {
    /// What it is.
    pub kind: PendingProblemKind,
    /// How bad it is; a late version is worse where the tool does not apply it.
    pub severity: Severity,
    /// The version it is about.
    pub version: String,
    /// The file in the new release, or in the previous one if the new one lacks it.
    pub path: PathBuf,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: &'static str,
}

/// Compares the previous release with the folder of the new one.
pub fn pending(previous: &Release, head: &MigrationFolder) -> Pending {
    let applied = previous.applied().to_vec();
    let mut problems = Vec::new();
    for old in &applied {
        let problem = match head
            .migrations()
            .iter()
            .find(|new| new.version == old.version)
        {
            None => Some(problem(
                PendingProblemKind::RemovedMigration,
                old,
                format!(
                    "`{}` is applied in {} and missing now",
                    old.title(),
                    previous.name
                ),
                "put the file back; tools refuse or forget what they cannot find",
            )),
            // A repeatable migration is meant to be changed.
            Some(new) if new.kind == MigrationKind::Repeatable => None,
            Some(new) if differs(head.layout(), old, new) => Some(problem(
                PendingProblemKind::EditedAppliedMigration,
                new,
                format!(
                    "`{}` differs from the one applied in {}, {}",
                    new.title(),
                    previous.name,
                    if head.layout().keeps_checksum() {
                        format!("so {} refuses it", head.layout())
                    } else {
                        format!("and {} does not notice", head.layout())
                    }
                ),
                "undo the change and write a new migration",
            )),
            // No tool keeps a checksum of a down.
            Some(new) if !same(old.down.as_ref(), new.down.as_ref()) => {
                let down = new.down.as_ref().or(old.down.as_ref());
                let mut problem = problem(
                    PendingProblemKind::EditedAppliedDown,
                    new,
                    format!(
                        "the down migration of `{}` differs from that of {}",
                        new.title(),
                        previous.name
                    ),
                    "undo the change, or make sure that it fits what the old up migration made",
                );
                problem.path = down.map_or(problem.path, |script| script.path.clone());
                Some(problem)
            }
            Some(_) => None,
        };
        problems.extend(problem);
    }
    let highest = applied
        .iter()
        .filter(|f| f.kind == MigrationKind::Versioned)
        .map(|f| &f.version)
        .max();
    let mut pending = Vec::new();
    for new in head.migrations() {
        match applied.iter().find(|old| old.version == new.version) {
            Some(old) if new.kind == MigrationKind::Repeatable => {
                if new.checksum != old.checksum {
                    pending.push(new.clone());
                }
            }
            Some(_) => {}
            None => {
                if new.kind == MigrationKind::Versioned && highest.is_some_and(|h| new.version < *h)
                {
                    problems.push(late(head.layout(), new, &previous.name));
                }
                pending.push(new.clone());
            }
        }
    }
    problems.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
    Pending {
        applied,
        pending,
        problems,
    }
}

/// Whether a released migration was edited so that it matters: the tool keeps a checksum of its
/// text, or it does another thing. A comment is nothing to a tool without checksums.
fn differs(layout: Layout, old: &MigrationFile, new: &MigrationFile) -> bool {
    new.checksum != old.checksum && (layout.keeps_checksum() || !same(Some(&old.up), Some(&new.up)))
}

fn same(old: Option<&Script>, new: Option<&Script>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => {
            old.transaction == new.transaction && same_statements(&old.sql, &new.sql)
        }
        (old, new) => old.is_none() && new.is_none(),
    }
}

/// A version below one that is applied, and what the tool does with it.
fn late(layout: Layout, file: &MigrationFile, release: &str) -> PendingProblem {
    let does = match layout.late_rule() {
        LateRule::Applies => format!(
            "{layout} applies it behind the others, and a new system in the order of the versions"
        ),
        LateRule::Skips => format!("{layout} never applies it, and reports success"),
        LateRule::Refuses => format!("{layout} refuses to migrate until an option allows it"),
    };
    let mut problem = problem(
        PendingProblemKind::LateVersion,
        file,
        format!(
            "`{}` is new, but sorts below what is applied in {release}: {does}",
            file.title()
        ),
        "give it a version above all others",
    );
    if layout.late_rule() == LateRule::Applies {
        problem.severity = Severity::Warning;
    }
    problem
}

fn problem(
    kind: PendingProblemKind,
    file: &MigrationFile,
    message: String,
    help: &'static str,
) -> PendingProblem {
    let (version, path) = (file.version_text.clone(), file.up.path.clone());
    PendingProblem {
        kind,
        severity: Severity::Error,
        version,
        path,
        message,
        help,
    }
}
