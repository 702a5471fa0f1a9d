//! The hosts outside that an environment may reach.
//!
//! Its networks have no way out. A host that is allowed gets a name inside that leads to this
//! machine, where a relay listens that knows nothing but that host, and that serves nobody but the
//! containers of this environment.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::make_network;
use crate::docker::engine::Engine;
use crate::docker::lease::Lease;
use crate::error::{Error, ErrorKind, Result};
use crate::net::relay::{Range, Relay, Targets};

/// The way out, as far as there is one.
#[derive(Debug)]
pub(super) struct Outside {
    /// Networks whose gateway is this machine: one for each host that has the same port.
    networks: Vec<String>,
    /// The names of hosts, and where they lead.
    names: Vec<(String, String)>,
    /// They listen as long as they are held.
    relays: Vec<Relay>,
}

impl Outside {
    /// No way out.
    pub(super) fn none() -> Self {
        Self {
            networks: Vec::new(),
            names: Vec::new(),
            relays: Vec::new(),
        }
    }

    /// Opens the way to these hosts and ports.
    pub(super) async fn open(
        engine: &Engine,
        lease: &Lease,
        prefix: &str,
        allowed: &[(String, u16)],
    ) -> Result<Self> {
        let mut outside = Self::none();
        for (number, hosts) in places(allowed).into_iter().enumerate() {
            let network = format!("{prefix}-out-{number}");
            make_network(engine, lease, &network).await?;
            let (gateway, range) = engine
                .gateway(&network)
                .await?
                .and_then(|(gateway, range)| {
                    Some((gateway.parse::<Ipv4Addr>().ok()?, Range::parse(&range)?))
                })
                .ok_or_else(|| {
                    Error::new(
                        ErrorKind::Environment,
                        format!("network `{network}` has no gateway"),
                    )
                })?;
            outside.networks.push(network);
            for (host, ports) in hosts {
                for port in ports {
                    let to = Targets::Outside(Arc::from(host), port);
                    let relay = Relay::listen(gateway, port, to, Some(range)).await;
                    let relay = relay.map_err(|source| no_relay(host, port, source))?;
                    outside.relays.push(relay);
                }
                outside.names.push((host.to_owned(), gateway.to_string()));
            }
        }
        Ok(outside)
    }

    /// The names of the hosts and where they lead.
    pub(super) fn names(&self) -> &[(String, String)] {
        &self.names
    }

    /// The networks on which the relays listen.
    pub(super) fn networks(&self) -> &[String] {
        &self.networks
    }
}

/// Spreads hosts over as few networks as possible: a name inside has one address, and two hosts with
/// the same port cannot have the same.
fn places(allowed: &[(String, u16)]) -> Vec<BTreeMap<&str, BTreeSet<u16>>> {
    let mut hosts: BTreeMap<&str, BTreeSet<u16>> = BTreeMap::new();
    for (host, port) in allowed {
        hosts.entry(host).or_default().insert(*port);
    }
    let mut places: Vec<BTreeMap<&str, BTreeSet<u16>>> = Vec::new();
    for (host, ports) in hosts {
        let free = |place: &&mut BTreeMap<&str, BTreeSet<u16>>| {
            place.values().all(|taken| taken.is_disjoint(&ports))
        };
        match places.iter_mut().find(free) {
            Some(place) => {
                place.insert(host, ports);
            }
            None => places.push(BTreeMap::from([(host, ports)])),
        }
    }
    places
}

fn no_relay(host: &str, port: u16, source: io::Error) -> Error {
    let error = Error::new(
        ErrorKind::Environment,
        format!("the way to `{host}:{port}` cannot be opened"),
    );
    match source.kind() {
        io::ErrorKind::PermissionDenied => error.with_source(source).with_hint(
            "ports below 1024 take root, or a lower `net.ipv4.ip_unprivileged_port_start`",
        ),
        _ => error.with_source(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_the_same_port_have_addresses_of_their_own() {
        let allowed = [("b", 443), ("a", 443), ("a", 80), ("c", 25)];
        let allowed = allowed.map(|(host, port)| (host.to_owned(), port));
        let places = places(&allowed);
        let names: Vec<Vec<&str>> = places
            .iter()
            .map(|place| place.keys().copied().collect())
            .collect();
        assert_eq!(names, [vec!["a", "c"], vec!["b"]]);
        assert!(places[0]["a"].iter().eq([&80, &443]));
    }
}
