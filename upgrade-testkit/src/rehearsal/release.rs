//! The two releases of a rehearsal: what is applied, what is pending, what is odd about it.

use std::sync::Arc;

use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::{FolderProblem, MigrationFolder, ProblemKind, Severity};
use upgrade_core::migration::history::History;
use upgrade_core::migration::source::{
    PendingProblem, PendingProblemKind, Release, Source, pending,
};
use upgrade_core::upgrade::ExpectedChange;
use upgrade_core::{
    BoxError, Error, ErrorKind, Finding, Migration, Result, Scenario, Upgrade, Version,
};

use super::{Head, Rehearsal};

/// Both releases, as the runner needs them.
#[derive(Clone)]
pub(super) struct Releases {
    pub(super) from: Version,
    pub(super) to: Version,
    pub(super) applied: Vec<Arc<dyn Migration>>,
    pub(super) pending: Vec<Arc<dyn Migration>>,
    pub(super) findings: Vec<Finding>,
    /// What the files declare that run over rows.
    pub(super) expected_changes: Vec<ExpectedChange>,
    /// Why this is the previous release.
    pub(super) reason: String,
    /// The schema and the table in which the tool keeps its record, where it names a schema.
    pub(super) record: Option<(String, String)>,
}

pub(super) fn resolve(rehearsal: &Rehearsal) -> Result<Releases> {
    let head = match &rehearsal.head {
        Head::Path(path) => MigrationFolder::read(rehearsal.base.join(path)).map_err(unusable)?,
        Head::Folder(folder) => (**folder).clone(),
        Head::Built { applied, pending } => return Ok(built(applied, pending)),
    };
    let previous = match &rehearsal.from {
        Some(text) => Source::parse(text).and_then(|source| source.resolve(&head)),
        None => Release::previous_of(&head),
    }
    .map_err(unusable)?;
    let mut split = pending(&previous, &head);
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
    let history = Arc::new(History::of_folder(&head).map_err(unusable)?);
    let record = history
        .table()
        .schema
        .clone()
        .map(|schema| (schema, history.table().name.clone()));
    // From an earlier release on, released files run over rows once more.
    let from_earlier = rehearsal.scenario == Scenario::EveryRelease;
    let released = split.applied.iter().filter(|_| from_earlier);
    let problems = head.problems();
    let mut findings: Vec<Finding> = problems
        .iter()
        .map(|problem| of_folder(problem, rehearsal.reversible))
        .collect();
    findings.extend(split.problems.iter().map(between_releases));
    Ok(Releases {
        from: Version::new(&previous.name),
        to: split
            .pending
            .last()
            .map_or_else(|| Version::new("head"), |file| Version::new(file.title())),
        applied: SqlMigration::chain(&split.applied, None, &history),
        pending: SqlMigration::chain(&split.pending, split.applied.last(), &history),
        findings,
        expected_changes: released
            .chain(&split.pending)
            .flat_map(|file| file.expected_changes())
            .collect(),
        reason: format!("{} ({})", previous.name, previous.reason),
        record,
    })
}

fn built(applied: &[Arc<dyn Migration>], pending: &[Arc<dyn Migration>]) -> Releases {
    let last = |migrations: &[Arc<dyn Migration>], none: &str| {
        Version::new(
            migrations
                .last()
                .map_or(none, |migration| migration.id().version()),
        )
    };
    Releases {
        from: last(applied, "nothing"),
        to: last(pending, "head"),
        applied: applied.to_vec(),
        pending: pending.to_vec(),
        findings: Vec::new(),
        expected_changes: Vec::new(),
        reason: "the migrations that the test names".to_owned(),
        record: None,
    }
}

/// What a function of the test's own has built. Its previous release has no migrations: what it
/// needs is in the SQL that sets the database up.
pub(super) fn of_upgrade(upgrade: &Upgrade) -> Releases {
    Releases {
        from: upgrade.from().clone(),
        to: upgrade.to().clone(),
        applied: Vec::new(),
        pending: upgrade.migrations().to_vec(),
        findings: upgrade.findings().to_vec(),
        expected_changes: Vec::new(),
        reason: "the upgrade that the test builds".to_owned(),
        record: None,
    }
}

fn unusable(source: impl Into<BoxError>) -> Error {
    Error::new(ErrorKind::InvalidInput, "the migrations cannot be used").with_source(source)
}

/// A problem of the folder as a finding. A way back that is empty fails only where every migration
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
        _ => Finding::warning,
    };
    make(
        problem.kind.id().to_owned(),
        subject,
        problem.message.clone(),
    )
    .with_help(&problem.help)
}

/// Where two releases do not fit together. What edits or removes a released file fails; tools
/// apply a late version without a word, so that is for a person to look at.
fn between_releases(problem: &PendingProblem) -> Finding {
    let subject = problem.path.display().to_string();
    let make = match problem.kind {
        PendingProblemKind::LateVersion => Finding::warning,
        _ => Finding::error,
    };
    make(
        problem.kind.id().to_owned(),
        subject,
        problem.message.clone(),
    )
    .with_help(problem.help)
}
