//! What a caller may choose about the pool.

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use upgrade_core::Secret;
use upgrade_core::postgres::server::{Containers, Directories, ProviderOptions};

use super::error::PoolError;

/// 4 GiB.
const DEFAULT_CACHE_LIMIT: u64 = 4 << 30;

/// When the database of a test stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Keep {
    /// Never.
    #[default]
    Never,
    /// When the test failed.
    OnFailure,
}

/// How test databases are to be had.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PoolOptions {
    /// Where servers come from.
    pub provider: ProviderOptions,
    /// The major version that is needed; `None` for the newest that is found.
    pub major: Option<u16>,
    /// The most that cached templates may take, in bytes.
    pub cache_limit: u64,
    /// When the database of a test stays. In a container it never does.
    pub keep: Keep,
    /// How long a kept database stays at least; swept afterwards.
    pub keep_for: Duration,
    /// How long to wait for another process that builds the same template.
    pub build_deadline: Duration,
    /// How long to wait for a slot on a shared server.
    pub slot_deadline: Duration,
    /// How many connections a test opens at once; decides how many tests a shared server takes.
    pub connections_per_test: u32,
    /// More settings for local servers; containers do not get them.
    pub settings: BTreeMap<String, String>,
    /// Whether each database is on its own local server, which may be killed; see
    /// [`TestDatabase::kill_server`](super::TestDatabase::kill_server).
    pub killable: bool,
}

impl PoolOptions {
    /// Options with that provider: no major version, 4 GiB of templates, nothing kept, ten minutes
    /// for a build, a minute for a slot, ten connections for each test.
    pub fn new(provider: ProviderOptions) -> Self {
        Self {
            provider,
            major: None,
            cache_limit: DEFAULT_CACHE_LIMIT,
            keep: Keep::Never,
            keep_for: Duration::from_secs(24 * 60 * 60),
            build_deadline: Duration::from_secs(600),
            slot_deadline: Duration::from_secs(60),
            connections_per_test: 10,
            settings: BTreeMap::new(),
            killable: false,
        }
    }

    /// Reads the environment: the variables of [`ProviderOptions::from_env`], and
    /// `UPGRADE_CACHE_LIMIT`, the most that cached templates may take (`4GiB`, `500M`, `0`).
    /// It does not read `upgrade.toml`.
    ///
    /// # Errors
    /// [`PoolError::InvalidLimit`], and [`PoolError::Server`] for a bad variable.
    pub fn from_env() -> Result<Self, PoolError> {
        let mut options = Self::new(ProviderOptions::from_env()?);
        if let Some(value) = env::var_os("UPGRADE_CACHE_LIMIT").filter(|value| !value.is_empty()) {
            options.cache_limit = parse_bytes(&value.to_string_lossy())?;
        }
        Ok(options)
    }

    /// Sets when a container is used, unless these options name a server: by a URL, by folders with
    /// binaries, or by another choice than the default [`Containers::Last`].
    #[must_use]
    pub(crate) fn with_default_containers(mut self, containers: Option<Containers>) -> Self {
        let provider = &mut self.provider;
        let names_server = provider.url.is_some()
            || !provider.named.is_empty()
            || provider.containers != Containers::Last;
        if let Some(containers) = containers
            && !names_server
        {
            provider.containers = containers;
        }
        self
    }

    /// Asks for a major version, such as `Some(15)`.
    #[must_use]
    pub fn with_major(mut self, major: Option<u16>) -> Self {
        self.major = major;
        self
    }

    /// Uses a server that is there already.
    #[must_use]
    pub fn with_url(mut self, url: Secret) -> Self {
        self.provider.url = Some(url);
        self
    }

    /// Keeps cache and servers in these directories.
    #[must_use]
    pub fn with_directories(mut self, directories: Directories) -> Self {
        self.provider.directories = directories;
        self
    }

    /// The most that cached templates may take, in bytes.
    #[must_use]
    pub fn with_cache_limit(mut self, bytes: u64) -> Self {
        self.cache_limit = bytes;
        self
    }

    /// Whether and for how long the database of a failed test stays.
    #[must_use]
    pub fn with_keep(mut self, keep: Keep, keep_for: Duration) -> Self {
        self.keep = keep;
        self.keep_for = keep_for;
        self
    }

    /// How long to wait for another process that builds the same template.
    #[must_use]
    pub fn with_build_deadline(mut self, deadline: Duration) -> Self {
        self.build_deadline = deadline;
        self
    }

    /// How long to wait for a slot on a shared server.
    #[must_use]
    pub fn with_slot_deadline(mut self, deadline: Duration) -> Self {
        self.slot_deadline = deadline;
        self
    }

    /// How many connections a test opens at once, at least one.
    #[must_use]
    pub fn with_connections_per_test(mut self, connections: u32) -> Self {
        self.connections_per_test = connections.max(1);
        self
    }

    /// Puts each database on its own local server, which may be killed. It has no effect where the
    /// pool does not start a local server: on a shared server, and in a container.
    #[must_use]
    pub fn with_killable(mut self, killable: bool) -> Self {
        self.killable = killable;
        self
    }

    /// Gives local servers one more setting, such as `wal_level`.
    #[must_use]
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }
}

/// Reads a number of bytes: `4294967296`, `4GiB`, `4G`, `500 MB`. Every suffix is binary.
pub(crate) fn parse_bytes(value: &str) -> Result<u64, PoolError> {
    let invalid = || PoolError::InvalidLimit {
        value: value.to_owned(),
    };
    let text = value.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(invalid()),
    };
    let number: u64 = number.parse().map_err(|_| invalid())?;
    number.checked_mul(1 << shift).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn whatever_names_a_server_has_priority_over_the_default_containers() {
        let check = |name_server: fn(&mut ProviderOptions), expected: Containers| {
            let mut provider = ProviderOptions::new(Directories::below(Path::new("/nowhere")));
            provider.containers = Containers::Last;
            name_server(&mut provider);
            let before = provider.containers;
            let options = PoolOptions::new(provider);
            let unchanged = options.clone().with_default_containers(None);
            assert_eq!(unchanged.provider.containers, before);
            let options = options.with_default_containers(Some(Containers::Only));
            assert_eq!(options.provider.containers, expected);
        };
        check(|_| {}, Containers::Only);
        check(
            |provider| provider.url = Some(Secret::new("postgres://u@h/d")),
            Containers::Last,
        );
        check(
            |provider| provider.named = vec!["/usr/lib/postgresql/17/bin".into()],
            Containers::Last,
        );
        check(
            |provider| provider.containers = Containers::Only,
            Containers::Only,
        );
        check(
            |provider| provider.containers = Containers::Off,
            Containers::Off,
        );
    }

    #[test]
    fn limits_are_bytes_with_a_suffix() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse_bytes(text).ok(), expected, "{text}");
        };
        check("0", Some(0));
        check("4294967296", Some(4 << 30));
        check("4GiB", Some(4 << 30));
        check(" 500 mb ", Some(500 << 20));
        check("3k", Some(3 << 10));
        check("", None);
        check("GiB", None);
        check("4X", None);
        check("-1", None);
        check("1.5G", None);
        check("99999999999T", None);
    }
}
