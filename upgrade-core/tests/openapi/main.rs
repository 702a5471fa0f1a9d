//! Descriptions of HTTP interfaces: every rule on every pair of a corpus, laws, and the traffic judged.

#![cfg(feature = "openapi")]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

mod corpus;
mod generated;
mod hostile;
mod large;
mod laws;
mod options;
mod reading;
mod rules;
mod wire;
