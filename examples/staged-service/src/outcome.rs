//! What became of it, for people and as one line.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use upgrade_core::{Phase, Report};

use crate::check::Losses;
use crate::load::Load;

/// What a rollback may take.
pub(crate) const ROLLBACK_WITHIN: Duration = Duration::from_secs(300);

/// The closing line.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// Orders that the service has acknowledged.
    acknowledged: usize,
    /// Those that were not there as they were sent, at any stop.
    lost: usize,
    /// Requests that a user saw fail, at any time.
    failed_requests: u64,
    rolled_back: bool,
    upgraded_again: bool,
    /// From the beginning of the rollback until the old release was proven.
    rollback_s: f64,
    elapsed_s: f64,
    #[serde(skip)]
    jobs_lost: usize,
    #[serde(skip)]
    jobs_twice: usize,
}

impl Outcome {
    pub(crate) fn new(report: &Report, load: &Load, losses: &Losses, elapsed: Duration) -> Self {
        let of = |phase: Phase| report.steps.iter().filter(move |step| step.phase == phase);
        // A step is done only if all before it are.
        let done = |phase| of(phase).count() > 0 && of(phase).all(|step| step.outcome.is_done());
        let back: u64 = of(Phase::Rollback).map(|step| step.elapsed_ms).sum();
        let lost = losses.lock();
        Self {
            acknowledged: load.acknowledged().len(),
            lost: lost.orders.len(),
            failed_requests: load.tallies().iter().map(|tally| tally.failed).sum(),
            rolled_back: done(Phase::Rollback),
            upgraded_again: done(Phase::Verify),
            rollback_s: seconds(Duration::from_millis(back)),
            elapsed_s: seconds(elapsed),
            jobs_lost: lost.jobs.len(),
            jobs_twice: lost.twice.len(),
        }
    }

    /// Whether nothing was lost, and the rollback was short enough.
    pub(crate) fn is_good(&self) -> bool {
        let nothing_lost = self.lost + self.jobs_lost + self.jobs_twice == 0;
        let came_back = self.rolled_back && self.rollback_s <= ROLLBACK_WITHIN.as_secs_f64();
        nothing_lost && came_back && self.upgraded_again
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and booleans")
    }

    /// The requests by steps, what was found, and the sums.
    pub(crate) fn told(&self, report: &Report, load: &Load) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "\nrequests  failed  slowest  while");
        for tally in load.tallies().iter().filter(|tally| tally.requests > 0) {
            let _ = writeln!(
                text,
                "{:>8}  {:>6}  {:>5} ms  {}",
                tally.requests,
                tally.failed,
                tally.slowest.as_millis(),
                tally.title
            );
        }
        for failure in load.told() {
            let _ = writeln!(text, "a request failed {failure}");
        }
        if !report.passed || !report.findings.is_empty() {
            let _ = writeln!(text, "\n{report}");
        }
        let _ = writeln!(
            text,
            "\nacknowledged orders  {}\nof them lost         {}\njobs lost, twice     {}, {}\nfailed requests      {}\nrolled back          {} in {} s\nupgraded again       {}\nelapsed              {} s",
            self.acknowledged,
            self.lost,
            self.jobs_lost,
            self.jobs_twice,
            self.failed_requests,
            yes(self.rolled_back),
            self.rollback_s,
            yes(self.upgraded_again),
            self.elapsed_s,
        );
        text
    }
}

fn yes(it: bool) -> &'static str {
    if it { "yes" } else { "no" }
}

/// To a hundredth.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}
