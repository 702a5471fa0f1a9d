//! One running process of a program.

use std::fmt;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::folder::{MARK, tail};
use super::port;
use super::program::{Placement, Program, ProgramReady};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Version;
use crate::net::probe;
use crate::outcome::Outcome;
use crate::postgres::server::{Process, die_with_parent};
use crate::secret::Secret;

/// How long it is waited between two tries.
const PAUSE: Duration = Duration::from_millis(10);
/// How long one try may take.
const PROBE_WITHIN: Duration = Duration::from_secs(5);
/// How many lines of a log stand in an error.
const SHOWN: usize = 20;
/// How often a start may meet a port that another process has taken.
const STARTS: usize = 3;

/// A running process, with everything that it has started: its process group.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) release: Version,
    /// Where it listens, if it does.
    pub(super) address: Option<SocketAddr>,
    pub(super) log: PathBuf,
    /// How long the log was before.
    printed_before: u64,
    process: Arc<Process>,
    stops_within: Duration,
}

/// A program that did not become ready.
struct NotReady {
    outcome: Outcome,
    /// Whether that is because another process has taken its port.
    port_taken: bool,
}

/// Why a program is not ready.
enum Why {
    Ended(ExitStatus),
    /// The process that listens on its port.
    Stranger(u32),
    Slow(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(status) => write!(f, "it ended with {status}"),
            Self::Stranger(process) => {
                write!(f, "another process ({process}) listens on its port")
            }
            Self::Slow(why) => f.write_str(why),
        }
    }
}

impl Instance {
    /// Starts a program at a release, and waits until it is ready. `Err` in the result is a program that does
    /// not become ready. Where another process has taken its port, it gets another one.
    pub(super) async fn start(
        cx: &UpgradeContext,
        program: &Program,
        at: (&Version, u32),
        database: &Secret,
        folder: &Path,
    ) -> Result<std::result::Result<Self, Outcome>> {
        for _ in 1..STARTS {
            let started = Self::start_once(cx, program, at, database, folder).await?;
            match started {
                Err(NotReady {
                    port_taken: true, ..
                }) => {}
                started => return Ok(started.map_err(|failed| failed.outcome)),
            }
        }
        let started = Self::start_once(cx, program, at, database, folder).await?;
        Ok(started.map_err(|failed| failed.outcome))
    }

    async fn start_once(
        cx: &UpgradeContext,
        program: &Program,
        at: (&Version, u32),
        database: &Secret,
        folder: &Path,
    ) -> Result<std::result::Result<Self, NotReady>> {
        let (release, number) = at;
        let port = match program.has_port {
            true => port::free()?,
            false => 0,
        };
        let placement = Placement {
            release: release.clone(),
            upgraded: release == cx.to(),
            instance: number,
            port,
        };
        let line = (program.command)(&placement);
        line.conceal(cx);
        let log = folder.join(format!("{}-{number}.log", program.name));
        let output = File::options().create(true).append(true).open(&log)?;
        let printed_before = output.metadata()?.len();
        let mut command = line.in_background(database);
        command
            .env(MARK, folder)
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        die_with_parent(&mut command, Signal::KILL);
        let shown = cx.redact(&line.to_string());
        let spawned = tokio::task::spawn_blocking(move || Process::spawn(command)).await;
        let spawned = spawned.map_err(|source| {
            Error::new(ErrorKind::Io, "no process could be started").with_source(source)
        })?;
        let process = spawned.map_err(|source| {
            let message = format!("program `{}` could not be started: `{shown}`", program.name);
            Error::new(ErrorKind::Io, message)
                .with_source(source)
                .with_hint("is it built, and is the path right?")
        })?;
        let instance = Self {
            release: release.clone(),
            address: program
                .has_port
                .then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            log,
            printed_before,
            process: Arc::new(process),
            stops_within: program.stops_within,
        };
        match instance.wait(cx, program, folder).await {
            Ok(Ok(())) => Ok(Ok(instance)),
            Ok(Err(why)) => {
                let port_taken = match &why {
                    Why::Stranger(_) => true,
                    Why::Ended(_) => program.has_port && port::is_taken(port),
                    Why::Slow(_) => false,
                };
                let last = cx.redact(&tail(&instance.log, SHOWN).join("\n"));
                instance.stop().await;
                let message = format!(
                    "release {release} of program `{}` did not become ready: {why}; its last lines:\n{last}",
                    program.name
                );
                let outcome = Outcome::failed(Error::new(ErrorKind::Environment, message));
                Ok(Err(NotReady {
                    outcome,
                    port_taken,
                }))
            }
            Err(error) => {
                instance.stop().await;
                Err(error)
            }
        }
    }

    /// Waits until it is ready; the reason why it is not in time.
    async fn wait(
        &self,
        cx: &UpgradeContext,
        program: &Program,
        folder: &Path,
    ) -> Result<std::result::Result<(), Why>> {
        let until = Instant::now() + program.within;
        let waiting = async {
            loop {
                let ready = self.is_ready(&program.ready).await;
                if let Some(status) = self.process.status() {
                    return Err(Why::Ended(status));
                }
                // Who answered may be another process.
                let address = self.address.filter(|_| ready.is_ok());
                let stranger =
                    address.and_then(|at| port::stranger(at.port(), self.group(), folder));
                if let Some(stranger) = stranger {
                    return Err(Why::Stranger(stranger));
                }
                match ready {
                    Ok(()) => return Ok(()),
                    Err(why) if Instant::now() >= until => {
                        return Err(Why::Slow(format!("{why} after {:?}", program.within)));
                    }
                    Err(_) => {}
                }
                sleep(PAUSE).await; // poll
            }
        };
        cx.bounded(&format!("wait for program `{}`", program.name), waiting)
            .await
    }

    async fn is_ready(&self, ready: &ProgramReady) -> std::result::Result<(), String> {
        let address = self.address.ok_or("it has no port");
        let slow = |_| format!("it did not answer within {PROBE_WITHIN:?}");
        match ready {
            ProgramReady::Connects => {
                let connecting = TcpStream::connect(address?);
                let connected = timeout(PROBE_WITHIN, connecting).await.map_err(slow)?;
                connected.map(drop).map_err(|error| error.to_string())
            }
            ProgramReady::Answers(path) => {
                let asked = timeout(PROBE_WITHIN, probe::get(address?, path));
                match asked.await.map_err(slow)?? {
                    200..=299 => Ok(()),
                    status => Err(format!("`GET {path}` is answered with {status}")),
                }
            }
            ProgramReady::Prints(text) => {
                let log = std::fs::read(&self.log).unwrap_or_default();
                let before = usize::try_from(self.printed_before).unwrap_or(usize::MAX);
                let own = log.get(before..).unwrap_or_default();
                match String::from_utf8_lossy(own).contains(text) {
                    true => Ok(()),
                    false => Err(format!("it has not printed `{text}`")),
                }
            }
            ProgramReady::Runs => match self.process.status() {
                None => Ok(()),
                Some(_) => Err("it has ended".to_owned()),
            },
        }
    }

    /// Its process group.
    pub(super) fn group(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn runs(&self) -> bool {
        self.process.status().is_none()
    }

    /// Has it stop where it is, or go on.
    pub(super) fn signal(&self, signal: Signal) {
        if self.runs() {
            self.signal_group(signal);
        }
    }

    fn signal_group(&self, signal: Signal) {
        let group = i32::try_from(self.process.id()).ok();
        if let Some(group) = group.and_then(Pid::from_raw) {
            // An error here means that the group has ended already.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Asks it to end, then kills it with all that it has started.
    pub(super) async fn stop(self) {
        let ending = tokio::task::spawn_blocking(move || {
            self.signal_group(Signal::CONT);
            self.process.end(Signal::TERM, self.stops_within);
            self.signal_group(Signal::KILL);
        });
        if let Err(error) = ending.await {
            tracing::warn!(%error, "a program could not be stopped");
        }
    }
}

/// Nothing that it has started outlives it, also where nobody awaits its end.
impl Drop for Instance {
    fn drop(&mut self) {
        if self.runs() {
            self.signal_group(Signal::KILL);
        }
    }
}
