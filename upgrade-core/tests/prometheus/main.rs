//! Queries to a Prometheus server, and to servers that answer as none should.
#![cfg(feature = "prometheus")]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

mod hostile;
mod support;
mod with_prometheus;
