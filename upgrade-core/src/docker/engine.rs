//! The Docker engine: one connection, and the calls that this library makes.
//!
//! testcontainers finds the engine, and its client makes the calls: networks and volumes with
//! labels, pauses, moves from one network to another are beyond its own interface.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use testcontainers::bollard::errors::Error as ClientError;
use testcontainers::bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStatsResponse, EndpointSettings,
    NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest, VolumeCreateRequest,
};
use testcontainers::bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, InspectNetworkOptions,
    KillContainerOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    ListVolumesOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveVolumeOptionsBuilder, StartContainerOptions, StatsOptionsBuilder,
    StopContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use testcontainers::bollard::{Docker, body_full};
use testcontainers::core::client::docker_client_instance;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::Dispatch;
use tracing::instrument::{WithDispatch, WithSubscriber as _};

use super::error::{DockerError, Result};
use super::lease::ENTRY_LABEL;
use super::registry::Resource;
use super::usage::LogQuery;
use crate::error::BoxError;
use crate::redact::Secrets;

/// How long an engine may take to say that it is there.
const PING_WITHIN: Duration = Duration::from_secs(5);
/// How late the engine may learn from its events that a container was paused or goes on.
const EVENT_WITHIN: Duration = Duration::from_secs(2);
/// The interval at which it is polled until then.
const EVENT_POLL: Duration = Duration::from_millis(20);
/// How many lines of a container's output an error shows.
const LOG_LINES: usize = 20;
/// The version of the interface since Docker 20.10.
const NEEDED: &str = "1.41";

/// A connection to the engine that `DOCKER_HOST` names, else to the machine's own.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    docker: Docker,
    secrets: Secrets,
    /// Held while the engine pauses a container.
    pausing: Arc<Mutex<()>>,
    address: String,
}

/// A thing of the engine, and the entry that its label names.
pub(crate) struct Labelled {
    pub(crate) resource: Resource,
    pub(crate) entry: Option<String>,
}

impl Engine {
    /// Connects and asks whether the engine answers; fails at once if nothing listens.
    pub(crate) async fn connect() -> Result<Self> {
        let address = std::env::var("DOCKER_HOST")
            .ok()
            .filter(|host| !host.is_empty());
        let address = address.unwrap_or_else(|| "the default socket".to_owned());
        let absent = |source: BoxError| DockerError::NoEngine {
            engine: address.clone(),
            source,
        };
        let docker = docker_client_instance()
            .await
            .map_err(|error| absent(error.into()))?;
        let version = match tokio::time::timeout(PING_WITHIN, docker.version()).await {
            Ok(Ok(answer)) => answer.api_version.unwrap_or_default(),
            Ok(Err(error)) => return Err(absent(error.into())),
            Err(elapsed) => return Err(absent(elapsed.into())),
        };
        if parts(&version) < parts(NEEDED) {
            return Err(DockerError::TooOld {
                engine: address,
                version,
                needed: NEEDED,
            });
        }
        Ok(Self {
            docker,
            secrets: Secrets::default(),
            pausing: Arc::default(),
            address,
        })
    }

    /// Takes these secrets out of what containers print.
    pub(crate) fn with_secrets(mut self, secrets: &Secrets) -> Self {
        self.secrets = secrets.clone();
        self
    }

    /// What is taken out of everything that containers print.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Where the engine was found; two entries of the registry with the same address have the same
    /// engine.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The client, for calls that only one place makes.
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Whether the engine's loopback is ours. It is not if the engine is on another machine, or if
    /// this process is in a container itself.
    pub(crate) async fn shares_loopback(&self) -> bool {
        let is_socket = std::env::var("DOCKER_HOST")
            .map_or(true, |host| host.is_empty() || host.starts_with("unix:"));
        if !is_socket || !Path::new("/.dockerenv").exists() {
            return is_socket;
        }
        // The root folder of a virtual machine that was made from an image has that file as well,
        // but it has the name of the engine's machine, too; a container has its own name.
        let engine_name = self.docker.info().await.ok().and_then(|info| info.name);
        let own_name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        engine_name.is_some() && engine_name.as_deref() == own_name.as_deref().map(str::trim_end)
    }

    /// Whether the engine has the image.
    pub(crate) async fn has_image(&self, image: &str) -> bool {
        quiet(self.docker.inspect_image(image)).await.is_ok()
    }

    /// The id of an image, the digest of what it consists of; nothing if it is not there.
    pub(crate) async fn image_id(&self, image: &str) -> Option<String> {
        quiet(self.docker.inspect_image(image)).await.ok()?.id
    }

    /// What a label of an image says; nothing if there is no such label or image.
    pub(crate) async fn image_label(&self, image: &str, label: &str) -> Option<String> {
        let found = quiet(self.docker.inspect_image(image)).await.ok()?;
        found.config?.labels?.remove(label)
    }

    /// Makes a container and does not start it.
    pub(crate) async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<()> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let made = quiet(self.docker.create_container(Some(options), body)).await;
        made.map(drop).map_err(refused("create", container(name)))
    }

    /// Starts a container; one that runs is left as it is.
    pub(crate) async fn start(&self, name: &str) -> Result<()> {
        self.docker
            .start_container(name, None::<StartContainerOptions>)
            .await
            .map_err(refused("start", container(name)))
    }

    /// Asks a container to stop, and kills it when it has not after its own time, or after this.
    pub(crate) async fn stop(&self, name: &str, within: Option<Duration>) -> Result<()> {
        let mut options = StopContainerOptionsBuilder::new();
        if let Some(within) = within {
            options = options.t(i32::try_from(within.as_secs()).unwrap_or(i32::MAX));
        }
        let stopped = self
            .docker
            .stop_container(name, Some(options.build()))
            .await;
        unless(stopped, &[304, 404]).map_err(refused("stop", container(name)))
    }

    /// Kills a container at once; one that does not run is left as it is.
    pub(crate) async fn kill(&self, name: &str) -> Result<()> {
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        let killed = self.docker.kill_container(name, Some(options)).await;
        unless(killed, &[404, 409]).map_err(refused("kill", container(name)))
    }

    /// Freezes all processes of a container. Cancelled, it ends all the same, and
    /// [`unpause`](Self::unpause) waits for that: the engine does not take back what it was asked
    /// for, and would freeze the container after it was let go on.
    pub(crate) async fn pause(&self, name: &str) -> Result<()> {
        let one_by_one = Arc::clone(&self.pausing).lock_owned().await;
        let (docker, of) = (self.docker.clone(), name.to_owned());
        let pausing = tokio::spawn(async move {
            let _until_then = one_by_one;
            docker.pause_container(&of).await
        });
        let paused = pausing
            .await
            .unwrap_or_else(|ended| Err(std::io::Error::other(ended).into()));
        paused.map_err(refused("pause", container(name)))
    }

    /// Lets the processes of a container go on that this process had paused, or tried to; one that is
    /// not paused is left as it is, after some refusals.
    ///
    /// What the engine says about it is not always so: it notes a pause when it was asked for one,
    /// and once more when the event of it arrives, which may be after the next pause or unpause.
    /// So it is asked until it agrees, or for as long as such an event can be late.
    pub(crate) async fn unpause(&self, name: &str) -> Result<()> {
        // No pause is under way any more.
        drop(self.pausing.lock().await);
        let begun = Instant::now();
        loop {
            let gone_on = self.docker.unpause_container(name).await;
            let Err(refusal) = gone_on else {
                return Ok(());
            };
            let found = self.inspect(name).await?.state.unwrap_or_default();
            if found.running != Some(true) {
                return Ok(());
            }
            if begun.elapsed() > EVENT_WITHIN {
                return match found.paused {
                    Some(true) => Err(refused("unpause", container(name))(refusal)),
                    _ => Ok(()),
                };
            }
            tokio::time::sleep(EVENT_POLL).await;
        }
    }

    /// Whether a container is paused, also when the engine learns the last of it.
    pub(crate) async fn stays_paused(&self, name: &str) -> Result<bool> {
        let begun = Instant::now();
        loop {
            let found = self.inspect(name).await?.state.unwrap_or_default();
            if found.paused != Some(true) {
                return Ok(false);
            }
            if begun.elapsed() > EVENT_WITHIN {
                return Ok(true);
            }
            tokio::time::sleep(EVENT_POLL).await;
        }
    }

    /// The container's state and network settings.
    pub(crate) async fn inspect(&self, name: &str) -> Result<ContainerInspectResponse> {
        quiet(
            self.docker
                .inspect_container(name, None::<InspectContainerOptions>),
        )
        .await
        .map_err(refused("inspect", container(name)))
    }

    /// Unpacks an archive of the format tar below the root of a container.
    pub(crate) async fn upload(&self, name: &str, path: &str, tar: Vec<u8>) -> Result<()> {
        let options = UploadToContainerOptionsBuilder::new().path(path).build();
        quiet(
            self.docker
                .upload_to_container(name, Some(options), body_full(tar.into())),
        )
        .await
        .map_err(refused("copy files into", container(name)))
    }

    /// Makes a network.
    pub(crate) async fn create_network(&self, request: NetworkCreateRequest) -> Result<()> {
        let name = request.name.clone();
        let made = self.docker.create_network(request).await;
        made.map(drop)
            .map_err(refused("create", format!("network `{name}`")))
    }

    /// The address of this machine on a network, and the range of the network's addresses.
    pub(crate) async fn gateway(&self, network: &str) -> Result<Option<(String, String)>> {
        let found = self
            .docker
            .inspect_network(network, None::<InspectNetworkOptions>)
            .await
            .map_err(refused("inspect", format!("network `{network}`")))?;
        let ranges = found.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        Ok(ranges
            .into_iter()
            .find_map(|range| Some((range.gateway?, range.subnet?))))
    }

    /// Puts a container on a network, under more names than its own.
    pub(crate) async fn join(&self, name: &str, network: &str, aliases: &[String]) -> Result<()> {
        let request = NetworkConnectRequest {
            container: name.to_owned(),
            endpoint_config: Some(EndpointSettings {
                aliases: Some(aliases.to_vec()),
                ..EndpointSettings::default()
            }),
        };
        let joined = self.docker.connect_network(network, request).await;
        joined.map_err(refused("connect to its network", container(name)))
    }

    /// Takes a container off a network.
    pub(crate) async fn leave(&self, name: &str, network: &str) -> Result<()> {
        let request = NetworkDisconnectRequest {
            container: name.to_owned(),
            force: Some(true),
        };
        let left = self.docker.disconnect_network(network, request).await;
        left.map_err(refused("disconnect from its network", container(name)))
    }

    /// Makes a volume.
    pub(crate) async fn create_volume(&self, request: VolumeCreateRequest) -> Result<()> {
        let name = request.name.clone().unwrap_or_default();
        let made = self.docker.create_volume(request).await;
        made.map(drop)
            .map_err(refused("create", format!("volume `{name}`")))
    }

    /// All containers, networks and volumes that bear the label, in order.
    pub(crate) async fn labelled(&self, label: &str) -> Result<Vec<Labelled>> {
        let filters = HashMap::from([("label", vec![label])]);
        let refused = |error| refused("list", format!("what bears the label `{label}`"))(error);
        let containers = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters);
        let containers = self.docker.list_containers(Some(containers.build()));
        let containers = containers.await.map_err(refused)?;
        let networks = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let networks = self.docker.list_networks(Some(networks));
        let networks = networks.await.map_err(refused)?;
        let volumes = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes = self.docker.list_volumes(Some(volumes));
        let volumes = volumes.await.map_err(refused)?.volumes.unwrap_or_default();

        let entry = |labels: Option<HashMap<String, String>>| labels?.remove(ENTRY_LABEL);
        let containers = containers.into_iter().filter_map(|found| {
            let name = found.names?.into_iter().next()?;
            Some(Labelled {
                resource: Resource::Container(name.trim_start_matches('/').to_owned()),
                entry: entry(found.labels),
            })
        });
        let networks = networks.into_iter().filter_map(|found| {
            Some(Labelled {
                resource: Resource::Network(found.name?),
                entry: entry(found.labels),
            })
        });
        let volumes = volumes.into_iter().map(|found| Labelled {
            resource: Resource::Volume(found.name),
            entry: entry(Some(found.labels)),
        });
        let mut all: Vec<_> = containers.chain(networks).chain(volumes).collect();
        all.sort_by(|one, other| one.resource.cmp(&other.resource));
        Ok(all)
    }

    /// Removes a thing, a container with its anonymous volumes, running or not; says whether there
    /// was one.
    pub(crate) async fn remove(&self, resource: &Resource) -> Result<bool> {
        let removed = match resource {
            Resource::Container(name) => {
                let options = RemoveContainerOptionsBuilder::new().force(true).v(true);
                self.docker
                    .remove_container(name, Some(options.build()))
                    .await
            }
            Resource::Network(name) => self.docker.remove_network(name).await,
            Resource::Volume(name) => {
                let options = RemoveVolumeOptionsBuilder::new().force(true).build();
                self.docker.remove_volume(name, Some(options)).await
            }
        };
        match removed {
            Ok(()) => Ok(true),
            Err(ClientError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(false),
            // Somebody else is removing it right now.
            Err(ClientError::DockerResponseServerError {
                status_code: 409, ..
            }) if matches!(resource, Resource::Container(_)) => Ok(false),
            Err(error) => Err(refused("remove", resource.to_string())(error)),
        }
    }

    /// The last lines that a container printed, oldest first; what cannot be read is left out,
    /// because this is evidence, not an answer.
    pub(crate) async fn log(&self, name: &str, lines: usize) -> Vec<String> {
        self.log_of(name, &LogQuery::all().tail(lines)).await
    }

    /// The lines that are asked for.
    pub(crate) async fn log_of(&self, name: &str, query: &LogQuery) -> Vec<String> {
        let since = query.since.map(|time| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            i32::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i32::MAX)
        });
        let tail = query
            .tail
            .map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .since(since.unwrap_or_default())
            .tail(&tail)
            .build();
        let chunks: Vec<_> = quiet(self.docker.logs(name, Some(options)).collect()).await;
        let text: String = chunks
            .into_iter()
            .flatten()
            .map(|chunk| chunk.to_string())
            .collect();
        // As a whole: a secret may be several lines.
        let text = self.secrets.redact(&text);
        text.lines().map(str::to_owned).collect()
    }

    /// What a container uses now; nothing of one that does not run.
    pub(crate) async fn stats(&self, name: &str) -> Result<ContainerStatsResponse> {
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true);
        let mut answers = self.docker.stats(name, Some(options.build())).boxed();
        match answers.next().await {
            Some(answer) => answer.map_err(refused("measure", container(name))),
            None => Ok(ContainerStatsResponse::default()),
        }
    }

    /// The last lines of a container's log, for an error.
    pub(crate) async fn last_lines(&self, name: &str) -> String {
        let lines = self.log(name, LOG_LINES).await;
        if lines.is_empty() {
            "(none)".to_owned()
        } else {
            lines.join("\n")
        }
    }
}

/// A call whose client logs nothing: at the level `debug` it logs what is sent and received, the
/// variables of containers among it.
pub(crate) fn quiet<F: Future>(call: F) -> WithDispatch<F> {
    call.with_subscriber(Dispatch::none())
}

/// `1.41` as numbers that can be compared.
fn parts(version: &str) -> Vec<u32> {
    let parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    parts.collect()
}

fn container(name: &str) -> String {
    format!("container `{name}`")
}

/// Takes refusals with these codes for what was wanted.
fn unless(
    outcome: std::result::Result<(), ClientError>,
    codes: &[u16],
) -> std::result::Result<(), ClientError> {
    match outcome {
        Err(ClientError::DockerResponseServerError { status_code, .. })
            if codes.contains(&status_code) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn refused(action: &'static str, what: String) -> impl FnOnce(ClientError) -> DockerError {
    move |source| {
        let gone = matches!(
            source,
            ClientError::HyperResponseError { .. }
                | ClientError::HyperLegacyError { .. }
                | ClientError::HttpClientError { .. }
                | ClientError::IOError { .. }
                | ClientError::SocketNotFoundError(_)
        );
        let source = source.into();
        match gone {
            true => DockerError::Gone {
                action,
                what,
                source,
            },
            false => DockerError::Engine {
                action,
                what,
                source,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(parts("1.9") < parts(NEEDED));
        assert!(parts("1.40") < parts(NEEDED));
        assert!(parts("1.41") >= parts(NEEDED));
        assert!(parts("1.100") >= parts(NEEDED));
    }
}
