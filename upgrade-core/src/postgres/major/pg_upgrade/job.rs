//! A script that runs once, in a separate container.

use std::time::Duration;

use testcontainers::bollard::models::{ContainerCreateBody, HostConfig};

use crate::context::UpgradeContext;
use crate::docker::engine::Engine;
use crate::docker::image;
use crate::docker::lease::{Lease, sweep_first};
use crate::docker::registry::{Registry, Resource, default_registry_dir, random_hex};
use crate::error::Result;
use crate::postgres::Database;

const POLL_EVERY: Duration = Duration::from_millis(50);
/// How many lines of output are read.
const LINES: usize = 100_000;

/// A script of bash, and what its container has.
#[derive(Debug)]
pub(in crate::postgres::major) struct Job<'a> {
    image: &'a str,
    script: &'a str,
    variables: Vec<String>,
    host: HostConfig,
}

impl<'a> Job<'a> {
    pub(in crate::postgres::major) fn new(image: &'a str, script: &'a str) -> Self {
        Self {
            image,
            script,
            variables: Vec::new(),
            host: HostConfig {
                network_mode: Some("none".to_owned()),
                binds: Some(Vec::new()),
                ..HostConfig::default()
            },
        }
    }

    /// It reaches what this machine reaches.
    pub(in crate::postgres::major) fn on_this_network(mut self) -> Self {
        self.host.network_mode = Some("host".to_owned());
        self
    }

    pub(in crate::postgres::major) fn with_variables(mut self, variables: &[(&str, &str)]) -> Self {
        let pairs = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        self.variables.extend(pairs);
        self
    }

    /// A volume or a folder, at a place in the container.
    pub(in crate::postgres::major) fn with_mount(mut self, source: &str, target: &str) -> Self {
        self.host
            .binds
            .get_or_insert_default()
            .push(format!("{source}:{target}"));
        self
    }

    /// The folders of the Unix sockets at which these databases answer, at the same place.
    pub(in crate::postgres::major) fn with_sockets<'d>(
        self,
        databases: impl IntoIterator<Item = &'d Database>,
    ) -> Self {
        databases
            .into_iter()
            .filter_map(|database| database.connect_options().get_socket().cloned())
            .fold(self, |job, folder| {
                let folder = folder.display().to_string();
                job.with_mount(&folder, &folder)
            })
    }

    /// Runs it to its end; whether it ended well, and what it printed.
    pub(in crate::postgres::major) async fn run(
        self,
        cx: &UpgradeContext,
        what: &str,
    ) -> Result<(bool, String)> {
        let engine = Engine::connect().await?;
        let registry = Registry::open(&default_registry_dir())?;
        sweep_first(&engine, &registry).await;
        let hint = "without an image registry, scripts/build-image makes those of this project";
        image::provide(&engine, self.image, hint).await?;
        let random = random_hex(std::path::Path::new("a container"))?;
        let name = format!("upgrade-job-{}-{}", std::process::id(), &random[..12]);
        let lease = Lease::take(&engine, &registry, &name, cx.run_id().as_str(), None).await?;
        lease.add(&Resource::Container(name.clone()))?;
        let body = ContainerCreateBody {
            image: Some(self.image.to_owned()),
            entrypoint: Some(vec!["bash".to_owned(), "-c".to_owned()]),
            cmd: Some(vec![self.script.to_owned()]),
            env: Some(self.variables),
            user: Some("root".to_owned()),
            labels: Some(lease.labels().clone()),
            host_config: Some(self.host),
            ..ContainerCreateBody::default()
        };
        let ended = cx.bounded(what, run_to_end(&engine, &name, body)).await;
        // Whatever came of it, the container goes.
        let removed = lease.end().await;
        let ended = ended??;
        removed?;
        Ok(ended)
    }
}

async fn run_to_end(
    engine: &Engine,
    name: &str,
    body: ContainerCreateBody,
) -> Result<(bool, String)> {
    engine.create(name, body).await?;
    engine.start(name).await?;
    loop {
        let state = engine.inspect(name).await?.state.unwrap_or_default();
        if state.running == Some(false) {
            let output = engine.log(name, LINES).await.join("\n");
            return Ok((state.exit_code == Some(0), output));
        }
        tokio::time::sleep(POLL_EVERY).await; // poll
    }
}
