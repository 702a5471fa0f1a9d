//! What a set came to, as a line of the table or as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Serialize;
use upgrade_core::{Report, Severity};

/// What a set came to.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    name: String,
    migrations: usize,
    /// The most tables and rows that a release had.
    tables: u64,
    rows: u64,
    /// The places between two migrations.
    boundaries: usize,
    rollbacks_verified: usize,
    findings: Vec<Found>,
    slowest_rollback_ms: u64,
    pub(crate) elapsed_s: f64,
    #[serde(skip)]
    rollbacks: usize,
    /// The boundaries with a verified rollback, by the migration before the place.
    #[serde(skip)]
    verified: BTreeSet<String>,
}

/// A finding, with the number of releases from which it was seen.
#[derive(Debug, Serialize)]
struct Found {
    id: String,
    severity: Severity,
    subject: String,
    message: String,
    seen: usize,
}

impl Outcome {
    pub(crate) fn new(name: &str, migrations: usize) -> Self {
        Self {
            name: name.to_owned(),
            migrations,
            tables: 0,
            rows: 0,
            boundaries: migrations.saturating_sub(1),
            rollbacks_verified: 0,
            findings: Vec::new(),
            slowest_rollback_ms: 0,
            elapsed_s: 0.0,
            rollbacks: 0,
            verified: BTreeSet::new(),
        }
    }

    pub(crate) fn add(&mut self, report: &Report) {
        self.tables = self.tables.max(report.tables);
        self.rows = self.rows.max(report.rows);
        self.rollbacks += report.rollbacks.len();
        self.rollbacks_verified += report.rollbacks_verified();
        for rollback in &report.rollbacks {
            self.slowest_rollback_ms = self.slowest_rollback_ms.max(rollback.total_ms());
            if let (true, Some(boundary)) = (rollback.confirmed, &rollback.boundary) {
                self.verified.insert(boundary.to_string());
            }
        }
        let mut seen: BTreeMap<(&str, &str), ()> = BTreeMap::new();
        for found in &report.findings {
            let finding = &found.finding;
            // What a kept copy would lose is said at every boundary; it is no finding about the set.
            if finding.id == "rollback/loses"
                || seen
                    .insert((&finding.id, finding.subject.as_str()), ())
                    .is_some()
            {
                continue;
            }
            let same =
                |known: &&mut Found| known.id == finding.id && finding.subject == known.subject;
            match self.findings.iter_mut().find(same) {
                Some(known) => known.seen += 1,
                None => self.findings.push(Found {
                    id: finding.id.clone(),
                    severity: finding.severity,
                    subject: finding.subject.to_string(),
                    message: finding.message.clone(),
                    seen: 1,
                }),
            }
        }
    }

    /// Whether every boundary was rolled back, and every rollback verified.
    pub(crate) fn is_verified(&self) -> bool {
        self.boundaries > 0
            && self.verified.len() >= self.boundaries
            && self.rollbacks_verified == self.rollbacks
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an outcome has only string keys")
    }
}

/// All sets as a table, and their findings below it.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{:<28} {:>10} {:>7} {:>7} {:>10} {:>10} {:>9} {:>8} {:>8}\n",
        "set",
        "migrations",
        "tables",
        "rows",
        "boundaries",
        "verified",
        "findings",
        "slowest",
        "elapsed"
    );
    for outcome in outcomes {
        let verified = format!("{}/{}", outcome.rollbacks_verified, outcome.rollbacks);
        let slowest = format!("{} ms", outcome.slowest_rollback_ms);
        let elapsed = format!("{:.1} s", outcome.elapsed_s);
        let _ = writeln!(
            text,
            "{:<28} {:>10} {:>7} {:>7} {:>10} {verified:>10} {:>9} {slowest:>8} {elapsed:>8}",
            outcome.name,
            outcome.migrations,
            outcome.tables,
            outcome.rows,
            outcome.boundaries,
            outcome.findings.len(),
        );
    }
    for outcome in outcomes
        .iter()
        .filter(|outcome| !outcome.findings.is_empty())
    {
        let _ = writeln!(text, "\n{}", outcome.name);
        for found in &outcome.findings {
            let _ = writeln!(
                text,
                "  {}[{}] {}: {} (from {} of {} releases)",
                found.severity,
                found.id,
                found.subject,
                found.message,
                found.seen,
                outcome.boundaries
            );
        }
    }
    text
}
