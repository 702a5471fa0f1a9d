//! A run in the output of a test: its plan, then one line for each step. The test harness
//! captures it and shows it when the test fails, or with `--nocapture`.

use std::sync::{Mutex, PoisonError};

use upgrade_core::event::{Event, EventRecord, EventSink};
use upgrade_core::report::lines::Lines;

/// Prints a run to the output of the test that it runs in: a sink for the runner.
#[derive(Debug, Default)]
pub struct CapturedLines {
    lines: Mutex<Lines>,
}

impl CapturedLines {
    /// The output of one run.
    pub fn new() -> Self {
        Self::default()
    }
}

impl EventSink for CapturedLines {
    fn record(&self, record: &EventRecord) {
        let line = self
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .line(&record.event);
        match (&record.event, line) {
            (Event::RunStarted { plan, .. }, _) => print(&plan.to_string()),
            (_, Some(line)) => print(&line),
            (_, None) => {}
        }
    }
}

/// Prints where the test harness captures it; it captures nothing but the printing macros.
#[expect(
    clippy::print_stdout,
    reason = "the captured output of a test is what people read when it fails"
)]
pub(crate) fn print(text: &str) {
    println!("{}", text.trim_end());
}
