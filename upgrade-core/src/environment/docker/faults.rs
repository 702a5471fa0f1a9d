//! Faults of single containers.

use super::DockerEnvironment;
use crate::context::UpgradeContext;
use crate::docker::staging::sites;
use crate::error::Result;
use crate::fault::{ServiceFault, Site};
use crate::version::Version;

impl DockerEnvironment {
    /// Where each kind of fault can strike in a release and, where it cannot, why; for
    /// [`Faults::draw`](crate::fault::Faults::draw). It needs no engine, so that a plan can be
    /// drawn and printed before anything is made.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for a release that it does not know.
    pub fn fault_sites(&self, release: &Version) -> Result<Vec<Site>> {
        Ok(sites(&self.stack(release)?))
    }

    /// Has a fault strike one container, until it is [healed](Disturbance::heal).
    ///
    /// A snapshot, a restore and a teardown heal what is not healed. A replacement does not: a
    /// release may be rolled out while a container is frozen, and a container that is replaced
    /// takes its fault along.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where there is no such container,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) with the reason where the fault
    /// cannot strike, [`ErrorKind::Refused`](crate::ErrorKind::Refused) for a container that has a
    /// fault already, and what the engine refuses.
    pub async fn disturb(
        &self,
        cx: &UpgradeContext,
        fault: &ServiceFault,
    ) -> Result<Disturbance<'_>> {
        let staging = &self.running()?.staging;
        cx.bounded(&format!("have `{fault}` strike"), staging.disturb(fault))
            .await??;
        Ok(Disturbance {
            environment: self,
            fault: fault.clone(),
        })
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

/// A fault that has struck. Dropped, it stays until the environment heals or ends.
#[derive(Debug)]
#[must_use = "the fault stays until `heal`"]
pub struct Disturbance<'a> {
    environment: &'a DockerEnvironment,
    fault: ServiceFault,
}

impl Disturbance<'_> {
    /// The fault.
    pub fn fault(&self) -> &ServiceFault {
        &self.fault
    }

    /// Undoes the fault, and waits until the container is ready again.
    ///
    /// # Errors
    /// What the engine refuses, and when the container does not get ready again.
    pub async fn heal(self, cx: &UpgradeContext) -> Result<()> {
        let staging = &self.environment.running()?.staging;
        cx.bounded(&format!("heal `{}`", self.fault), staging.heal(&self.fault))
            .await?
    }
}
