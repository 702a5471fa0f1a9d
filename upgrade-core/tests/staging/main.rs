//! Environments of several services: what is isolated from what, how services are replaced, what a
//! snapshot keeps, how it fails, and that nothing is left.
//!
//! Run them with `--include-ignored` where Docker is promised.
#![cfg(feature = "docker")]
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod support;

mod disturbed;
mod engine;
mod failures;
mod faults;
mod isolation;
mod lifecycle;
mod look;
mod rolling;
mod secrets;
mod shared;
mod side_by_side;
mod snapshots;
