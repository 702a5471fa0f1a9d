//! How a stack is staged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::backup::Backup;
use super::follow::LogFiles;
use super::ready::Ready;
use crate::redact::Secrets;

/// How long all services may take to get ready.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// How the services of a release take the place of those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// All containers of a service stop, then the new ones start.
    Recreate,
    /// Container by container: one stops, its successor starts and gets ready, then the next.
    Rolling,
    /// The new containers start beside the old ones, under no name. When all are ready the name
    /// goes over to them, and the old ones stop.
    BlueGreen,
}

/// How a stack is staged.
#[derive(Debug, Clone)]
pub(crate) struct StagingOptions {
    pub(crate) ready: BTreeMap<String, Ready>,
    pub(crate) ready_within: Duration,
    pub(crate) strategy: Strategy,
    pub(crate) strategies: BTreeMap<String, Strategy>,
    /// The services that keep nothing from one request to the next.
    pub(crate) stateless: BTreeSet<String>,
    /// Hosts outside that are let through, each with its port.
    pub(crate) allowed: Vec<(String, u16)>,
    pub(crate) registry_dir: Option<PathBuf>,
    /// Whether other processes may join, and how long it stays when the last one has left.
    pub(crate) shared: Option<Duration>,
    /// What is secret in the stacks.
    pub(crate) secrets: Secrets,
    /// What the containers of a database find in the folder of its data.
    pub(crate) backup: Option<Backup>,
    /// Where the output of services goes, beside the engine's own log.
    pub(crate) log_files: Option<LogFiles>,
}

impl Default for StagingOptions {
    fn default() -> Self {
        Self {
            ready: BTreeMap::new(),
            ready_within: READY_WITHIN,
            strategy: Strategy::Rolling,
            strategies: BTreeMap::new(),
            stateless: BTreeSet::new(),
            allowed: Vec::new(),
            registry_dir: None,
            shared: None,
            secrets: Secrets::default(),
            backup: None,
            log_files: None,
        }
    }
}

impl StagingOptions {
    pub(super) fn ready(&self, service: &str) -> &Ready {
        self.ready.get(service).unwrap_or(&Ready::Sensible)
    }

    pub(super) fn strategy(&self, service: &str) -> Strategy {
        *self.strategies.get(service).unwrap_or(&self.strategy)
    }
}
