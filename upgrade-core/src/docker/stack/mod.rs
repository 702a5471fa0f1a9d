//! A stack: the services of one release with the networks and volumes that they share.

mod lines;
mod order;
mod service;

use std::collections::BTreeMap;

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
