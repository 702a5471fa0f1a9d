//! What can go wrong with a server in a container.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a server in a container could not be started, stopped or swept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// There is no Docker engine, or it does not answer.
    #[error("no Docker engine answers at `{engine}` (start it, or set DOCKER_HOST)")]
    NoEngine {
        /// Where it was looked for.
        engine: String,
        /// What the client said.
        #[source]
        source: BoxError,
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
    /// The container ended before its server answered.
    #[error(
        "container `{container}` exited with code {code} before its server answered; its last lines:\n{log}"
    )]
    Exited {
        /// The container's name.
        container: String,
        /// The exit code of its first process.
        code: i64,
        /// The last lines that it printed.
        log: String,
    },
    /// The container runs, but its server did not answer twice in time.
    #[error(
        "the server in container `{container}` was not ready after {} ms; its last lines:\n{log}",
        .waited.as_millis()
    )]
    NotReady {
        /// The container's name.
        container: String,
        /// How long was waited.
        waited: Duration,
        /// The last lines that it printed.
        log: String,
        /// What the last connection ended with, if one was tried.
        #[source]
        source: Option<sqlx::Error>,
    },
    /// The engine refused a call.
    #[error("the Docker engine could not {action} container `{container}`")]
    Engine {
        /// What was asked: `start`, `inspect`, `remove`.
        action: &'static str,
        /// The container's name.
        container: String,
        /// What the engine answered.
        #[source]
        source: BoxError,
    },
    /// The registry of containers could not be read or written.
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

/// Any error of the Docker client; its types are not part of this crate's interface.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// `Result` with this folder's error.
pub(super) type Result<T> = std::result::Result<T, ContainerError>;
