//! Local Postgres servers: started, restarted, killed, swept. Needs server binaries that the
//! provider chain finds.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails where it stands, in its helpers too"
)]
#![expect(
    clippy::print_stdout,
    reason = "figures are for whoever runs the tests with --nocapture"
)]

#[cfg(feature = "fetch")]
mod server_fetched;
mod server_life;
mod server_orphans;
mod server_reach;
mod support;
