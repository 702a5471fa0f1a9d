//! A run as plain lines: one for each step, one for each finding. For logs, for captured test
//! output, and wherever there is no terminal.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use crate::event::{Event, EventRecord, EventSink};
use crate::ids::Phase;
use crate::outcome::StepOutcome;
use crate::plan::StepId;
use crate::report::text::{how_it_ended, seconds};

/// Turns the events of one run into lines.
#[derive(Debug, Default)]
pub struct Lines {
    /// Phase and title of every step of the plan, and of those that began beside it.
    steps: BTreeMap<StepId, (Phase, String)>,
    /// How many halves of its budget a rollback was last predicted to take.
    halves: Option<u64>,
}

impl Lines {
    /// Lines of a run that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// The line that an event makes, without a line feed; `None` where it makes none.
    pub fn line(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::RunStarted { plan, .. } => {
                self.steps = plan
                    .steps
                    .iter()
                    .map(|step| (step.id, (step.phase, step.action.to_string())))
                    .collect();
                Some(format!(
                    "{} {} ({} -> {}), {} steps, seed {}",
                    plan.name,
                    plan.scenario,
                    plan.from,
                    plan.to,
                    plan.steps.len(),
                    plan.seed,
                ))
            }
            Event::StepStarted { step, phase, title } => {
                self.steps.insert(*step, (*phase, title.clone()));
                None
            }
            Event::StatementReached { .. } => None,
            Event::LockAwaited { holders } => {
                let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
                Some(format!(
                    "        waits for a lock, held by {}",
                    holders.join("; ")
                ))
            }
            Event::StepFinished {
                step,
                outcome,
                elapsed_ms,
            } => {
                let (phase, title) = match self.steps.get(step) {
                    Some((phase, title)) => (phase.as_str(), title.as_str()),
                    None => ("", ""),
                };
                Some(step_line(*step, phase, outcome, *elapsed_ms, title))
            }
            Event::FindingRaised { finding, .. } => Some(format!("        {finding}")),
            Event::Measured { measurement, .. } => Some(format!("        {measurement}")),
            Event::Attached { attachment, .. } => {
                Some(format!("        attached: {}", attachment.name))
            }
            Event::RollbackPredicted { estimate } => {
                let (total, within) = (estimate.total_ms(), estimate.within_ms);
                let halves = (2 * total / within.max(1)).min(2);
                let crossed = self.halves.replace(halves) != Some(halves);
                let how = match halves {
                    0 => "a rollback would take",
                    1 => "a rollback would take more than half of its budget:",
                    _ => "a rollback would take LONGER than its budget:",
                };
                crossed.then(|| format!("        {how} {estimate}"))
            }
            Event::RollbackFinished { rollback, .. } => Some(format!(
                "        rolled back by {} in {} of {}: {}",
                rollback.strategy,
                seconds(rollback.total_ms()),
                seconds(rollback.within_ms),
                how_it_ended(rollback),
            )),
            Event::RunFinished { passed, elapsed_ms } => Some(format!(
                "{} in {}",
                if *passed { "passed" } else { "FAILED" },
                seconds(*elapsed_ms),
            )),
        }
    }
}

/// One step, as it stands in lines and in reports.
pub(crate) fn step_line(
    step: StepId,
    phase: &str,
    outcome: &StepOutcome,
    elapsed_ms: u64,
    title: &str,
) -> String {
    let outcome = outcome.as_str();
    format!(
        "  {step:>4}  {phase:<9}  {outcome:<12}  {:>8}  {title}",
        seconds(elapsed_ms)
    )
}

/// Writes the lines of a run to a file, a pipe or a log.
///
/// What cannot be written is lost: a sink does not fail a run.
pub struct LineWriter<W> {
    inner: Mutex<(Lines, W)>,
}

impl<W: Write + Send + 'static> LineWriter<W> {
    /// Writes to `writer`, and flushes it after every line.
    pub fn new(writer: W) -> Self {
        Self {
            inner: Mutex::new((Lines::new(), writer)),
        }
    }
}

impl LineWriter<io::Stderr> {
    /// Writes to the error output of this process.
    pub fn stderr() -> Self {
        Self::new(io::stderr())
    }
}

impl<W: Write + Send + 'static> EventSink for LineWriter<W> {
    fn record(&self, record: &EventRecord) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, writer) = &mut *inner;
        if let Some(line) = lines.line(&record.event) {
            // A closed pipe is not a reason to stop an upgrade.
            let _ = writeln!(writer, "{line}").and_then(|()| writer.flush());
        }
    }
}

impl<W> fmt::Debug for LineWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineWriter").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::finding::Finding;
    use crate::ids::MigrationId;
    use crate::ids::{RunId, Version};
    use crate::plan::{Action, FORMAT, Plan, Step};
    use crate::report::RollbackReport;
    use crate::scenario::Scenario;

    /// A run of three steps in which the second finds a failure and the runner rolls back.
    pub(in crate::reporter) fn events() -> Vec<Event> {
        let id = MigrationId::new("0002", "lines");
        let step = |id, phase, action| Step {
            id: StepId(id),
            attempt: 0,
            phase,
            action,
            within_ms: 600_000,
            policy: crate::plan::Policy::default(),
        };
        let steps = vec![
            step(
                1,
                Phase::Expand,
                Action::Apply {
                    migration: id.clone(),
                },
            ),
            step(2, Phase::Soak, Action::Validate),
            step(3, Phase::Teardown, Action::Teardown),
        ];
        let plan = Plan {
            format: FORMAT,
            name: "orders".to_owned(),
            scenario: Scenario::Upgrade,
            seed: 7,
            from: Version::new("0001"),
            to: Version::new("0002"),
            rollback_within_ms: 300_000,
            excluded: None,
            steps: steps.clone(),
        };
        let started = |index: usize| Event::StepStarted {
            step: steps[index].id,
            phase: steps[index].phase,
            title: steps[index].action.to_string(),
        };
        let finished = |step, outcome, elapsed_ms| Event::StepFinished {
            step: StepId(step),
            outcome,
            elapsed_ms,
        };
        vec![
            Event::RunStarted {
                run: RunId::generate(),
                plan,
            },
            started(0),
            Event::StatementReached { done: 1, of: 2 },
            finished(1, StepOutcome::Done, 4),
            started(1),
            Event::FindingRaised {
                step: StepId(2),
                finding: Finding::error("rows-lost", "table `lines`", "3 rows are missing"),
            },
            finished(2, StepOutcome::Failed, 1250),
            Event::RollbackFinished {
                step: StepId(2),
                rollback: RollbackReport::sample(StepId(2), id),
            },
            started(2),
            finished(3, StepOutcome::Done, 9),
            Event::RunFinished {
                passed: false,
                elapsed_ms: 1300,
            },
        ]
    }

    /// A writer whose content the test keeps.
    #[derive(Clone, Default)]
    pub(in crate::reporter) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(in crate::reporter) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(in crate::reporter) fn feed(sink: &impl EventSink, events: Vec<Event>) {
        for (seq, event) in (0..).zip(events) {
            sink.record(&EventRecord {
                seq,
                at_ms: seq,
                event,
            });
        }
    }

    pub(in crate::reporter) const GOLDEN: &str = "\
orders upgrade (0001 -> 0002), 3 steps, seed 7
     1  expand     ok                4 ms  apply 0002_lines
        error[rows-lost] table `lines`: 3 rows are missing
     2  soak       FAILED          1.25 s  validate
        rolled back by snapshot swap in 10 ms of 300.00 s: the previous state is verified
     3  teardown   ok                9 ms  remove everything
FAILED in 1.30 s
";

    #[test]
    fn a_run_as_lines() {
        let written = Written::default();
        feed(&LineWriter::new(written.clone()), events());
        assert_eq!(written.text(), GOLDEN);
    }

    #[test]
    fn a_step_outside_of_the_plan_has_a_line() {
        let line = Lines::new().line(&Event::StepFinished {
            step: StepId(9),
            outcome: StepOutcome::Error(Box::new(crate::Failure::from(crate::Error::new(
                crate::ErrorKind::Database,
                "refused",
            )))),
            elapsed_ms: 1,
        });
        assert_eq!(
            line.unwrap().trim_end(),
            "     9             error             1 ms"
        );
    }

    #[test]
    fn a_closed_pipe_does_not_stop_a_run() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        feed(&LineWriter::new(Closed), events());
    }
}
