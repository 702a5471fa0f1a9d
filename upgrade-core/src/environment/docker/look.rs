//! What the services print and use.

use std::fs;
use std::io;

use super::DockerEnvironment;
use crate::context::UpgradeContext;
use crate::docker::staging::LogFiles;
use crate::docker::{LogQuery, ResourceUse};
use crate::environment::LogTail;
use crate::environment::processes::folder::Folder;
use crate::error::{Error, ErrorKind, Result};

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

    /// Makes an empty folder for the output of the services of one system. The database is left out: its log may
    /// have rows.
    pub(super) fn log_files(&self, folder: &Folder, system: &str) -> Result<LogFiles> {
        let path = folder.path().join(system);
        let made = match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir(&path),
        };
        made.map_err(|source| {
            let message = format!("the folder {} for logs cannot be made", path.display());
            Error::new(ErrorKind::Io, message).with_source(source)
        })?;
        Ok(LogFiles {
            folder: path,
            but: self.database_service().to_owned(),
        })
    }
}
