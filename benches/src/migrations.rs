//! A real schema: the largest set of sqlx migrations among the crates that this workspace locks.

use std::path::Path;

use sqlx::migrate::Migrator;
use upgrade_core::migration::source::Package;
use upgrade_testkit::pool::{Pool, Template, TemplateKey};

use crate::Result;

/// The crate whose migrations are run.
pub const CRATE: &str = "apalis-postgres";

/// Migrations as their own tool reads them.
#[derive(Debug)]
pub struct Published {
    /// The version of the crate.
    pub version: String,
    /// The tool.
    pub migrator: Migrator,
}

impl Published {
    /// Reads them from the crate, which cargo has locked for this workspace.
    ///
    /// # Errors
    /// The crate is not there, or its migrations cannot be read.
    pub async fn read() -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let package = Package::find(CRATE, None, Some(here))?;
        let migrator = Migrator::new(package.folder.join("migrations")).await?;
        Ok(Self {
            version: package.version,
            migrator,
        })
    }

    /// The number of migrations.
    pub fn count(&self) -> usize {
        self.migrator.iter().count()
    }

    /// A template of the schema.
    ///
    /// # Errors
    /// It cannot be built.
    pub async fn template(&self, pool: &Pool) -> Result<Template> {
        let mut key = TemplateKey::new();
        for migration in self.migrator.iter() {
            key = key.with_migration(migration.version, &migration.checksum);
        }
        let build = async |database: upgrade_core::postgres::Database| {
            let mut connection = database.connect().await?;
            self.migrator.run(&mut connection).await?;
            Ok::<_, upgrade_core::BoxError>(())
        };
        Ok(pool.template(&key, build).await?)
    }
}
