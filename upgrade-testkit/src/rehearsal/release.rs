//! The two releases of a rehearsal: what is applied, what is pending, what is odd about it.

use std::sync::Arc;

use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::{
    FolderProblem, Layout, MigrationFolder, ProblemKind, Severity,
};
use upgrade_core::migration::record::{RecordTable, ToolRecord};
use upgrade_core::migration::source::{Pending, PendingProblem, Release, Source, pending};
use upgrade_core::{
    BoxError, Error, ErrorKind, Finding, Migration, Result, Scenario, Upgrade, Version,
};

use super::{Head, Rehearsal};
use crate::case::TestCase;

/// Both releases, as the runner needs them.
#[derive(Clone)]
pub(super) struct Releases {
    /// What changes between them, with everything that the test adds.
    pub(super) upgrade: Upgrade,
    /// Why this is the previous release.
    pub(super) reason: String,
    /// The table in which the tool keeps its record, where the tool is known.
    pub(super) record: Option<RecordTable>,
}

/// From the function that the test names, or from its migrations.
pub(super) async fn resolve(rehearsal: &Rehearsal) -> Result<Releases> {
    if let Some(cx) = &rehearsal.case
        && let Some(build) = TestCase::of(cx)?.spec().upgrade()
    {
        return Ok(Releases {
            upgrade: rehearsal.changed(build(cx.clone()).await?),
            reason: "the upgrade that the test builds".to_owned(),
            record: None,
        });
    }
    let head = match &rehearsal.head {
        Head::Path(path) => MigrationFolder::read(rehearsal.base.join(path)).map_err(unusable)?,
        Head::Folder(folder) => (**folder).clone(),
        Head::Built { applied, pending } => return Ok(built(rehearsal, applied, pending)),
    };
    of_files(rehearsal, &head)
}

fn of_files(rehearsal: &Rehearsal, head: &MigrationFolder) -> Result<Releases> {
    let previous = match &rehearsal.from {
        Some(text) => Source::parse(text).and_then(|source| source.resolve(head)),
        None => Release::previous_of(head),
    }
    .map_err(unusable)?;
    let mut split = pending(&previous, head);
    if let Some(to) = &rehearsal.to {
        let last = head.get(to).and_then(|wanted| {
            split
                .pending
                .iter()
                .position(|file| file.version == wanted.version)
        });
        let Some(last) = last else {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "no migration with version `{to}` is pending after `{}`",
                    previous.name
                ),
            )
            .with_hint("name one of the migrations that come after the previous release"));
        };
        split.pending.truncate(last + 1);
    }
    let mut tool = ToolRecord::of_folder(head).map_err(unusable)?;
    if let Some(sql) = &rehearsal.session_sql {
        tool = tool.with_session_sql(sql);
    }
    let tool = Arc::new(tool);
    let record = Some(tool.table().clone());
    // From an earlier release on, released files run over rows once more.
    let from_earlier = rehearsal.scenario == Scenario::SkipRelease;
    let released = split.applied.iter().filter(|_| from_earlier);
    let to = split
        .pending
        .last()
        .map_or_else(|| Version::new("head"), |file| Version::new(file.title()));
    let applied = SqlMigration::chain(&split.applied, None, &tool);
    let pending = SqlMigration::chain(&split.pending, split.applied.last(), &tool);
    let mut install: Vec<_> = split
        .applied
        .iter()
        .map(|file| &file.version)
        .chain(split.pending.iter().map(|file| &file.version))
        .zip(applied.iter().chain(&pending))
        .collect();
    install.sort_by_key(|(version, _)| *version);
    let install: Vec<_> = install
        .into_iter()
        .map(|(_, migration)| migration.id().clone())
        .collect();
    let boundaries = boundaries(rehearsal, &applied);
    let upgrade = Upgrade::new(&rehearsal.name, Version::new(&previous.name), to)
        .with_released(applied, boundaries)
        .with_migrations(pending)
        .with_install_order(install)
        .with_expected_changes(
            released
                .chain(&split.pending)
                .flat_map(|file| file.expected_changes()),
        );
    let upgrade = rehearsal.changed(upgrade);
    let reversible = upgrade.is_reversible();
    let problems = head.problems();
    let problems = problems
        .iter()
        .filter(|problem| from_earlier || is_judged(problem, head.layout(), &split))
        .map(|problem| of_folder(problem, reversible));
    let between = split.problems.iter().map(between_releases);
    Ok(Releases {
        upgrade: upgrade.with_findings(problems.chain(between)),
        reason: format!("{} ({})", previous.name, previous.reason),
        record,
    })
}

fn built(
    rehearsal: &Rehearsal,
    applied: &[Arc<dyn Migration>],
    pending: &[Arc<dyn Migration>],
) -> Releases {
    let last = |migrations: &[Arc<dyn Migration>], none: &str| {
        Version::new(
            migrations
                .last()
                .map_or(none, |migration| migration.id().version()),
        )
    };
    let (from, to) = (last(applied, "nothing"), last(pending, "head"));
    let upgrade = Upgrade::new(&rehearsal.name, from, to)
        .with_released(applied.iter().cloned(), boundaries(rehearsal, applied))
        .with_migrations(pending.iter().cloned());
    Releases {
        upgrade: rehearsal.changed(upgrade),
        reason: "the migrations that the test names".to_owned(),
        record: None,
    }
}

/// The earlier releases by how many migrations each has: those that the test names, or else each
/// migration is one.
fn boundaries(rehearsal: &Rehearsal, applied: &[Arc<dyn Migration>]) -> Vec<usize> {
    let releases = &rehearsal.releases;
    let named = |version: &str| releases.is_empty() || releases.contains(version);
    let applied = applied.iter().enumerate();
    applied
        .filter(|(_, migration)| named(migration.id().version()))
        .map(|(at, _)| at + 1)
        .collect()
}

fn unusable(source: impl Into<BoxError>) -> Error {
    Error::new(ErrorKind::InvalidInput, "the migrations cannot be used").with_source(source)
}

/// Whether a problem is about what is rehearsed. How a file of the previous release is written
/// cannot be changed any more; what keeps the release from being made at all is a failure.
fn is_judged(problem: &FolderProblem, layout: Layout, split: &Pending) -> bool {
    let version = problem.version.as_deref();
    let version = version.and_then(|version| layout.version_key(version));
    let latest = split.applied.iter().map(|file| &file.version).max();
    let is_pending = split
        .pending
        .iter()
        .any(|file| Some(&file.version) == version.as_ref());
    let released = version.is_some() && version.as_ref() <= latest && !is_pending;
    !released
        || matches!(
            problem.kind,
            ProblemKind::DuplicateVersion
                | ProblemKind::UnreadableStep
                | ProblemKind::UnsupportedStatement
                | ProblemKind::InvalidFile
        )
}

/// A problem of the folder as a finding. A down migration that is empty fails only where every migration
/// is asked to have one.
fn of_folder(problem: &FolderProblem, reversible: bool) -> Finding {
    let mut subject = problem.path.display().to_string();
    if let Some(line) = problem.line {
        subject.push_str(&format!(":{line}"));
    }
    let make = match (problem.kind, problem.severity) {
        // Which of the pending migrations have none is said when they are inspected.
        (ProblemKind::DownMissing, _) => Finding::note,
        (ProblemKind::DownEmpty, _) if reversible => Finding::error,
        (ProblemKind::DownEmpty, _) => Finding::note,
        (_, Severity::Error) => Finding::error,
        (_, Severity::Warning) => Finding::warning,
        _ => Finding::note,
    };
    make(
        problem.kind.id().to_owned(),
        subject,
        problem.message.clone(),
    )
    .with_help(&problem.help)
}

/// Where two releases do not fit together.
fn between_releases(problem: &PendingProblem) -> Finding {
    let subject = problem.path.display().to_string();
    let make = match problem.severity {
        Severity::Error => Finding::error,
        Severity::Warning => Finding::warning,
        _ => Finding::note,
    };
    make(
        problem.kind.id().to_owned(),
        subject,
        problem.message.clone(),
    )
    .with_help(problem.help)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// The findings of a folder for an upgrade from a version on.
    fn judged(files: &[(&str, &str)], from: &str, reversible: bool) -> Vec<String> {
        let files = files
            .iter()
            .map(|(name, sql)| (PathBuf::from(name), sql.as_bytes().to_vec()))
            .collect();
        let head = MigrationFolder::from_files("m", files).unwrap();
        let previous = Source::Version(from.to_owned()).resolve(&head).unwrap();
        let split = pending(&previous, &head);
        head.problems()
            .iter()
            .filter(|problem| is_judged(problem, head.layout(), &split))
            .map(|problem| of_folder(problem, reversible))
            .map(|finding| format!("{} {} {}", finding.severity, finding.id, finding.subject))
            .collect()
    }

    #[test]
    fn old() {
        let files = [
            ("0001_a.up.sql", "create table a (id bigint primary key);"),
            ("0001_a.down.sql", "-- nothing"),
            ("0002_n.up.sql", "alter table a add column n int;"),
            ("0002_n.down.sql", "alter table a drop column n;"),
        ];
        assert!(judged(&files, "0001", true).is_empty());
        let mut new = files;
        new[3].1 = "-- nothing";
        assert_eq!(
            judged(&new, "0001", true),
            ["error file/down-empty 0002_n.down.sql:1"]
        );
    }

    #[test]
    fn what_keeps_the_previous_release_from_being_made_is_judged() {
        let files = [
            ("0001_a.up.sql", "create table a (id bigint primary key);"),
            ("0002_b.up.sql", "\\connect b"),
            ("0002_c.down.sql", "select f();"),
            ("0003_n.up.sql", "alter table a add column n int;"),
            ("0003_n.down.sql", "alter table a drop column n;"),
            ("0001_z.down.sql", "drop table z;"),
            ("0000_y.down.sql", "drop table y;"),
        ];
        assert_eq!(
            judged(&files, "0002", true),
            ["error file/unsupported-statement 0002_b.up.sql:1"]
        );
    }
}
