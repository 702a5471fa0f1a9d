//! Ports of an environment on this machine's loopback.
//!
//! An endpoint stays the same while the services behind it are replaced.
//!
//! The networks of an environment in containers have no way out, and the engine publishes no port
//! of a container that is on no other network. So this process listens, on an address that no
//! other environment uses, and passes on what comes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Where a relay passes on to: services behind one port, or a host of the world outside.
#[derive(Debug, Clone)]
pub(crate) enum Targets {
    /// One of these, each in turn; they change while containers are replaced.
    Services(Arc<Mutex<Vec<SocketAddr>>>),
    /// A name that this machine resolves.
    Outside(Arc<str>, u16),
}

/// The addresses of a network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    first: u32,
    mask: u32,
}

impl Range {
    /// A range as the engine writes it: `172.18.0.0/16`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (first, bits) = text.split_once('/')?;
        let first: Ipv4Addr = first.parse().ok()?;
        let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32)?;
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        Some(Self {
            first: u32::from(first) & mask,
            mask,
        })
    }

    fn contains(self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => u32::from(ip) & self.mask == self.first,
            IpAddr::V6(_) => false,
        }
    }
}

/// A listener that passes connections on; they end with it.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    task: AbortHandle,
}

impl Relay {
    /// Listens on a port of an address; `port` 0 lets the system choose. With a range, clients of
    /// other addresses are turned away: the kernel takes what arrives on any network for an address
    /// of this machine, so that containers of other environments come as far as here.
    pub(crate) async fn listen(
        ip: Ipv4Addr,
        port: u16,
        to: Targets,
        from: Option<Range>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((ip, port)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, to, from)).abort_handle();
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, to: Targets, from: Option<Range>) {
    let turn = Arc::new(AtomicUsize::new(0));
    // Its tasks end with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, peer)) = accepted
                    && from.is_none_or(|range| range.contains(peer.ip()))
                {
                    connections.spawn(pass_on(client, to.clone(), Arc::clone(&turn)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass_on(mut client: TcpStream, to: Targets, turn: Arc<AtomicUsize>) {
    let Some(mut server) = reach(&to, &turn).await else {
        // The client is refused by a connection that closes at once.
        return;
    };
    // Small answers must not wait for each other.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // What goes wrong here both ends see for themselves.
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

async fn reach(to: &Targets, turn: &AtomicUsize) -> Option<TcpStream> {
    match to {
        Targets::Outside(host, port) => TcpStream::connect((host.as_ref(), *port)).await.ok(),
        Targets::Services(all) => {
            let all = all.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let first = turn.fetch_add(1, Ordering::Relaxed);
            for step in 0..all.len() {
                let target = all[first.wrapping_add(step) % all.len()];
                if let Ok(server) = TcpStream::connect(target).await {
                    return Some(server);
                }
            }
            None
        }
    }
}

/// An address of the loopback for one environment, drawn from 14 million.
pub(crate) fn draw_address(random: &[u8; 3]) -> Ipv4Addr {
    // 127.0.x.y is where people and other tools put their own.
    let [high, middle, low] = *random;
    Ipv4Addr::new(127, high.clamp(16, 254), middle, low.clamp(1, 254))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A server that says its name and hangs up.
    async fn server(name: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                client.write_all(name.as_bytes()).await.unwrap();
            }
        });
        address
    }

    async fn ask(relay: &Relay) -> String {
        let mut stream = TcpStream::connect(relay.address()).await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn containers_take_turns_and_those_that_are_gone_are_passed_over() {
        let gone = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let all = vec![server("a").await, gone, server("b").await];
        let targets = Arc::new(Mutex::new(all));
        let ip = draw_address(&[200, 7, 9]);
        let relay = Relay::listen(ip, 0, Targets::Services(Arc::clone(&targets)), None)
            .await
            .unwrap();
        let mut answers = String::new();
        for _ in 0..3 {
            answers.push_str(&ask(&relay).await);
        }
        assert_eq!(answers, "abb");
        targets.lock().unwrap().clear();
        assert_eq!(ask(&relay).await, "", "nobody is there");
    }

    #[tokio::test]
    async fn a_client_of_another_network_is_turned_away() {
        let targets = Targets::Services(Arc::new(Mutex::new(vec![server("a").await])));
        for (range, expected) in [
            ("127.0.0.0/8", "a"),
            ("127.0.0.1/32", "a"),
            ("10.0.0.0/8", ""),
        ] {
            let range = Range::parse(range).unwrap();
            let relay = Relay::listen(Ipv4Addr::LOCALHOST, 0, targets.clone(), Some(range));
            assert_eq!(ask(&relay.await.unwrap()).await, expected, "{range:?}");
        }
        assert!(
            Range::parse("0.0.0.0/0")
                .unwrap()
                .contains([9, 9, 9, 9].into())
        );
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "fd00::/8"] {
            assert!(Range::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_on_the_loopback() {
        for bytes in [[0, 0, 0], [255, 255, 255], [16, 0, 1]] {
            let address = draw_address(&bytes);
            assert!(
                address.is_loopback() && address.octets()[1] >= 16,
                "{address}"
            );
        }
    }
}
