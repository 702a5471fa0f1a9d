//! The search: saved sequences first, then new ones, to the first that fails and the shortest of it.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use upgrade_core::plan::{Outline, Plan, Sequence};
use upgrade_core::report::{StepOutcome, StepReport};
use upgrade_core::{Error, ErrorKind, Phase, Report, Result};

use super::draw::Drawer;
use super::model::{self, Model};
use super::saved::{self, Saved};
use super::shrink;
use crate::display::print;
use crate::rehearsal::Ready;

/// What every sequence needs.
pub(super) struct Search {
    pub(super) ready: Ready,
    pub(super) model: Option<Box<dyn Model>>,
    pub(super) file: PathBuf,
    pub(super) within: Duration,
}

/// A sequence that did not end as it should.
struct Failure {
    sequence: Sequence,
    plan: Plan,
    result: Result<Report>,
}

impl Search {
    /// With a fresh model, if there is one.
    pub(super) fn with_users(&self) -> Ready {
        let ready = self.ready.clone();
        match &self.model {
            Some(model) => {
                let (writes, validator) = model::users(model.as_ref());
                ready.with_users(writes, validator)
            }
            None => ready,
        }
    }

    /// Runs the sequences of the file, each from the previous release that it failed from.
    pub(super) async fn replay(&self, outline: &Outline, all: &[Saved]) -> Result<()> {
        for saved in all {
            let plan = match Plan::from_sequence(outline, &saved.sequence, saved.seed) {
                Ok(plan) => plan,
                Err(error) => {
                    let file = self.file.display();
                    print(&format!(
                        "warning: {error}; it is skipped (delete it from `{file}`)"
                    ));
                    continue;
                }
            };
            let ready = self.with_users().with_rows(saved.seed, saved.rows);
            if let Some(failure) = judge(&ready, saved.sequence.clone(), plan, false).await? {
                return Err(self.told(failure, "was saved"));
            }
        }
        Ok(())
    }

    pub(super) async fn draw(&self, outline: &Outline, cases: u32, between: bool) -> Result<()> {
        let seed = self.ready.rehearsal().drawn_from().0;
        let mut drawer = Drawer::new(outline, seed, between);
        let started = Instant::now();
        let mut ran = 0;
        while ran < cases && (ran == 0 || started.elapsed() < self.within) {
            let sequence = drawer.next()?;
            ran += 1;
            let plan = Plan::from_sequence(outline, &sequence, seed)?;
            if let Some(failure) = judge(&self.with_users(), sequence, plan, true).await? {
                let failure = self.shortest(outline, failure).await?;
                let kept = match saved::add(&self.file, &self.saved(&failure)) {
                    Ok(()) => "is saved",
                    Err(error) => {
                        print(&format!("warning: {error:?}"));
                        "could not be saved"
                    }
                };
                return Err(self.told(failure, kept));
            }
        }
        print(&format!(
            "{ran} of {cases} sequences passed in {:.1?}",
            started.elapsed()
        ));
        Ok(())
    }

    /// The shortest one that fails, of those that follow from one that does.
    async fn shortest(&self, outline: &Outline, mut failure: Failure) -> Result<Failure> {
        let started = Instant::now();
        let long = failure.sequence.clone();
        let mut tried = vec![long.clone()];
        'shorter: loop {
            for sequence in shrink::shorter(&failure.sequence) {
                if started.elapsed() >= self.within {
                    break 'shorter;
                }
                let Ok(plan) = Plan::from_sequence(outline, &sequence, failure.plan.seed) else {
                    continue;
                };
                if tried.contains(&sequence) {
                    continue;
                }
                tried.push(sequence.clone());
                if let Some(shorter) = judge(&self.with_users(), sequence, plan, true).await? {
                    failure = shorter;
                    continue 'shorter;
                }
            }
            break;
        }
        print(&format!(
            "`{long}` fails; {} shorter ones were tried in {:.1?}",
            tried.len() - 1,
            started.elapsed(),
        ));
        Ok(failure)
    }

    fn saved(&self, failure: &Failure) -> Saved {
        let (seed, rows) = self.ready.rehearsal().drawn_from();
        Saved {
            sequence: failure.sequence.clone(),
            seed,
            rows,
            found: failure.found(),
        }
    }

    /// The error of a sequence that fails. Its report is written where the test keeps them.
    fn told(&self, failure: Failure, kept: &str) -> Error {
        if let Err(error) = self.ready.record(&failure.result, &failure.plan) {
            print(&format!("warning: {error:?}"));
        }
        let Failure {
            sequence, result, ..
        } = failure;
        let hint = format!(
            "it {kept} in `{}` and runs first next time",
            self.file.display()
        );
        match result {
            Ok(report) => {
                let undecided = report.findings.iter().all(|found| !found.finding.fails());
                let (kind, verdict) = if undecided {
                    (ErrorKind::Inconclusive, "could not be judged")
                } else {
                    (ErrorKind::Failed, "fails")
                };
                Error::new(kind, format!("the sequence `{sequence}` {verdict}"))
                    .with_hint(hint)
                    .with_report(report)
            }
            Err(error) => {
                let report = error.report().cloned();
                let told = Error::new(error.kind(), format!("the sequence `{sequence}` broke off"))
                    .with_hint(hint)
                    .with_source(error);
                match report {
                    Some(report) => told.with_report(report),
                    None => told,
                }
            }
        }
    }
}

impl Failure {
    /// In one line: what was found first.
    fn found(&self) -> String {
        match &self.result {
            Ok(report) => {
                let mut fatal = report.findings.iter().filter(|found| found.finding.fails());
                fatal.next().map_or_else(
                    || "it could not be judged".to_owned(),
                    |found| format!("{}: {}", found.finding.id, found.finding.subject),
                )
            }
            Err(error) => error.to_string(),
        }
    }
}

/// Runs one sequence. An error that no step of the run has raised says nothing about the sequence,
/// nor does a run that was cancelled.
async fn judge(
    ready: &Ready,
    sequence: Sequence,
    plan: Plan,
    probe: bool,
) -> Result<Option<Failure>> {
    print(&format!("sequence: {sequence}"));
    // A run is large, and this one is awaited in two places.
    let result = Box::pin(ready.run(&plan, probe)).await;
    match &result {
        Ok(report) if report.passed => return Ok(None),
        Err(error) if error.kind() == ErrorKind::Cancelled || !broke_in_sequence(error) => {
            return result.map(|_| None);
        }
        _ => {}
    }
    Ok(Some(Failure {
        sequence,
        plan,
        result,
    }))
}

/// Whether it was a step of the sequence that could not be carried out.
fn broke_in_sequence(error: &Error) -> bool {
    let in_sequence = |step: &StepReport| {
        let broke = matches!(step.outcome, StepOutcome::Error(_));
        broke && step.attempt > 0 && step.phase != Phase::Teardown
    };
    error
        .report()
        .is_some_and(|report| report.steps.iter().any(in_sequence))
}
