//! What a server in a container is started with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Secret;
use crate::docker::DockerError;
use crate::docker::error::Result;

/// The major version that is started unless another is asked for.
const DEFAULT_MAJOR: u16 = 17;

/// What a [`ContainerServer`](super::ContainerServer) is started with.
///
/// ```
/// use std::time::Duration;
/// use upgrade_core::postgres::container::ContainerOptions;
///
/// let options = ContainerOptions::new("run1")
///     .with_major(15)
///     .with_setting("wal_level", "logical")
///     .with_ready_within(Duration::from_secs(10));
/// assert_eq!(options.major(), 15);
/// ```
#[derive(Debug, Clone)]
pub struct ContainerOptions {
    run: String,
    major: u16,
    image: Option<String>,
    settings: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    data_bytes: Option<u64>,
    data_volume: Option<String>,
    password: Option<Secret>,
    ready_within: Duration,
    registry_dir: Option<PathBuf>,
}

impl ContainerOptions {
    /// The options of a throw-away server of Postgres 17 for the run with this id: no durability,
    /// data in memory, ready within 30 s.
    pub fn new(run: impl Into<String>) -> Self {
        let settings = [
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("synchronous_commit", "off"),
        ];
        Self {
            run: run.into(),
            major: DEFAULT_MAJOR,
            image: None,
            settings: settings
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            environment: BTreeMap::new(),
            data_bytes: None,
            data_volume: None,
            password: None,
            ready_within: Duration::from_secs(30),
            registry_dir: None,
        }
    }

    /// Takes another major version of Postgres; it selects the image unless one is given.
    #[must_use]
    pub fn with_major(mut self, major: u16) -> Self {
        self.major = major;
        self
    }

    /// Takes this image, `name:tag`. Without it: the local `upgrade-postgres:MAJOR` if the engine
    /// has it, else the official `postgres:MAJOR`, pulled if need be.
    #[must_use]
    pub fn with_image(mut self, image: impl Into<String>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// Sets a server parameter on the command line of the server.
    #[must_use]
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// Sets a variable of the image's entry point, such as `PG_MAJOR` for an image that has several
    /// majors.
    #[must_use]
    pub fn with_environment(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Bounds the data directory, which lives in memory, in bytes. Without it the engine's own
    /// bound holds: half of the memory of its machine.
    #[must_use]
    pub fn with_data_bytes(mut self, bytes: u64) -> Self {
        self.data_bytes = Some(bytes);
        self
    }

    /// Keeps the data directory in a volume of yours instead of in memory. A cluster that is in it
    /// is used, with the [password](Self::with_password) that it was made with; an empty one gets a
    /// cluster. [`stop`](super::ContainerServer::stop) then stops the server in order, and the
    /// volume stays.
    #[must_use]
    pub fn with_data_volume(mut self, name: impl Into<String>) -> Self {
        self.data_volume = Some(name.into());
        self
    }

    /// Takes this password for the superuser; a random one where none is given.
    #[must_use]
    pub fn with_password(mut self, password: impl Into<Secret>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Bounds the time from the request to the engine until the server is ready; pulling an image
    /// does not count.
    #[must_use]
    pub fn with_ready_within(mut self, limit: Duration) -> Self {
        self.ready_within = limit;
        self
    }

    /// Registers the container in this folder instead of
    /// [`default_registry_dir`](crate::docker::default_registry_dir).
    #[must_use]
    pub fn with_registry_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.registry_dir = Some(dir.into());
        self
    }

    /// The id of the run that the container is labelled with.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The major version of Postgres.
    pub fn major(&self) -> u16 {
        self.major
    }

    /// The image that was asked for, if one was.
    pub fn image(&self) -> Option<&str> {
        self.image.as_deref()
    }

    pub(super) fn data_bytes(&self) -> Option<u64> {
        self.data_bytes
    }

    pub(super) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    pub(super) fn data_volume(&self) -> Option<&str> {
        self.data_volume.as_deref()
    }

    pub(super) fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    pub(super) fn ready_within(&self) -> Duration {
        self.ready_within
    }

    pub(super) fn registry_dir(&self) -> Option<&Path> {
        self.registry_dir.as_deref()
    }

    /// The arguments of the container.
    pub(super) fn arguments(&self) -> Vec<String> {
        let settings = self
            .settings
            .iter()
            .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
        std::iter::once("postgres".to_owned())
            .chain(settings)
            .collect()
    }

    /// Refuses values that the engine would misread or refuse with a worse message.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(image) = self.image.as_deref()
            && (image.is_empty() || image.contains(char::is_whitespace))
        {
            return Err(DockerError::InvalidOption {
                option: "image",
                value: image.to_owned(),
                hint: "write it as `name:tag`",
            });
        }
        if self.data_volume.is_some() && self.data_bytes.is_some() {
            return Err(DockerError::InvalidOption {
                option: "data_bytes",
                value: self.data_bytes.unwrap_or_default().to_string(),
                hint: "a volume has the bound that it was made with",
            });
        }
        let is_name = |name: &str| {
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
        };
        match self.settings.keys().find(|name| !is_name(name)) {
            None => Ok(()),
            Some(name) => Err(DockerError::InvalidOption {
                option: "setting",
                value: name.clone(),
                hint: "the name of a server parameter has letters, digits, `_` and `.` only",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_ordered_and_the_last_value_holds() {
        let options = ContainerOptions::new("r")
            .with_setting("wal_level", "logical")
            .with_setting("fsync", "on");
        assert_eq!(
            options.arguments().join(" "),
            "postgres -c fsync=on -c full_page_writes=off -c synchronous_commit=off -c wal_level=logical"
        );
    }

    #[test]
    fn a_value_that_cannot_be_used_is_refused() {
        for options in [
            ContainerOptions::new("r").with_image(""),
            ContainerOptions::new("r").with_image("a b"),
            ContainerOptions::new("r").with_setting("", "x"),
            ContainerOptions::new("r").with_setting("fsync off; ", "x"),
        ] {
            assert!(
                matches!(options.check(), Err(DockerError::InvalidOption { .. })),
                "{options:?}"
            );
        }
        assert!(
            ContainerOptions::new("r")
                .with_setting("auto_explain.log_min_duration", "0")
                .check()
                .is_ok()
        );
    }
}
