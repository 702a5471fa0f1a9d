//! What can go wrong with things in containers.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{BoxError, Error, ErrorKind};

/// Why something in a container could not be started, changed, stopped or swept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DockerError {
    /// There is no Docker engine, or it does not answer.
    #[error("no Docker engine answers at `{engine}` (start it, or set DOCKER_HOST)")]
    NoEngine {
        /// Where it was looked for.
        engine: String,
        /// What the client said.
        #[source]
        source: BoxError,
    },
    /// The engine is too old.
    #[error(
        "the Docker engine at `{engine}` speaks version {version} of its interface, and at least {needed} is needed (upgrade it to 20.10 or later)"
    )]
    TooOld {
        /// Where it is.
        engine: String,
        /// The version of its interface.
        version: String,
        /// What is needed.
        needed: &'static str,
    },
    /// The engine has no such image and could not pull it.
    #[error("no image `{image}` in the Docker engine, and pulling it failed ({hint})")]
    ImageMissing {
        /// The image that was asked for.
        image: String,
        /// How to get it.
        hint: String,
        /// Why it could not be pulled.
        #[source]
        source: BoxError,
    },
    /// An image could not be built.
    #[error("the image of `{}` could not be built; the last lines of the build:\n{log}", .context.display())]
    Build {
        /// The folder that it is built from.
        context: PathBuf,
        /// The last lines of the build.
        log: String,
        /// Why it ended.
        #[source]
        source: BoxError,
    },
    /// The container ended before it was ready.
    #[error(
        "container `{container}` exited with code {code} before it was ready; its last lines:\n{log}"
    )]
    Exited {
        /// The container's name.
        container: String,
        /// The exit code of its first process.
        code: i64,
        /// The last lines that it printed.
        log: String,
    },
    /// The container runs, but was not ready in time.
    #[error(
        "container `{container}` was not ready after {} ms: {missing}; its last lines:\n{log}",
        .waited.as_millis()
    )]
    NotReady {
        /// The container's name.
        container: String,
        /// How long was waited.
        waited: Duration,
        /// What was waited for.
        missing: String,
        /// The last lines that it printed.
        log: String,
        /// What the last attempt ended with, if one was made.
        #[source]
        source: Option<BoxError>,
    },
    /// The engine refused a call.
    #[error("the Docker engine could not {action} {what}")]
    Engine {
        /// What was asked: `start`, `inspect`, `remove`.
        action: &'static str,
        /// Of what, by its name.
        what: String,
        /// What the engine answered.
        #[source]
        source: BoxError,
    },
    /// The engine ended, or the way to it did, while it was asked for something.
    #[error(
        "the Docker engine no longer answers: it could not be asked to {action} {what} (is it still running? what it had made is swept by the next run, or by `docker::sweep`)"
    )]
    Gone {
        /// What was asked: `start`, `inspect`, `remove`.
        action: &'static str,
        /// Of what, by its name.
        what: String,
        /// What the client said.
        #[source]
        source: BoxError,
    },
    /// The registry could not be read or written.
    #[error("could not {action} `{}` (the registry of containers must be a folder of this user's own)", .path.display())]
    Registry {
        /// What was tried: `create`, `read`, `lock`, ...
        action: &'static str,
        /// The folder or file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// An option has a value that cannot be used.
    #[error("option `{option}` cannot be `{value}` ({hint})")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        hint: &'static str,
    },
}

impl DockerError {
    /// The kind that the error of this crate has.
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoEngine { .. }
            | Self::Gone { .. }
            | Self::TooOld { .. }
            | Self::ImageMissing { .. } => ErrorKind::Unavailable,
            Self::InvalidOption { .. } => ErrorKind::InvalidInput,
            Self::NotReady { .. } => ErrorKind::Timeout,
            Self::Registry { .. } => ErrorKind::Io,
            Self::Build { .. } | Self::Exited { .. } | Self::Engine { .. } => {
                ErrorKind::Environment
            }
        }
    }
}

impl From<DockerError> for Error {
    fn from(error: DockerError) -> Self {
        let late = matches!(error, DockerError::NotReady { .. });
        let error = Self::new(error.kind(), "a container operation failed").with_source(error);
        match late {
            true => error.with_hint("read its last lines; the services of a release share one limit, `with_ready_within`, and may need a longer one"),
            false => error,
        }
    }
}

/// `Result` with this folder's error.
pub(crate) type Result<T> = std::result::Result<T, DockerError>;
