//! A stack: the services of one release with the networks and volumes that they share.

mod lines;
mod order;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use service::{
    Build, CommandCheck, Condition, Dependency, Healthcheck, Image, Limits, Mount, Port, Protocol,
    Restart, Service, ServiceFile,
};

/// The network of services that name none.
pub const DEFAULT_NETWORK: &str = "default";

/// The services of one release of a system.
///
/// Built in code, or read from a compose file by `Compose`.
///
/// ```
/// use upgrade_core::docker::{Condition, Image, Service, Stack};
///
/// let stack = Stack::new()
///     .with_service("db", Service::new(Image::named("postgres:17")).with_port(5432))
///     .with_service(
///         "api",
///         Service::new(Image::named("shop-api:1.4")).after("db", Condition::Healthy),
///     );
/// assert_eq!(stack.start_order().unwrap(), [["db"], ["api"]]);
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Stack {
    /// The services by name. The name resolves to them on their networks.
    pub services: BTreeMap<String, Service>,
    /// The networks by name, beside `default`.
    pub networks: BTreeMap<String, Network>,
    /// The volumes by name.
    pub volumes: BTreeMap<String, Volume>,
    /// The files and folders of this machine that its services may get although they are more than
    /// an application's own; see [`with_host_path`](Self::with_host_path).
    pub host_paths: BTreeSet<PathBuf>,
    /// The kernel capabilities that its services may get beside the engine's default; see
    /// [`with_capability`](Self::with_capability).
    pub capabilities: BTreeSet<String>,
    /// What a compose file says and staging does without, each with its file and line. It is no
    /// part of a diff.
    pub notes: Vec<String>,
}

impl Stack {
    /// A stack without services.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one service more.
    #[must_use]
    pub fn with_service(mut self, name: impl Into<String>, service: Service) -> Self {
        self.services.insert(name.into(), service);
        self
    }

    /// With one volume more.
    #[must_use]
    pub fn with_volume(mut self, name: impl Into<String>) -> Self {
        self.volumes.insert(name.into(), Volume::default());
        self
    }

    /// Lets services mount a file or folder that belongs to the machine (`/`, `/etc`, `/dev`, a
    /// home, a socket such as that of the Docker engine, and what holds one of them) or that lies
    /// outside of a compose file's project. Without this, an environment refuses it: with such a
    /// file, read-only or not, a container may become the machine.
    ///
    /// The path stands for itself and for the files below it, but not for a folder below it that
    /// has to be named itself.
    #[must_use]
    pub fn with_host_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.host_paths.insert(path.into());
        self
    }

    /// Lets services have a kernel capability that is not among the engine's default, such as
    /// `SYS_PTRACE`. Without this, an environment refuses a service that asks for it.
    #[must_use]
    pub fn with_capability(mut self, capability: impl Into<String>) -> Self {
        self.capabilities.insert(capability.into());
        self
    }
}

/// A network of a stack. Whatever it says, an environment makes it private to itself and without
/// a route out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Network {
    /// Whether production's has no route out either.
    pub internal: bool,
    /// Labels beside those of this library.
    pub labels: BTreeMap<String, String>,
}

/// A volume of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Volume {
    /// Its size in bytes: it then lives in memory and is full when that is used up.
    pub bytes: Option<u64>,
    /// Labels beside those of this library.
    pub labels: BTreeMap<String, String>,
}
