//! The progress of a run for a person who watches it: a bar on a terminal, plain lines elsewhere.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines::{LineWriter, Lines};
use crate::event::{Event, EventRecord, EventSink};
use crate::ids::Phase;
use crate::plan::{Plan, StepId};

/// Shows a run on the error output, so that the output itself stays free for data.
///
/// On a terminal it is a bar with the step, its phase, the statements of its migration, the time
/// that it has taken and the time that it may take; steps that end leave their line above it.
/// Without a terminal, with `NO_COLOR` or `CI` set, or with `TERM=dumb`, it is the
/// [plain lines](Lines) only.
#[derive(Debug)]
pub struct Progress {
    display: Display,
}

#[derive(Debug)]
enum Display {
    Bar(Box<Bar>),
    Lines(LineWriter<io::Stderr>),
}

impl Progress {
    /// What suits the error output of this process.
    pub fn for_terminal() -> Self {
        let moving = suits_a_bar(io::stderr().is_terminal(), |name| {
            std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
        });
        Self {
            display: if moving {
                Display::Bar(Box::new(Bar::new(ProgressDrawTarget::stderr())))
            } else {
                Display::Lines(LineWriter::stderr())
            },
        }
    }
}

impl EventSink for Progress {
    fn record(&self, record: &EventRecord) {
        match &self.display {
            Display::Bar(bar) => bar.record(record),
            Display::Lines(lines) => lines.record(record),
        }
    }
}

/// Whether a line that is drawn again and again can be read there.
fn suits_a_bar(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name| variable(name).is_some_and(|value| !value.is_empty());
    terminal && !set("NO_COLOR") && !set("CI") && variable("TERM").is_none_or(|term| term != "dumb")
}

struct Bar {
    bar: ProgressBar,
    state: Mutex<State>,
}

impl Bar {
    fn new(target: ProgressDrawTarget) -> Self {
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {elapsed:>4} {wide_msg}")
            .expect("the template is well-formed");
        Self {
            bar: ProgressBar::with_draw_target(Some(0), target).with_style(style),
            state: Mutex::default(),
        }
    }
}

impl EventSink for Bar {
    fn record(&self, record: &EventRecord) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = state.lines.line(&record.event) {
            self.bar.println(line);
        }
        match &record.event {
            Event::RunStarted { plan, .. } => {
                state.plan = Some(plan.clone());
                self.bar.set_length(plan.steps.len() as u64);
                // The time goes on while a step is silent.
                self.bar.enable_steady_tick(Duration::from_millis(250));
            }
            Event::StepStarted { step, phase, title } => {
                self.bar.reset_elapsed();
                self.bar.set_message(state.begin(*step, *phase, title));
            }
            Event::StatementReached { done, of } => {
                self.bar.set_message(state.statement(*done, *of));
            }
            // The steps of a plan are numbered from 1. A rollback that the runner decides on is none of
            // them.
            Event::StepFinished { step, .. } => {
                let length = self.bar.length().unwrap_or_default();
                self.bar.set_position(u64::from(step.0).min(length));
            }
            Event::RunFinished { .. } => self.bar.finish_and_clear(),
            // Their lines stand above the bar.
            Event::FindingRaised { .. }
            | Event::LockAwaited { .. }
            | Event::Measured { .. }
            | Event::Attached { .. }
            | Event::RollbackPredicted { .. }
            | Event::RollbackFinished { .. } => {}
        }
    }
}

impl fmt::Debug for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bar").finish_non_exhaustive()
    }
}

/// What the bar says beside its figures.
#[derive(Default)]
struct State {
    lines: Lines,
    plan: Option<Plan>,
    /// What the step that runs is called, with its budget.
    step: String,
}

impl State {
    fn begin(&mut self, step: StepId, phase: Phase, title: &str) -> String {
        let within = self.plan.as_ref().and_then(|plan| match phase {
            Phase::Rollback => Some(plan.rollback_within_ms),
            _ => plan
                .steps
                .iter()
                .find(|planned| planned.id == step)
                .map(|planned| planned.within_ms),
        });
        self.step = match within {
            Some(within) => format!("of {:?}, {phase}: {title}", Duration::from_millis(within)),
            None => format!("{phase}: {title}"),
        };
        self.step.clone()
    }

    fn statement(&self, done: usize, of: usize) -> String {
        format!("{}, statement {done} of {of}", self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reporter::lines::tests::{events, feed};

    #[test]
    fn a_bar_is_for_terminals_only() {
        let with = |terminal, pairs: &[(&str, &str)]| {
            suits_a_bar(terminal, |name| {
                pairs
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(with(true, &[]));
        assert!(with(
            true,
            &[("TERM", "xterm"), ("CI", ""), ("NO_COLOR", "")]
        ));
        assert!(!with(false, &[]));
        assert!(!with(true, &[("NO_COLOR", "1")]));
        assert!(!with(true, &[("CI", "true")]));
        assert!(!with(true, &[("TERM", "dumb")]));
    }

    #[test]
    fn the_bar_follows_the_steps() {
        let bar = Bar::new(ProgressDrawTarget::hidden());
        let mut events = events();
        let rest = events.split_off(3);
        feed(&bar, events);
        assert_eq!(bar.bar.length(), Some(3));
        assert_eq!(
            bar.bar.message(),
            "of 600s, expand: apply 0002_lines, statement 1 of 2"
        );
        feed(&bar, rest);
        assert_eq!(bar.bar.position(), 3);
        assert!(bar.bar.is_finished());
    }

    #[test]
    fn a_rollback_shows_the_budget_of_rollbacks() {
        let Event::RunStarted { plan, .. } = events().remove(0) else {
            panic!("a run begins with `RunStarted`");
        };
        let mut state = State {
            plan: Some(plan),
            ..State::default()
        };
        assert_eq!(
            state.begin(StepId(1), Phase::Rollback, "roll back"),
            "of 300s, rollback: roll back"
        );
        assert_eq!(
            state.begin(StepId(8), Phase::Verify, "look again"),
            "verify: look again"
        );
    }
}
