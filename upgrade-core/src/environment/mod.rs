//! The system that is upgraded, as something that can be made, observed, put back and removed.

pub(crate) mod capabilities;
pub(crate) mod claim;
#[cfg(feature = "postgres")]
mod commands;
pub(crate) mod contract;
#[cfg(feature = "docker")]
mod docker;
mod facets;
mod forward;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod processes;
mod statements;

pub use self::capabilities::Capabilities;
pub use self::claim::{Claim, Claims};
#[cfg(feature = "postgres")]
pub use self::commands::{CommandServices, ServiceCommands};
pub use self::contract::{At, EMPTY, Environment, Unfilled};
#[cfg(feature = "docker")]
pub use self::docker::{DockerEnvironment, SharedEnvironment};
pub use self::facets::{
    DatabaseFaults, Fault, Instances, RowComparison, ServiceFaults, Services, SessionMonitor,
    SideBySide, Snapshots, StatementTrial, Usage,
};
#[cfg(feature = "postgres")]
pub use self::postgres::{DatabaseSource, Existing, PostgresEnvironment};
#[cfg(feature = "postgres")]
pub use self::processes::{Placement, ProcessEnvironment, Program, ProgramReady};
pub use self::statements::{Refusal, StatementKind};
pub use crate::endpoint::{DATABASE, Endpoint, Endpoints, LogTail};
