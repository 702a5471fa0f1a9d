//! The system as processes on one machine, under an operation: killed at random moments, and with bad
//! releases that a policy rolls back.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

mod kills;
mod machine;
mod watch;
