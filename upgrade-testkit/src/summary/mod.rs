//! All reports of a folder as one page: for a terminal, a review, a CI system, a browser.
//!
//! Every test case leaves a report (see [`report_file`](crate::report_file)). A [`Summary`] reads them
//! all, makes one entry of equal findings of several cases, and says at its end what was not verified.

mod annotations;
mod explain;
mod html;
mod junit;
mod markdown;
mod sarif;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use upgrade_core::finding::FindingKind;
use upgrade_core::report::{FORMAT, StepOutcome};
use upgrade_core::{Error, ErrorKind, Finding, Report, Result, Scenario, Severity};

pub use explain::explain;

/// The reports of a folder.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Summary {
    /// The cases, by crate and name.
    pub cases: Vec<Case>,
    /// What was found, the gravest first; equal findings of several cases are one entry.
    pub entries: Vec<Entry>,
    /// What was not verified, one sentence each.
    pub not_verified: Vec<String>,
}

/// One test case and the report of its last run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Case {
    /// The crate that the test is compiled into.
    pub crate_name: String,
    /// Its path, as `cargo test` prints it.
    pub name: String,
    /// Its report.
    pub report: Report,
}

/// A finding, and the cases that have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// How much it weighs.
    pub severity: Severity,
    /// Its id.
    pub id: String,
    /// What it is about.
    pub subject: String,
    /// What was seen.
    pub message: String,
    /// The file at fault, from the root of the repository where that is known.
    pub file: Option<String>,
    /// The line in it, counted from 1.
    pub line: Option<u32>,
    /// Proof to read.
    pub evidence: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// Why it is accepted, if it is.
    pub known: Option<String>,
    /// The cases, by name.
    pub cases: BTreeSet<String>,
    /// The folder of the migrations, for who must name a place.
    #[serde(skip)]
    folder: Option<String>,
}

impl Summary {
    /// Reads every report below a folder.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none, [`ErrorKind::InvalidInput`] with the file that
    /// cannot be used, [`ErrorKind::Io`].
    pub fn read(folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        reports_below(folder, &mut files)?;
        if files.is_empty() {
            let message = format!("there is no report in `{}`", folder.display());
            return Err(Error::new(ErrorKind::NotFound, message)
                .with_hint("run the tests first, or name the folder of `UPGRADE_REPORT_DIR`"));
        }
        files.sort();
        let mut cases = Vec::new();
        for file in files {
            cases.push(Case::read(folder, &file)?);
        }
        Ok(Self::of(cases))
    }

    /// The summary of these cases.
    pub fn of(mut cases: Vec<Case>) -> Self {
        cases.sort_by(|one, other| {
            (&one.crate_name, &one.name).cmp(&(&other.crate_name, &other.name))
        });
        let mut entries: Vec<Entry> = Vec::new();
        for case in &cases {
            for found in &case.report.findings {
                let entry = Entry::of(&found.finding, &case.report);
                let name = case.name.clone();
                match entries.iter_mut().find(|other| other.is_same(&entry)) {
                    Some(other) => drop(other.cases.insert(name)),
                    None => entries.push(Entry {
                        cases: BTreeSet::from([name]),
                        ..entry
                    }),
                }
            }
        }
        entries.sort_by(|one, other| {
            let key = |entry: &Entry| (entry.known.is_some(), std::cmp::Reverse(entry.severity));
            (key(one), &one.file, &one.id, &one.subject).cmp(&(
                key(other),
                &other.file,
                &other.id,
                &other.subject,
            ))
        });
        let not_verified = not_verified(&cases);
        Self {
            cases,
            entries,
            not_verified,
        }
    }

    /// Whether every case passed.
    pub fn passed(&self) -> bool {
        self.cases.iter().all(|case| case.report.passed)
    }

    /// The entries that are not accepted, of a severity.
    fn open(&self, severity: Severity) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.iter();
        entries.filter(move |entry| entry.known.is_none() && entry.severity == severity)
    }

    /// One line: how many cases, how many failed, what was found.
    fn headline(&self) -> String {
        let failed = self.cases.iter().filter(|case| !case.report.passed).count();
        let accepted = self.entries.iter().filter(|entry| entry.known.is_some());
        let mut parts = vec![
            many(self.cases.len(), "case"),
            format!("{failed} failed"),
            many(self.open(Severity::Error).count(), "error"),
            many(self.open(Severity::Warning).count(), "warning"),
            many(self.open(Severity::Note).count(), "note"),
        ];
        match accepted.count() {
            0 => {}
            count => parts.push(format!("{count} accepted")),
        }
        parts.join(", ")
    }
}

impl Case {
    /// A case of a crate, with its report.
    pub fn new(crate_name: impl Into<String>, name: impl Into<String>, report: Report) -> Self {
        Self {
            crate_name: crate_name.into(),
            name: name.into(),
            report,
        }
    }

    /// The test that it is a case of, with its crate: `shop::orders` of `orders::upgrade::pg15`.
    fn test(&self) -> String {
        let scenario = format!("::{}", self.report.scenario);
        let name = self
            .name
            .rfind(&scenario)
            .map_or(self.name.as_str(), |at| &self.name[..at]);
        format!("{}::{}", self.crate_name, name)
    }

    fn read(folder: &Path, file: &Path) -> Result<Self> {
        let refused = |message: String, hint: &str| {
            let message = format!("`{}` {message}", file.display());
            Error::new(ErrorKind::InvalidInput, message).with_hint(hint)
        };
        let again = "remove it, or run its test again";
        let text = fs::read_to_string(file).map_err(|source| {
            let message = format!("`{}` cannot be read", file.display());
            Error::new(ErrorKind::Io, message).with_source(source)
        })?;
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|source| {
            refused("is no whole report".to_owned(), again).with_source(source)
        })?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        if format != Some(u64::from(FORMAT)) {
            let format = format.map_or("none".to_owned(), |format| format.to_string());
            let message = format!("has the format {format}, and this program reads {FORMAT}");
            return Err(refused(message, again));
        }
        let report = serde_json::from_value(value)
            .map_err(|source| refused("is no report".to_owned(), again).with_source(source))?;
        let below = file.strip_prefix(folder).unwrap_or(file);
        let crate_name = below
            .parent()
            .unwrap_or(Path::new(""))
            .display()
            .to_string();
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self::new(crate_name, stem.replace("__", "::"), report))
    }
}

impl Entry {
    fn of(finding: &Finding, report: &Report) -> Self {
        let blamed = finding.blames.as_ref().and_then(|blame| blame.place());
        let (file, line) = match blamed {
            Some((file, line)) => {
                let file = match &report.folder {
                    Some(folder) => format!("{folder}/{file}"),
                    None => file.to_owned(),
                };
                (Some(file), line)
            }
            None => (None, None),
        };
        let of_kind = || FindingKind::of(&finding.id).map(|kind| kind.mend.to_owned());
        Self {
            severity: finding.severity,
            id: finding.id.clone(),
            subject: finding.subject.to_string(),
            message: finding.message.clone(),
            file,
            line,
            evidence: finding.evidence.clone(),
            help: finding.help.clone().or_else(of_kind),
            known: finding.known.clone(),
            cases: BTreeSet::new(),
            folder: report.folder.clone(),
        }
    }

    /// Whether two entries say the same of one thing. Evidence differs by times.
    fn is_same(&self, other: &Self) -> bool {
        (&self.id, self.severity, &self.subject, &self.message)
            == (&other.id, other.severity, &other.subject, &other.message)
            && (&self.file, &self.known) == (&other.file, &other.known)
    }
}

/// What no case has verified, although one would think so.
fn not_verified(cases: &[Case]) -> Vec<String> {
    let mut sentences = BTreeSet::new();
    let mut tests: BTreeMap<String, BTreeSet<Scenario>> = BTreeMap::new();
    for case in cases {
        let Case { name, report, .. } = case;
        let test = case.test();
        tests
            .entry(test.clone())
            .or_default()
            .insert(report.scenario);
        if report.validators.is_empty() {
            sentences.insert(format!(
                "{test}: no validator was given, so no workflow was checked"
            ));
        }
        for found in &report.findings {
            if found.finding.id == "data/table-empty" {
                let (subject, message) = (&found.finding.subject, &found.finding.message);
                sentences.insert(format!("{test}: {subject} {message}"));
            }
        }
        for unjudged in &report.unjudged {
            let migrations = unjudged.migrations.iter().map(ToString::to_string);
            let migrations: Vec<String> = migrations.collect();
            let of = if unjudged.rollback_only {
                "the rollback of "
            } else {
                ""
            };
            sentences.insert(format!(
                "{name}: {of}{} was not judged, because `{}` failed",
                migrations.join(", "),
                unjudged.because
            ));
        }
        for step in &report.steps {
            if let StepOutcome::Inconclusive(reason) = &step.outcome {
                let reason = reason.lines().next().unwrap_or_default();
                sentences.insert(format!("{name}: {}: {reason}", step.title));
            }
        }
    }
    for (test, run) in tests {
        let missing: Vec<&str> = Scenario::ALL
            .into_iter()
            .filter(|scenario| !scenario.needs_services() && !run.contains(scenario))
            .map(Scenario::as_str)
            .collect();
        if !missing.is_empty() && !run.contains(&Scenario::Custom) {
            sentences.insert(format!("{test}: not run: {}", missing.join(", ")));
        }
    }
    sentences.into_iter().collect()
}

fn reports_below(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let unreadable = |source| {
        let message = format!("the folder `{}` cannot be read", folder.display());
        Error::new(ErrorKind::Io, message).with_source(source)
    };
    let entries = match fs::read_dir(folder) {
        // The caller says what to do where nothing is found.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(unreadable)?,
    };
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            reports_below(&path, found)?;
        } else if name.ends_with(".json") && !name.ends_with(".plan.json") {
            found.push(path);
        }
    }
    Ok(())
}

fn many(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
