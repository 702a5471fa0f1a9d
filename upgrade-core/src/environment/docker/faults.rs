//! Faults of single containers.

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::services::came_up;
use super::{DockerEnvironment, ServiceFaults};
use crate::context::UpgradeContext;
use crate::docker::staging::sites;
use crate::error::Result;
use crate::fault::{ServiceFault, Site};
use crate::ids::Version;
use crate::outcome::Outcome;

#[async_trait]
impl ServiceFaults for DockerEnvironment {
    /// What the stack and this machine allow; the engine is not asked.
    fn sites(&self, release: &Version) -> Result<Vec<Site>> {
        Ok(sites(&self.stack(release)?))
    }

    async fn inject(&self, cx: &UpgradeContext, fault: &ServiceFault) -> Result<()> {
        let running = self.running()?;
        let staging = &running.staging;
        cx.bounded(&format!("inject `{fault}`"), staging.disturb(fault))
            .await?
    }

    async fn recover(&self, cx: &UpgradeContext, fault: &ServiceFault) -> Result<Outcome> {
        let running = self.running()?;
        let staging = &running.staging;
        let recovered = uncancelled(cx)
            .bounded(&format!("recover from `{fault}`"), staging.recover(fault))
            .await?;
        came_up(recovered)
    }
}

impl DockerEnvironment {
    /// Recovers from every fault that is still injected, also in a run that was cancelled: a container that
    /// stays paused would be in the way of the rollback.
    ///
    /// # Errors
    /// What the engine refuses, and when a container does not get ready again.
    pub async fn recover_all(&self, cx: &UpgradeContext) -> Result<()> {
        let running = self.running()?;
        let staging = &running.staging;
        uncancelled(cx)
            .bounded("recover from all faults", staging.recover_all())
            .await?
    }
}

/// What undoes is not cancelled with what it undoes: its deadline alone bounds it.
pub(super) fn uncancelled(cx: &UpgradeContext) -> UpgradeContext {
    cx.clone().with_cancellation(CancellationToken::new())
}
