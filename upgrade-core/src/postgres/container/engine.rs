//! The Docker engine, as far as servers in containers need it.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error as ClientError;
use testcontainers::bollard::models::ContainerInspectResponse;
use testcontainers::bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use testcontainers::core::client::docker_client_instance;

use super::error::{BoxError, ContainerError, Result};

/// How long an engine may take to say that it is there.
const PING_WITHIN: Duration = Duration::from_secs(5);
/// How many lines of a container's output an error shows.
const LOG_LINES: &str = "20";

/// A connection to the engine that `DOCKER_HOST` names, else to the machine's own.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    docker: Docker,
    address: String,
}

impl Engine {
    /// Connects and asks whether the engine answers; fails at once if nothing listens.
    pub(super) async fn connect() -> Result<Self> {
        let address = std::env::var("DOCKER_HOST")
            .ok()
            .filter(|host| !host.is_empty());
        let address = address.unwrap_or_else(|| "the default socket".to_owned());
        let absent = |source: BoxError| ContainerError::NoEngine {
            engine: address.clone(),
            source,
        };
        let docker = docker_client_instance()
            .await
            .map_err(|error| absent(error.into()))?;
        match tokio::time::timeout(PING_WITHIN, docker.ping()).await {
            Ok(Ok(_)) => Ok(Self { docker, address }),
            Ok(Err(error)) => Err(absent(error.into())),
            Err(elapsed) => Err(absent(elapsed.into())),
        }
    }

    /// Where the engine was found; two entries of the registry with the same address have the same
    /// engine.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Whether the engine's loopback is ours. It is not if the engine is on another machine, or if
    /// this process is in a container itself.
    pub(super) async fn shares_loopback(&self) -> bool {
        let is_socket = std::env::var("DOCKER_HOST")
            .map_or(true, |host| host.is_empty() || host.starts_with("unix:"));
        if !is_socket || !Path::new("/.dockerenv").exists() {
            return is_socket;
        }
        // The root folder of a virtual machine that was made from an image has that file as well,
        // but it has the name of the engine's machine, too; a container has a name of its own.
        let engine_name = self.docker.info().await.ok().and_then(|info| info.name);
        let own_name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        engine_name.is_some() && engine_name.as_deref() == own_name.as_deref().map(str::trim_end)
    }

    /// Whether the engine has the image.
    pub(super) async fn has_image(&self, image: &str) -> bool {
        self.docker.inspect_image(image).await.is_ok()
    }

    /// The container's state and network settings.
    pub(super) async fn inspect(&self, container: &str) -> Result<ContainerInspectResponse> {
        self.docker
            .inspect_container(container, None::<InspectContainerOptions>)
            .await
            .map_err(refused("inspect", container))
    }

    /// The names of all containers, running or not, that bear the label.
    pub(super) async fn labelled(&self, label: &str) -> Result<Vec<String>> {
        let filters = std::collections::HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let found = self
            .docker
            .list_containers(Some(options))
            .await
            .map_err(refused("list", label))?;
        let mut names: Vec<_> = found
            .into_iter()
            .filter_map(|container| container.names?.into_iter().next())
            .map(|name| name.trim_start_matches('/').to_owned())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Removes the container with its volumes, running or not; says whether there was one.
    pub(super) async fn remove(&self, container: &str) -> Result<bool> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        match self.docker.remove_container(container, Some(options)).await {
            Ok(()) => Ok(true),
            // 404: there is none. 409: somebody else is removing it right now.
            Err(ClientError::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            }) => Ok(false),
            Err(error) => Err(refused("remove", container)(error)),
        }
    }

    /// The last lines that the container printed, oldest first; what cannot be read is left out,
    /// because this is evidence beside an error, not an answer.
    pub(super) async fn last_lines(&self, container: &str) -> String {
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .tail(LOG_LINES)
            .build();
        let chunks: Vec<_> = self.docker.logs(container, Some(options)).collect().await;
        let text: String = chunks
            .into_iter()
            .flatten()
            .map(|chunk| chunk.to_string())
            .collect();
        if text.is_empty() {
            "(none)".to_owned()
        } else {
            text.trim_end().to_owned()
        }
    }
}

fn refused(
    action: &'static str,
    container: &str,
) -> impl FnOnce(ClientError) -> ContainerError + use<> {
    let container = container.to_owned();
    move |source| ContainerError::Engine {
        action,
        container,
        source: source.into(),
    }
}
