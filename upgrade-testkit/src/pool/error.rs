//! What can go wrong between "a test needs a database" and "here it is".

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use upgrade_core::postgres::server::ServerError;
use upgrade_core::{BoxError, Error, ErrorKind};

use super::shared::BudgetFacts;

/// `disk_full` of Postgres.
const DISK_FULL: &str = "53100";

/// `ENOSPC`, as the C library puts it.
const NO_SPACE: &str = "No space left on device";

/// An error of the pool of test databases.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// No server was found, or it did not start.
    #[error("no server for test databases")]
    Server {
        /// Why.
        source: ServerError,
    },
    /// A server that others use was to be killed.
    #[error("this server is shared and cannot be killed (use `PoolOptions::with_killable`)")]
    NotKillable,
    /// The server has another major version than the one that was asked for.
    #[error(
        "the server at `{place}` is Postgres {found}, and {wanted} was asked for (name another server, or ask for {found})"
    )]
    WrongMajor {
        /// Where the server is.
        place: String,
        /// The major version that was asked for.
        wanted: u16,
        /// The major version of the server.
        found: u16,
    },
    /// The server is older than what is supported.
    #[error(
        "the server at `{place}` is Postgres {found}, and {oldest} is the oldest that is supported (name a newer server)"
    )]
    TooOld {
        /// Where the server is.
        place: String,
        /// The major version of the server.
        found: u16,
        /// The oldest major version that is supported.
        oldest: u16,
    },
    /// The server is a standby.
    #[error("the server at `{place}` is in recovery and takes no databases (name its primary)")]
    InRecovery {
        /// Where the server is.
        place: String,
    },
    /// The role may not make databases.
    #[error(
        "role `{role}` may not create databases at `{place}` (run `ALTER ROLE {role} CREATEDB`, or name another role)"
    )]
    NoCreateDb {
        /// Where the server is.
        place: String,
        /// The role.
        role: String,
    },
    /// Every slot for a test database is taken, or there is none.
    #[error(
        "no room for another test database at `{place}` after {waited:?}: {facts} (raise `max_connections`, run fewer tests at once, or state fewer connections for each)"
    )]
    NoSlot {
        /// Where the server is.
        place: String,
        /// How long was waited.
        waited: Duration,
        /// The arithmetic.
        facts: BudgetFacts,
    },
    /// As many processes as the server has room for use it already.
    #[error(
        "{processes} processes use the server at `{place}`, which is all that it has connections for; waited {waited:?} (raise `max_connections`, run fewer test processes at once, or raise the slot deadline)"
    )]
    TooManyProcesses {
        /// Where the server is.
        place: String,
        /// How long was waited.
        waited: Duration,
        /// How many may use it at once.
        processes: u32,
    },
    /// A file system has no room left.
    #[error("disk full while {what} (free space at `{}`; the template cache below `{}` can be emptied with `Pool::clean` or held smaller with `UPGRADE_CACHE_LIMIT`)", .place.display(), .cache.display())]
    DiskFull {
        /// What was being done.
        what: &'static str,
        /// The place that is full, as far as it is known.
        place: PathBuf,
        /// The folder of the cached templates.
        cache: PathBuf,
        /// The error that said so.
        source: BoxError,
    },
    /// The closure that builds a template returned an error. Nothing is cached.
    #[error(
        "template `{hash}` could not be built (nothing of it is cached; the next test tries again)"
    )]
    BuildFailed {
        /// The first digits of the template's hash.
        hash: String,
        /// The error of the closure.
        source: BoxError,
    },
    /// Another process holds a lock for too long.
    #[error(
        "{what} is held by another process for {within:?} (if its build takes that long, give a longer deadline with `PoolOptions::with_build_deadline`)"
    )]
    LockTimeout {
        /// The lock.
        what: String,
        /// How long was waited.
        within: Duration,
    },
    /// A database of a name that we need exists and is not ours.
    #[error(
        "database `{name}` at `{place}` was not made by this library and is not touched (rename or drop it)"
    )]
    Unmarked {
        /// The database.
        name: String,
        /// Where the server is.
        place: String,
    },
    /// The folder of the cache holds other things.
    #[error("`{}` is no cache of this library: it holds `{found}` (let `UPGRADE_CACHE_DIR` name an empty folder or one that does not exist)", .path.display())]
    NotOurCache {
        /// The folder.
        path: PathBuf,
        /// Something in it that is not ours.
        found: String,
    },
    /// A limit is no number of bytes.
    #[error(
        "`{value}` is no limit for the cache (write bytes, as in `4294967296`, `4GiB` or `500M`, in `UPGRADE_CACHE_LIMIT`)"
    )]
    InvalidLimit {
        /// What was given.
        value: String,
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
    /// The local server ended while databases on it were in use.
    #[error("the server of the test databases ended; the end of its log:\n{log}")]
    ServerDied {
        /// The last lines of its log.
        log: String,
        /// The error through which it was noticed.
        source: BoxError,
    },
    /// The connection that holds the locks of this process was lost, and with it the leases.
    #[error(
        "the leases at `{place}` were lost, so other processes may drop the test databases of this one (did the server restart, or does a pooler in transaction mode stand before it?)"
    )]
    LeaseLost {
        /// Where the server is.
        place: String,
        /// How it was noticed.
        source: BoxError,
    },
    /// A statement failed.
    #[error("failed to {what}")]
    Database {
        /// What was tried, with the names.
        what: String,
        /// What the server said.
        source: BoxError,
    },
    /// A server in a container could not be started.
    #[error("no server could be started in a container")]
    Container {
        /// Why.
        source: BoxError,
    },
    /// The thread that works for the pool could not be started, or has ended.
    #[error("the worker thread of the pool {what}")]
    Worker {
        /// What happened to it.
        what: &'static str,
        /// Why.
        source: BoxError,
    },
}

impl PoolError {
    /// For `map_err`: an input or output error with what was tried on what.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// For `map_err`: a statement that failed.
    pub(super) fn database<E: Into<BoxError>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |source| Self::Database {
            what: what.into(),
            source: source.into(),
        }
    }

    /// Turns an error into [`Self::DiskFull`] if a full disk is at the bottom of it. `place` is
    /// where that is, unless the error knows better.
    pub(super) fn or_disk_full(self, what: &'static str, place: &Path, cache: &Path) -> Self {
        if matches!(self, Self::DiskFull { .. }) || !is_disk_full(&self) {
            return self;
        }
        let known = chain(&self).find_map(path_of);
        Self::DiskFull {
            what,
            place: known.unwrap_or(place).to_owned(),
            cache: cache.to_owned(),
            source: Box::new(self),
        }
    }

    /// Whether it may be the end of the server: the connection broke, or none was to be had.
    pub(super) fn is_disconnect(&self) -> bool {
        chain(self).any(|error| {
            error.is::<io::Error>()
                || error
                    .downcast_ref::<sqlx::Error>()
                    .is_some_and(|error| !matches!(error, sqlx::Error::Database(_)))
                // Ended by an administrator, by a crash, or not up.
                || ["57P01", "57P02", "57P03"].iter().any(|code| has_code(error, code))
        })
    }

    /// Whether the server refused to create because the name is taken.
    pub(super) fn is_duplicate(&self) -> bool {
        chain(self).any(|error| has_code(error, "42P04"))
    }
}

impl From<ServerError> for PoolError {
    fn from(source: ServerError) -> Self {
        Self::Server { source }
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        let kind = match &error {
            PoolError::Server { .. }
            | PoolError::NoSlot { .. }
            | PoolError::TooManyProcesses { .. }
            | PoolError::ServerDied { .. }
            | PoolError::LeaseLost { .. } => ErrorKind::Unavailable,
            PoolError::NotKillable
            | PoolError::WrongMajor { .. }
            | PoolError::TooOld { .. }
            | PoolError::InRecovery { .. }
            | PoolError::NoCreateDb { .. } => ErrorKind::Unsupported,
            PoolError::InvalidLimit { .. } => ErrorKind::InvalidInput,
            PoolError::NotOurCache { .. } | PoolError::Unmarked { .. } => ErrorKind::Refused,
            PoolError::LockTimeout { .. } => ErrorKind::Timeout,
            PoolError::DiskFull { .. } | PoolError::Io { .. } => ErrorKind::Io,
            PoolError::BuildFailed { .. } => ErrorKind::Environment,
            // That there is no connection, or that something was refused, is said below.
            PoolError::Database { source, .. } => source
                .downcast_ref::<Self>()
                .map_or(ErrorKind::Database, Self::kind),
            PoolError::Container { .. } => ErrorKind::Unavailable,
            PoolError::Worker { .. } => ErrorKind::Internal,
        };
        Self::new(kind, "no test database").with_source(error)
    }
}

fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

fn has_code(error: &(dyn StdError + 'static), code: &str) -> bool {
    if let Some(error) = error.downcast_ref::<Error>() {
        return error.sqlstate() == Some(code);
    }
    matches!(
        error.downcast_ref::<sqlx::Error>(),
        Some(sqlx::Error::Database(error)) if error.code().as_deref() == Some(code)
    )
}

/// The path that an error of the file system is about.
fn path_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Path> {
    if let Some(PoolError::Io { path, .. }) = error.downcast_ref() {
        return Some(path);
    }
    match error.downcast_ref()? {
        ServerError::Io { path, .. } => Some(path),
        ServerError::Exited { directory, .. } | ServerError::NotReady { directory, .. } => {
            Some(directory)
        }
        _ => None,
    }
}

fn is_disk_full(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|error| {
        // What the programs of Postgres print; they speak English, since they are told to.
        let printed = match error.downcast_ref::<ServerError>() {
            Some(ServerError::Initdb { output, .. }) => output.contains(NO_SPACE),
            Some(ServerError::Exited { log, .. } | ServerError::NotReady { log, .. }) => {
                log.contains(NO_SPACE)
            }
            _ => false,
        };
        printed
            || has_code(error, DISK_FULL)
            || error.downcast_ref::<io::Error>().is_some_and(|error| {
                matches!(
                    error.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                )
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_found_at_the_bottom_of_the_chain() {
        let full = || ServerError::Io {
            action: "copy to",
            path: PathBuf::from("/c/data"),
            source: io::ErrorKind::StorageFull.into(),
        };
        let check = |error: PoolError| {
            error.or_disk_full(
                "building a template",
                Path::new("/dev/shm"),
                Path::new("/c"),
            )
        };
        let error = check(full().into());
        assert!(matches!(error, PoolError::DiskFull { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("`/c/data`") && text.contains("UPGRADE_CACHE_LIMIT"),
            "{text}"
        );
        let error = check(PoolError::BuildFailed {
            hash: "ab".to_owned(),
            source: Box::new(Error::new(ErrorKind::Io, "seed").with_source(full())),
        });
        assert!(matches!(error, PoolError::DiskFull { .. }), "{error}");
        let other = check(PoolError::io("read", Path::new("/x"))(
            io::ErrorKind::NotFound.into(),
        ));
        assert!(matches!(other, PoolError::Io { .. }), "{other}");
    }

    #[test]
    fn no_layer_repeats_the_text_of_another() {
        let error: Error = PoolError::BuildFailed {
            hash: "ab12".to_owned(),
            source: "relation does not exist".into(),
        }
        .into();
        let texts: Vec<String> = chain(&error).map(ToString::to_string).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        for (i, text) in texts.iter().enumerate() {
            assert!(
                !texts[..i].iter().any(|outer| outer.contains(text)),
                "{texts:?}"
            );
        }
    }
}
