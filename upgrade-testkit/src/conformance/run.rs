//! One clause as one test.

use std::io::Write;
use std::time::Duration;

use super::outcome::{ClauseOutcome, ClauseResult};

/// The deadline, and the moment of a cancellation, that a clause gives to a call that has to wait.
pub const DEADLINE: Duration = Duration::from_millis(300);

/// How much later than its deadline or its cancellation a call may end.
pub const MARGIN: Duration = Duration::from_secs(2);

/// Runs one clause to its end on a separate runtime: the body of each test that the fronts make.
///
/// A clause that does not apply is listed on the standard error, past the capture of the test
/// harness: it did not prove anything, and a reader of the log must see that.
///
/// # Panics
/// With what was expected and what was found, when the clause does not hold.
#[track_caller]
pub fn run(test: &str, clause: impl Future<Output = ClauseResult>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs only a few file descriptors");
    match runtime.block_on(clause) {
        Ok(ClauseOutcome::Holds) => {}
        Ok(ClauseOutcome::NotApplicable(reason)) => {
            // A closed standard error is no reason to fail.
            let _ = writeln!(
                std::io::stderr().lock(),
                "conformance: `{test}` does not apply: {reason}"
            );
        }
        Err(failed) => panic!("{failed}"),
    }
}
