//! Recorded requests replayed against services that are written by hand.
#![cfg(feature = "http")]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

mod hostile;
#[cfg(feature = "postgres")]
mod rows;
mod service;
mod sessions;
#[cfg(feature = "postgres")]
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the helpers are those of several tests")]
mod support;
