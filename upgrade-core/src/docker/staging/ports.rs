//! The ports of an environment, on its own address.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::docker::error::Result;
use crate::docker::registry::random_hex;
use crate::docker::stack::{Protocol, Service};
use crate::error::{Error, ErrorKind};
use crate::net::relay::{Relay, Targets, draw_address};

/// The relays of the services, by service and container port.
#[derive(Debug)]
pub(super) struct Ports {
    address: Ipv4Addr,
    open: BTreeMap<(String, u16), Open>,
}

#[derive(Debug)]
struct Open {
    relay: Relay,
    targets: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Ports {
    /// No port yet, on an address that no other environment has.
    pub(super) fn new() -> Result<Self> {
        let random = random_hex(Path::new("an address"))?;
        let byte = |at: usize| u8::from_str_radix(&random[at..at + 2], 16).unwrap_or(0);
        Ok(Self {
            address: draw_address(&[byte(0), byte(2), byte(4)]),
            open: BTreeMap::new(),
        })
    }

    /// Opens the TCP ports of a service. UDP is not passed on.
    pub(super) async fn open(&mut self, name: &str, service: &Service) -> crate::Result<()> {
        for port in &service.ports {
            let key = (name.to_owned(), port.container);
            if port.protocol != Protocol::Tcp || self.open.contains_key(&key) {
                continue;
            }
            let targets = Arc::default();
            let wanted = port.published.unwrap_or(port.container);
            let relay = self.listen(wanted, Targets::Services(Arc::clone(&targets)));
            let relay = relay.await.map_err(|source| {
                Error::new(
                    ErrorKind::Environment,
                    format!(
                        "port {wanted} of service `{name}` cannot be opened on {}",
                        self.address
                    ),
                )
                .with_source(source)
            })?;
            self.open.insert(key, Open { relay, targets });
        }
        Ok(())
    }

    /// Listens on the port that was asked for; on any, if that is another service's already or one
    /// that this user may not have.
    async fn listen(&self, port: u16, to: Targets) -> io::Result<Relay> {
        match Relay::listen(self.address, port, to.clone(), None).await {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
                ) =>
            {
                Relay::listen(self.address, 0, to, None).await
            }
            other => other,
        }
    }

    /// Leads the ports of a service to these containers.
    pub(super) fn lead(&self, name: &str, containers: &[IpAddr]) {
        for ((service, port), open) in &self.open {
            if service == name {
                let all = containers.iter().map(|ip| SocketAddr::new(*ip, *port));
                *open.targets.lock().unwrap_or_else(PoisonError::into_inner) = all.collect();
            }
        }
    }

    /// Where each port is: service, container port, address.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, u16, SocketAddr)> {
        self.open
            .iter()
            .map(|((service, port), open)| (service.as_str(), *port, open.relay.address()))
    }
}
