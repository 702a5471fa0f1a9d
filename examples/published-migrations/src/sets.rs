//! The input: migrations that other people have published, inside their crates.

use std::path::Path;

use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::migration::source::Package;
use upgrade_core::{Error, ErrorKind, Result};

/// One set of migrations.
pub(crate) struct Set {
    /// The crate.
    pub(crate) name: &'static str,
    /// The folder inside it.
    folder: &'static str,
    /// What its installer does before the first migration.
    pub(crate) set_up_sql: &'static str,
    /// What its installer puts in for a name in the files.
    placeholder: Option<(&'static str, &'static str)>,
}

pub(crate) const SETS: [Set; 3] = [
    Set {
        name: "atuin-server-postgres",
        folder: "migrations",
        set_up_sql: "",
        placeholder: None,
    },
    Set {
        name: "apalis-postgres",
        folder: "migrations",
        set_up_sql: "",
        placeholder: None,
    },
    Set {
        name: "graphile_worker_migrations",
        folder: "src/sql",
        set_up_sql: "create schema graphile_worker;
            create table graphile_worker.migrations (
                id int primary key,
                ts timestamptz not null default now(),
                breaking boolean not null default false
            );",
        placeholder: Some((":GRAPHILE_WORKER_SCHEMA", "graphile_worker")),
    },
];

impl Set {
    /// Reads the folder of the crate, which cargo has locked for this workspace.
    pub(crate) fn read(&self) -> Result<MigrationFolder> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let package = Package::find(self.name, None, Some(here)).map_err(|source| {
            Error::new(
                ErrorKind::NotFound,
                format!("crate `{}` cannot be located", self.name),
            )
            .with_source(source)
            .with_hint("it has to be fetched once, which needs the registry")
        })?;
        let path = package.folder.join(self.folder);
        let unusable = |source| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("the migrations of `{}` cannot be read", self.name),
            )
            .with_source(source)
        };
        let mut folder = MigrationFolder::read(&path).map_err(unusable)?;
        if let Some((placeholder, value)) = self.placeholder {
            folder.fill(placeholder, value).map_err(unusable)?;
        }
        Ok(folder)
    }
}
