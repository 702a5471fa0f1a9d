//! Test databases from real servers: local ones, and one that several processes share. Needs
//! server binaries that the provider chain finds.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails where it stands, in its helpers too"
)]
#![expect(
    clippy::print_stdout,
    reason = "other processes and whoever runs the figures read what is printed"
)]

mod local;
mod processes;
mod shared;
mod support;
