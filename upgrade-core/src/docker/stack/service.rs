//! One service of a stack, as data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

/// A service: what runs, with what it is configured, and when it counts as ready.
///
/// The fields are those of compose that matter to staging, already resolved: variables are
/// replaced, environment files read, relative paths made absolute.
///
/// ```
/// use upgrade_core::docker::{Condition, Image, Service};
///
/// let api = Service::new(Image::named("shop-api:1.4"))
///     .with_env("DATABASE_URL", "postgres://shop@db/shop")
///     .with_port(8080)
///     .with_replicas(2)
///     .after("db", Condition::Healthy);
/// assert_eq!(api.ports[0].container, 8080);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Service {
    /// Where its image comes from.
    pub image: Image,
    /// What replaces the image's entry point.
    pub entrypoint: Option<Vec<String>>,
    /// What replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Its variables. Any of them may be a secret, so none is ever printed.
    pub environment: BTreeMap<String, Secret>,
    /// The user, `name` or `uid:gid`, instead of the image's.
    pub user: Option<String>,
    /// The working folder, instead of the image's.
    pub working_dir: Option<String>,
    /// Its own host name.
    pub hostname: Option<String>,
    /// Labels beside those of this library.
    pub labels: BTreeMap<String, String>,
    /// The ports at which it can be reached from tests.
    pub ports: Vec<Port>,
    /// Volumes, folders of this machine, memory.
    pub mounts: Vec<Mount>,
    /// Secrets and configs, laid into the container before it starts.
    pub files: Vec<ServiceFile>,
    /// The networks that it is on, each with the names under which it is known there beside its
    /// own. Without any, it is on `default`.
    pub networks: BTreeMap<String, Vec<String>>,
    /// The services that have to be there before it starts.
    pub depends_on: BTreeMap<String, Dependency>,
    /// When it counts as healthy; `None` leaves that to the image.
    pub healthcheck: Option<Healthcheck>,
    /// What it may use.
    pub limits: Limits,
    /// How many containers of it run.
    pub replicas: u32,
    /// Whether a rolling replacement starts a new container before it stops an old one, so that
    /// there is one more for a moment; otherwise there is one fewer.
    pub start_first: bool,
    /// Names that resolve to fixed addresses.
    pub extra_hosts: BTreeMap<String, String>,
    /// The signal that asks it to stop, instead of the image's.
    pub stop_signal: Option<String>,
    /// How long it has to stop before it is killed; the engine's 10 s if not said.
    pub stop_grace_period: Option<Duration>,
    /// What the engine does when it ends without having been stopped.
    pub restart: Restart,
    /// Whether a process of the engine reaps its children.
    pub init: bool,
    /// Whether its root file system can only be read.
    pub read_only: bool,
    /// Whether it is given a terminal.
    pub tty: bool,
    /// Kernel capabilities beside the engine's default.
    pub cap_add: Vec<String>,
    /// Kernel capabilities of the engine's default that it does without.
    pub cap_drop: Vec<String>,
    /// Kernel parameters of its name space.
    pub sysctls: BTreeMap<String, String>,
}

impl Service {
    /// A service of an image, with nothing else said: one container, on the network `default`.
    pub fn new(image: Image) -> Self {
        Self {
            image,
            entrypoint: None,
            command: None,
            environment: BTreeMap::new(),
            user: None,
            working_dir: None,
            hostname: None,
            labels: BTreeMap::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            files: Vec::new(),
            networks: BTreeMap::new(),
            depends_on: BTreeMap::new(),
            healthcheck: None,
            limits: Limits::default(),
            replicas: 1,
            start_first: false,
            extra_hosts: BTreeMap::new(),
            stop_signal: None,
            stop_grace_period: None,
            restart: Restart::No,
            init: false,
            read_only: false,
            tty: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            sysctls: BTreeMap::new(),
        }
    }

    /// With another command.
    #[must_use]
    pub fn with_command<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.command = Some(command.into_iter().map(Into::into).collect());
        self
    }

    /// With one variable more.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Reached from tests at this TCP port of its containers.
    #[must_use]
    pub fn with_port(mut self, container: u16) -> Self {
        self.ports.push(Port::tcp(container));
        self
    }

    /// With this many containers.
    #[must_use]
    pub fn with_replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// Each new container started before an old one stops; see [`start_first`](Self::start_first).
    #[must_use]
    pub fn with_start_first(mut self) -> Self {
        self.start_first = true;
        self
    }

    /// Started only after another service has reached a condition.
    #[must_use]
    pub fn after(mut self, service: impl Into<String>, condition: Condition) -> Self {
        let dependency = Dependency {
            condition,
            required: true,
        };
        self.depends_on.insert(service.into(), dependency);
        self
    }

    /// With a volume or folder mounted.
    #[must_use]
    pub fn with_mount(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }

    /// With a file laid into its containers.
    #[must_use]
    pub fn with_file(mut self, file: ServiceFile) -> Self {
        self.files.push(file);
        self
    }

    /// Healthy when this says so.
    #[must_use]
    pub fn with_healthcheck(mut self, healthcheck: Healthcheck) -> Self {
        self.healthcheck = Some(healthcheck);
        self
    }

    /// With these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Image {
    /// An image by its name; pulled if the engine does not have it.
    Named(String),
    /// An image that is built from a folder.
    Build(Build),
}

impl Image {
    /// An image by its name, `name:tag`.
    pub fn named(name: impl Into<String>) -> Self {
        Self::Named(name.into())
    }
}

/// How an image is built.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Build {
    /// The folder that is sent to the engine.
    pub context: PathBuf,
    /// The Dockerfile, below the folder.
    pub dockerfile: PathBuf,
    /// The stage at which the build ends.
    pub target: Option<String>,
    /// The arguments of the build; they may be secrets.
    pub args: BTreeMap<String, Secret>,
    /// The name that the image is given; one of this library's own if not said.
    pub tag: Option<String>,
}

impl Build {
    /// A build of a folder by its `Dockerfile`.
    pub fn new(context: impl Into<PathBuf>) -> Self {
        Self {
            context: context.into(),
            dockerfile: PathBuf::from("Dockerfile"),
            target: None,
            args: BTreeMap::new(),
            tag: None,
        }
    }
}

/// A port of a service's containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Port {
    /// The port inside the container.
    pub container: u16,
    /// The port at which production publishes it. In staging it is published at the same number,
    /// on an address of the environment's own.
    pub published: Option<u16>,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl Port {
    /// A TCP port that is published under its own number.
    pub fn tcp(container: u16) -> Self {
        Self {
            container,
            published: None,
            protocol: Protocol::Tcp,
        }
    }
}

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Something that is mounted into a service's containers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mount {
    /// A volume of the stack; an anonymous one where it has no name.
    Volume {
        /// Its name in the stack.
        name: Option<String>,
        /// Where it appears.
        target: String,
        /// Whether it can only be read.
        read_only: bool,
    },
    /// A file or folder of this machine.
    Bind {
        /// The file or folder, absolute.
        source: PathBuf,
        /// Where it appears.
        target: String,
        /// Whether it can only be read. An environment refuses the other kind: staging would
        /// write into folders that are not its own.
        read_only: bool,
    },
    /// Memory.
    Tmpfs {
        /// Where it appears.
        target: String,
        /// Its size in bytes; default: the engine's bound.
        bytes: Option<u64>,
        /// The permissions of its root, as `chmod` takes them; default: 1777.
        mode: Option<u32>,
        /// Whether programs in it may be run.
        exec: bool,
    },
}

/// A file that is laid into a container before it starts: a secret or a config.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceFile {
    /// The name of the secret or config.
    pub name: String,
    /// Where it appears: `/run/secrets/NAME` for a secret, `/NAME` for a config, if not said.
    pub target: String,
    /// What is in it.
    pub content: Secret,
    /// Its permissions, as `chmod` takes them; 0444 if not said.
    pub mode: u32,
    /// Its owner and group by number.
    pub owner: (u32, u32),
    /// Whether its content is a secret, to be taken out of logs and errors; default: true. A config
    /// of a compose file is none.
    pub secret: bool,
}

impl ServiceFile {
    /// A file that everybody may read and that belongs to root.
    pub fn new(
        name: impl Into<String>,
        target: impl Into<String>,
        content: impl Into<Secret>,
    ) -> Self {
        Self {
            name: name.into(),
            target: target.into(),
            content: content.into(),
            mode: 0o444,
            owner: (0, 0),
            secret: true,
        }
    }
}

/// What a service waits for before it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dependency {
    /// What the other service has to have reached.
    pub condition: Condition,
    /// Whether the service may start where the other one is not part of the stack.
    pub required: bool,
}

impl Dependency {
    /// A dependency on a service that must be there.
    pub fn new(condition: Condition) -> Self {
        Self {
            condition,
            required: true,
        }
    }
}

/// What a service has to have reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Its containers run.
    Started,
    /// Its health check passes.
    Healthy,
    /// It has ended with exit code 0.
    Completed,
}

/// When a service counts as healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Healthcheck {
    /// The image's own check is switched off.
    Disabled,
    /// A command is run in the container every now and then.
    Command(CommandCheck),
}

impl Healthcheck {
    /// A command for the shell of the container, with the engine's times.
    pub fn shell(command: impl Into<String>) -> Self {
        Self::Command(CommandCheck::new(vec![
            "CMD-SHELL".to_owned(),
            command.into(),
        ]))
    }
}

/// A command that tells whether a container is healthy. Times that are not said are the image's,
/// else the engine's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandCheck {
    /// `CMD` and a program with its arguments, or `CMD-SHELL` and a line; empty for the image's.
    pub test: Vec<String>,
    /// The time from one run to the next.
    pub interval: Option<Duration>,
    /// How long a run may take.
    pub timeout: Option<Duration>,
    /// How many runs must fail in a row.
    pub retries: Option<u32>,
    /// How long after the start failures do not count.
    pub start_period: Option<Duration>,
}

impl CommandCheck {
    /// A check by this test, with no times said.
    pub fn new(test: Vec<String>) -> Self {
        Self {
            test,
            interval: None,
            timeout: None,
            retries: None,
            start_period: None,
        }
    }
}

/// What each container of a service may use.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Limits {
    /// Processors, in thousandths of one.
    pub milli_cpus: Option<u64>,
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<i64>,
    /// The size of `/dev/shm`, in bytes.
    pub shm: Option<u64>,
}

impl Limits {
    /// At most this much memory, in bytes.
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }
}

/// What the engine does when a container ends without having been stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Restart {
    /// Nothing.
    No,
    /// It is started again, whatever its exit code.
    Always,
    /// It is started again if its exit code is not 0: at most this number of times, or without a
    /// limit if `None`.
    OnFailure(Option<u32>),
    /// As `Always`, but for containers that were stopped on purpose.
    UnlessStopped,
}
