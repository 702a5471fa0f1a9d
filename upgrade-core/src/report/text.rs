//! A report for people, from the top down: the verdict, what was found, how the way back went,
//! what was done, how to run it again.

use std::fmt::{self, Write};
use std::time::Duration;

use super::lines::step_line;
use super::{Report, StepOutcome};
use crate::validator::Severity;

pub(super) fn render(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "{} {} {} ({} -> {}) in {}: {} migrations, {} tables, {} rows, seed {}",
        if report.passed { "PASSED" } else { "FAILED" },
        report.name,
        report.scenario,
        report.from,
        report.to,
        seconds(report.elapsed_ms),
        report.migrations.len(),
        report.tables,
        report.rows,
        report.seed,
    )?;
    for severity in [Severity::Error, Severity::Warning, Severity::Note] {
        for found in report.findings_of(severity) {
            let finding = &found.finding;
            writeln!(f, "\n{finding}")?;
            writeln!(
                f,
                "  in step {} ({}): {}",
                found.step, found.phase, found.title
            )?;
            if let Some(evidence) = &finding.evidence {
                indented(f, evidence)?;
            }
            if let Some(help) = &finding.help {
                writeln!(f, "  help: {help}")?;
            }
        }
    }
    for step in &report.steps {
        match &step.outcome {
            StepOutcome::Error(reason) => {
                writeln!(
                    f,
                    "\ncould not tell: step {} ({}): {}",
                    step.id, step.phase, step.title
                )?;
                indented(f, reason)?;
            }
            StepOutcome::Inconclusive(reason) => {
                writeln!(
                    f,
                    "\ninconclusive: step {} ({}): {}",
                    step.id, step.phase, step.title
                )?;
                indented(f, reason)?;
            }
            StepOutcome::Done | StepOutcome::Failed | StepOutcome::Skipped => {}
        }
    }
    if !report.passed {
        for log in &report.logs {
            writeln!(f, "\nlast lines of {}", log.source)?;
            indented(f, &log.lines.join("\n"))?;
        }
    }
    writeln!(f, "\nmigrations")?;
    for migration in &report.migrations {
        writeln!(
            f,
            "  {:<40} applied {}, reverted {}, crashed {}, rolled back {}, slowest {}{}",
            migration.id,
            migration.applied,
            migration.reverted,
            migration.crashed,
            migration.rolled_back,
            seconds(migration.slowest_apply_ms),
            if migration.reversible {
                ""
            } else {
                ", one-way"
            },
        )?;
    }
    if !report.rollbacks.is_empty() {
        writeln!(f, "\nrollbacks")?;
    }
    for rollback in &report.rollbacks {
        let boundary = rollback
            .boundary
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        writeln!(
            f,
            "  {} from {:<30} {} of {} (detect {}, decide {}, act {}, verify {}), {}, {}{}",
            rollback.strategy,
            boundary,
            seconds(rollback.total_ms()),
            seconds(rollback.within_ms),
            seconds(rollback.detect_ms),
            seconds(rollback.decide_ms),
            seconds(rollback.act_ms),
            seconds(rollback.verify_ms),
            rollback.safety,
            if rollback.confirmed {
                "proven"
            } else {
                "NOT PROVEN"
            },
            if rollback.automatic {
                ", by itself"
            } else {
                ""
            },
        )?;
    }
    writeln!(f, "\nsteps")?;
    let mut attempt = 0;
    for step in &report.steps {
        if step.attempt != attempt {
            attempt = step.attempt;
            writeln!(f, "  attempt {attempt}")?;
        }
        let line = step_line(
            step.id,
            step.phase.as_str(),
            &step.outcome,
            step.elapsed_ms,
            &step.title,
        );
        writeln!(f, "{line}")?;
    }
    if let Some(reproduce) = &report.reproduce {
        writeln!(f, "\nto run it again: {reproduce}")?;
    }
    Ok(())
}

/// A duration to read: `7 ms`, `1.25 s`.
pub(crate) fn seconds(millis: u64) -> String {
    if millis < 1000 {
        format!("{millis} ms")
    } else {
        format!("{:.2} s", Duration::from_millis(millis).as_secs_f64())
    }
}

fn indented(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for line in text.lines() {
        if line.is_empty() {
            f.write_char('\n')?;
        } else {
            writeln!(f, "    {line}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::MigrationId;
    use crate::plan::StepId;
    use crate::report::{FORMAT, FoundIn, MigrationReport, RollbackReport, StepReport};
    use crate::rollback::Safety;
    use crate::scenario::Scenario;
    use crate::validator::Finding;
    use crate::version::{Phase, RunId, Version};

    #[test]
    fn a_failure_reads_from_the_top_down() {
        let id = MigrationId::new("0002", "lines");
        let report = Report {
            format: FORMAT,
            run: RunId::generate(),
            name: "orders".to_owned(),
            scenario: Scenario::RoundTrip,
            environment: "local".to_owned(),
            from: Version::new("0001"),
            to: Version::new("0002"),
            seed: 7,
            passed: false,
            rows: 100,
            tables: 2,
            steps: vec![StepReport {
                id: StepId(1),
                attempt: 0,
                phase: Phase::Rollback,
                title: "compare schema and rows with `baseline`".to_owned(),
                outcome: StepOutcome::Failed,
                elapsed_ms: 12,
                within_ms: 600_000,
            }],
            migrations: vec![MigrationReport {
                id: id.clone(),
                checksum: "00".to_owned(),
                reversible: true,
                applied: 1,
                crashed: 0,
                reverted: 1,
                rolled_back: 0,
                slowest_apply_ms: 1250,
            }],
            rollbacks: vec![RollbackReport {
                step: StepId(1),
                strategy: "snapshot swap".to_owned(),
                boundary: Some(id),
                migrations: 1,
                automatic: true,
                safety: Safety::Safe,
                detect_ms: 1,
                decide_ms: 2,
                act_ms: 3,
                verify_ms: 4,
                within_ms: 300_000,
                confirmed: true,
            }],
            findings: vec![FoundIn {
                step: StepId(1),
                phase: Phase::Rollback,
                title: "compare schema and rows with `baseline`".to_owned(),
                finding: Finding::error("round-trip-schema-differs", "index orders_at", "is gone")
                    .with_evidence("-unique: true\n")
                    .with_help("create it again in the down"),
            }],
            logs: Vec::new(),
            reproduce: Some("cargo test orders".to_owned()),
            elapsed_ms: 1500,
        };
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..6],
            [
                "FAILED orders round_trip (0001 -> 0002) in 1.50 s: 1 migrations, 2 tables, 100 rows, seed 7",
                "",
                "error[round-trip-schema-differs] index orders_at: is gone",
                "  in step 1 (rollback): compare schema and rows with `baseline`",
                "    -unique: true",
                "  help: create it again in the down",
            ]
        );
        assert!(text.contains("10 ms of 300.00 s"), "{text}");
        assert!(
            text.ends_with("to run it again: cargo test orders\n"),
            "{text}"
        );
        let json: Report = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json, report);
    }
}
