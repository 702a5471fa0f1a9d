//! The input: migrations that other people have published, inside their crates.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use upgrade_core::migration::folder::MigrationFolder;
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
    /// Reads the folder of the crate.
    pub(crate) fn read(&self, crates: &Crates) -> Result<MigrationFolder> {
        let path = crates.folder(self.name)?.join(self.folder);
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

/// Where cargo keeps the crates that this workspace has locked.
pub(crate) struct Crates(Metadata);

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

impl Crates {
    /// Asks cargo, which fetches what is missing.
    pub(crate) fn locate() -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args([
                "metadata",
                "--format-version",
                "1",
                "--locked",
                "--manifest-path",
            ])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .output()
            .map_err(|source| {
                Error::new(ErrorKind::Io, "cargo could not be started").with_source(source)
            })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::new(ErrorKind::Io, "`cargo metadata` failed")
                .with_context("cargo", said)
                .with_hint("the crates have to be fetched once, which needs the registry"));
        }
        serde_json::from_slice(&output.stdout)
            .map(Self)
            .map_err(|source| {
                Error::new(ErrorKind::Io, "`cargo metadata` cannot be read").with_source(source)
            })
    }

    fn folder(&self, name: &str) -> Result<&Path> {
        self.0
            .packages
            .iter()
            .find(|package| package.name == name)
            .and_then(|package| package.manifest_path.parent())
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::NotFound,
                    format!("cargo knows no crate `{name}`"),
                )
            })
    }
}
