//! Waiting until a container is ready.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use testcontainers::bollard::container::LogOutput;
use testcontainers::bollard::errors::Error as ClientError;
use testcontainers::bollard::exec::{StartExecOptions, StartExecResults};
use testcontainers::bollard::models::{ContainerInspectResponse, ContainerState, ExecConfig};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::docker::DockerError;
use crate::docker::engine::{Engine, quiet};
use crate::docker::error::Result;
use crate::docker::stack::Protocol;
use crate::net::probe::get;

pub(super) const POLL_EVERY: Duration = Duration::from_millis(25);
/// How long one probe may take.
const PROBE_WITHIN: Duration = Duration::from_secs(5);
/// How long a container that can be asked nothing has to run.
const STARTS_IN: Duration = Duration::from_millis(500);

/// When the containers of a service are ready.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ready {
    /// When the health check of the service or of its image passes; without one, when every TCP
    /// port of the service accepts connections; without ports, when it has run for half a second.
    /// What a service that says nothing else gets.
    Sensible,
    /// When `GET` of a path on a port answers with a status of 200 to 399.
    Http {
        /// The port.
        port: u16,
        /// The path, with its leading slash.
        path: String,
    },
    /// When a port accepts connections.
    Tcp {
        /// The port.
        port: u16,
    },
    /// When it runs.
    Running,
}

impl Ready {
    /// Ready when this path answers.
    pub fn http(port: u16, path: impl Into<String>) -> Self {
        Self::Http {
            port,
            path: path.into(),
        }
    }
}

/// One container on its way.
pub(super) struct Waiting<'a> {
    pub(super) engine: &'a Engine,
    pub(super) container: &'a str,
    pub(super) ready: &'a Ready,
    /// The ports that the service declares.
    pub(super) ports: &'a [(u16, Protocol)],
    /// Whether a container that ends with exit code 0 has done what it is for.
    pub(super) may_end: bool,
    pub(super) deadline: Instant,
}

/// What a container waits for, told from its own settings.
enum Probe<'a> {
    Http(u16, &'a str),
    Tcp(Vec<u16>),
    Health(Vec<String>),
    Running,
    JustStarted,
}

impl Waiting<'_> {
    /// Waits until the container is ready.
    pub(super) async fn until_ready(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let found = self.engine.inspect(self.container).await?;
            let state = found.state.clone().unwrap_or_default();
            if state.running != Some(true) {
                let code = state.exit_code.unwrap_or_default();
                if self.may_end && code == 0 && state.started_at.is_some() {
                    return Ok(());
                }
                return Err(self.exited(code, &state).await);
            }
            let missing = match self.probe(&found, begun).await {
                Ok(()) => return Ok(()),
                Err(missing) => missing,
            };
            if Instant::now() >= self.deadline {
                return Err(DockerError::NotReady {
                    container: self.container.to_owned(),
                    waited: begun.elapsed(),
                    missing,
                    log: self.engine.last_lines(self.container).await,
                    source: None,
                });
            }
            sleep(POLL_EVERY).await; // poll
        }
    }

    /// Waits until the container has ended well.
    pub(super) async fn until_completed(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let state = self.engine.inspect(self.container).await?.state;
            let state = state.unwrap_or_default();
            if state.running != Some(true) {
                return match state.exit_code.unwrap_or_default() {
                    0 => Ok(()),
                    code => Err(self.exited(code, &state).await),
                };
            }
            if Instant::now() >= self.deadline {
                return Err(DockerError::NotReady {
                    container: self.container.to_owned(),
                    waited: begun.elapsed(),
                    missing: "it has not ended, and others wait for that".to_owned(),
                    log: self.engine.last_lines(self.container).await,
                    source: None,
                });
            }
            sleep(POLL_EVERY).await; // poll
        }
    }

    async fn exited(&self, code: i64, state: &ContainerState) -> DockerError {
        let mut log = self.engine.last_lines(self.container).await;
        if state.oom_killed == Some(true) {
            log.push_str("\n(it was killed because it may not use more memory)");
        }
        if log.contains("No space left on device") {
            log.push_str(
                "\n(a volume of limited size is full, or the disk of the engine: give the volume more bytes, or make room)",
            );
        }
        DockerError::Exited {
            container: self.container.to_owned(),
            code,
            log,
        }
    }

    /// Asks once; the error says what is missing.
    async fn probe(
        &self,
        found: &ContainerInspectResponse,
        begun: Instant,
    ) -> std::result::Result<(), String> {
        match self.choose(found) {
            Probe::Running => Ok(()),
            // One that fails at once has had the time to do so.
            Probe::JustStarted if begun.elapsed() >= STARTS_IN => Ok(()),
            Probe::JustStarted => Err("it has only just started".to_owned()),
            Probe::Health(test) => self.check_health(&test).await,
            Probe::Http(port, path) => {
                let address = SocketAddr::new(address(found)?, port);
                let get = timeout(PROBE_WITHIN, get(address, path)).await;
                match get.unwrap_or_else(|_| Err("no answer".to_owned())) {
                    Ok(200..=399) => Ok(()),
                    Ok(status) => Err(format!("GET {path} on port {port} answers {status}")),
                    Err(why) => Err(format!("GET {path} on port {port}: {why}")),
                }
            }
            Probe::Tcp(ports) => {
                let ip = address(found)?;
                for port in ports {
                    let connect = TcpStream::connect(SocketAddr::new(ip, port));
                    match timeout(PROBE_WITHIN, connect).await {
                        Ok(Ok(_)) => {}
                        _ => return Err(format!("nothing listens on port {port}")),
                    }
                }
                Ok(())
            }
        }
    }

    fn choose(&self, found: &ContainerInspectResponse) -> Probe<'_> {
        match self.ready {
            Ready::Http { port, path } => Probe::Http(*port, path),
            Ready::Tcp { port } => Probe::Tcp(vec![*port]),
            Ready::Running => Probe::Running,
            Ready::Sensible => {
                let config = found.config.as_ref();
                let health = config.and_then(|config| config.healthcheck.as_ref());
                let test = health
                    .and_then(|health| health.test.clone())
                    .unwrap_or_default();
                if matches!(test.first().map(String::as_str), Some("CMD" | "CMD-SHELL")) {
                    return Probe::Health(test);
                }
                let tcp = self
                    .ports
                    .iter()
                    .filter(|(_, protocol)| *protocol == Protocol::Tcp);
                let tcp: Vec<u16> = tcp.map(|(port, _)| *port).collect();
                if tcp.is_empty() {
                    Probe::JustStarted
                } else {
                    Probe::Tcp(tcp)
                }
            }
        }
    }

    /// Runs the health check at once, instead of when the engine would: its first run comes after
    /// a whole interval, 30 s if nothing else is said.
    async fn check_health(&self, test: &[String]) -> std::result::Result<(), String> {
        let command = match test {
            [kind, line] if kind == "CMD-SHELL" => {
                vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()]
            }
            [_, command @ ..] => command.to_vec(),
            [] => return Ok(()),
        };
        let run = timeout(PROBE_WITHIN, exec(self.engine, self.container, command)).await;
        match run {
            Ok(Ok((0, _))) => Ok(()),
            Ok(Ok((code, output))) => {
                let output = output.trim();
                Err(format!("its health check ends with {code}: {output}"))
            }
            Ok(Err(error)) => Err(format!("its health check cannot be run: {error}")),
            Err(_) => Err("its health check does not end".to_owned()),
        }
    }
}

/// The address of a container on the first of its networks.
pub(super) fn address(found: &ContainerInspectResponse) -> std::result::Result<IpAddr, String> {
    let networks = found.network_settings.as_ref();
    let networks = networks.and_then(|settings| settings.networks.as_ref());
    let mut addresses: Vec<(&String, IpAddr)> = networks
        .into_iter()
        .flatten()
        .filter_map(|(name, network)| {
            let address = network.ip_address.as_deref()?.parse().ok()?;
            Some((name, address))
        })
        .collect();
    addresses.sort();
    let first = addresses.into_iter().next().map(|(_, address)| address);
    first.ok_or_else(|| "it has no address".to_owned())
}

/// Runs a command in a container; its exit code and what it printed.
async fn exec(
    engine: &Engine,
    container: &str,
    command: Vec<String>,
) -> std::result::Result<(i64, String), ClientError> {
    let config = ExecConfig {
        cmd: Some(command),
        ..ExecConfig::default()
    };
    let mut text = String::new();
    let all = |chunk: LogOutput| {
        text.push_str(&chunk.to_string());
        Ok(())
    };
    let code = exec_with(engine, container, config, all).await?;
    let text = engine.secrets().redact(&text).into_owned();
    Ok((code, text))
}

/// Runs a command in a container and passes on what it prints, piece by piece; its exit code.
pub(super) async fn exec_with(
    engine: &Engine,
    container: &str,
    config: ExecConfig,
    mut take: impl FnMut(LogOutput) -> io::Result<()>,
) -> std::result::Result<i64, ClientError> {
    let docker = engine.docker();
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..config
    };
    let id = quiet(docker.create_exec(container, config)).await?.id;
    if let StartExecResults::Attached { mut output, .. } =
        quiet(docker.start_exec(&id, None::<StartExecOptions>)).await?
    {
        while let Some(chunk) = quiet(output.next()).await {
            take(chunk?)?;
        }
    }
    let code = quiet(docker.inspect_exec(&id)).await?.exit_code;
    Ok(code.unwrap_or(-1))
}
