//! Configurations in files: what is kept and restored, what is refused, and processes that are killed.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod kills;
mod mounts;
mod readers;
mod refusals;
mod support;
mod switches;
mod trees;
mod users;
