//! Compose files, read into a [`Stack`].

mod build;
mod deploy;
mod document;
mod env_file;
mod extends;
mod field;
mod files;
mod health;
mod merge;
mod mounts;
mod networks;
mod ports;
mod reading;
mod scalar;
mod service;
mod tree;
mod variables;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use self::field::nearest;
use self::reading::Reading;
use self::tree::{Node, Source};
use self::variables::Variables;
use super::host::{self, HostPaths};
use super::stack::{Mount, Stack};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

#[doc = include_str!("compose.md")]
#[derive(Debug, Clone)]
pub struct Compose {
    /// Empty, where they are those of the folder.
    files: Vec<PathBuf>,
    /// Where `.env` is, and the files if none is named.
    folder: PathBuf,
    variables: std::collections::BTreeMap<String, Secret>,
    process_environment: bool,
    profiles: BTreeSet<String>,
    host_paths: Vec<PathBuf>,
    capabilities: Vec<String>,
}

impl Compose {
    /// A compose file. Its relative paths start from its folder.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        let mut compose = Self::folder(folder);
        compose.files.push(path);
        compose
    }

    /// The compose files of a folder, as `docker compose` finds them there: those that the variable
    /// `COMPOSE_FILE` names, separated by `COMPOSE_PATH_SEPARATOR` (default: `:`); else the first of
    /// `compose.yaml`, `compose.yml`, `docker-compose.yaml` and `docker-compose.yml`, with its
    /// `compose.override.yaml` or `.yml` (`docker-compose.override.…`) merged over it.
    pub fn folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            files: Vec::new(),
            folder: folder.into(),
            variables: Default::default(),
            process_environment: false,
            profiles: BTreeSet::new(),
            host_paths: Vec::new(),
            capabilities: Vec::new(),
        }
    }

    /// With one file more, merged over those before it as `docker compose -f … -f …` does. The
    /// relative paths in it start from the folder of the first file.
    #[must_use]
    pub fn and(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(path.into());
        self
    }

    /// With a variable for the files. It goes before one of that name from anywhere else.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// With the variables of this process, after those that were given and before those of `.env`.
    /// Without this, what staging is does not depend on who starts it.
    #[must_use]
    pub fn with_process_environment(mut self) -> Self {
        self.process_environment = true;
        self
    }

    /// With the services of a profile, beside those that are in none; `*` stands for all profiles.
    /// Default: the profiles that the variable `COMPOSE_PROFILES` lists, separated by commas.
    #[must_use]
    pub fn with_profile(mut self, profile: impl Into<String>) -> Self {
        self.profiles.insert(profile.into());
        self
    }

    /// Lets the files use a file or folder outside of the project, which is the folder of the first
    /// compose file: as a mount, an `env_file`, a secret, a config or an `extends`. A relative path
    /// starts from that folder. What belongs to the machine itself has to be named exactly; see
    /// [`Stack::with_host_path`].
    #[must_use]
    pub fn with_host_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.host_paths.push(path.into());
        self
    }

    /// Lets services have a kernel capability (`cap_add`) that is not among the engine's default,
    /// such as `SYS_PTRACE`.
    #[must_use]
    pub fn with_capability(mut self, capability: impl Into<String>) -> Self {
        self.capabilities.push(capability.into());
        self
    }

    /// Reads the files, and those that they name, at this moment. What they say and staging does
    /// without is in [`Stack::notes`], and is logged as a warning.
    ///
    /// # Errors
    /// All problems at once, each with its file and line: [`ErrorKind::InvalidInput`] when a file
    /// cannot be read, holds something that is unknown or that staging cannot do, or uses a variable
    /// that is not set; when no service has a profile that was asked for, or none is switched on;
    /// when [`Stack::start_order`] finds none. [`ErrorKind::Refused`] when a file would give a
    /// service something of this machine that is not allowed by name.
    pub fn read(&self) -> Result<Stack> {
        let variables = self.variables()?;
        let files = self.files(&variables)?;
        let folder = folder_of(&files[0])?;
        let allowed: Vec<PathBuf> = self
            .host_paths
            .iter()
            .map(|path| folder.join(path))
            .collect();
        let host = HostPaths::new(Some(&folder), &allowed);
        let reading = Reading::new(variables, host, self.capabilities.clone());
        let stack = self.read_files(&files, &folder, &reading);
        let mut stack = reading.finish(stack)?;
        stack.notes = reading.take_notes();
        for note in &stack.notes {
            tracing::warn!("{note}");
        }
        stack.capabilities.extend(self.capabilities.iter().cloned());
        stack.host_paths.extend(allowed);
        let mut mounts = stack.services.values().flat_map(|service| &service.mounts);
        if mounts.any(|mount| matches!(mount, Mount::Bind { .. })) {
            stack.host_paths.insert(folder);
        }
        Ok(stack)
    }

    /// The variables, with those of `.env`.
    fn variables(&self) -> Result<Variables> {
        let mut variables = Variables {
            explicit: self.variables.clone(),
            process: self.process_environment,
            file: Default::default(),
        };
        let folder = std::path::absolute(self.folder.join("."))
            .map_err(|source| unreadable(&self.folder, source))?;
        let env_file = self.folder.join(".env");
        if env_file.exists() {
            self.check(&folder, &env_file)?;
            let source = source(&env_file, &folder);
            let text = text_of(&env_file)?;
            variables.file = env_file::parse(&text, &source, &|name| variables.get(name))?;
        }
        Ok(variables)
    }

    /// The compose files: those that were named, else those of the folder.
    fn files(&self, variables: &Variables) -> Result<Vec<PathBuf>> {
        if !self.files.is_empty() {
            return Ok(self.files.clone());
        }
        let named = variables.get("COMPOSE_FILE").unwrap_or_default();
        if !named.is_empty() {
            let separator = variables.get("COMPOSE_PATH_SEPARATOR");
            let separator = separator.filter(|separator| !separator.is_empty());
            let separator = separator.unwrap_or_else(|| ":".to_owned());
            let names = named.split(&separator).filter(|name| !name.is_empty());
            let files: Vec<PathBuf> = names.map(|name| self.folder.join(name)).collect();
            for file in &files {
                self.check(&self.folder, file)?;
            }
            if !files.is_empty() {
                return Ok(files);
            }
        }
        for stem in ["compose", "docker-compose"] {
            let first = |name: &str| {
                let names = ["yaml", "yml"].map(|end| self.folder.join(format!("{name}.{end}")));
                names.into_iter().find(|file| file.exists())
            };
            if let Some(file) = first(stem) {
                let over = first(&format!("{stem}.override"));
                return Ok([file].into_iter().chain(over).collect());
            }
        }
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!("the folder `{}` has no compose file", self.folder.display()),
        )
        .with_hint("it is looked for as `compose.yaml`, `compose.yml`, `docker-compose.yaml` and `docker-compose.yml`; the variable `COMPOSE_FILE` names others"))
    }

    /// Refuses a file outside of a folder that is not allowed.
    fn check(&self, folder: &Path, file: &Path) -> Result<()> {
        let allowed: Vec<PathBuf> = self
            .host_paths
            .iter()
            .map(|path| folder.join(path))
            .collect();
        match HostPaths::new(Some(folder), &allowed).refuses(file) {
            None => Ok(()),
            Some(why) => Err(
                Error::new(ErrorKind::Refused, format!("the compose file {why}"))
                    .with_hint(host::path_hint(file)),
            ),
        }
    }

    fn read_files(&self, files: &[PathBuf], folder: &Path, reading: &Reading) -> Result<Stack> {
        let mut merged: Option<Node> = None;
        for file in files {
            let node = tree::parse(&text_of(file)?, &source(file, folder))?;
            let node = extends::extend(node, reading, &extended)?;
            merged = match merged {
                None => merge::alone(node),
                Some(base) => merge::merge(base, node, &[])?,
            };
        }
        let root = merged.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "nothing is left of the compose files",
            )
        })?;
        document::stack(&root, reading, &self.profiles)
    }
}

/// The file that an `extends` names.
fn extended(path: &Path, field: &field::Field<'_>) -> Result<Node> {
    let text = files::read(field, path)?;
    tree::parse(&text, &source(path, &folder_of(path)?))
}

fn source(file: &Path, folder: &Path) -> Arc<Source> {
    Arc::new(Source {
        name: file.display().to_string(),
        folder: folder.to_owned(),
    })
}

fn folder_of(file: &Path) -> Result<PathBuf> {
    std::path::absolute(file)
        .map(|file| file.parent().map_or_else(PathBuf::new, Path::to_owned))
        .map_err(|source| unreadable(file, source))
}

fn text_of(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|source| unreadable(file, source))
}

fn unreadable(file: &Path, source: std::io::Error) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("the file `{}` cannot be read as text", file.display()),
    )
    .with_source(source)
}
