//! Bad input, end to end: each case ends in an error that names the file, the line or the option
//! and says what to do, and has no leftovers.
//!
//! What a `SIGKILL` leaves is counted by `scripts/kill-test`.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod guard;
mod migrations;
mod odd;
mod servers;
mod small_disk;
mod support;
