//! What the crashes of a set came to, as a line of the table or as JSON.

use std::fmt::Write;

use serde::Serialize;
use upgrade_core::Report;
use upgrade_core::plan::StepId;
use upgrade_core::report::{FoundIn, StepOutcome};

/// What the crashes of a set came to.
#[derive(Debug, Default, Serialize)]
pub(crate) struct CrashOutcome {
    name: String,
    /// The migrations that were interrupted.
    migrations: usize,
    crashes: u32,
    not_felt: usize,
    /// The states that they left, as far as they differ.
    states: u32,
    /// From how many of the states it came to its end when it was run again.
    run_again: u32,
    /// From how many of them a kept copy led back.
    rolled_back: u32,
    /// Ways out that failed, or could not be judged, with no finding that names the migration.
    unexplained: usize,
    elapsed_s: f64,
    findings: Vec<String>,
}

impl CrashOutcome {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, report: &Report) {
        for migration in &report.migrations {
            let crash = &migration.crash;
            self.migrations += usize::from(migration.crashed > 0);
            self.crashes += migration.crashed;
            self.states += crash.states;
            self.run_again += crash.run_again;
            self.rolled_back += crash.rolled_back;
        }
        let not_felt = |found: &&FoundIn| found.finding.id == "crash/not-felt";
        self.not_felt += report.findings.iter().filter(not_felt).count();
        self.unexplained += unexplained(report);
        self.elapsed_s += std::time::Duration::from_millis(report.elapsed_ms).as_secs_f64();
        for found in &report.findings {
            let text = found.finding.to_string();
            // What a kept copy would lose is said at every rollback; the other has a column.
            let counted = ["rollback/loses", "crash/not-felt"].contains(&found.finding.id.as_str());
            if !counted && !self.findings.contains(&text) {
                self.findings.push(text);
            }
        }
    }

    /// Whether there were crashes, and every way out either led out or says why not.
    pub(crate) fn is_explained(&self) -> bool {
        self.crashes > 0 && self.run_again > 0 && self.unexplained == 0
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an outcome has only string keys")
    }
}

fn unexplained(report: &Report) -> usize {
    let names_it = |step: StepId| {
        let of_step = |found: &&FoundIn| found.step == step && found.finding.fails();
        let mut found = report.findings.iter().filter(of_step);
        found.any(|found| found.finding.subject.as_str().starts_with("migration "))
    };
    let bad = |outcome: &StepOutcome| {
        matches!(
            outcome,
            StepOutcome::Failed | StepOutcome::Inconclusive(_) | StepOutcome::Error(_)
        )
    };
    let steps = report.steps.iter().filter(|step| bad(&step.outcome));
    steps.filter(|step| !names_it(step.id)).count()
}

/// All sets as a table, and their findings below it.
pub(crate) fn table(outcomes: &[CrashOutcome]) -> String {
    let mut text = format!(
        "{:<28} {:>10} {:>7} {:>8} {:>6} {:>9} {:>11} {:>8} {:>11} {:>8}\n",
        "set",
        "migrations",
        "crashes",
        "not felt",
        "states",
        "run again",
        "rolled back",
        "findings",
        "unexplained",
        "elapsed"
    );
    for outcome in outcomes {
        let again = format!("{}/{}", outcome.run_again, outcome.states);
        let back = format!("{}/{}", outcome.rolled_back, outcome.states);
        let elapsed = format!("{:.1} s", outcome.elapsed_s);
        let _ = writeln!(
            text,
            "{:<28} {:>10} {:>7} {:>8} {:>6} {again:>9} {back:>11} {:>8} {:>11} {elapsed:>8}",
            outcome.name,
            outcome.migrations,
            outcome.crashes,
            outcome.not_felt,
            outcome.states,
            outcome.findings.len(),
            outcome.unexplained,
        );
    }
    for outcome in outcomes
        .iter()
        .filter(|outcome| !outcome.findings.is_empty())
    {
        let _ = writeln!(text, "\n{}", outcome.name);
        for finding in &outcome.findings {
            let _ = writeln!(text, "  {finding}");
        }
    }
    text
}
