//! Services that stand still for a moment, and go on however that moment ends.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::Staging;
use crate::docker::engine::Engine;
use crate::error::{Error, ErrorKind, Result};

/// How long the engine may take to let all containers go on.
const WITHIN: Duration = Duration::from_secs(30);

/// The containers that were frozen. Dropped, it lets them go on in the background.
pub(crate) struct Frozen {
    engine: Engine,
    /// Each is named before it is frozen, so that none is forgotten.
    containers: Vec<String>,
}

impl Frozen {
    pub(crate) fn none(staging: &Staging) -> Self {
        Self {
            engine: staging.engine.clone(),
            containers: Vec::new(),
        }
    }

    /// Freezes all services but one. Those that are paused already stay as they are.
    pub(crate) async fn freeze_others(&mut self, staging: &Staging, but: &str) -> Result<()> {
        let state = staging.state.lock().await;
        let others = state.instances.iter().filter(|(name, _)| *name != but);
        for instance in others.flat_map(|(_, instances)| instances) {
            let found = self.engine.inspect(&instance.container).await?;
            let found = found.state.unwrap_or_default();
            if found.running != Some(true) || self.engine.stays_paused(&instance.container).await? {
                continue;
            }
            self.containers.push(instance.container.clone());
            self.engine.pause(&instance.container).await?;
        }
        Ok(())
    }

    /// Lets all of them go on, also after one of them could not.
    pub(crate) async fn thaw(mut self) -> Result<()> {
        let all = timeout(WITHIN, thaw(&self.engine, &self.containers)).await;
        let failed = match all {
            Ok(failed) => failed,
            // Dropping this tries once more.
            Err(_) => {
                return Err(stays(&self.containers).with_context("waited", format!("{WITHIN:?}")));
            }
        };
        self.containers.clear();
        let (names, errors): (Vec<_>, Vec<_>) = failed.into_iter().unzip();
        match errors.into_iter().next() {
            None => Ok(()),
            Some(error) => Err(stays(&names).with_source(error)),
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let containers = std::mem::take(&mut self.containers);
        if containers.is_empty() {
            return;
        }
        let engine = self.engine.clone();
        // Without a runtime nothing can be asked of the engine; the sweep removes the containers.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                for (container, error) in thaw(&engine, &containers).await {
                    tracing::warn!(container, ?error, "a container stays frozen");
                }
            });
        }
    }
}

/// Lets containers go on; those that could not.
async fn thaw(engine: &Engine, containers: &[String]) -> Vec<(String, Error)> {
    let all = containers.iter().map(async |container| {
        let gone_on = engine.unpause(container).await;
        gone_on.err().map(|error| (container.clone(), error.into()))
    });
    join_all(all).await.into_iter().flatten().collect()
}

fn stays(containers: &[String]) -> Error {
    let names: Vec<String> = containers.iter().map(|name| format!("`{name}`")).collect();
    Error::new(
        ErrorKind::Environment,
        format!(
            "containers stay frozen after a snapshot: {}",
            names.join(", ")
        ),
    )
    .with_hint("`docker unpause` lets them go on")
}
