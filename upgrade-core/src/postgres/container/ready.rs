//! Waiting for the server in a container.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::{Instant, sleep, timeout_at};

use crate::docker::DockerError;
use crate::docker::engine::Engine;
use crate::docker::error::Result;

const POLL_EVERY: Duration = Duration::from_millis(20);
/// How long one connection may take: a proxy of the engine accepts before the server listens.
const PROBE_WITHIN: Duration = Duration::from_secs(2);

/// One container on its way to an answering server.
pub(super) struct Waiting<'a> {
    pub(super) engine: &'a Engine,
    pub(super) container: &'a str,
    pub(super) begun: Instant,
    pub(super) deadline: Instant,
}

impl Waiting<'_> {
    /// The port on the engine's machine behind which the container's `port` is.
    pub(super) async fn published_port(&self, port: u16) -> Result<u16> {
        loop {
            let published = self
                .engine
                .inspect(self.container)
                .await?
                .network_settings
                .and_then(|network| {
                    let bindings = network.ports?.remove(&format!("{port}/tcp"))??;
                    bindings
                        .into_iter()
                        .find_map(|binding| binding.host_port?.parse().ok())
                });
            match published {
                Some(port) => return Ok(port),
                None => self.pause(None).await?,
            }
        }
    }

    /// Waits until two connections in a row meet the same start of the server.
    ///
    /// The entry point initialises with a server that is stopped again; the official image's does
    /// not listen on TCP, but that is a custom, not a promise.
    pub(super) async fn until_ready(&self, options: &PgConnectOptions) -> Result<()> {
        let mut seen = None;
        loop {
            let limit = self.deadline.min(Instant::now() + PROBE_WITHIN);
            match timeout_at(limit, started_at(options)).await {
                Ok(Ok(started)) if seen.as_ref() == Some(&started) => return Ok(()),
                Ok(Ok(started)) => seen = Some(started),
                Ok(Err(error)) => {
                    seen = None;
                    self.pause(Some(error)).await?;
                }
                Err(_) => {
                    seen = None;
                    self.pause(None).await?;
                }
            }
        }
    }

    /// The error of a deadline that has passed.
    pub(super) async fn not_ready(&self, source: Option<sqlx::Error>) -> DockerError {
        DockerError::NotReady {
            missing: "its server has not answered twice".to_owned(),
            container: self.container.to_owned(),
            waited: self.begun.elapsed(),
            log: self.engine.last_lines(self.container).await,
            source: source.map(Into::into),
        }
    }

    /// Ends the wait if the container has ended or the deadline has passed, else lets time pass.
    async fn pause(&self, last: Option<sqlx::Error>) -> Result<()> {
        let state = self
            .engine
            .inspect(self.container)
            .await?
            .state
            .unwrap_or_default();
        if state.running == Some(false) {
            return Err(DockerError::Exited {
                container: self.container.to_owned(),
                code: state.exit_code.unwrap_or_default(),
                log: self.engine.last_lines(self.container).await,
            });
        }
        if Instant::now() >= self.deadline {
            return Err(self.not_ready(last).await);
        }
        sleep(POLL_EVERY).await; // poll
        Ok(())
    }
}

/// When the server that answers was started, as text.
async fn started_at(options: &PgConnectOptions) -> sqlx::Result<String> {
    let mut connection = options.connect().await?;
    let started = sqlx::query_scalar("select pg_catalog.pg_postmaster_start_time()::text")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(started)
}
