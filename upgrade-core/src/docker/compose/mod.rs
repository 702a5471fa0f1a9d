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
mod scalar;
mod service;
mod tree;
mod variables;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use self::field::nearest;
use self::tree::{Node, Source};
use self::variables::Variables;
use super::stack::Stack;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

#[doc = include_str!("compose.md")]
#[derive(Debug, Clone)]
pub struct Compose {
    files: Vec<PathBuf>,
    variables: std::collections::BTreeMap<String, Secret>,
    process_environment: bool,
    profiles: BTreeSet<String>,
}

impl Compose {
    /// A compose file. Its relative paths start from its folder.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            files: vec![path.into()],
            variables: Default::default(),
            process_environment: false,
            profiles: BTreeSet::new(),
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

    /// With the services of a profile, beside those that are in none.
    #[must_use]
    pub fn with_profile(mut self, profile: impl Into<String>) -> Self {
        self.profiles.insert(profile.into());
        self
    }

    /// Reads the files, and those that they name, at this moment.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], with the file and the line, when a file cannot be read, holds
    /// something that is unknown or that staging cannot do, or uses a variable that is not set;
    /// when no service has a profile that was asked for; when [`Stack::start_order`] finds none.
    pub fn read(&self) -> Result<Stack> {
        let folder = folder_of(&self.files[0])?;
        let mut variables = Variables {
            explicit: self.variables.clone(),
            process: self.process_environment,
            file: Default::default(),
        };
        let env_file = self.files[0].with_file_name(".env");
        if env_file.exists() {
            let source = source(&env_file, &folder);
            let text = text_of(&env_file)?;
            variables.file = env_file::parse(&text, &source, &|name| variables.get(name))?;
        }
        let mut merged: Option<Node> = None;
        for file in &self.files {
            let node = tree::parse(&text_of(file)?, &source(file, &folder))?;
            let node = extends::extend(node, &variables, &extended)?;
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
        document::stack(&root, &variables, &self.profiles)
    }
}

/// The file that an `extends` names.
fn extended(path: &PathBuf, field: &field::Field<'_>) -> Result<Node> {
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
