//! The data of a Postgres server, copied while it runs, for the server of another staging.
//!
//! `pg_basebackup` runs in the server's container, and its output is what the other container finds in the
//! folder of its data before it starts.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use testcontainers::bollard::body_try_stream;
use testcontainers::bollard::container::LogOutput;
use testcontainers::bollard::models::ExecConfig;
use testcontainers::bollard::query_parameters::UploadToContainerOptionsBuilder;
use tokio_tar::Header;

use super::Staging;
use super::ready::exec_with;
use crate::docker::engine::Engine;
use crate::docker::stack::{Mount, Stack};
use crate::docker::{archive, build};
use crate::error::{Error, ErrorKind, Result};

/// The size of a header of the format tar, in bytes.
const HEADER: usize = 512;

/// A copy of the data of a server: all its databases, roles and settings. It is in a file without a name.
#[derive(Debug, Clone)]
pub(crate) struct Backup {
    /// The service that is the server.
    service: String,
    /// The folder of its data.
    folder: String,
    /// The server's user and group by number.
    owner: (u64, u64),
    archive: Arc<File>,
}

impl Staging {
    /// Copies the data of the server that a service is, from this folder of its container.
    pub(crate) async fn back_up(
        &self,
        service: &str,
        folder: String,
        (user, password): (&str, &str),
    ) -> Result<Backup> {
        let failed = |what: &str| {
            let message = format!("the data of service `{service}` cannot be copied: {what}");
            Error::new(ErrorKind::Environment, message)
        };
        let container = {
            let state = self.state.lock().await;
            let first = state.instances(service).first();
            first.map(|instance| instance.container.clone())
        };
        let container = container.ok_or_else(|| failed("no container of it runs"))?;
        let archive = tempfile::tempfile();
        let mut archive =
            archive.map_err(|source| failed("no file can be made").with_source(source))?;
        let command = [
            "pg_basebackup",
            "--pgdata=-",
            "--format=tar",
            "--wal-method=fetch",
            "--checkpoint=fast",
            "--no-manifest",
            "--no-password",
            "--username",
            user,
        ];
        let config = ExecConfig {
            cmd: Some(command.map(str::to_owned).into()),
            env: Some(vec![format!("PGPASSWORD={password}")]),
            ..ExecConfig::default()
        };
        let mut said = String::new();
        let take = |chunk: LogOutput| match chunk {
            LogOutput::StdOut { message } => archive.write_all(&message),
            other => {
                said.push_str(&other.to_string());
                Ok(())
            }
        };
        let code = exec_with(&self.engine, &container, config, take)
            .await
            .map_err(|source| failed("`pg_basebackup` cannot be run").with_source(source))?;
        if code != 0 {
            let said = self.engine.secrets().redact(said.trim()).into_owned();
            return Err(failed(&format!("`pg_basebackup` ended with {code}: {said}")).with_hint(
                "its image needs `pg_basebackup`, its server `wal_level` of `replica`, a free one of `max_wal_senders`, a line for `replication` in `pg_hba.conf`, and no tablespaces",
            ));
        }
        let owner = owner(&archive)
            .map_err(|source| failed("the copy cannot be read").with_source(source))?;
        Ok(Backup {
            service: service.to_owned(),
            folder,
            owner,
            archive: Arc::new(archive),
        })
    }
}

/// To whom the first file of an archive belongs.
fn owner(archive: &File) -> io::Result<(u64, u64)> {
    let mut first = [0; HEADER];
    archive.read_exact_at(&mut first, 0)?;
    let header = Header::from_byte_slice(&first);
    Ok((header.uid()?, header.gid()?))
}

impl Backup {
    pub(super) fn is_of(&self, service: &str) -> bool {
        self.service == service
    }

    /// Lays the data into a container that has not started yet.
    pub(super) async fn lay_into(&self, engine: &Engine, container: &str) -> Result<()> {
        let folder = archive::folder(&self.folder, self.owner).await?;
        engine.upload(container, "/", folder).await?;
        let options = UploadToContainerOptionsBuilder::new()
            .path(&self.folder)
            .build();
        let body = body_try_stream(build::chunks(Arc::clone(&self.archive)));
        engine
            .docker()
            .upload_to_container(container, Some(options), body)
            .await
            .map_err(|source| {
                let message = format!("the data cannot be laid into container `{container}`");
                Error::new(ErrorKind::Environment, message).with_source(source)
            })
    }

    /// Moves the data of the server from memory to a volume without a name: what lies in memory is lost before
    /// a container starts.
    pub(crate) fn give_place(&self, stack: &mut Stack) {
        let volumes = &stack.volumes;
        let in_memory = |mount: &Mount| match mount {
            Mount::Tmpfs { .. } => true,
            Mount::Volume {
                name: Some(name), ..
            } => volumes
                .get(name)
                .is_some_and(|volume| volume.bytes.is_some()),
            _ => false,
        };
        let Some(service) = stack.services.get_mut(&self.service) else {
            return;
        };
        for mount in &mut service.mounts {
            let (Mount::Tmpfs { target, .. }
            | Mount::Volume { target, .. }
            | Mount::Bind { target, .. }) = &*mount;
            let below = self.folder.strip_prefix(target.trim_end_matches('/'));
            if in_memory(mount)
                && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            {
                *mount = Mount::Volume {
                    name: None,
                    target: target.clone(),
                    read_only: false,
                };
            }
        }
    }
}
