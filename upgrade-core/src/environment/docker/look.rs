//! What the services print and use.

use super::DockerEnvironment;
use crate::context::UpgradeContext;
use crate::docker::{LogQuery, ResourceUse};
use crate::environment::LogTail;
use crate::error::Result;

impl DockerEnvironment {
    /// What the containers of a service have printed, one entry for each of them.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where there is no such service.
    pub async fn logs_of(
        &self,
        cx: &UpgradeContext,
        service: &str,
        query: &LogQuery,
    ) -> Result<Vec<LogTail>> {
        let running = self.running()?;
        let staging = &running.staging;
        cx.bounded("read the logs", staging.logs_of(service, query))
            .await?
    }

    /// What every container uses, by service and number. The report of a run that fails has it as
    /// the last line of each log.
    ///
    /// # Errors
    /// What the engine refuses.
    pub async fn usage(&self, cx: &UpgradeContext) -> Result<Vec<ResourceUse>> {
        let running = self.running()?;
        let staging = &running.staging;
        cx.bounded("measure the containers", staging.usage())
            .await?
    }
}
