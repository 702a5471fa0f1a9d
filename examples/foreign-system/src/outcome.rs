//! What became of it, for people and as one line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use upgrade_core::report::StepReport;
use upgrade_core::{Phase, Report, Severity};

use crate::known::Known;

/// The closing line.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// What there was before users came.
    seeded: usize,
    /// What was acknowledged to users since.
    acknowledged: usize,
    failed_requests: u64,
    /// Whether each rollback arrived, with all that was there before users came.
    rolled_back: bool,
    /// Whether nothing speaks against rolling this upgrade out.
    fit: bool,
    /// The errors that were found, each with how often.
    found: BTreeMap<String, usize>,
    seed_s: f64,
    /// From one release to the other, replica by replica, in the first attempt.
    upgrade_s: f64,
    verify_s: f64,
    /// The longest rollback.
    rollback_s: f64,
    /// The looks at the system after it.
    verify_back_s: f64,
    elapsed_s: f64,
}

impl Outcome {
    pub(crate) fn new(report: &Report, known: &Known, elapsed: Duration) -> Self {
        let state = known.lock();
        let seeded = state
            .promised
            .iter()
            .filter(|item| item.attempt == 0)
            .count();
        let mut found = BTreeMap::new();
        for error in report.findings_of(Severity::Error) {
            *found.entry(error.finding.id.clone()).or_default() += 1;
        }
        let rollbacks = &report.rollbacks;
        let arrived = !rollbacks.is_empty() && rollbacks.iter().all(|back| back.confirmed);
        let longest = rollbacks.iter().max_by_key(|back| back.total_ms());
        Self {
            seeded,
            acknowledged: state.promised.len() - seeded,
            failed_requests: report
                .traffic
                .iter()
                .map(|seen| seen.lost + seen.wrong)
                .sum(),
            rolled_back: arrived && !found.contains_key("seeded-lost"),
            fit: report.passed,
            found,
            seed_s: seconds(state.seeding),
            upgrade_s: sum(report, |step| {
                step.attempt == 1 && step.title.contains("instances")
            }),
            verify_s: sum(report, |step| {
                step.attempt == 1 && step.phase == Phase::Soak
            }),
            rollback_s: longest.map_or(0.0, |back| seconds(millis(back.total_ms()))),
            verify_back_s: longest.map_or(0.0, |back| {
                let after = |step: &&StepReport| step.id > back.step;
                let steps = report.steps.iter().filter(after);
                let looks = steps.take_while(|step| step.phase == Phase::Verify);
                seconds(looks.map(|step| millis(step.elapsed_ms)).sum())
            }),
            elapsed_s: seconds(elapsed),
        }
    }

    /// Whether the rehearsal could be carried out and the old release came back each time. That the
    /// upgrade is not fit to be rolled out is its result, and no failure of it.
    pub(crate) fn is_good(&self) -> bool {
        self.rolled_back
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers, names and booleans")
    }

    pub(crate) fn told(&self) -> String {
        let mut text = String::new();
        let yes = |it| if it { "yes" } else { "no" };
        let _ = writeln!(text, "\nfit to be rolled out  {}", yes(self.fit));
        for (id, count) in &self.found {
            let _ = writeln!(text, "  {count:>3} {id}");
        }
        let _ = writeln!(
            text,
            "seeded                {} in {} s\nupgraded              in {} s, verified in {} s\nrolled back           {} in {} s at most, verified in {} s\nacknowledged since    {}\nfailed requests       {}\nelapsed               {} s",
            self.seeded,
            self.seed_s,
            self.upgrade_s,
            self.verify_s,
            yes(self.rolled_back),
            self.rollback_s,
            self.verify_back_s,
            self.acknowledged,
            self.failed_requests,
            self.elapsed_s,
        );
        text
    }
}

/// How long steps took together.
fn sum(report: &Report, which: impl Fn(&StepReport) -> bool) -> f64 {
    let steps = report.steps.iter().filter(|step| which(step));
    seconds(steps.map(|step| millis(step.elapsed_ms)).sum())
}

fn millis(time: u64) -> Duration {
    Duration::from_millis(time)
}

/// To a hundredth.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}
