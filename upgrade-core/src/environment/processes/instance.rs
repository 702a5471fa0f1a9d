//! One running process of a program.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::folder::{MARK, tail};
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

impl Instance {
    /// Starts a program at a release, and waits until it is ready. `Err` in the result is a program that does
    /// not become ready.
    pub(super) async fn start(
        cx: &UpgradeContext,
        program: &Program,
        at: (&Version, u32),
        database: &Secret,
        folder: &Path,
    ) -> Result<std::result::Result<Self, Outcome>> {
        let (release, number) = at;
        let port = match program.has_port {
            true => free_port()?,
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
        match instance.wait(cx, program).await {
            Ok(Ok(())) => Ok(Ok(instance)),
            Ok(Err(why)) => {
                let last = cx.redact(&tail(&instance.log, SHOWN).join("\n"));
                instance.stop().await;
                let message = format!(
                    "release {release} of program `{}` did not become ready: {why}; its last lines:\n{last}",
                    program.name
                );
                Ok(Err(Outcome::failed(Error::new(
                    ErrorKind::Environment,
                    message,
                ))))
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
    ) -> Result<std::result::Result<(), String>> {
        let until = Instant::now() + program.within;
        let waiting = async {
            loop {
                let why = match self.is_ready(&program.ready).await {
                    Ok(()) => return Ok(()),
                    Err(why) => why,
                };
                if let Some(status) = self.process.status() {
                    return Err(format!("it ended with {status}"));
                }
                if Instant::now() >= until {
                    return Err(format!("{why} after {:?}", program.within));
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

/// A port that nobody uses now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
