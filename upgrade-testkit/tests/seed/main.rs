//! The seeder against a real server.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod bad_input;
mod constraints;
mod empty;
mod filled;
mod met;
mod populated;
mod spread;
mod support;
mod types;
