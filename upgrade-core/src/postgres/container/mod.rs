//! A Postgres server in a container: the last resort of the provider chain, and the way to a major
//! version that this machine has no binaries of.
//!
//! [`ContainerServer::start`] runs a throw-away server through the Docker engine: no durability, data
//! in memory, a random password, a port of the loopback (of all addresses, if the engine's loopback is
//! not this process's own: a remote engine, a process in a container). Each container is registered
//! in a folder before it is made, and removed when its owner ends, however it ends: by
//! [`ContainerServer::stop`], by the destructor as a net, and after `kill -9` by
//! [`sweep`](crate::docker::sweep), which every start begins with.
//!
//! The password is visible to whoever may talk to the engine (`docker inspect`), as with any
//! container that is configured by its environment. Those people own the server anyway.

mod options;
mod ready;

use std::collections::HashMap;
use std::fmt;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use testcontainers::bollard::models::{HostConfig, PortBinding};
use testcontainers::core::IntoContainerPort as _;
use testcontainers::core::error::TestcontainersError;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerRequest, GenericImage, ImageExt as _};
use tokio::time::Instant;

pub use self::options::ContainerOptions;

use crate::Secret;
use crate::docker::DockerError;
use crate::docker::engine::Engine;
use crate::docker::error::Result;
use crate::docker::image;
use crate::docker::lease::{Lease, sweep_first};
use crate::docker::registry::{Registry, Resource, default_registry_dir, random_hex};
use crate::error::BoxError;

const PORT: u16 = 5432;
const USER: &str = "postgres";
/// How long a server may take to write out what it holds before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(60);
const DATA_DIR: &str = "/var/lib/postgresql/data";

/// A Postgres server in its own container.
///
/// ```no_run
/// use upgrade_core::docker::DockerError;
/// use upgrade_core::postgres::container::{ContainerOptions, ContainerServer};
///
/// # async fn example() -> Result<(), DockerError> {
/// let server = ContainerServer::start(ContainerOptions::new("run1").with_major(17)).await?;
/// let options = server.connect_options(); // for sqlx
/// # drop(options);
/// server.stop().await
/// # }
/// ```
pub struct ContainerServer {
    lease: Lease,
    container: String,
    image: String,
    host: String,
    port: u16,
    password: Secret,
    keeps_data: bool,
}

impl ContainerServer {
    /// Removes what dead owners left, then starts a server and waits until it answers.
    ///
    /// A start that fails or is cancelled removes its container.
    ///
    /// # Errors
    /// Every variant of [`DockerError`]: no engine, no image, a container that ends at once or
    /// does not get ready in time, a registry that cannot be written.
    pub async fn start(options: ContainerOptions) -> Result<Self> {
        options.check()?;
        let engine = Engine::connect().await?;
        let registry = Registry::open(
            &options
                .registry_dir()
                .map_or_else(default_registry_dir, Path::to_owned),
        )?;
        sweep_first(&engine, &registry).await;
        let image = choose_image(&engine, &options).await;
        let major = options.major();
        let hint = format!(
            "without an image registry, scripts/build-image postgres-{major} makes `upgrade-postgres:{major}`"
        );
        image::provide(&engine, &image, &hint).await?;

        let random = random_hex(Path::new("a container"))?;
        let container = format!("upgrade-pg-{}-{}", std::process::id(), &random[..12]);
        let lease = Lease::take(&engine, &registry, &container, options.run(), None).await?;
        lease.add(&Resource::Container(container.clone()))?;
        let password = match options.password() {
            Some(password) => password.clone(),
            None => Secret::new(random_hex(Path::new("a password"))?),
        };
        engine.secrets().add(&password);
        let on_loopback = engine.shares_loopback().await;
        let request = request(&image, &options, &container, &lease, &password, on_loopback);
        match launch(
            &engine,
            request,
            &container,
            options.ready_within(),
            &password,
            on_loopback,
        )
        .await
        {
            Ok((host, port)) => Ok(Self {
                lease,
                container,
                image,
                host,
                port,
                password,
                keeps_data: options.data_volume().is_some(),
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
        &self.container
    }

    /// The image that the container was made from.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Removes the container and all of its data; a volume of yours stays, and its server has been
    /// stopped in order.
    ///
    /// # Errors
    /// If the engine refuses; the container is then removed by a later sweep.
    pub async fn stop(self) -> Result<()> {
        if self.keeps_data {
            let engine = Engine::connect().await?;
            engine.stop(&self.container, Some(STOP_WITHIN)).await?;
        }
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

fn request(
    image: &str,
    options: &ContainerOptions,
    container: &str,
    lease: &Lease,
    password: &Secret,
    on_loopback: bool,
) -> ContainerRequest<GenericImage> {
    let (name, tag) = image::name_and_tag(image);
    let bound = options
        .data_bytes()
        .map(|bytes| format!(",size={bytes}"))
        .unwrap_or_default();
    let in_memory = HashMap::from([(DATA_DIR.to_owned(), format!("rw,mode=0700{bound}"))]);
    let volume = options
        .data_volume()
        .map(|volume| vec![format!("{volume}:{DATA_DIR}")]);
    let request = GenericImage::new(name, tag)
        .with_exposed_port(PORT.tcp())
        .with_container_name(container);
    options
        .environment()
        .iter()
        .fold(request, |request, (name, value)| {
            request.with_env_var(name, value)
        })
        .with_labels(lease.labels())
        .with_env_var("POSTGRES_PASSWORD", password.expose())
        .with_env_var("PGDATA", DATA_DIR)
        .with_env_var("POSTGRES_INITDB_ARGS", "--encoding=UTF8 --no-sync")
        .with_cmd(options.arguments())
        .with_host_config_modifier(move |host: &mut HostConfig| {
            match &volume {
                Some(_) => host.binds.clone_from(&volume),
                None => host.tmpfs = Some(in_memory.clone()),
            }
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
    name: &str,
    within: Duration,
    password: &Secret,
    on_loopback: bool,
) -> Result<(String, u16)> {
    let begun = Instant::now();
    let waiting = ready::Waiting {
        engine,
        container: name,
        begun,
        deadline: begun + within,
    };
    let refused = |source: BoxError| DockerError::Engine {
        action: "start",
        what: format!("container `{name}`"),
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
