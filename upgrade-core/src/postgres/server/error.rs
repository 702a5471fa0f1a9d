//! What can go wrong between "a server is needed" and "a server answers".

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// One place where a server was looked for, and why none came from it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The element of the chain: `UPGRADE_PG_URL`, `installed`, `cache`, ...
    pub provider: &'static str,
    /// What was seen there, naming the folder or program.
    pub reason: String,
}

impl Attempt {
    pub(super) fn new(provider: &'static str, reason: impl Into<String>) -> Self {
        Self {
            provider,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.provider, self.reason)
    }
}

/// An error of the local server or of the search for its binaries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The chain of providers ended without a server.
    #[error("no {wanted} was found; tried:{}\n({hint})", list(.attempts))]
    NotFound {
        /// What was looked for.
        wanted: String,
        /// Every place that was tried, in the order of the chain.
        attempts: Vec<Attempt>,
        /// What to do about it.
        hint: String,
    },
    /// An environment variable holds something that it cannot mean.
    #[error("environment variable `{variable}` is `{value}` ({hint})")]
    InvalidVariable {
        /// The variable's name.
        variable: &'static str,
        /// Its value; never that of a variable that holds a secret.
        value: String,
        /// What it may be.
        hint: &'static str,
    },
    /// A file or directory could not be used.
    #[error("failed to {action} `{}`", .path.display())]
    Io {
        /// What was tried, such as `create`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The process runs as root and there is nobody to run the server as.
    #[error(
        "nobody but root is in `/etc/passwd` (`initdb` does not run as root, and needs a user with a name; add `nobody`)"
    )]
    NoUnprivilegedUser,
    /// The process runs as root and there is no number to run the server as.
    #[error(
        "a server does not run as root, and {reason} (end other servers, or run as a user without rights)"
    )]
    NoAccount {
        /// Why there is none.
        reason: &'static str,
    },
    /// The user that runs the server cannot reach a directory.
    #[error(
        "user `{user}` cannot reach `{}`: `{}` is closed to it ({hint})",
        .path.display(),
        .closed.display()
    )]
    Unreachable {
        /// The user that runs the server.
        user: String,
        /// What it has to reach.
        path: PathBuf,
        /// The directory on the way that stops it.
        closed: PathBuf,
        /// What to do about it.
        hint: &'static str,
    },
    /// A directory in a shared place belongs to someone else or is open to others.
    #[error("directory `{}` {reason} (remove it, or name another directory)", .path.display())]
    Insecure {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The path of the Unix socket does not fit into a socket address.
    #[error(
        "socket path `{}` has {length} bytes and at most {limit} fit into a socket address (set `TMPDIR` to a shorter directory)",
        .path.display()
    )]
    SocketPathTooLong {
        /// The path of the socket.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
        /// The longest that fits, in bytes.
        limit: usize,
    },
    /// A program could not be started.
    #[error("failed to start `{}`", .program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// `initdb` ended with an error.
    #[error("`{}` ended with {status}; its output:\n{output}", .program.display())]
    Initdb {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },
    /// The server ended before it answered.
    #[error("the server in `{}` ended with {status} before it answered; the end of its log:\n{log}", .directory.display())]
    Exited {
        /// The server's directory.
        directory: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// The server did not answer in time.
    #[error("the server in `{}` did not answer within {within:?}; the end of its log:\n{log}", .directory.display())]
    NotReady {
        /// The server's directory.
        directory: PathBuf,
        /// How long was waited.
        within: Duration,
        /// The last lines of its log.
        log: String,
        /// The last error of a connection, if one was made.
        source: Option<sqlx::Error>,
    },
    /// Something else did not end in time.
    #[error("{what} did not end within {within:?}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long was waited.
        within: Duration,
    },
    /// The live server does not have a setting of its profile.
    #[error(
        "setting `{name}` is `{actual}` on the live server where profile `{profile}` promises `{expected}`"
    )]
    ProfileNotInForce {
        /// The profile.
        profile: &'static str,
        /// The setting.
        name: String,
        /// What the profile says.
        expected: String,
        /// What the server says.
        actual: String,
    },
    /// A setting belongs to the supervisor or the profile.
    #[error("setting `{name}` cannot be given ({reason})")]
    RefusedSetting {
        /// The setting.
        name: String,
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// Something else answers where our server should.
    #[error("the server at `{}` runs on data directory `{actual}`, which is not the one that was started", .socket.display())]
    Impostor {
        /// The directory of the socket.
        socket: PathBuf,
        /// The data directory that it reports.
        actual: String,
    },
    /// The call needs a running server.
    #[error("the server in `{}` is not running (call `restart` first)", .directory.display())]
    NotRunning {
        /// The server's directory.
        directory: PathBuf,
    },
    /// A query of the supervisor failed.
    #[error("failed to ask the server in `{}`", .directory.display())]
    Query {
        /// The server's directory.
        directory: PathBuf,
        /// Why it failed.
        source: sqlx::Error,
    },
}

impl ServerError {
    /// For `map_err`: an input or output error with what was tried on what.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

fn list(attempts: &[Attempt]) -> String {
    attempts
        .iter()
        .map(|attempt| format!("\n  - {attempt}"))
        .collect()
}

impl From<ServerError> for crate::Error {
    fn from(source: ServerError) -> Self {
        let message = "there is no Postgres server to work with";
        Self::new(crate::ErrorKind::Unavailable, message).with_source(source)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn everything_tried_is_listed_in_order() {
        let error = ServerError::NotFound {
            wanted: "Postgres server of major 17".to_owned(),
            attempts: vec![
                Attempt::new("installed", "none"),
                Attempt::new("docker", "off"),
            ],
            hint: "install one".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "no Postgres server of major 17 was found; tried:\n  - installed: none\n  - docker: off\n(install one)"
        );
    }

    #[test]
    fn the_cause_is_only_in_the_source() {
        let error = ServerError::io("create", Path::new("/x"))(io::Error::other("disk full"));
        assert_eq!(error.to_string(), "failed to create `/x`");
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("disk full")
        );
    }
}
