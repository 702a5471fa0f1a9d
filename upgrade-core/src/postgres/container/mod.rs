//! A Postgres server in a container: the last resort of the provider chain, and the way to a major
//! version that this machine has no binaries of.
//!
//! [`ContainerServer::start`] runs a throw-away server through the Docker engine: no durability, data
//! in memory, a random password, a port of the loopback (of all addresses, if the engine's loopback is
//! not this process's own: a remote engine, a process in a container). Each container is registered in a folder
//! before it is made and removed when its owner is gone, however that ended: by
//! [`ContainerServer::stop`], by the destructor as a net, and after `kill -9` by [`sweep_containers`],
//! which every start begins with.
//!
//! The password is visible to whoever may talk to the engine (`docker inspect`), as with any
//! container that is configured by its environment. Those people own the server anyway.

mod engine;
mod error;
mod lease;
mod options;
mod ready;
mod registry;

use std::collections::HashMap;
use std::fmt;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use testcontainers::bollard::models::{HostConfig, PortBinding};
use testcontainers::core::IntoContainerPort as _;
use testcontainers::core::client::ClientError;
use testcontainers::core::error::TestcontainersError;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerRequest, GenericImage, ImageExt as _};
use tokio::time::Instant;

pub use self::error::ContainerError;
pub use self::lease::sweep_containers;
pub use self::options::ContainerOptions;
pub use self::registry::default_registry_dir;

use self::engine::Engine;
use self::error::Result;
use self::lease::{Lease, REGISTRY_LABEL};
use self::registry::{Record, Registry, random_hex};
use crate::Secret;

const PORT: u16 = 5432;
const USER: &str = "postgres";
const DATA_DIR: &str = "/var/lib/postgresql/data";
/// How long pulling an image may take.
const PULL_WITHIN: Duration = Duration::from_secs(600);

/// A Postgres server in a container of its own.
///
/// ```no_run
/// use upgrade_core::postgres::container::{ContainerError, ContainerOptions, ContainerServer};
///
/// # async fn example() -> Result<(), ContainerError> {
/// let server = ContainerServer::start(ContainerOptions::new("run1").with_major(17)).await?;
/// let options = server.connect_options(); // for sqlx
/// # drop(options);
/// server.stop().await
/// # }
/// ```
pub struct ContainerServer {
    lease: Lease,
    image: String,
    host: String,
    port: u16,
    password: Secret,
}

impl ContainerServer {
    /// Removes what dead owners left, then starts a server and waits until it answers.
    ///
    /// Cancelled or failed, it leaves no container behind.
    ///
    /// # Errors
    /// Every variant of [`ContainerError`]: no engine, no image, a container that ends at once or
    /// does not get ready in time, a registry that cannot be written.
    pub async fn start(options: ContainerOptions) -> Result<Self> {
        options.check()?;
        let engine = Engine::connect().await?;
        let registry = Registry::open(
            &options
                .registry_dir()
                .map_or_else(default_registry_dir, Path::to_owned),
        )?;
        if let Err(error) = lease::sweep(&engine, &registry).await {
            // Somebody's leftovers are no reason to refuse this server.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "abandoned containers could not be swept"
            );
        }
        let image = choose_image(&engine, &options).await;
        if !engine.has_image(&image).await {
            pull(&image, options.major()).await?;
        }

        let random = random_hex(Path::new("a container"))?;
        let record = Record {
            container: format!("upgrade-pg-{}-{}", std::process::id(), &random[..12]),
            run: options.run().to_owned(),
            owner_pid: std::process::id(),
            engine: engine.address().to_owned(),
        };
        let lease = Lease::take(&engine, &registry, &record)?;
        let password = Secret::new(random_hex(Path::new("a password"))?);
        let on_loopback = engine.shares_loopback().await;
        let request = request(&image, &options, &record, &registry, &password, on_loopback);
        match launch(
            &engine,
            request,
            &record,
            options.ready_within(),
            &password,
            on_loopback,
        )
        .await
        {
            Ok((host, port)) => Ok(Self {
                lease,
                image,
                host,
                port,
                password,
            }),
            Err(error) => {
                if let Err(leftover) = lease.end().await {
                    tracing::warn!(
                        error = &leftover as &dyn std::error::Error,
                        "a failed container stays behind"
                    );
                }
                Err(error)
            }
        }
    }

    /// How to connect as the superuser to the database `postgres`.
    pub fn connect_options(&self) -> PgConnectOptions {
        connect_options(&self.host, self.port, &self.password)
    }

    /// The container's name.
    pub fn container(&self) -> &str {
        self.lease.container()
    }

    /// The image that the container was made from.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Removes the container and all of its data.
    ///
    /// # Errors
    /// If the engine refuses; the container is then removed by a later sweep.
    pub async fn stop(self) -> Result<()> {
        self.lease.end().await
    }
}

impl fmt::Debug for ContainerServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerServer")
            .field("container", &self.container())
            .field("image", &self.image)
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

fn connect_options(host: &str, port: u16, password: &Secret) -> PgConnectOptions {
    // Every variable of libpq that could lead elsewhere is overridden; PGOPTIONS and PGAPPNAME hold.
    PgConnectOptions::new_without_pgpass()
        .host(host)
        .port(port)
        .username(USER)
        .database("postgres")
        .password(password.expose())
        .ssl_mode(PgSslMode::Disable)
}

async fn choose_image(engine: &Engine, options: &ContainerOptions) -> String {
    if let Some(image) = options.image() {
        return image.to_owned();
    }
    let local = format!("upgrade-postgres:{}", options.major());
    if engine.has_image(&local).await {
        local
    } else {
        format!("postgres:{}", options.major())
    }
}

async fn pull(image: &str, major: u16) -> Result<()> {
    let (name, tag) = options::name_and_tag(image);
    let missing = |source: error::BoxError| ContainerError::ImageMissing {
        image: image.to_owned(),
        hint: format!(
            "without an image registry, scripts/build-postgres-image {major} makes `upgrade-postgres:{major}`"
        ),
        source,
    };
    match tokio::time::timeout(PULL_WITHIN, GenericImage::new(name, tag).pull_image()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(TestcontainersError::Client(ClientError::PullImage { err, .. }))) => {
            Err(missing(err.into()))
        }
        Ok(Err(error)) => Err(missing(error.into())),
        Err(elapsed) => Err(missing(elapsed.into())),
    }
}

fn request(
    image: &str,
    options: &ContainerOptions,
    record: &Record,
    registry: &Registry,
    password: &Secret,
    on_loopback: bool,
) -> ContainerRequest<GenericImage> {
    let (name, tag) = options::name_and_tag(image);
    let bound = options
        .data_bytes()
        .map(|bytes| format!(",size={bytes}"))
        .unwrap_or_default();
    let data_dir = HashMap::from([(DATA_DIR.to_owned(), format!("rw,mode=0700{bound}"))]);
    GenericImage::new(name, tag)
        .with_exposed_port(PORT.tcp())
        .with_container_name(&record.container)
        .with_label("upgrade.run", &record.run)
        .with_label("upgrade.owner-pid", record.owner_pid.to_string())
        .with_label(REGISTRY_LABEL, registry.id())
        .with_env_var("POSTGRES_PASSWORD", password.expose())
        .with_env_var("PGDATA", DATA_DIR)
        .with_env_var("POSTGRES_INITDB_ARGS", "--encoding=UTF8 --no-sync")
        .with_cmd(options.arguments())
        .with_host_config_modifier(move |host: &mut HostConfig| {
            host.tmpfs = Some(data_dir.clone());
            if on_loopback {
                // The default is all addresses; nobody else on the network is invited.
                let binding = PortBinding {
                    host_ip: Some("127.0.0.1".to_owned()),
                    host_port: None,
                };
                host.publish_all_ports = Some(false);
                host.port_bindings = Some(HashMap::from([(
                    format!("{PORT}/tcp"),
                    Some(vec![binding]),
                )]));
            }
        })
}

/// Makes and starts the container; returns where its server answers.
async fn launch(
    engine: &Engine,
    request: ContainerRequest<GenericImage>,
    record: &Record,
    within: Duration,
    password: &Secret,
    on_loopback: bool,
) -> Result<(String, u16)> {
    let begun = Instant::now();
    let waiting = ready::Waiting {
        engine,
        container: &record.container,
        begun,
        deadline: begun + within,
    };
    let refused = |source: error::BoxError| ContainerError::Engine {
        action: "start",
        container: record.container.clone(),
        source,
    };
    // The lease removes the container. Its own destructor would panic outside of a runtime.
    let container = match request.with_startup_timeout(within).start().await {
        Ok(container) => ManuallyDrop::new(container),
        Err(TestcontainersError::WaitContainer(_)) => return Err(waiting.not_ready(None).await),
        Err(error) => return Err(refused(error.into())),
    };
    let host = match on_loopback {
        true => "127.0.0.1".to_owned(),
        false => container
            .get_host()
            .await
            .map_err(|error| refused(error.into()))?
            .to_string(),
    };
    let port = waiting.published_port(PORT).await?;
    waiting
        .until_ready(&connect_options(&host, port, password))
        .await?;
    Ok((host, port))
}
