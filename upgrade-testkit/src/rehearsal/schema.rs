//! The schema of the newer release, without a run.

use upgrade_core::postgres::Database;
use upgrade_core::postgres::catalog::Catalog;
use upgrade_core::{Result, RunId};

use super::release::{self, Releases};
use super::{Rehearsal, populated};
use crate::pool::{Outcome, Pool};

impl Rehearsal {
    /// The schema that the newer release has when it is installed afresh: the SQL that sets the
    /// database up, then every migration, on an empty database. What the
    /// [observer](Rehearsal::observer) leaves out is left out, and so is the record of the
    /// migration tool. [`schema_file`](crate::schema_file) compares it with a committed file.
    ///
    /// # Errors
    /// Any kind, when the migrations cannot be read or applied, or there is no server.
    pub async fn schema(mut self) -> Result<Catalog> {
        let releases = release::resolve(&self).await?;
        self.leave_out_record(&releases);
        let pool = Pool::connect(self.pool_options()?).await?;
        let test = pool.empty_database(&RunId::generate()).await?;
        let catalog = self.install(test.database(), &releases).await;
        let outcome = if catalog.is_ok() {
            Outcome::Passed
        } else {
            Outcome::Failed
        };
        let released = test.release(outcome).await;
        let catalog = catalog?;
        released?;
        Ok(catalog)
    }

    async fn install(&self, database: &Database, releases: &Releases) -> Result<Catalog> {
        let mut connection = database.connect().await?;
        let migrations = releases.upgrade.released().iter();
        let migrations = migrations.chain(releases.upgrade.migrations());
        populated::migrate(database, &mut connection, &self.set_up_sql, migrations).await?;
        self.observer.catalog(&mut connection).await
    }
}
