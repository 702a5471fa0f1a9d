//! The one chain that a server comes from, and the one error when it ends with nothing.
//!
//! What was named comes first, then the binaries of this machine, then those in the cache, then
//! pinned ones fetched into the cache. Nothing is skipped silently: each element either answers or
//! leaves an [`Attempt`].

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::binaries::{OLDEST_MAJOR, ServerBinaries};
use super::command;
use super::directories::Directories;
use super::error::{Attempt, ServerError};
use super::user::RunUser;
use crate::Secret;

/// Where distributions put server binaries, several majors side by side. At most one `*` each.
const INSTALLED: [&str; 8] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/usr/lib64/pgsql/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// `pg_config --bindir` prints one line.
const PG_CONFIG_DEADLINE: Duration = Duration::from_secs(10);

/// How deep below a fetched tree its `bin/postgres` may lie.
pub(super) const CACHE_DEPTH: u32 = 4;

/// Which server is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServerRequirement {
    /// The major version, such as 15; `None` for the newest that is found.
    pub major: Option<u16>,
}

impl ServerRequirement {
    /// The newest server that is found.
    pub fn any() -> Self {
        Self { major: None }
    }

    /// A server of that major version.
    pub fn major(major: u16) -> Self {
        Self { major: Some(major) }
    }

    fn admits(self, binaries: &ServerBinaries) -> bool {
        self.major
            .is_none_or(|major| major == binaries.version().major())
    }
}

impl fmt::Display for ServerRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.major {
            Some(major) => write!(f, "Postgres {major} server"),
            None => write!(f, "Postgres server of major {OLDEST_MAJOR} or newer"),
        }
    }
}

/// Whether the chain may fetch binaries, if the feature `fetch` is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fetch {
    /// It may, once for each machine and version.
    #[default]
    Allowed,
    /// It may not touch the network.
    Off,
}

/// Everything that the chain looks at.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProviderOptions {
    /// A server that is there already.
    pub url: Option<Secret>,
    /// Folders with server binaries that were named; each must be usable.
    pub named: Vec<PathBuf>,
    /// Folders to look in for `postgres` and `pg_config`.
    pub path: Vec<PathBuf>,
    /// More folders to look in for `postgres`; a `*` in a name stands for any text.
    pub installed: Vec<PathBuf>,
    /// The cache and the places for servers.
    pub directories: Directories,
    /// Whether binaries may be fetched.
    pub fetch: Fetch,
    /// When a container is taken.
    pub containers: Containers,
}

/// When the chain takes a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Containers {
    /// When there is nothing else, and an engine answers.
    #[default]
    Last,
    /// Whatever else there is.
    Only,
    /// Never.
    Off,
}

impl ProviderOptions {
    /// Options that look nowhere but in the cache, and fetch nothing: a start for those who say
    /// all of it themselves.
    pub fn new(directories: Directories) -> Self {
        Self {
            url: None,
            named: Vec::new(),
            path: Vec::new(),
            installed: Vec::new(),
            directories,
            fetch: Fetch::Off,
            containers: Containers::Off,
        }
    }

    /// Reads the environment; nothing else in the search does.
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `UPGRADE_PG_URL` | a server to use as it is |
    /// | `UPGRADE_PG_BIN` | absolute folders with server binaries, joined with `:` |
    /// | `UPGRADE_CACHE_DIR` | the cache, an absolute path |
    /// | `UPGRADE_OFFLINE` | `1`: fetch nothing |
    /// | `UPGRADE_PG_PROVIDER` | `docker`: a container, whatever else there is |
    /// | `PATH` | folders to look in |
    /// | `XDG_CACHE_HOME`, `HOME`, `TMPDIR` | where cache and servers go |
    ///
    /// # Errors
    /// [`ServerError::InvalidVariable`] and those of [`Directories::from_env`].
    pub fn from_env() -> Result<Self, ServerError> {
        Self::from_vars(&|name| env::var_os(name))
    }

    pub(super) fn from_vars(var: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, ServerError> {
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        let folders = |name: &str| -> Vec<PathBuf> {
            let value = set(name).unwrap_or_default();
            env::split_paths(&value)
                .filter(|folder| !folder.as_os_str().is_empty())
                .collect()
        };
        let url = set("UPGRADE_PG_URL")
            .map(|value| {
                let schemes = ["postgres://", "postgresql://"];
                let text = value.into_string().ok();
                text.filter(|text| schemes.iter().any(|scheme| text.starts_with(scheme)))
                    .map(Secret::new)
                    .ok_or_else(|| ServerError::InvalidVariable {
                        variable: "UPGRADE_PG_URL",
                        value: "***".to_owned(),
                        hint: "it has to be text that begins with `postgres://`",
                    })
            })
            .transpose()?;
        let fetch = match set("UPGRADE_OFFLINE")
            .as_deref()
            .and_then(std::ffi::OsStr::to_str)
        {
            None if set("UPGRADE_OFFLINE").is_none() => Fetch::Allowed,
            Some("0" | "false") => Fetch::Allowed,
            Some("1" | "true") => Fetch::Off,
            other => {
                return Err(ServerError::InvalidVariable {
                    variable: "UPGRADE_OFFLINE",
                    value: other.unwrap_or("not text").to_owned(),
                    hint: "it has to be `1` or `0`",
                });
            }
        };
        let containers = match set("UPGRADE_PG_PROVIDER") {
            None => Containers::Last,
            Some(value) if value == "docker" => Containers::Only,
            Some(value) => {
                return Err(ServerError::InvalidVariable {
                    variable: "UPGRADE_PG_PROVIDER",
                    value: value.to_string_lossy().into_owned(),
                    hint: "it has to be `docker`, or not set",
                });
            }
        };
        let named = folders("UPGRADE_PG_BIN");
        // A test runs in the folder of its package, wherever `cargo` was started.
        let relative = named.iter().any(|folder| !folder.is_absolute());
        if let Some(value) = set("UPGRADE_PG_BIN").filter(|_| relative || named.is_empty()) {
            return Err(ServerError::InvalidVariable {
                variable: "UPGRADE_PG_BIN",
                value: value.to_string_lossy().into_owned(),
                hint: "it has to be absolute paths of folders, joined with `:`",
            });
        }
        Ok(Self {
            url,
            named,
            path: folders("PATH"),
            installed: INSTALLED.iter().map(PathBuf::from).collect(),
            directories: Directories::from_vars(var)?,
            fetch,
            containers,
        })
    }
}

/// What the chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// Binaries from which this process can start a server.
    Binaries(ServerBinaries),
    /// A server that is there already. Its version is not known before somebody connects.
    Url(Secret),
    /// A container engine that answers. Whether it has an image for this major version (any, if
    /// none) shows when the container is started.
    Container {
        /// The major version that was asked for.
        major: Option<u16>,
    },
}

/// Walks the chain and answers with the first that meets the requirement.
///
/// Blocks: it starts programs, and with feature `fetch` it may download once, for minutes at
/// worst. In a runtime call it where blocking is allowed.
///
/// # Errors
/// [`ServerError::NotFound`] with everything that was tried. A folder that was named in
/// `UPGRADE_PG_BIN` and cannot be used ends the chain at once, so that no other server is taken in
/// its place.
pub fn discover(
    requirement: &ServerRequirement,
    options: &ProviderOptions,
) -> Result<Found, ServerError> {
    let mut chain = Chain::new(requirement, RunUser::of_this_process()?);
    if options.containers == Containers::Only {
        return chain.container(options);
    }
    if let Some(url) = &options.url {
        return Ok(Found::Url(url.clone()));
    }
    chain
        .attempts
        .push(Attempt::new("UPGRADE_PG_URL", "not set"));

    let named = chain.named(options)?;
    let found = chain
        .pick(named)
        .or_else(|| {
            let installed = chain.installed(options);
            chain.pick(installed)
        })
        .or_else(|| {
            let cached = chain.cached(options);
            chain.pick(cached)
        })
        .or_else(|| chain.fetched(options));
    match found {
        Some(binaries) => Ok(Found::Binaries(binaries)),
        None => chain.container(options),
    }
}

/// The best binaries of each major version that are on this machine now, oldest major first.
/// Nothing is fetched.
///
/// # Errors
/// [`ServerError::NoUnprivilegedUser`], and [`ServerError::NotFound`] when a folder that was named
/// cannot be used.
pub fn available_majors(
    options: &ProviderOptions,
) -> Result<Vec<(u16, ServerBinaries)>, ServerError> {
    let mut chain = Chain::new(&ServerRequirement::any(), RunUser::of_this_process()?);
    let mut best = BTreeMap::new();
    for step in [
        chain.named(options)?,
        chain.installed(options),
        chain.cached(options),
    ] {
        // An earlier element of the chain wins over a newer minor version further on.
        let mut of_step: BTreeMap<u16, ServerBinaries> = BTreeMap::new();
        for binaries in step {
            let major = binaries.version().major();
            match of_step.get(&major) {
                Some(other) if other.version().minor() >= binaries.version().minor() => {}
                _ => {
                    of_step.insert(major, binaries);
                }
            }
        }
        for (major, binaries) in of_step {
            best.entry(major).or_insert(binaries);
        }
    }
    Ok(best.into_iter().collect())
}

/// Why there is no container engine; `None` when one answers. Asked without an engine's client,
/// because the chain has no runtime: whoever listens at the socket is taken for one.
fn no_engine() -> Option<String> {
    if !cfg!(feature = "docker") {
        return Some("cargo feature `docker` is off".to_owned());
    }
    let host = env::var("DOCKER_HOST").unwrap_or_default();
    let socket = match host.strip_prefix("unix://") {
        Some(path) => path,
        None if host.is_empty() => "/var/run/docker.sock",
        // A remote engine: that it does not answer shows when the container is started.
        None => return None,
    };
    std::os::unix::net::UnixStream::connect(socket)
        .err()
        .map(|error| format!("no engine answers at `{socket}`: {error}"))
}

/// One walk along the chain.
struct Chain {
    requirement: ServerRequirement,
    user: RunUser,
    attempts: Vec<Attempt>,
}

impl Chain {
    fn new(requirement: &ServerRequirement, user: RunUser) -> Self {
        Self {
            requirement: *requirement,
            user,
            attempts: Vec::new(),
        }
    }

    /// The last element.
    fn container(mut self, options: &ProviderOptions) -> Result<Found, ServerError> {
        let reason = match options.containers {
            Containers::Off => Some("not asked for".to_owned()),
            Containers::Last | Containers::Only => no_engine(),
        };
        let Some(reason) = reason else {
            let major = self.requirement.major;
            return Ok(Found::Container { major });
        };
        self.attempts.push(Attempt::new("docker", reason));
        Err(self.not_found(options.containers))
    }

    /// The newest of what one element of the chain offers; the first of equals.
    fn pick(&mut self, offered: Vec<ServerBinaries>) -> Option<ServerBinaries> {
        let newest = |a: &ServerBinaries| (a.version().major(), a.version().minor());
        // `max_by_key` answers with the last of equals.
        offered
            .into_iter()
            .rev()
            .filter(|binaries| self.requirement.admits(binaries))
            .max_by_key(newest)
    }

    fn named(&mut self, options: &ProviderOptions) -> Result<Vec<ServerBinaries>, ServerError> {
        const NAME: &str = "UPGRADE_PG_BIN";
        if options.named.is_empty() {
            self.attempts.push(Attempt::new(NAME, "not set"));
        }
        let mut found = Vec::new();
        for folder in &options.named {
            let reason = match ServerBinaries::probe(folder, &self.user) {
                Ok(Some(binaries)) => {
                    self.note_other_major(NAME, &binaries);
                    found.push(binaries);
                    continue;
                }
                Ok(None) => format!("no `postgres` can be seen in `{}`", folder.display()),
                Err(reason) => reason,
            };
            self.attempts.push(Attempt::new(NAME, reason));
            let attempts = std::mem::take(&mut self.attempts);
            return Err(ServerError::NotFound {
                wanted: format!("usable server in a folder of `{NAME}`"),
                attempts,
                hint: format!("name folders that hold `postgres` and `initdb`, or unset `{NAME}`"),
            });
        }
        Ok(found)
    }

    fn installed(&mut self, options: &ProviderOptions) -> Vec<ServerBinaries> {
        const NAME: &str = "installed";
        let mut folders = options.path.clone();
        folders.extend(options.installed.iter().flat_map(|pattern| expand(pattern)));
        folders.extend(self.told_by_pg_config(&options.path));
        let looked = folders.len();
        let found = self.probe_all(NAME, folders);
        if found.is_empty() {
            self.attempts.push(Attempt::new(
                NAME,
                format!("no usable `postgres` in {looked} folders (`PATH`, the distributions' folders, `pg_config`)"),
            ));
        }
        found
    }

    fn cached(&mut self, options: &ProviderOptions) -> Vec<ServerBinaries> {
        const NAME: &str = "cache";
        let folder = servers_folder(&options.directories);
        let found = self.probe_all(NAME, bin_folders(&folder, CACHE_DEPTH));
        if found.is_empty() {
            self.attempts.push(Attempt::new(
                NAME,
                format!("no usable server in `{}`", folder.display()),
            ));
        }
        found
    }

    #[cfg(feature = "fetch")]
    fn fetched(&mut self, options: &ProviderOptions) -> Option<ServerBinaries> {
        if options.fetch == Fetch::Off {
            self.attempts
                .push(Attempt::new("fetch", "turned off (`UPGRADE_OFFLINE`)"));
            return None;
        }
        match super::fetch::fetch(
            self.requirement.major,
            &servers_folder(&options.directories),
            &self.user,
        ) {
            Ok(tree) => {
                let found = self.probe_all("fetch", bin_folders(&tree, CACHE_DEPTH));
                self.pick(found)
            }
            Err(reason) => {
                self.attempts.push(Attempt::new("fetch", reason));
                None
            }
        }
    }

    #[cfg(not(feature = "fetch"))]
    fn fetched(&mut self, _options: &ProviderOptions) -> Option<ServerBinaries> {
        self.attempts
            .push(Attempt::new("fetch", "cargo feature `fetch` is off"));
        None
    }

    /// Probes folders in order, each real folder once.
    fn probe_all(&mut self, name: &'static str, folders: Vec<PathBuf>) -> Vec<ServerBinaries> {
        let mut found: Vec<ServerBinaries> = Vec::new();
        let mut seen = Vec::new();
        for folder in folders {
            let Ok(program) = folder.join("postgres").canonicalize() else {
                continue;
            };
            if seen.contains(&program) {
                continue;
            }
            seen.push(program);
            match ServerBinaries::probe(&folder, &self.user) {
                Ok(Some(binaries)) => {
                    self.note_other_major(name, &binaries);
                    found.push(binaries);
                }
                Ok(None) => {}
                Err(reason) => self.attempts.push(Attempt::new(name, reason)),
            }
        }
        found
    }

    fn note_other_major(&mut self, name: &'static str, binaries: &ServerBinaries) {
        if !self.requirement.admits(binaries) {
            let (folder, version) = (binaries.bin_dir().display(), binaries.version());
            self.attempts
                .push(Attempt::new(name, format!("`{folder}` is {version}")));
        }
    }

    fn told_by_pg_config(&self, path: &[PathBuf]) -> Option<PathBuf> {
        let program = path
            .iter()
            .map(|folder| folder.join("pg_config"))
            .find(|program| program.is_file())?;
        let mut pg_config = Command::new(program);
        pg_config.arg("--bindir");
        let finished = command::run(pg_config, PG_CONFIG_DEADLINE).ok()?;
        finished
            .status
            .success()
            .then(|| PathBuf::from(finished.output.trim()))
    }

    fn not_found(self, containers: Containers) -> ServerError {
        let major = self
            .requirement
            .major
            .map_or_else(String::new, |major| format!(" {major}"));
        let hint = match containers {
            Containers::Only => {
                "only a container is allowed: turn on cargo feature `docker` and start a container engine, \
                 or remove what requires the container, which is the variable `UPGRADE_PG_PROVIDER`, or \
                 `postgres_provider` in `upgrade.toml`"
                    .to_owned()
            }
            Containers::Last | Containers::Off => format!(
                "install the PostgreSQL{major} server of your distribution, or set `UPGRADE_PG_BIN` to a folder \
                 with `postgres` and `initdb`, or turn on cargo feature `fetch`, or set `UPGRADE_PG_URL` to a \
                 server that may be used"
            ),
        };
        ServerError::NotFound {
            wanted: self.requirement.to_string(),
            attempts: self.attempts,
            hint,
        }
    }
}

/// Where fetched binaries lie in the cache.
fn servers_folder(directories: &Directories) -> PathBuf {
    directories.cache.join("servers")
}

/// Replaces the one `*` of a pattern by what is there, in the order of names.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut done = PathBuf::new();
    let mut components = pattern.components();
    while let Some(component) = components.next() {
        let text = component.as_os_str().to_string_lossy();
        let Some((before, after)) = text.split_once('*') else {
            done.push(component);
            continue;
        };
        let mut names: Vec<PathBuf> = fs::read_dir(&done)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.len() >= before.len() + after.len()
                    && name.starts_with(before)
                    && name.ends_with(after)
            })
            .map(|entry| entry.path().join(components.as_path()))
            .collect();
        names.sort();
        return names;
    }
    vec![done]
}

/// Folders named `bin` that hold `postgres`, in the order of names. Hidden folders are unfinished.
pub(super) fn bin_folders(folder: &Path, depth: u32) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || !path.is_dir() {
            continue;
        }
        if name == "bin" && path.join("postgres").is_file() {
            found.push(path);
        } else if depth > 1 {
            found.extend(bin_folders(&path, depth - 1));
        }
    }
    found
}

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;
