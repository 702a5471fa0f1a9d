//! Services that answer as they are told, and contexts with three of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use upgrade_core::environment::{Endpoint, Endpoints};
use upgrade_core::replay::Replay;
use upgrade_core::side::{Candidate, Side};
use upgrade_core::{Finding, UpgradeContext, Validator as _, Verdict};

/// How long anything that has to happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that a service got.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Call {
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte).await.ok()? == 0 {
                return None;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers
            .get("content-length")
            .map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        Some(Self {
            method,
            target,
            headers,
            body: String::from_utf8(body).unwrap(),
        })
    }
}

/// What a service does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Status, more headers, a body.
    Full(u16, Vec<(&'static str, String)>, String),
    /// These bytes and then nothing, with the connection open.
    Hang(&'static str),
    /// A body that does not end for 100 MB.
    Endless,
    /// The connection is closed at once.
    Close,
    /// As [`Close`](Self::Close), and no other connection is taken.
    Die,
}

pub(crate) fn json(status: u16, body: &Value) -> Reply {
    let headers = vec![("content-type", "application/json".to_owned())];
    Reply::Full(status, headers, body.to_string())
}

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) url: String,
    serving: JoinHandle<()>,
}

impl Service {
    pub(crate) async fn start(answer: impl FnMut(&Call) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(answer));
        let serving = tokio::spawn(async move {
            let (dies, mut died) = tokio::sync::mpsc::channel::<()>(1);
            loop {
                let stream = tokio::select! {
                    taken = listener.accept() => taken.unwrap().0,
                    _ = died.recv() => return,
                };
                let (answer, dies) = (Arc::clone(&answer), dies.clone());
                tokio::spawn(async move {
                    let mut stream = stream;
                    while let Some(call) = Call::read(&mut stream).await {
                        let reply = (answer.lock().unwrap())(&call);
                        let dead = matches!(reply, Reply::Die);
                        let open = write(&mut stream, reply).await;
                        if dead {
                            let _ = dies.send(()).await;
                        }
                        if !open {
                            break;
                        }
                    }
                });
            }
        });
        Self { url, serving }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Whether the connection stays open.
async fn write(stream: &mut TcpStream, reply: Reply) -> bool {
    match reply {
        Reply::Full(status, headers, body) => {
            let headers: String = headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}\r\n"))
                .collect();
            let length = body.len();
            let text =
                format!("HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\n\r\n{body}");
            stream.write_all(text.as_bytes()).await.is_ok()
        }
        Reply::Hang(begin) => {
            let _ = stream.write_all(begin.as_bytes()).await;
            // Until the client closes the connection.
            let _ = stream.read(&mut [0]).await;
            false
        }
        Reply::Endless => {
            let head = "HTTP/1.1 200 x\r\ncontent-length: 100000000\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            let block = vec![b'x'; 1_000_000];
            for _ in 0..100 {
                if stream.write_all(&block).await.is_err() {
                    break;
                }
            }
            false
        }
        Reply::Close | Reply::Die => false,
    }
}

/// A context with three services as sides, in their order.
pub(crate) fn context(services: &[Service; 3]) -> UpgradeContext {
    let sides = Side::ALL.into_iter().zip(services).map(|(side, service)| {
        let web = Endpoint::new(service.url.as_str());
        (side, Endpoints::default().with("web", web))
    });
    UpgradeContext::new("1", "2")
        .with_deadline(Instant::now() + PATIENCE)
        .with_sides(sides.collect(), Candidate::Upgraded)
}

/// The findings of a verdict that fails, with no secret in them.
pub(crate) fn failed(verdict: Verdict) -> Vec<Finding> {
    let Verdict::Fail(findings) = verdict else {
        panic!("{verdict:?}");
    };
    let shown = format!("{findings:?}");
    assert!(!shown.contains("canary"), "{shown}");
    findings
}

/// Id and subject of each finding.
pub(crate) fn keys(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| format!("{}[{}] {}", finding.severity, finding.id, finding.subject))
        .collect()
}

pub(crate) async fn validate(replay: &Replay, services: &[Service; 3]) -> Verdict {
    replay.validate(&context(services)).await.unwrap()
}
