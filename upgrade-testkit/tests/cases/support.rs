//! A case as data, and whether a rehearsal answers it.

use std::path::{Path, PathBuf};

use upgrade_testkit::prelude::*;
use upgrade_testkit::upgrade_core::Report;
use upgrade_testkit::upgrade_core::finding::FindingKind;

use crate::users;

/// What has to be found: id, weight, what it is about, and a text that its message or its evidence
/// contains.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    id: &'static str,
    severity: Severity,
    subject: &'static str,
    says: &'static str,
}

pub(crate) fn error(id: &'static str, subject: &'static str, says: &'static str) -> Expected {
    let severity = Severity::Error;
    Expected {
        id,
        severity,
        subject,
        says,
    }
}

pub(crate) fn warning(id: &'static str, subject: &'static str, says: &'static str) -> Expected {
    let severity = Severity::Warning;
    Expected {
        id,
        severity,
        subject,
        says,
    }
}

/// A note has to be there; notes that nobody expects are passed over.
pub(crate) fn note(id: &'static str, subject: &'static str, says: &'static str) -> Expected {
    let severity = Severity::Note;
    Expected {
        id,
        severity,
        subject,
        says,
    }
}

/// How a folder is rehearsed and what has to come of it in each of the scenarios. Nothing is
/// found and the run passes, unless something else is said.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    scenarios: Vec<Scenario>,
    seeds: Vec<u64>,
    reversible: bool,
    expected: Vec<Expected>,
    /// The table that users read, behind a report that takes long.
    read: Option<&'static str>,
}

pub(crate) fn run(scenarios: impl Into<Vec<Scenario>>) -> Run {
    Run {
        scenarios: scenarios.into(),
        seeds: vec![1],
        reversible: false,
        expected: Vec::new(),
        read: None,
    }
}

impl Run {
    /// The answer depends on rows: it has to be the same with each of twenty seeds.
    pub(crate) fn every_seed(mut self) -> Self {
        self.seeds = (1..=20).collect();
        self
    }

    pub(crate) fn reversible(mut self) -> Self {
        self.reversible = true;
        self
    }

    /// Users read a table while migrations are applied, and before them a report that takes long.
    pub(crate) fn behind_a_reader_of(mut self, table: &'static str) -> Self {
        self.read = Some(table);
        self
    }

    pub(crate) fn passes(self) -> Self {
        self
    }

    /// These findings above a note, and no others.
    pub(crate) fn finds(mut self, expected: impl Into<Vec<Expected>>) -> Self {
        self.expected = expected.into();
        self
    }

    pub(crate) async fn check(self, folder: &str) -> Result<()> {
        for scenario in &self.scenarios {
            for seed in &self.seeds {
                self.check_one(folder, *scenario, *seed).await?;
            }
        }
        Ok(())
    }

    async fn check_one(&self, folder: &str, scenario: Scenario, seed: u64) -> Result<()> {
        let rehearsal = self.rehearsal(folder, scenario, seed)?;
        let (report, failure) = match rehearsal.report().await {
            Ok(report) => (report, String::new()),
            Err(error) => match error.report() {
                Some(report) => (report.clone(), format!("{error:?}")),
                None => return Err(error),
            },
        };
        let at = format!("{folder}, {scenario}, seed {seed}\n{failure}\n{report}");
        let wrong = self.wrong(&report);
        assert!(wrong.is_empty(), "{}\nin {at}", wrong.join("\n"));
        Ok(())
    }

    fn rehearsal(&self, folder: &str, scenario: Scenario, seed: u64) -> Result<Rehearsal> {
        let path = cases().join(folder);
        let read = |name: &str| std::fs::read_to_string(path.join(name)).ok();
        let from = read("from").unwrap_or_else(|| "0001".to_owned());
        let rows = read("rows").map(|rows| rows.trim().parse().expect("`rows` is a number"));
        let rehearsal = Rehearsal::new(folder)?
            .migrations(path.join("m"))
            .from(from.trim().replace("$DIR", &path.display().to_string()))
            .set_up_sql(read("setup.sql").unwrap_or_default())
            .rows(rows.unwrap_or(20))
            .seed(seed)
            .scenario(scenario)
            .without_template();
        let rehearsal = match self.read {
            Some(table) => rehearsal
                .traffic(users::long_report(table))
                .traffic(users::readers(table)),
            None => rehearsal,
        };
        Ok(if self.reversible {
            rehearsal.reversible()
        } else {
            rehearsal
        })
    }

    /// Everything in which a report is not the answer.
    fn wrong(&self, report: &Report) -> Vec<String> {
        let found = || report.findings.iter().map(|found| &found.finding);
        let about = |expected: &Expected, finding: &Finding| {
            (expected.id, expected.subject, expected.severity)
                == (&*finding.id, finding.subject.as_str(), finding.severity)
        };
        let says = |expected: &Expected, finding: &Finding| {
            let texts = [Some(&finding.message), finding.evidence.as_ref()];
            texts
                .into_iter()
                .flatten()
                .any(|text| text.contains(expected.says))
        };
        let missing = self.expected.iter().filter(|expected| {
            !found().any(|finding| about(expected, finding) && says(expected, finding))
        });
        let surplus = found().filter(|finding| {
            finding.severity > Severity::Note
                && !self
                    .expected
                    .iter()
                    .any(|expected| about(expected, finding))
        });
        let mut expected = self.expected.iter();
        let fails = expected.any(|expected| expected.severity == Severity::Error);
        let mut wrong: Vec<String> = missing.map(|it| format!("not found: {it:?}")).collect();
        wrong.extend(
            surplus.map(|it| format!("not wanted: {}[{}] {}", it.severity, it.id, it.subject)),
        );
        let kinds = found().filter_map(|finding| FindingKind::of(&finding.id));
        let elsewhere = kinds.filter(|kind| !kind.is_raised_in(report.scenario));
        wrong.extend(elsewhere.map(|kind| format!("`{}` is not of this scenario", kind.id)));
        if report.passed == fails {
            let verdict = if report.passed {
                "passes"
            } else {
                "does not pass"
            };
            wrong.push(format!("the run {verdict}"));
        }
        wrong
    }
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// The folders of all cases, by name.
pub(crate) fn folders() -> Vec<String> {
    let entries = std::fs::read_dir(cases()).expect("the folder is there");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("it can be listed"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().expect("it is text"))
        .collect();
    names.sort_unstable();
    names
}

/// The harness itself: each way in which a report is not the answer is seen.
#[test]
fn a_wrong_answer_is_not_taken() {
    let report = |passed: bool, severity: &str| -> Report {
        let finding = serde_json::json!({
            "step": 1, "phase": "verify", "title": "look", "finding": {
                "id": "up/failed", "severity": severity, "subject": "migration 0002",
                "message": "it failed", "evidence": "view v", "help": null,
            },
        });
        let value = serde_json::json!({
            "format": 3, "run": "r", "name": "n", "scenario": "upgrade", "environment": "e",
            "from": "1", "to": "2", "seed": 1, "passed": passed, "rows": 1, "tables": 1,
            "steps": [], "migrations": [], "rollbacks": [], "findings": [finding], "logs": [],
            "reproduce": null, "elapsed_ms": 1,
        });
        serde_json::from_value(value).expect("it is a report")
    };
    let upgrade = || run([Scenario::Upgrade]);
    let failed = report(false, "error");
    let right = upgrade().finds([error("up/failed", "migration 0002", "view v")]);
    assert_eq!(right.wrong(&failed), Vec::<String>::new());
    let of_message = upgrade().finds([error("up/failed", "migration 0002", "it failed")]);
    assert_eq!(of_message.wrong(&failed), Vec::<String>::new());
    let noted = upgrade().finds([note("up/failed", "migration 0002", "")]);
    assert_eq!(noted.wrong(&report(true, "note")), Vec::<String>::new());
    assert_eq!(
        upgrade().passes().wrong(&report(true, "note")),
        Vec::<String>::new()
    );

    assert_eq!(right.wrong(&report(true, "error")), ["the run passes"]);
    assert_eq!(
        upgrade().passes().wrong(&failed),
        [
            "not wanted: error[up/failed] migration 0002",
            "the run does not pass"
        ]
    );
    for other in [
        error("up/failed", "migration 0002", "view w"),
        error("up/failed", "migration 0003", "view v"),
        error("down/failed", "migration 0002", "view v"),
        warning("up/failed", "migration 0002", "view v"),
    ] {
        assert!(
            !upgrade().finds([other]).wrong(&failed).is_empty(),
            "{other:?}"
        );
    }
}
