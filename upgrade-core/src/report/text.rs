//! A report for people, from the top down: the verdict, what was found, how to run it again, the
//! steps of the attempt that failed, what the server said, how each rollback went.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::time::Duration;

use super::merge::{Group, groups};
use super::{FoundIn, Report, RollbackReport, StepOutcome, StepReport, log, schema};
use crate::finding::FindingKind;
use crate::finding::{Finding, Severity};
use crate::reporter::lines::step_line;
use crate::rollback::{Loss, Safety};

pub(super) fn render(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "{} {} {} ({} -> {}) in {}: {}, {}, {}, seed {}",
        if report.passed { "PASSED" } else { "FAILED" },
        report.name,
        report.scenario,
        report.from,
        report.to,
        seconds(report.elapsed_ms),
        count(report.migrations.len() as u64, "migration"),
        count(report.tables, "table"),
        count(report.rows, "row"),
        report.seed,
    )?;
    let mut said = BTreeSet::new();
    for severity in [Severity::Error, Severity::Warning, Severity::Note] {
        for group in groups(report, severity) {
            finding(f, &group)?;
            // What to do about ten missing indexes has to be read once.
            if let Some(help) = help(&group.first.finding).filter(|help| said.insert(*help)) {
                writeln!(f, "  help: {help}")?;
            }
        }
    }
    known(report, f)?;
    undecided(report, f)?;
    unjudged(report, f)?;
    if let Some(reproduce) = report.reproduce.as_ref().filter(|_| !report.passed) {
        writeln!(f, "\nto run it again: {reproduce}")?;
    }
    if f.alternate() {
        writeln!(f, "\nsteps")?;
        steps(f, report.steps.iter())?;
    } else if !report.passed {
        failed_steps(report, f)?;
    }
    if !report.passed {
        logs(report, f)?;
    }
    migrations(report, f)?;
    schema::render(report, f)?;
    rollbacks(report, f)?;
    traffic(report, f)
}

/// What is known and accepted: one line each, with the reason.
fn known(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut said = BTreeSet::new();
    for FoundIn { finding, .. } in &report.findings {
        if let Some(reason) = &finding.known {
            let Finding {
                severity,
                id,
                subject,
                ..
            } = finding;
            said.insert(format!("  {severity}[{id}] {subject}: {reason}"));
        }
    }
    if said.is_empty() {
        return Ok(());
    }
    writeln!(
        f,
        "\naccepted: {}",
        count(said.len() as u64, "known finding")
    )?;
    said.iter().try_for_each(|line| writeln!(f, "{line}"))
}

/// What nothing is known of, with the count and the cause.
fn unjudged(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for one in &report.unjudged {
        let names: Vec<String> = one.migrations.iter().map(ToString::to_string).collect();
        let (noun, were) = match (names.len(), one.rollback_only) {
            (1, false) => ("1 migration".to_owned(), "was"),
            (many, false) => (format!("{many} migrations"), "were"),
            (1, true) => ("the rollback of 1 migration".to_owned(), "was"),
            (many, true) => (format!("the rollback of {many} migrations"), "was"),
        };
        let (names, because) = (names.join(", "), &one.because);
        writeln!(
            f,
            "\n{noun} {were} not judged, because `{because}` failed: {names}"
        )?;
    }
    Ok(())
}

/// What was found, who is to blame, where it was seen, the proof.
fn finding(f: &mut fmt::Formatter<'_>, group: &Group<'_>) -> fmt::Result {
    let found = group.first;
    let finding = &found.finding;
    writeln!(f, "\n{finding}")?;
    if let Some(blame) = &finding.blames {
        writeln!(f, "  since {blame}")?;
    }
    let steps: Vec<String> = group.steps.iter().map(ToString::to_string).collect();
    let (steps, phase, title) = (steps.join(", "), found.phase, &found.title);
    match (group.attempts, group.steps.len()) {
        (_, 1) => writeln!(f, "  in step {steps} ({phase}): {title}")?,
        (0 | 1, _) => writeln!(f, "  in steps {steps} ({phase}): {title}")?,
        (many, _) => writeln!(f, "  in {many} attempts (steps {steps}; {phase}): {title}")?,
    }
    if let Some(evidence) = &finding.evidence {
        indented(f, evidence)?;
    }
    Ok(())
}

/// What the finding says itself; else what its kind says, where something has to be done.
fn help(finding: &Finding) -> Option<&str> {
    let of_kind = || {
        let kind = FindingKind::of(&finding.id)?;
        (finding.severity > Severity::Note).then_some(kind.mend)
    };
    finding.help.as_deref().or_else(of_kind)
}

/// The steps that gave no verdict.
fn undecided(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for step in &report.steps {
        let (verdict, reason) = match &step.outcome {
            StepOutcome::Error(failure) => ("could not tell", format!("{failure:#}")),
            StepOutcome::Inconclusive(reason) => ("inconclusive", reason.clone()),
            StepOutcome::Done | StepOutcome::Failed | StepOutcome::Skipped => continue,
        };
        let (id, phase, title) = (step.id, step.phase, &step.title);
        writeln!(f, "\n{verdict}: step {id} ({phase}): {title}")?;
        indented(f, &reason)?;
    }
    Ok(())
}

/// The first attempt that failed, step by step; others by their numbers.
fn failed_steps(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let wanting =
        |step: &&StepReport| !matches!(step.outcome, StepOutcome::Done | StepOutcome::Skipped);
    let failed: BTreeSet<u32> = report
        .steps
        .iter()
        .filter(wanting)
        .map(|step| step.attempt)
        .collect();
    let mut failed = failed.into_iter();
    let Some(first) = failed.next() else {
        return Ok(());
    };
    writeln!(f, "\nsteps of attempt {first}, which failed")?;
    steps(f, report.steps.iter().filter(|step| step.attempt == first))?;
    let others: Vec<String> = failed.map(|attempt| attempt.to_string()).collect();
    match others.as_slice() {
        [] => Ok(()),
        [one] => writeln!(f, "  attempt {one} failed, too"),
        _ => writeln!(f, "  attempts {} failed, too", others.join(", ")),
    }
}

fn steps<'a>(
    f: &mut fmt::Formatter<'_>,
    steps: impl Iterator<Item = &'a StepReport>,
) -> fmt::Result {
    for step in steps {
        let line = step_line(
            step.id,
            step.phase.as_str(),
            &step.outcome,
            step.elapsed_ms,
            &step.title,
        );
        writeln!(f, "{line}")?;
    }
    Ok(())
}

fn logs(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for tail in &report.logs {
        let lines = log::loud(tail.lines.iter().map(String::as_str));
        if !lines.is_empty() {
            writeln!(f, "\nlast warnings and errors of {}", tail.source)?;
            indented(f, &lines.join("\n"))?;
        }
    }
    Ok(())
}

fn migrations(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !report.migrations.is_empty() {
        writeln!(f, "\nmigrations")?;
    }
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
        if migration.crashed > 0 {
            let crash = &migration.crash;
            writeln!(
                f,
                "  {:<40} of its crashes {} left nothing, {} all, {} a part; from {} of such \
                 states: run again {}, rolled back {}",
                "",
                crash.undone,
                crash.done,
                crash.between,
                crash.states,
                crash.run_again,
                crash.rolled_back,
            )?;
        }
    }
    Ok(())
}

fn rollbacks(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !report.rollbacks.is_empty() {
        writeln!(f, "\nrollbacks")?;
    }
    for rollback in &report.rollbacks {
        let boundary = rollback
            .boundary
            .as_ref()
            .map_or_else(String::new, |id| format!(" from {id}"));
        writeln!(
            f,
            "  {:<49} {} of {} (detect {}, decide {}, act {}, verify {}): {}{}",
            format!("{}{boundary}", rollback.strategy),
            seconds(rollback.total_ms()),
            seconds(rollback.within_ms),
            seconds(rollback.detect_ms),
            seconds(rollback.decide_ms),
            seconds(rollback.act_ms),
            seconds(rollback.verify_ms),
            how_it_ended(rollback),
            if rollback.automatic {
                ", automatic"
            } else {
                ""
            },
        )?;
    }
    Ok(())
}

/// What became of users' requests in each step in which something changed.
fn traffic(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !report.traffic.is_empty() {
        writeln!(f, "\nrequests")?;
    }
    for seen in &report.traffic {
        let title = report.steps.iter().find(|step| step.id == seen.step);
        writeln!(
            f,
            "  {:<24} {} requests, {} lost, {} wrong, {} slow; p50 {} ms, p99 {} ms; longest outage {}; step {}: {}",
            seen.name,
            seen.requests,
            seen.lost,
            seen.wrong,
            seen.slow,
            seen.median_ms,
            seen.p99_ms,
            seconds(seen.longest_gap_ms),
            seen.step,
            title.map_or("", |step| step.title.as_str()),
        )?;
    }
    Ok(())
}

/// How a rollback ended, and what was said beforehand if that was not *safe*.
pub(crate) fn how_it_ended(rollback: &RollbackReport) -> String {
    let proof = if rollback.confirmed {
        "the previous state is verified"
    } else {
        "the previous state could NOT be verified"
    };
    match &rollback.safety {
        Safety::Safe => proof.to_owned(),
        Safety::SafeWithLoss { losses } => {
            format!("{proof}; announced to lose {}", Loss::list(losses))
        }
        Safety::Unsafe { .. } => format!("not taken, {}", rollback.safety),
    }
}

/// A number with its noun: `1 row`, `2 rows`.
fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
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
pub(super) mod tests {
    use super::*;
    use crate::environment::LogTail;
    use crate::finding::Blame;
    use crate::ids::MigrationId;
    use crate::ids::{Phase, RunId, Version};
    use crate::plan::StepId;
    use crate::report::{FORMAT, FoundIn, MigrationReport, TrafficReport};
    use crate::rollback::LossKind;
    use crate::scenario::Scenario;
    use crate::subject::TableRef;

    const COMPARE: &str = "compare schema and rows with `baseline`";

    fn step(id: u32, attempt: u32, title: &str, outcome: StepOutcome) -> StepReport {
        StepReport {
            id: StepId(id),
            attempt,
            phase: Phase::Rollback,
            title: title.to_owned(),
            outcome,
            elapsed_ms: 12,
            within_ms: 600_000,
        }
    }

    fn found(step: u32, finding: Finding) -> FoundIn {
        FoundIn {
            step: StepId(step),
            phase: Phase::Rollback,
            title: COMPARE.to_owned(),
            finding,
        }
    }

    /// A round trip in which the second and the third attempt see the same index missing.
    pub(in crate::report) fn failure() -> Report {
        let id = MigrationId::new("0002", "lines");
        let gone = || {
            Finding::error("down/schema-differs", "index orders_at", "is missing")
                .with_evidence("-unique: true\n")
        };
        let blame = Blame::new(id.clone()).with_file("0002_lines.down.sql");
        Report {
            format: FORMAT,
            run: RunId::generate(),
            name: "orders".to_owned(),
            scenario: Scenario::RoundTrip,
            environment: "local".to_owned(),
            from: Version::new("0001"),
            to: Version::new("0002"),
            folder: None,
            validators: Vec::new(),
            seed: 7,
            passed: false,
            rows: 100,
            tables: 2,
            steps: vec![
                step(1, 0, "provision the previous release", StepOutcome::Done),
                step(2, 2, "revert 0002_lines", StepOutcome::Done),
                step(3, 2, COMPARE, StepOutcome::Failed),
                step(4, 2, "apply 0002_lines", StepOutcome::Skipped),
                step(5, 3, COMPARE, StepOutcome::Failed),
            ],
            migrations: vec![MigrationReport {
                id: id.clone(),
                checksum: "00".to_owned(),
                reversible: true,
                applied: 1,
                crashed: 0,
                crash: crate::report::CrashReport::default(),
                reverted: 1,
                rolled_back: 0,
                slowest_apply_ms: 1250,
            }],
            artifacts: std::collections::BTreeMap::new(),
            schema: Vec::new(),
            rollbacks: vec![RollbackReport::sample(StepId(1), id)],
            traffic: vec![TrafficReport {
                step: StepId(2),
                phase: Phase::Switch,
                name: "orders are placed".into(),
                requests: 120,
                lost: 3,
                wrong: 0,
                slow: 1,
                median_ms: 4,
                p99_ms: 90,
                longest_ms: 1300,
                longest_gap_ms: 1310,
                window_ms: 4000,
            }],
            measurements: Vec::new(),
            attachments: Vec::new(),
            findings: vec![
                found(3, gone().with_blame(blame)),
                found(
                    5,
                    Finding::error("down/schema-differs", "view v", "is missing"),
                ),
                found(5, Finding::note("mine", "orders", "are few")),
                found(5, gone()),
            ],
            logs: vec![LogTail {
                source: "the server".to_owned(),
                lines: vec![
                    "[1] LOG:  checkpoint".to_owned(),
                    "[2] ERROR:  no".to_owned(),
                ],
            }],
            unjudged: Vec::new(),
            reproduce: Some("cargo test orders".to_owned()),
            elapsed_ms: 1500,
        }
    }

    #[test]
    fn a_failure_reads_from_the_top_down() {
        let report = failure();
        let text = report.to_string();
        let expected = "\
FAILED orders round_trip (0001 -> 0002) in 1.50 s: 1 migration, 2 tables, 100 rows, seed 7

error[down/schema-differs] index orders_at: is missing
  since migration 0002_lines (0002_lines.down.sql)
  in 2 attempts (steps 3, 5; rollback): compare schema and rows with `baseline`
    -unique: true
  help: make the down undo all that the up did; the lines with `-` are what it has to bring back

error[down/schema-differs] view v: is missing
  in step 5 (rollback): compare schema and rows with `baseline`

note[mine] orders: are few
  in step 5 (rollback): compare schema and rows with `baseline`

to run it again: cargo test orders

steps of attempt 2, which failed
     2  rollback   ok               12 ms  revert 0002_lines
     3  rollback   FAILED           12 ms  compare schema and rows with `baseline`
     4  rollback   skipped          12 ms  apply 0002_lines
  attempt 3 failed, too

last warnings and errors of the server
    [2] ERROR:  no

migrations
  0002_lines                               applied 1, reverted 1, crashed 0, rolled back 0, slowest 1.25 s

rollbacks
  snapshot swap from 0002_lines                     10 ms of 300.00 s (detect 1 ms, decide 2 ms, act 3 ms, verify 4 ms): the previous state is verified, automatic

requests
  orders are placed        120 requests, 3 lost, 0 wrong, 1 slow; p50 4 ms, p99 90 ms; longest outage 1.31 s; step 2: revert 0002_lines
";
        assert_eq!(text, expected);
        let json: Report = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json, report);
        assert_eq!(json.findings.len(), 4, "the JSON keeps all of them");
    }

    #[test]
    fn every_step_is_shown_where_that_is_asked_for() {
        let all = format!("{:#}", failure());
        assert!(all.contains("provision the previous release"), "{all}");
    }

    #[test]
    fn a_finding_says_for_itself_what_to_do() {
        let known = Finding::error("up/failed", "migration 1", "failed");
        assert_eq!(
            help(&known),
            FindingKind::of("up/failed").map(|kind| kind.mend)
        );
        assert_eq!(help(&known.with_help("ask")), Some("ask"));
        assert_eq!(
            help(&Finding::note("up/failed", "migration 1", "failed")),
            None
        );
        assert_eq!(help(&Finding::error("mine", "orders", "are few")), None);
    }

    #[test]
    fn a_rollback_says_how_it_ended_without_a_contradiction() {
        let mut rollback = failure().rollbacks.remove(0);
        rollback.confirmed = false;
        rollback.safety = Safety::SafeWithLoss {
            losses: vec![Loss::new(
                LossKind::Rows,
                TableRef::new("lines"),
                "the rows of lines",
            )],
        };
        assert_eq!(
            how_it_ended(&rollback),
            "the previous state could NOT be verified; announced to lose the rows of lines"
        );
        rollback.safety = Safety::Unsafe {
            boundary: "migration 2".to_owned(),
            reason: "there is no down for it".to_owned(),
        };
        assert_eq!(
            how_it_ended(&rollback),
            "not taken, no rollback across migration 2: there is no down for it"
        );
    }
}
