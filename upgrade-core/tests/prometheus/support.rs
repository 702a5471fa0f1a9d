//! A Prometheus server, a target that it scrapes, and servers that are written by hand.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use upgrade_core::validator::PrometheusQuery;
use upgrade_core::{UpgradeContext, Validator as _, Verdict};

/// How long anything that has to happen may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn context() -> UpgradeContext {
    UpgradeContext::new("1.0.0", "1.1.0").with_deadline(Instant::now() + PATIENCE)
}

/// A file in the folder of TLS.
pub(crate) fn tls(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/prometheus/tls")
        .join(name)
}

/// Reads the head of a request.
pub(crate) async fn request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.unwrap() == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// An answer with a body.
pub(crate) fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

/// Metrics that a server scrapes, in the format of Prometheus.
pub(crate) struct Target {
    address: String,
    metrics: Arc<Mutex<String>>,
    serving: JoinHandle<()>,
}

impl Target {
    /// Serves metrics. `{n}` in them is a number that grows with each scrape, from 1.
    pub(crate) async fn start(metrics: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let metrics = Arc::new(Mutex::new(metrics.to_owned()));
        let served = Arc::clone(&metrics);
        let serving = tokio::spawn(async move {
            for scrape in 1.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                request(&mut stream).await;
                let body = served.lock().unwrap().replace("{n}", &format!("{scrape}"));
                // A server that ends while it scrapes reads no answer.
                let _ = stream.write_all(answer("200 OK", &body).as_bytes()).await;
            }
        });
        Self {
            address,
            metrics,
            serving,
        }
    }

    /// Serves other metrics from now on.
    pub(crate) fn set(&self, metrics: &str) {
        metrics.clone_into(&mut self.metrics.lock().unwrap());
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A Prometheus server that scrapes a target ten times a second.
pub(crate) struct Server {
    pub(crate) url: String,
    target: Target,
    /// Both end with it.
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start(metrics: &str) -> Self {
        Self::start_with(metrics, &[], "http").await
    }

    /// One that is reached by TLS, as `localhost`, with the certificate in `tls`.
    pub(crate) async fn start_with_tls(metrics: &str) -> Self {
        let config = tls("web.yml");
        let config = format!("--web.config.file={}", config.display());
        let mut server = Self::start_with(metrics, &[&config], "https").await;
        server.url = server.url.replace("127.0.0.1", "localhost");
        server
    }

    async fn start_with(metrics: &str, options: &[&str], scheme: &str) -> Self {
        let target = Target::start(metrics).await;
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let address = &target.address;
        std::fs::write(
            &config,
            format!(
                "scrape_configs:\n- job_name: shop\n  scrape_interval: 100ms\n  scrape_timeout: 100ms\n  \
                 static_configs:\n  - targets: ['{address}']\n"
            ),
        )
        .unwrap();
        let program = env::var_os("UPGRADE_PROMETHEUS").unwrap_or_else(|| "prometheus".into());
        let mut process = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg("--web.listen-address=127.0.0.1:0")
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program `prometheus` (scripts/setup installs it)");
        let address = listening(process.stderr.take().unwrap()).await;
        Self {
            url: format!("{scheme}://{address}"),
            target,
            _process: process,
            _folder: folder,
        }
    }

    pub(crate) fn set(&self, metrics: &str) {
        self.target.set(metrics);
    }

    pub(crate) fn query(&self, promql: &str) -> PrometheusQuery {
        PrometheusQuery::new("the metric", &self.url, promql)
    }

    /// The first verdict about a query that is as expected.
    pub(crate) async fn verdict(
        &self,
        query: &PrometheusQuery,
        is_expected: fn(&Verdict) -> bool,
    ) -> Verdict {
        let cx = context();
        loop {
            // It ends with the deadline of the context.
            let verdict = query.validate(&cx).await.unwrap();
            if is_expected(&verdict) {
                return verdict;
            }
            let left = cx.remaining().unwrap();
            assert!(!left.is_zero(), "still {verdict:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Waits until a server has printed that it is ready, and on which address before; and reads on as long
/// as it prints.
async fn listening(stderr: ChildStderr) -> String {
    let mut lines = BufReader::new(stderr).lines();
    let mut log = String::new();
    let mut address = None;
    let deadline = Instant::now() + PATIENCE;
    while let Ok(Ok(Some(line))) = timeout_at(deadline, lines.next_line()).await {
        if line.contains("Listening on") {
            address = line.split("address=").nth(1).map(str::to_owned);
        }
        if line.contains("Server is ready") {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return address.unwrap().trim().to_owned();
        }
        log += &line;
        log.push('\n');
    }
    panic!("prometheus is not ready:\n{log}");
}
