//! Faults of single containers.

use super::DockerEnvironment;
use crate::context::UpgradeContext;
use crate::docker::staging::sites;
use crate::error::Result;
use crate::fault::{ServiceFault, Site};
use crate::version::Version;

impl DockerEnvironment {
    /// What the stack and this machine allow; the engine is not asked.
    pub(super) fn sites_of(&self, release: &Version) -> Result<Vec<Site>> {
        Ok(sites(&self.stack(release)?))
    }

    pub(super) async fn begin_fault(
        &self,
        cx: &UpgradeContext,
        fault: &ServiceFault,
    ) -> Result<()> {
        let staging = &self.running()?.staging;
        cx.bounded(&format!("have `{fault}` strike"), staging.disturb(fault))
            .await?
    }

    pub(super) async fn end_fault(&self, cx: &UpgradeContext, fault: &ServiceFault) -> Result<()> {
        let staging = &self.running()?.staging;
        cx.bounded(&format!("heal `{fault}`"), staging.heal(fault))
            .await?
    }

    /// Heals every fault that is not healed yet.
    ///
    /// # Errors
    /// What the engine refuses, and when a container does not get ready again.
    pub async fn heal_all(&self, cx: &UpgradeContext) -> Result<()> {
        let staging = &self.running()?.staging;
        cx.bounded("heal all faults", staging.heal_all()).await?
    }
}
