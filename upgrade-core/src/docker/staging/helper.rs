//! A short-lived container that does one thing to another container's network or to a volume, with
//! the programs of this machine: no tool has to be in any image.

use std::path::Path;

use testcontainers::bollard::models::{
    ContainerCreateBody, HostConfig, Mount, MountBindOptions, MountType,
};
use tokio::time::{Instant, sleep};

use super::ready::POLL_EVERY;
use super::{Staging, State};
use crate::docker::registry::Resource;
use crate::error::{Error, ErrorKind, Result};

/// Where the volume is, if one is mounted.
pub(super) const PLACE: &str = "/volume";
/// The folders that hold programs and the libraries that they need.
const PROGRAMS: [&str; 4] = ["/usr", "/lib", "/lib64", "/sbin"];
/// How many lines of its output are of interest.
const LINES: usize = 20;

/// What a helper is given.
pub(super) struct Helper<'a> {
    /// Any image that the engine has.
    pub(super) image: &'a str,
    /// The container whose network it is on; none if not said.
    pub(super) network_of: Option<&'a str>,
    /// The engine's name of a volume.
    pub(super) volume: Option<String>,
    /// A line for the shell of this machine.
    pub(super) line: String,
}

impl Staging {
    /// Runs it to its end; its exit code and what it printed.
    pub(super) async fn help(
        &self,
        state: &mut State,
        helper: Helper<'_>,
        deadline: Instant,
    ) -> Result<(i64, String)> {
        state.made += 1;
        let name = format!("{}-helper-{}", self.prefix, state.made);
        self.lease.add(&Resource::Container(name.clone()))?;
        let programs = PROGRAMS.iter().filter(|path| Path::new(path).is_dir());
        let programs = programs.map(|path| Mount {
            typ: Some(MountType::BIND),
            source: Some((*path).to_owned()),
            target: Some((*path).to_owned()),
            read_only: Some(true),
            bind_options: Some(MountBindOptions::default()),
            ..Mount::default()
        });
        let volume = helper.volume.map(|volume| Mount {
            typ: Some(MountType::VOLUME),
            source: Some(volume),
            target: Some(PLACE.to_owned()),
            ..Mount::default()
        });
        let network = helper.network_of;
        let body = ContainerCreateBody {
            image: Some(helper.image.to_owned()),
            entrypoint: Some(["/usr/bin/sh", "-c"].map(str::to_owned).into()),
            cmd: Some(vec![helper.line]),
            user: Some("0".to_owned()),
            labels: Some(self.lease.labels().clone()),
            host_config: Some(HostConfig {
                mounts: Some(programs.chain(volume).collect()),
                network_mode: Some(
                    network.map_or_else(|| "none".to_owned(), |of| format!("container:{of}")),
                ),
                cap_add: network.map(|_| vec!["NET_ADMIN".to_owned()]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        self.engine.create(&name, body).await?;
        self.engine.start(&name).await?;
        loop {
            let state = self.engine.inspect(&name).await?.state.unwrap_or_default();
            if state.running != Some(true) {
                let output = self.engine.log(&name, LINES).await.join("\n");
                self.engine.remove(&Resource::Container(name)).await?;
                return Ok((state.exit_code.unwrap_or(-1), output));
            }
            if Instant::now() >= deadline {
                self.engine
                    .remove(&Resource::Container(name.clone()))
                    .await?;
                return Err(Error::new(
                    ErrorKind::Timeout,
                    format!("container `{name}` does not end"),
                ));
            }
            sleep(POLL_EVERY).await; // poll
        }
    }
}
