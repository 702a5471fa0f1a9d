//! A small HTTP service whose work and faults are chosen, on threads beside the runtime of the test.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::context::UpgradeContext;
use crate::endpoint::{Endpoint, Endpoints};
use crate::side::{Candidate, Side};

/// What a service does with a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reply {
    /// This number of turns of work, then this status.
    Work(u32, u16),
    /// This much time, then 200.
    Wait(Duration),
    /// Nothing, for ever.
    Silence,
    /// The connection is closed.
    Close,
}

/// A target, the number of the request since the start, and how many are being answered.
pub(super) type Behave = fn(&str, u32, u32) -> Reply;

#[derive(Debug)]
pub(super) struct Service {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Service {
    pub(super) fn start(behave: Behave) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (number, busy) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (log, number, busy) = (log.clone(), number.clone(), busy.clone());
                thread::spawn(move || serve(connection, behave, &log, &number, &busy));
            }
        });
        Self { address, seen }
    }

    /// Nobody listens.
    pub(super) fn down() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
        }
    }

    /// Each request, its first line and its body.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn endpoints(&self) -> Endpoints {
        let url = format!("http://{}", self.address);
        Endpoints::default().with("api", Endpoint::new(url))
    }
}

/// Answers the requests of a connection until the client ends it.
fn serve(
    stream: TcpStream,
    behave: Behave,
    log: &Mutex<Vec<String>>,
    number: &AtomicU32,
    busy: &AtomicU32,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut out = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).ok()? == 0 {
            return None;
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let target = first.split(' ').nth(1)?;
        let line = format!("{} {}", first.trim(), String::from_utf8_lossy(&body));
        log.lock().ok()?.push(line);
        let active = busy.fetch_add(1, Ordering::SeqCst) + 1;
        let reply = behave(target, number.fetch_add(1, Ordering::SeqCst), active);
        let status = match reply {
            Reply::Work(turns, status) => {
                work(turns);
                status
            }
            Reply::Wait(time) => {
                thread::sleep(time);
                200
            }
            Reply::Silence => loop {
                thread::park();
            },
            Reply::Close => return None,
        };
        busy.fetch_sub(1, Ordering::SeqCst);
        write!(out, "HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok").ok()?;
    }
}

/// The same work for the same number of turns.
fn work(turns: u32) {
    let mut value = u64::from(turns);
    for turn in 0..turns {
        value = black_box(value.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(turn));
    }
}

/// A context in which three services run side by side.
pub(super) fn beside(
    baseline: &Service,
    secondary: &Service,
    candidate: &Service,
) -> UpgradeContext {
    let sides = BTreeMap::from([
        (Side::Baseline, baseline.endpoints()),
        (Side::Secondary, secondary.endpoints()),
        (Side::Candidate, candidate.endpoints()),
    ]);
    UpgradeContext::new("1", "2")
        .with_seed(7)
        .with_sides(sides, Candidate::Upgraded)
}

/// Two services of one behaviour, and a candidate of another.
pub(super) fn services(before: Behave, after: Behave) -> [Service; 3] {
    [before, before, after].map(Service::start)
}

/// A context of [`services`]. The services live as long as the process.
pub(super) fn start(before: Behave, after: Behave) -> UpgradeContext {
    let [baseline, secondary, candidate] = services(before, after);
    beside(&baseline, &secondary, &candidate)
}
