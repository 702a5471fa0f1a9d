//! A program of a system: how it is started at a release, and when it is ready.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::command::CommandLine;
use crate::ids::Version;

/// How long a program may take to become ready where nothing else is said.
const WITHIN: Duration = Duration::from_secs(30);
/// How long a program may take to end where nothing else is said.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// Where and as what a program is started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placement {
    /// The release.
    pub release: Version,
    /// Whether that is the release to which the upgrade leads.
    pub upgraded: bool,
    /// Which of its instances, from 0.
    pub instance: u32,
    /// The port of `127.0.0.1` on which it has to listen; another one at each start. A program
    /// [without a port](Program::without_port) gets 0.
    pub port: u16,
}

/// When a program is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgramReady {
    /// When its port takes connections.
    Connects,
    /// When `GET` of this path on its port is answered with a status of 200 to 299.
    Answers(String),
    /// When it has printed this text.
    Prints(String),
    /// As soon as it runs.
    Runs,
}

type Command = dyn Fn(&Placement) -> CommandLine + Send + Sync;

/// A program of a system under test: a service, a worker.
///
/// ```
/// use upgrade_core::CommandLine;
/// use upgrade_core::environment::Program;
///
/// let api = Program::new("api", |at| {
///     CommandLine::new(format!("target/debug/orders-{}", at.release))
///         .with_arg("serve")
///         .with_env("LISTEN", format!("127.0.0.1:{}", at.port))
/// })
/// .with_ready_at("/health")
/// .with_instances(2);
/// let worker = Program::new("worker", |at| {
///     CommandLine::new(format!("target/debug/orders-{}", at.release)).with_arg("work")
/// })
/// .without_port();
/// ```
#[derive(Clone)]
pub struct Program {
    pub(super) name: String,
    pub(super) command: Arc<Command>,
    pub(super) has_port: bool,
    pub(super) ready: ProgramReady,
    pub(super) instances: u32,
    pub(super) within: Duration,
    pub(super) stops_within: Duration,
}

impl Program {
    /// A program by its name, which is also that of its endpoint, and the command that starts it. The command
    /// finds the database of its system in `DATABASE_URL` and in the variables of Postgres clients, as
    /// [`CommandLine`] says. It has to stay in the foreground.
    pub fn new(
        name: impl Into<String>,
        command: impl Fn(&Placement) -> CommandLine + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            command: Arc::new(command),
            has_port: true,
            ready: ProgramReady::Connects,
            instances: 1,
            within: WITHIN,
            stops_within: STOPS_WITHIN,
        }
    }

    /// A program that listens nowhere, such as a worker. It is ready as soon as it runs.
    #[must_use]
    pub fn without_port(mut self) -> Self {
        (self.has_port, self.ready) = (false, ProgramReady::Runs);
        self
    }

    /// It is ready when `GET` of this path is answered with a status of 200 to 299. Default: when its port takes
    /// connections.
    #[must_use]
    pub fn with_ready_at(self, path: impl Into<String>) -> Self {
        self.with_ready(ProgramReady::Answers(path.into()))
    }

    /// Says otherwise when it is ready.
    #[must_use]
    pub fn with_ready(mut self, ready: ProgramReady) -> Self {
        self.ready = ready;
        self
    }

    /// Sets the number of its instances, at least 1. Connections to its endpoint are taken by each in turn, and
    /// a rolling upgrade replaces one after the other. Default: 1.
    #[must_use]
    pub fn with_instances(mut self, instances: u32) -> Self {
        self.instances = instances.max(1);
        self
    }

    /// Sets how long it may take to become ready. Default: 30 s.
    #[must_use]
    pub fn with_within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Sets how long it may take to end after `SIGTERM`, before it is killed. Default: 10 s.
    #[must_use]
    pub fn with_stops_within(mut self, within: Duration) -> Self {
        self.stops_within = within;
        self
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.name)
            .field("ready", &self.ready)
            .field("instances", &self.instances)
            .finish_non_exhaustive()
    }
}
