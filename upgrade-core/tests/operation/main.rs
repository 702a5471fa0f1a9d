//! Acts on a database that others use as well: one at a time, never half done, never left closed.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

mod attempts;
mod claims;
mod configuration;
mod contract;
mod journal;
mod kills;
mod leftovers;
mod life;
mod lock;
mod major;
mod names;
mod proposals;
mod services;
mod support;
mod swap;
mod sweep;
mod waits;
mod watch;
