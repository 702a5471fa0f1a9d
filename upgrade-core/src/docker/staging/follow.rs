//! What containers print, followed into a file for each service.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt as _;
use testcontainers::bollard::query_parameters::LogsOptionsBuilder;
use tokio::task::JoinSet;

use super::{Staging, plain};
use crate::docker::engine::quiet;
use crate::error::{Error, ErrorKind, Result};

/// Where the output of services goes.
#[derive(Debug, Clone)]
pub(crate) struct LogFiles {
    /// A folder that exists.
    pub(crate) folder: PathBuf,
    /// The service that is not followed.
    pub(crate) but: String,
}

/// What follows containers. Dropped, it ends.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<JoinSet<()>>);

impl Staging {
    /// The file with what the containers of a service have printed since they started, where there is one.
    pub(crate) fn log_file(&self, service: &str) -> Option<PathBuf> {
        let files = self.options.log_files.as_ref()?;
        let followed = files.but != service;
        followed.then(|| files.folder.join(format!("{}.log", plain(service))))
    }

    /// Appends what a container prints to the file of its service, until it is removed.
    pub(super) fn follow(&self, service: &str, container: &str) -> Result<()> {
        let Some(path) = self.log_file(service) else {
            return Ok(());
        };
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|source| {
            let message = format!("the log {} cannot be written", path.display());
            Error::new(ErrorKind::Io, message).with_source(source)
        })?;
        let followers = self.followers.0.lock();
        let mut followers = followers.unwrap_or_else(PoisonError::into_inner);
        // Those whose containers were removed.
        while followers.try_join_next().is_some() {}
        followers.spawn(self.copy_output(container.to_owned(), file));
        Ok(())
    }

    /// On a busy disk it may be late, and a file that cannot be written any more stays as it is.
    fn copy_output(
        &self,
        container: String,
        mut file: File,
    ) -> impl Future<Output = ()> + Send + 'static {
        let engine = self.engine.clone();
        let options = LogsOptionsBuilder::new()
            .follow(true)
            .stdout(true)
            .stderr(true)
            .build();
        async move {
            let mut chunks = engine.docker().logs(&container, Some(options));
            while let Some(Ok(chunk)) = quiet(chunks.next()).await {
                let text = chunk.to_string();
                let text = engine.secrets().redact(&text);
                if let Err(error) = file.write_all(text.as_bytes()) {
                    tracing::warn!(container, %error, "its output is not followed any more");
                    return;
                }
            }
        }
    }
}
