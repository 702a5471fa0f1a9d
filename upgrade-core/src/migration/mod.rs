//! One change of the schema or the data, as something that can be applied and, perhaps, reverted.

#[cfg(feature = "postgres")]
mod command;
pub(crate) mod contract;
#[cfg(feature = "postgres")]
pub mod folder;
#[cfg(feature = "postgres")]
pub mod record;
#[cfg(feature = "postgres")]
mod session;
#[cfg(feature = "postgres")]
pub mod source;
#[cfg(feature = "postgres")]
mod sql;
#[cfg(feature = "postgres")]
mod traces;
#[cfg(feature = "postgres")]
mod waits;

#[cfg(feature = "postgres")]
pub use command::CommandMigration;
pub use contract::{Checksum, Migration, MigrationFiles, Reversibility, Status};
#[cfg(feature = "postgres")]
pub use sql::SqlMigration;

pub use crate::ids::MigrationId;
pub use crate::outcome::Outcome;
