//! Figures of this workspace, each against a peer in the same run.
//!
//! Absolute times drift with the machine and with what else runs on it; a ratio of two times that
//! were taken in turn drifts far less. So a [`Line`](line::Line) has two samples, taken round by
//! round in alternating order, and a goal for their ratio. The binary `peers` prints the lines of
//! [`peers`]; `cargo bench` watches single operations with the shared parts.

pub mod data;
pub mod folder;
pub mod line;
pub mod machine;
pub mod migrations;
pub mod peers;
pub mod sample;
pub mod server;

/// What every part returns: errors are read by a person, nobody matches on them.
pub type Result<T, E = upgrade_core::BoxError> = std::result::Result<T, E>;
