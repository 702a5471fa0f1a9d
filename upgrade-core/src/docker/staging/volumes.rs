//! What is in the volumes of an environment, kept and put back.
//!
//! A container that is never started carries the files: no tool has to be in any image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use futures_util::StreamExt as _;
use testcontainers::bollard::body_try_stream;
use testcontainers::bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use testcontainers::bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};

use super::helper::PLACE;
use super::{Staging, State};
use crate::docker::build;
use crate::docker::registry::Resource;
use crate::docker::stack::{self, Service, Stack};
use crate::error::{Error, ErrorKind, Result};

/// The content of volumes by name, in files without a name: dropping this value removes them.
#[derive(Debug, Default)]
pub(crate) struct Kept(BTreeMap<String, Arc<File>>);

impl Staging {
    /// Copies what is in the volumes that a service does not use.
    pub(crate) async fn keep_volumes(&self, but: &str) -> Result<Kept> {
        let mut state = self.state.lock().await;
        let mut kept = Kept::default();
        for (name, image) in volumes(&state.stack, &state.images, but) {
            let mut file = tempfile::tempfile().map_err(|source| failed("kept", &name, source))?;
            let carrier = self.carry(&mut state, &name, &image).await?;
            let options = DownloadFromContainerOptionsBuilder::new()
                .path(PLACE)
                .build();
            let docker = self.engine.docker();
            let mut chunks = docker.download_from_container(&carrier, Some(options));
            while let Some(chunk) = chunks.next().await {
                let written = chunk
                    .map_err(io::Error::other)
                    .and_then(|chunk| file.write_all(&chunk));
                written.map_err(|source| failed("kept", &name, source))?;
            }
            drop(chunks);
            self.engine.remove(&Resource::Container(carrier)).await?;
            kept.0.insert(name, Arc::new(file));
        }
        Ok(kept)
    }

    /// Makes the volumes anew with what was kept. None of them may be in use.
    pub(crate) async fn put_back_volumes(
        &self,
        stack: &Stack,
        kept: &Kept,
        but: &str,
    ) -> Result<()> {
        let mut state = self.state.lock().await;
        let images = self.provide_images(stack).await?;
        for (name, image) in volumes(stack, &images, but) {
            self.engine
                .remove(&Resource::Volume(self.volume(&name)))
                .await?;
            self.make_volume(&name, &stack.volumes[&name]).await?;
            let own = Resource::Volume(self.volume(&name));
            state.ground.insert(own);
            let Some(file) = kept.0.get(&name) else {
                continue;
            };
            let carrier = self.carry(&mut state, &name, &image).await?;
            let options = UploadToContainerOptionsBuilder::new().path("/").build();
            let body = body_try_stream(build::chunks(Arc::clone(file)));
            self.engine
                .docker()
                .upload_to_container(&carrier, Some(options), body)
                .await
                .map_err(|source| failed("put back", &name, io::Error::other(source)))?;
            self.engine.remove(&Resource::Container(carrier)).await?;
        }
        Ok(())
    }

    /// Makes a container that has a volume and does not run.
    async fn carry(&self, state: &mut State, volume: &str, image: &str) -> Result<String> {
        state.made += 1;
        let name = format!("{}-carrier-{}", self.prefix, state.made);
        self.lease.add(&Resource::Container(name.clone()))?;
        let mount = Mount {
            typ: Some(MountType::VOLUME),
            source: Some(self.volume(volume)),
            target: Some(PLACE.to_owned()),
            ..Mount::default()
        };
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            // It never runs, but an image without a command is refused.
            cmd: Some(vec!["none".to_owned()]),
            labels: Some(self.lease.labels().clone()),
            host_config: Some(HostConfig {
                mounts: Some(vec![mount]),
                network_mode: Some("none".to_owned()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        self.engine.create(&name, body).await?;
        Ok(name)
    }
}

/// The volumes that services but one use, each with the image of a service that does.
fn volumes(
    stack: &Stack,
    images: &BTreeMap<String, String>,
    but: &str,
) -> BTreeMap<String, String> {
    let mounted = |service: &Service| -> Vec<String> {
        let names = service.mounts.iter().filter_map(|mount| match mount {
            stack::Mount::Volume { name, .. } => name.clone(),
            _ => None,
        });
        names.collect()
    };
    let excluded = stack.services.get(but).map(mounted).unwrap_or_default();
    let mut volumes = BTreeMap::new();
    for (service, definition) in &stack.services {
        let Some(image) = images.get(service) else {
            continue;
        };
        for name in mounted(definition) {
            if !excluded.contains(&name) {
                volumes.insert(name, image.clone());
            }
        }
    }
    volumes
}

fn failed(what: &str, volume: &str, source: io::Error) -> Error {
    Error::new(
        ErrorKind::Environment,
        format!("volume `{volume}` could not be {what}"),
    )
    .with_source(source)
}
