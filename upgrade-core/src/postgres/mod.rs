//! Everything that knows Postgres: servers, databases, catalogs, fingerprints.
//!
//! [`server`] finds server binaries and runs them, [`database`] makes, copies, renames and drops
//! databases, [`catalog`] reads a schema as data and compares two, [`fingerprint`] does the same
//! for rows, [`rowdiff`] names the rows that differ, [`major`] moves
//! a database to a newer major version, [`sql`] cuts scripts into statements and quotes names.

mod batch;
pub mod catalog;
pub(crate) mod cluster;
#[cfg(feature = "docker")]
pub mod container;
pub mod database;
pub mod fingerprint;
mod large_objects;
mod lock_queue;
pub mod major;
mod observe;
pub mod rowdiff;
pub mod server;
pub mod sql;
mod statements;
mod watch;
#[cfg(feature = "http")]
pub(crate) mod written;

use sqlx::postgres::PgConnection;

pub use database::Database;
pub(crate) use lock_queue::LockQueue;
pub use observe::{BOOKKEEPING, Observer};
pub(crate) use statements::Release;
pub(crate) use watch::Watch;

use crate::context::UpgradeContext;
use crate::environment::DATABASE;
use crate::error::Result;

impl UpgradeContext {
    /// The database that is upgraded.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when the environment has none.
    pub fn database(&self) -> Result<Database> {
        let endpoint = self.endpoint(DATABASE)?;
        let database = Database::from_url(endpoint.url())?;
        Ok(match endpoint.held() {
            Some(operation) => database.under(operation),
            None => database,
        })
    }

    /// Connects to the database that is upgraded, within the deadline of the context.
    ///
    /// # Errors
    /// As [`Self::database`], and [`Unavailable`](crate::ErrorKind::Unavailable) when the server
    /// does not let us in.
    pub async fn connect(&self) -> Result<PgConnection> {
        let database = self.database()?;
        self.bounded("connect", database.connect()).await?
    }
}
