//! Every environment variable that the workspace reads, in one table ([`VARIABLES`]) and one
//! function ([`Settings::read`]).
//!
//! A variable that is set and empty counts as not set. What a test says about itself goes before
//! a variable; a variable goes before a default.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use upgrade_core::fault::FaultKind;
use upgrade_core::{Error, ErrorKind, Secret};

use crate::pool::parse_bytes;

/// The name of every variable and what it means.
pub const VARIABLES: [(&str, &str); 16] = [
    (
        "UPGRADE_TEST_SEED",
        "the seed of tests that name none, from 0 to 18446744073709551615",
    ),
    (
        "UPGRADE_TEST_ROWS",
        "how many rows each table gets in tests that do not say so, at least 1",
    ),
    (
        "UPGRADE_HISTORIES",
        "how many histories are drawn in tests that do not say so, from 0",
    ),
    (
        "UPGRADE_FAULTS_OFF",
        "kinds of faults of services that never strike: a list of `kill`, `stop`, `pause`, \
         `partition`, `slow_network`, `full_disk`",
    ),
    (
        "UPGRADE_TEST_KEEP",
        "`1` keeps the database of a test that failed",
    ),
    (
        "UPGRADE_PG_URL",
        "a server to use instead of one of our own: `postgres://user@host:port/database`",
    ),
    (
        "UPGRADE_PG_BIN",
        "folders with server binaries, as in `PATH`, absolute",
    ),
    (
        "UPGRADE_PG_PROVIDER",
        "`docker` takes a server in a container, whatever else there is",
    ),
    (
        "UPGRADE_CACHE_DIR",
        "the folder for fetched binaries and prepared data, absolute",
    ),
    (
        "UPGRADE_CACHE_LIMIT",
        "how large that folder may grow: bytes, or a number with a unit, as in `4GiB` or `500M`",
    ),
    (
        "UPGRADE_REQUIRE",
        "components whose absence is a failure: a list of `postgres`, `pg15` (any major), `docker`; \
         also `nextest` and `deny`, which only `scripts/setup` looks at",
    ),
    (
        "UPGRADE_REPORT_DIR",
        "the folder for reports, absolute, instead of `upgrade-reports` in the target folder",
    ),
    (
        "UPGRADE_VERBOSE",
        "`1` prints the plan of a test, and each step as it ends",
    ),
    (
        "UPGRADE_UPDATE_SCHEMA",
        "`1` writes committed schemas anew instead of comparing with them",
    ),
    (
        "CI",
        "set by CI systems: committed schemas are then never written",
    ),
    (
        "NO_COLOR",
        "no moving bar in the progress display; the output of tests has no colour anyway",
    ),
];

/// What the environment says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// `UPGRADE_TEST_SEED`.
    pub seed: Option<u64>,
    /// `UPGRADE_TEST_ROWS`.
    pub rows: Option<u32>,
    /// `UPGRADE_HISTORIES`.
    pub histories: Option<u32>,
    /// `UPGRADE_FAULTS_OFF`.
    pub faults_off: BTreeSet<FaultKind>,
    /// `UPGRADE_TEST_KEEP`.
    pub keep: bool,
    /// `UPGRADE_PG_URL`; it may hold a password.
    pub pg_url: Option<Secret>,
    /// `UPGRADE_PG_BIN`, in its order.
    pub pg_bin: Vec<PathBuf>,
    /// `UPGRADE_CACHE_DIR`.
    pub cache_dir: Option<PathBuf>,
    /// `UPGRADE_CACHE_LIMIT`, in bytes.
    pub cache_limit: Option<u64>,
    /// `UPGRADE_REQUIRE`.
    pub require: BTreeSet<Component>,
    /// `UPGRADE_REPORT_DIR`.
    pub report_dir: Option<PathBuf>,
    /// `UPGRADE_VERBOSE`.
    pub verbose: bool,
    /// `UPGRADE_UPDATE_SCHEMA`.
    pub update_schema: bool,
    /// `CI`, unless it is `0` or `false`.
    pub ci: bool,
    /// `NO_COLOR`.
    pub no_color: bool,
}

/// Something that tests need and that may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Component {
    /// Any Postgres server.
    Postgres,
    /// A Postgres server of one major version.
    PostgresMajor(u16),
    /// Containers.
    Docker,
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres => f.write_str("postgres"),
            Self::PostgresMajor(major) => write!(f, "pg{major}"),
            Self::Docker => f.write_str("docker"),
        }
    }
}

/// A variable that cannot be used. Its value is not told where it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The value does not mean anything.
    #[error("environment variable `{name}` is `{value}`, which cannot be used (it is {meaning})")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it means.
        meaning: &'static str,
    },
    /// The value does not mean anything and is a secret.
    #[error("environment variable `{name}` cannot be used (it is {meaning})")]
    InvalidSecret {
        /// The variable.
        name: &'static str,
        /// What it means.
        meaning: &'static str,
    },
}

impl From<SettingsError> for Error {
    fn from(source: SettingsError) -> Self {
        Self::new(ErrorKind::InvalidInput, "the settings cannot be read").with_source(source)
    }
}

impl Settings {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// The first variable that cannot be used.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::read(|name| std::env::var_os(name))
    }

    /// Reads variables from wherever `variable` finds them.
    ///
    /// # Errors
    /// The first variable that cannot be used.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        let read = Reader(variable);
        Ok(Self {
            seed: read.parsed("UPGRADE_TEST_SEED", |text| text.parse().ok())?,
            rows: read.parsed("UPGRADE_TEST_ROWS", |text| {
                text.parse().ok().filter(|rows| *rows > 0)
            })?,
            histories: read.parsed("UPGRADE_HISTORIES", |text| text.parse().ok())?,
            faults_off: read
                .parsed("UPGRADE_FAULTS_OFF", fault_kinds)?
                .unwrap_or_default(),
            keep: read.parsed("UPGRADE_TEST_KEEP", flag)?.unwrap_or_default(),
            pg_url: read.secret("UPGRADE_PG_URL", |text| {
                text.starts_with("postgres://") || text.starts_with("postgresql://")
            })?,
            pg_bin: read.folders("UPGRADE_PG_BIN")?,
            cache_dir: read.folder("UPGRADE_CACHE_DIR")?,
            cache_limit: read.parsed("UPGRADE_CACHE_LIMIT", |text| parse_bytes(text).ok())?,
            require: read
                .parsed("UPGRADE_REQUIRE", components)?
                .unwrap_or_default(),
            report_dir: read.folder("UPGRADE_REPORT_DIR")?,
            verbose: read.parsed("UPGRADE_VERBOSE", flag)?.unwrap_or_default(),
            update_schema: read
                .parsed("UPGRADE_UPDATE_SCHEMA", flag)?
                .unwrap_or_default(),
            ci: read
                .raw("CI")
                .is_some_and(|value| value.to_str().and_then(flag) != Some(false)),
            no_color: read.raw("NO_COLOR").is_some(),
        })
    }

    /// Whether the absence of a component is a failure.
    pub fn requires(&self, component: Component) -> bool {
        self.require.contains(&component)
    }
}

struct Reader<F>(F);

impl<F: Fn(&str) -> Option<OsString>> Reader<F> {
    fn raw(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn parsed<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(value) = self.raw(name) else {
            return Ok(None);
        };
        match value.to_str().and_then(|text| parse(text.trim())) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(invalid(name, &value)),
        }
    }

    fn secret(
        &self,
        name: &'static str,
        sound: impl Fn(&str) -> bool,
    ) -> Result<Option<Secret>, SettingsError> {
        let Some(value) = self.raw(name) else {
            return Ok(None);
        };
        match value.to_str().filter(|text| sound(text)) {
            Some(text) => Ok(Some(Secret::new(text))),
            None => Err(SettingsError::InvalidSecret {
                name,
                meaning: meaning(name),
            }),
        }
    }

    /// Absolute only: a test runs in the folder of its package, wherever `cargo` was started.
    fn folders(&self, name: &'static str) -> Result<Vec<PathBuf>, SettingsError> {
        let Some(value) = self.raw(name) else {
            return Ok(Vec::new());
        };
        let folders: Vec<PathBuf> = std::env::split_paths(&value)
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        if folders.is_empty() || folders.iter().any(|path| !path.is_absolute()) {
            return Err(invalid(name, &value));
        }
        Ok(folders)
    }

    fn folder(&self, name: &'static str) -> Result<Option<PathBuf>, SettingsError> {
        match self.raw(name) {
            None => Ok(None),
            Some(value) if PathBuf::from(&value).is_absolute() => Ok(Some(value.into())),
            Some(value) => Err(invalid(name, &value)),
        }
    }
}

fn invalid(name: &'static str, value: &OsString) -> SettingsError {
    SettingsError::Invalid {
        name,
        value: value.to_string_lossy().into_owned(),
        meaning: meaning(name),
    }
}

fn meaning(name: &str) -> &'static str {
    VARIABLES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, meaning)| *meaning)
        .expect("every variable that is read stands in the table")
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn fault_kinds(text: &str) -> Option<BTreeSet<FaultKind>> {
    text.split(',')
        .map(|name| name.trim().parse().ok())
        .collect()
}

fn components(text: &str) -> Option<BTreeSet<Component>> {
    text.split(',')
        .map(str::trim)
        // Tools that run the tests: no test can tell whether they are there.
        .filter(|name| !matches!(*name, "nextest" | "deny"))
        .map(|name| match name {
            "postgres" => Some(Component::Postgres),
            "docker" => Some(Component::Docker),
            name => {
                let major = name.strip_prefix("pg")?.parse().ok()?;
                (10..=99)
                    .contains(&major)
                    .then_some(Component::PostgresMajor(major))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(|name| {
            pairs
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn nothing_is_set_where_all_is_empty() {
        let empty = VARIABLES.map(|(name, _)| (name, ""));
        assert_eq!(read(&empty).unwrap(), Settings::default());
    }

    #[test]
    fn every_variable_is_read() {
        let settings = read(&[
            ("UPGRADE_TEST_SEED", "18446744073709551615"),
            ("UPGRADE_TEST_ROWS", "1000"),
            ("UPGRADE_HISTORIES", "200"),
            ("UPGRADE_FAULTS_OFF", "pause, kill"),
            ("UPGRADE_TEST_KEEP", "1"),
            ("UPGRADE_PG_URL", "postgres://me:hunter2@host/db"),
            ("UPGRADE_PG_BIN", "/opt/pg15/bin:/opt/pg17/bin"),
            ("UPGRADE_CACHE_DIR", "/var/cache/x"),
            ("UPGRADE_CACHE_LIMIT", "20G"),
            ("UPGRADE_REQUIRE", "docker, pg15,postgres,nextest,deny"),
            ("UPGRADE_REPORT_DIR", "/r"),
            ("UPGRADE_VERBOSE", "1"),
            ("UPGRADE_UPDATE_SCHEMA", "1"),
            ("CI", "yes"),
            ("NO_COLOR", "1"),
        ])
        .unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert_eq!(settings.seed, Some(u64::MAX));
        assert_eq!((settings.rows, settings.histories), (Some(1000), Some(200)));
        let off = BTreeSet::from([FaultKind::Kill, FaultKind::Pause]);
        assert_eq!(settings.faults_off, off);
        assert!(settings.keep && settings.verbose && settings.no_color);
        assert!(settings.update_schema && settings.ci);
        assert!(!read(&[("CI", "false")]).unwrap().ci);
        assert_eq!(
            settings.pg_url.unwrap().expose(),
            "postgres://me:hunter2@host/db"
        );
        assert_eq!(settings.pg_bin.len(), 2);
        assert_eq!(settings.cache_dir, Some("/var/cache/x".into()));
        assert_eq!(settings.cache_limit, Some(20 << 30));
        assert_eq!(settings.report_dir, Some("/r".into()));
        let required: Vec<String> = settings.require.iter().map(ToString::to_string).collect();
        assert_eq!(required, ["postgres", "pg15", "docker"]);
    }

    #[test]
    fn a_bad_value_names_the_variable() {
        for (name, value) in [
            ("UPGRADE_TEST_SEED", "-1"),
            ("UPGRADE_TEST_SEED", "seven"),
            ("UPGRADE_TEST_ROWS", "0"),
            ("UPGRADE_HISTORIES", "many"),
            ("UPGRADE_FAULTS_OFF", "kill,earthquake"),
            ("UPGRADE_TEST_KEEP", "yes"),
            ("UPGRADE_PG_BIN", "bin"),
            ("UPGRADE_PG_BIN", ":"),
            ("UPGRADE_CACHE_DIR", "./cache"),
            ("UPGRADE_CACHE_LIMIT", "20 apples"),
            ("UPGRADE_CACHE_LIMIT", "99999999999T"),
            ("UPGRADE_REQUIRE", "docker,"),
            ("UPGRADE_REQUIRE", "pg9"),
            ("UPGRADE_REPORT_DIR", "reports"),
            ("UPGRADE_VERBOSE", "very"),
            ("UPGRADE_UPDATE_SCHEMA", "yes"),
        ] {
            let message = read(&[(name, value)]).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("environment variable `{name}` is `{value}`")),
                "{message}"
            );
        }
    }

    #[test]
    fn a_bad_secret_is_not_told() {
        let error = read(&[("UPGRADE_PG_URL", "mysql://me:hunter2@host")]).unwrap_err();
        assert!(error.to_string().contains("`UPGRADE_PG_URL`"));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn the_documentation_names_every_variable() {
        let documentation = include_str!("upgrade_test.md");
        for (name, _) in VARIABLES {
            assert!(documentation.contains(&format!("`{name}`")), "{name}");
        }
    }
}
