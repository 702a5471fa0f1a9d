//! Ports of this machine: what passes connections on, and what tries whether a service answers.

pub(crate) mod probe;
#[cfg_attr(
    not(feature = "docker"),
    expect(dead_code, reason = "only networks of containers need all of it")
)]
pub(crate) mod relay;
