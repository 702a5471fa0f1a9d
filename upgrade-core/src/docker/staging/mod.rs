//! A stack that runs: its networks, volumes and containers, and how they change.

mod backup;
mod body;
mod faults;
mod follow;
mod frozen;
mod helper;
mod look;
mod options;
mod outside;
mod ports;
mod ready;
mod replace;
mod shared;
mod volumes;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;
use testcontainers::bollard::models::{NetworkCreateRequest, VolumeCreateRequest};
use tokio::sync::Mutex;
use tokio::time::Instant;

pub(crate) use self::backup::Backup;
pub(crate) use self::faults::sites;
pub(crate) use self::follow::LogFiles;
pub(crate) use self::frozen::Frozen;
pub(crate) use self::options::StagingOptions;
pub use self::options::Strategy;
pub use self::ready::Ready;
pub(crate) use self::volumes::Kept;

use self::body::{Place, body};
use self::faults::Injected;
use self::follow::Followers;
use self::outside::Outside;
use self::ports::Ports;
use self::ready::Waiting;
use self::wanted::Wanted;
pub(crate) use self::wanted::instances;
use super::engine::Engine;
use super::lease::{Lease, sweep_first};
use super::registry::{Registry, Resource, default_registry_dir, random_hex};
use super::stack::{Condition, DEFAULT_NETWORK, Image, Restart, Service, Stack, Volume};
use super::{archive, build, host, image};
use crate::error::{Error, ErrorKind, Result};

/// A stack in the engine. Dropped, everything of it is removed.
#[derive(Debug)]
pub(crate) struct Staging {
    engine: Engine,
    lease: Lease,
    /// What the names of all its containers, networks and volumes begin with.
    prefix: String,
    options: StagingOptions,
    outside: Outside,
    followers: Followers,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The stack that runs, or on the way to which the environment is.
    stack: Stack,
    /// The networks and volumes that were made.
    ground: BTreeSet<Resource>,
    /// The image of each service, provided for the stack that is under way.
    images: BTreeMap<String, String>,
    /// How many containers were made so far; the names of containers end with it.
    made: u32,
    instances: BTreeMap<String, Vec<Instance>>,
    ports: Ports,
    /// The faults that were not recovered from yet.
    faults: Vec<Injected>,
}

/// A container of a service.
#[derive(Debug, Clone)]
struct Instance {
    container: String,
    service: Arc<Service>,
    was_ready: bool,
    /// Unknown until it runs.
    address: Option<IpAddr>,
}

impl Staging {
    /// Starts a stack, and waits until all of it is ready. A start that fails or is cancelled
    /// removes everything that it made.
    pub(crate) async fn start(
        name: &str,
        run: &str,
        stack: &Stack,
        options: StagingOptions,
    ) -> Result<Self> {
        stack.start_order()?;
        host::check(stack)?;
        let engine = Engine::connect().await?.with_secrets(&options.secrets);
        if !engine.shares_loopback().await {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the Docker engine at `{}` is not on this machine", engine.address()),
            )
            .with_hint("the networks of an environment can be reached only from the engine's own machine: run the tests there"));
        }
        let own = options.registry_dir.clone();
        let registry = Registry::open(&own.unwrap_or_else(default_registry_dir))?;
        sweep_first(&engine, &registry).await;

        let random = random_hex(Path::new("an environment"))?;
        let prefix = format!("upgrade-{}-{}", plain(name), &random[..10]);
        let lease = Lease::take(&engine, &registry, &prefix, run, options.shared).await?;
        let outside = Outside::open(&engine, &lease, &prefix, &options.allowed).await?;
        let staging = Self {
            engine,
            lease,
            prefix,
            options,
            outside,
            followers: Followers::default(),
            state: Mutex::new(State {
                stack: Stack::new(),
                ground: BTreeSet::new(),
                images: BTreeMap::new(),
                made: 0,
                instances: BTreeMap::new(),
                ports: Ports::new()?,
                faults: Vec::new(),
            }),
        };
        let started = staging.move_to(stack).await;
        match started {
            Ok(()) => Ok(staging),
            Err(error) => {
                if let Err(leftover) = staging.end().await {
                    tracing::warn!(
                        error = &leftover as &dyn std::error::Error,
                        "a failed environment stays behind"
                    );
                }
                Err(error)
            }
        }
    }

    /// Removes everything.
    pub(crate) async fn end(self) -> Result<()> {
        Ok(self.lease.end().await?)
    }

    /// Leaves everything as it is for anybody who wants to look; what its names begin with.
    pub(crate) fn keep_until(self, until: SystemTime) -> Result<String> {
        self.lease.keep_until(until)?;
        Ok(self.prefix)
    }

    /// Where the ports of the services can be reached: service, container port, address.
    pub(crate) async fn ports(&self) -> Vec<(String, u16, SocketAddr)> {
        let state = self.state.lock().await;
        let all = state.ports.all();
        all.map(|(service, port, address)| (service.to_owned(), port, address))
            .collect()
    }

    /// Kills the containers of a service and starts them again on the same data.
    pub(crate) async fn kill_and_start(&self, service: &str) -> Result<()> {
        let mut state = self.state.lock().await;
        for instance in state.instances(service) {
            self.engine.kill(&instance.container).await?;
        }
        let deadline = self.deadline();
        for instance in state.instances(service) {
            self.engine.start(&instance.container).await?;
        }
        self.until_ready(&mut state, service, deadline).await
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.options.ready_within
    }

    /// The engine's name of a network of the stack.
    fn network(&self, name: &str) -> String {
        format!("{}-{}", self.prefix, plain(name))
    }

    /// The engine's name of a volume of the stack.
    fn volume(&self, name: &str) -> String {
        format!("{}-{}", self.prefix, plain(name))
    }

    /// Makes the networks and volumes of a stack that are not there yet.
    async fn lay_ground(&self, state: &mut State, stack: &Stack) -> Result<()> {
        let networks = stack.services.values().flat_map(networks_of);
        for name in networks.map(|name| self.network(&name)) {
            let network = Resource::Network(name.clone());
            if !state.ground.contains(&network) {
                make_network(&self.engine, &self.lease, &name).await?;
                state.ground.insert(network);
            }
        }
        for (name, volume) in &stack.volumes {
            let own = Resource::Volume(self.volume(name));
            if !state.ground.contains(&own) {
                self.make_volume(name, volume).await?;
                state.ground.insert(own);
            }
        }
        Ok(())
    }

    async fn make_volume(&self, name: &str, volume: &Volume) -> Result<()> {
        let own = self.volume(name);
        self.lease.add(&Resource::Volume(own.clone()))?;
        let mut labels = self.lease.labels().clone();
        labels.extend(volume.labels.clone());
        let limited = volume.bytes.map(|bytes| {
            [
                ("type", "tmpfs".to_owned()),
                ("device", "tmpfs".to_owned()),
                ("o", format!("size={bytes}")),
            ]
            .map(|(key, value)| (key.to_owned(), value))
            .into()
        });
        let request = VolumeCreateRequest {
            name: Some(own),
            labels: Some(labels),
            driver_opts: limited,
            ..VolumeCreateRequest::default()
        };
        Ok(self.engine.create_volume(request).await?)
    }

    /// Makes and starts a container of a service; `named` tells whether the service's name
    /// resolves to it.
    async fn launch(
        &self,
        state: &mut State,
        name: &str,
        wanted: &Wanted,
        named: bool,
    ) -> Result<Instance> {
        let service = &wanted.service;
        state.made += 1;
        let container = format!("{}-{}-{}", self.prefix, plain(name), state.made);
        self.lease.add(&Resource::Container(container.clone()))?;
        let aliases = |network: &str| match named {
            true => aliases(name, service, network),
            false => Vec::new(),
        };
        let networks = networks_of(service);
        let (first, others) = networks.split_first().expect("`default` at least");
        let own = self.network(first);
        let request = body(
            service,
            &Place {
                image: &wanted.image,
                labels: self.lease.labels(),
                network: (&own, aliases(first)),
                volume: &|volume| self.volume(volume),
                allowed: self.outside.names(),
            },
        );
        self.engine.create(&container, request).await?;
        for network in others {
            let aliases = aliases(network);
            self.engine
                .join(&container, &self.network(network), &aliases)
                .await?;
        }
        for network in self.outside.networks() {
            self.engine.join(&container, network, &[]).await?;
        }
        if !service.files.is_empty() {
            let files = archive::pack(&service.files).await?;
            self.engine.upload(&container, "/", files).await?;
        }
        let backup = self.options.backup.as_ref();
        if let Some(backup) = backup.filter(|backup| backup.is_of(name)) {
            backup.lay_into(&self.engine, &container).await?;
        }
        self.engine.start(&container).await?;
        self.follow(name, &container)?;
        Ok(Instance {
            container,
            service: Arc::clone(service),
            was_ready: false,
            address: None,
        })
    }

    /// Waits until the containers of a service are ready, and leads its ports to them.
    async fn until_ready(&self, state: &mut State, name: &str, deadline: Instant) -> Result<()> {
        let all = state
            .instances
            .get_mut(name)
            .map_or(&mut [][..], Vec::as_mut_slice);
        let waits = all
            .iter_mut()
            .map(|instance| self.make_ready(name, instance, deadline));
        try_join_all(waits).await?;
        state.lead(name);
        Ok(())
    }

    /// Waits until a container is ready, and notes where it is.
    async fn make_ready(
        &self,
        name: &str,
        instance: &mut Instance,
        deadline: Instant,
    ) -> Result<()> {
        let (service, container) = (&instance.service, &instance.container);
        instance.address = self.ready(name, service, container, deadline).await?;
        instance.was_ready = true;
        Ok(())
    }

    /// Waits until a container is ready; its address, if it has not ended.
    async fn ready(
        &self,
        name: &str,
        service: &Service,
        container: &str,
        deadline: Instant,
    ) -> Result<Option<IpAddr>> {
        let ports: Vec<_> = service
            .ports
            .iter()
            .map(|port| (port.container, port.protocol))
            .collect();
        let waiting = Waiting {
            engine: &self.engine,
            container,
            ready: self.options.ready(name),
            ports: &ports,
            may_end: may_end(service),
            deadline,
        };
        waiting.until_ready().await?;
        let found = self.engine.inspect(container).await?;
        Ok(ready::address(&found).ok())
    }

    /// Waits for what a service depends on.
    async fn until_met(&self, state: &State, service: &Service, deadline: Instant) -> Result<()> {
        for (other, dependency) in &service.depends_on {
            for instance in state.instances(other) {
                match dependency.condition {
                    Condition::Started => {}
                    Condition::Healthy => {
                        let (found, container) = (&instance.service, &instance.container);
                        self.ready(other, found, container, deadline).await?;
                    }
                    Condition::Completed => {
                        let waiting = Waiting {
                            engine: &self.engine,
                            container: &instance.container,
                            ready: &Ready::Running,
                            ports: &[],
                            may_end: true,
                            deadline,
                        };
                        waiting.until_completed().await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a container away, after it was asked to stop.
    async fn retire(&self, instance: &Instance, within: Option<Duration>) -> Result<()> {
        self.stop(instance, within).await?;
        self.remove(instance).await
    }

    async fn stop(&self, instance: &Instance, within: Option<Duration>) -> Result<()> {
        Ok(self.engine.stop(&instance.container, within).await?)
    }

    async fn remove(&self, instance: &Instance) -> Result<()> {
        let container = Resource::Container(instance.container.clone());
        self.engine.remove(&container).await?;
        Ok(())
    }

    /// The digests of the images of a stack, by service, but for the database.
    pub(crate) async fn artifacts(
        &self,
        stack: &Stack,
        database: &str,
    ) -> Result<BTreeMap<String, String>> {
        let mut artifacts = BTreeMap::new();
        let services = stack.services.iter();
        for (name, service) in services.filter(|(name, _)| *name != database) {
            let image = match &service.image {
                Image::Named(image) => image.clone(),
                Image::Build(build) => build::provide(&self.engine, build).await?,
            };
            let id = self.engine.image_id(&image).await.ok_or_else(|| {
                let message = format!("the image `{image}` of service `{name}` is not there");
                Error::new(ErrorKind::NotFound, message)
                    .with_hint("build it, or load it into the engine")
            })?;
            artifacts.insert(name.clone(), id);
        }
        Ok(artifacts)
    }

    /// Makes sure that the engine has the images of a stack; their names by service.
    async fn provide_images(&self, stack: &Stack) -> Result<BTreeMap<String, String>> {
        // Each stack that is started passes here.
        host::check(stack)?;
        let mut images = BTreeMap::new();
        for (name, service) in &stack.services {
            let image = match &service.image {
                Image::Named(image) => {
                    let hint = format!(
                        "service `{name}` needs it: build it or load it into the engine, or let the engine reach an image registry"
                    );
                    image::provide(&self.engine, image, &hint).await?;
                    image.clone()
                }
                Image::Build(build) => build::provide(&self.engine, build).await?,
            };
            images.insert(name.clone(), image);
        }
        Ok(images)
    }
}

impl State {
    fn instances(&self, service: &str) -> &[Instance] {
        self.instances.get(service).map_or(&[], Vec::as_slice)
    }

    /// Leads the ports of a service to its containers.
    fn lead(&self, service: &str) {
        let addresses = self.instances(service).iter();
        let addresses: Vec<IpAddr> = addresses.filter_map(|instance| instance.address).collect();
        self.ports.lead(service, &addresses);
    }
}

/// Makes a network without a way out.
async fn make_network(engine: &Engine, lease: &Lease, name: &str) -> Result<()> {
    lease.add(&Resource::Network(name.to_owned()))?;
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        internal: Some(true),
        labels: Some(lease.labels().clone()),
        ..NetworkCreateRequest::default()
    };
    engine.create_network(request).await.map_err(|error| {
        let exhausted = std::error::Error::source(&error)
            .is_some_and(|source| source.to_string().contains("address pool"));
        let error = Error::from(error);
        match exhausted {
            true => error.with_hint(
                "the engine has no addresses left for a network: remove networks that nobody uses (`docker network prune`), or give it more (`default-address-pools` in daemon.json)",
            ),
            false => error,
        }
    })
}

/// The networks of a service, in order.
fn networks_of(service: &Service) -> Vec<String> {
    match service.networks.is_empty() {
        true => vec![DEFAULT_NETWORK.to_owned()],
        false => service.networks.keys().cloned().collect(),
    }
}

/// The names of a service on a network.
fn aliases(name: &str, service: &Service, network: &str) -> Vec<String> {
    let more = service.networks.get(network).into_iter().flatten().cloned();
    std::iter::once(name.to_owned()).chain(more).collect()
}

/// Whether a service is a job: it may end when its work is done.
fn may_end(service: &Service) -> bool {
    matches!(service.restart, Restart::No | Restart::OnFailure(_)) && service.ports.is_empty()
}

/// A name as the engine takes it: letters, digits, `_`, `.` and `-`.
fn plain(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    name.chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .collect()
}
