//! A run in the output of a test. The test harness captures it and shows it when the test fails, or
//! with `--nocapture`: what was found comes with the error of the test, so that all that stands
//! above it is one line. `UPGRADE_VERBOSE=1` asks for the plan, and for each step as it ends.

use std::sync::{Mutex, PoisonError};

use upgrade_core::event::{Event, EventRecord, EventSink};
use upgrade_core::reporter::lines::Lines;

use crate::settings::Settings;

/// Prints a run to the output of the test that it runs in: a sink for the runner.
#[derive(Debug, Default)]
pub struct CapturedLines {
    lines: Mutex<Lines>,
    steps: bool,
}

impl CapturedLines {
    /// The output of one run: which it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// The output of one run as [`Settings::verbose`] asks for it.
    pub fn of_settings(settings: &Settings) -> Self {
        if settings.verbose {
            Self::new().with_steps()
        } else {
            Self::new()
        }
    }

    /// With the plan before it begins, and each step as it ends: a test that hangs shows where.
    #[must_use]
    pub fn with_steps(mut self) -> Self {
        self.steps = true;
        self
    }

    fn text(&self, event: &Event) -> Option<String> {
        let line = self
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .line(event);
        match event {
            Event::RunStarted { plan, .. } if self.steps => Some(plan.to_string()),
            Event::RunStarted { .. } => line,
            _ if self.steps => line,
            _ => None,
        }
    }
}

impl EventSink for CapturedLines {
    fn record(&self, record: &EventRecord) {
        if let Some(text) = self.text(&record.event) {
            print(&text);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_shown_only_where_that_is_asked_for() {
        let ended = Event::RunFinished {
            passed: true,
            elapsed_ms: 7,
        };
        let mut settings = Settings::default();
        assert_eq!(CapturedLines::of_settings(&settings).text(&ended), None);
        settings.verbose = true;
        assert_eq!(
            CapturedLines::of_settings(&settings)
                .text(&ended)
                .as_deref(),
            Some("passed in 7 ms")
        );
    }
}
