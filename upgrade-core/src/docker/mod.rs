//! Systems of several services in containers.
//!
//! A [`Stack`] says what runs, built in code or read from a `compose.yaml` by [`Compose`]; a
//! [`DockerEnvironment`](crate::environment::DockerEnvironment) runs it. Everything that is made in
//! the engine is registered before it is made, and [swept](sweep) when its owner has ended.

mod archive;
mod build;
mod compose;
mod context;
pub(crate) mod engine;
pub(crate) mod error;
mod host;
pub(crate) mod image;
pub(crate) mod lease;
mod manage;
mod overrides;
pub(crate) mod registry;
pub(crate) mod share;
mod stack;
pub(crate) mod staging;
mod usage;

pub use compose::Compose;
pub use error::DockerError;
pub use lease::sweep;
pub use manage::{Registered, keep_until, list, remove};
pub use overrides::{Override, Overrides};
pub use registry::{Resource, default_registry_dir};
pub use share::Sharing;
pub use stack::{
    Build, CommandCheck, Condition, DEFAULT_NETWORK, Dependency, Healthcheck, Image, Limits, Mount,
    Network, Port, Protocol, Restart, Service, ServiceFile, Stack, Volume,
};
pub use staging::{Ready, Strategy};
pub use usage::{LogQuery, ResourceUse};
