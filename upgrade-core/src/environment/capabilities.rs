//! The optional powers of an environment, as data for the planner.

use serde::{Deserialize, Serialize};

use super::contract::Environment;
use super::facets::{Fault, Instances, Services, Snapshots};

/// The optional powers of an [`Environment`], which follow from the facets that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether the system was made for a rehearsal and is thrown away afterwards; see
    /// [`Environment::is_disposable`]. Default: no; no other power implies it.
    #[serde(default)]
    pub disposable: bool,
    /// States can be kept and restored: [`Snapshots`].
    pub snapshots: bool,
    /// Sessions can be ended and their process be killed: [`Environment::database_faults`].
    pub faults: bool,
    /// A session can hold a snapshot of the database open: [`Fault::HoldSnapshot`].
    #[serde(default)]
    pub held_snapshots: bool,
    /// The server of the database can be killed: [`Fault::KillServer`].
    pub server_faults: bool,
    /// Single containers of services can have faults: [`Environment::service_faults`].
    #[serde(default)]
    pub service_faults: bool,
    /// What a migration leaves in sessions can be found: [`Environment::session_monitor`].
    pub session_monitor: bool,
    /// The statements of a release can be tried: [`Environment::statement_trial`].
    #[serde(default)]
    pub statement_trial: bool,
    /// The system can be emptied: [`Snapshots::has_empty`].
    pub empty: bool,
    /// There are services that are replaced in an upgrade: [`Services`].
    pub services: bool,
    /// There are files that are switched in an upgrade: [`Environment::configuration`].
    #[serde(default)]
    pub configuration: bool,
    /// Systems can be run side by side with the live one: [`Environment::side_by_side`].
    #[serde(default)]
    pub side_by_side: bool,
    /// The rows in which two states differ can be named: [`Environment::row_comparison`].
    #[serde(default)]
    pub row_comparison: bool,
    /// How many instances of services can be replaced one by one, 0 where all are replaced at once:
    /// [`Instances`].
    #[serde(default)]
    pub instances: u32,
}

impl Capabilities {
    /// What an environment can do.
    pub fn of(environment: &dyn Environment) -> Self {
        let faults = environment.database_faults();
        let supports = |all: &[Fault]| {
            faults.is_some_and(|faults| all.iter().all(|fault| faults.supports(*fault)))
        };
        let services = environment.services();
        let snapshots = environment.snapshots();
        Self {
            disposable: environment.is_disposable(),
            snapshots: snapshots.is_some(),
            faults: supports(&[Fault::TerminateSessions, Fault::KillProcess]),
            held_snapshots: supports(&[Fault::HoldSnapshot]),
            server_faults: supports(&[Fault::KillServer]),
            service_faults: environment.service_faults().is_some(),
            session_monitor: environment.session_monitor().is_some(),
            statement_trial: environment.statement_trial().is_some(),
            empty: snapshots.is_some_and(Snapshots::has_empty),
            services: services.is_some(),
            configuration: environment.configuration().is_some(),
            side_by_side: environment.side_by_side().is_some(),
            row_comparison: environment.row_comparison().is_some(),
            instances: services
                .and_then(Services::instances)
                .map_or(0, Instances::count),
        }
    }

    /// No optional power.
    pub fn none() -> Self {
        Self::default()
    }

    /// With [`Capabilities::disposable`].
    #[must_use]
    pub fn with_disposable(mut self) -> Self {
        self.disposable = true;
        self
    }

    /// With [`Capabilities::snapshots`].
    #[must_use]
    pub fn with_snapshots(mut self) -> Self {
        self.snapshots = true;
        self
    }

    /// With [`Capabilities::faults`].
    #[must_use]
    pub fn with_faults(mut self) -> Self {
        self.faults = true;
        self
    }

    /// With [`Capabilities::held_snapshots`].
    #[must_use]
    pub fn with_held_snapshots(mut self) -> Self {
        self.held_snapshots = true;
        self
    }

    /// With [`Capabilities::server_faults`].
    #[must_use]
    pub fn with_server_faults(mut self) -> Self {
        self.server_faults = true;
        self
    }

    /// With [`Capabilities::service_faults`].
    #[must_use]
    pub fn with_service_faults(mut self) -> Self {
        self.service_faults = true;
        self
    }

    /// With [`Capabilities::session_monitor`].
    #[must_use]
    pub fn with_session_monitor(mut self) -> Self {
        self.session_monitor = true;
        self
    }

    /// With [`Capabilities::empty`].
    #[must_use]
    pub fn with_empty(mut self) -> Self {
        self.empty = true;
        self
    }

    /// With [`Capabilities::services`].
    #[must_use]
    pub fn with_services(mut self) -> Self {
        self.services = true;
        self
    }

    /// With [`Capabilities::services`], and [`Capabilities::instances`].
    #[must_use]
    pub fn with_instances(mut self, count: u32) -> Self {
        self.services = true;
        self.instances = count;
        self
    }

    /// With [`Capabilities::side_by_side`].
    #[must_use]
    pub fn with_side_by_side(mut self) -> Self {
        self.side_by_side = true;
        self
    }

    /// With [`Capabilities::row_comparison`].
    #[must_use]
    pub fn with_row_comparison(mut self) -> Self {
        self.row_comparison = true;
        self
    }
}
