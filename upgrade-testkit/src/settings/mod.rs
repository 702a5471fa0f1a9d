//! What is set for many tests: by the environment, and by a team in [`upgrade.toml`](FILE).
//!
//! Every environment variable that the library reads is in one table ([`VARIABLES`]). Those of tests
//! are read here; those of servers and of the cache by
//! [`PoolOptions::from_env`](crate::pool::PoolOptions::from_env), `NO_COLOR` by the progress display.
//!
//! A variable that is set and empty counts as not set. What a test says about itself has priority over
//! a variable, a variable over the file, and the file over a default.
//!
//! `upgrade.toml` is read in the folder of the package, and in each folder above up to the root of the
//! workspace; the nearest one has priority. Every key is optional:
//!
//! ```toml
//! rows = 200              # rows in each table of the previous release
//! seed = 7                # of the generated rows
//! sequences = 50          # random sequences of a test that asks for them
//! rollback_within = "3m"  # from the detection of a failure to the proof of the old state
//! step_within = "30m"     # any other step
//! reversible = true       # every migration needs a down migration
//! faults_off = ["full_disk"]
//! postgres_provider = "docker"  # a server in a container, as with `UPGRADE_PG_PROVIDER`
//! ```
//!
//! `postgres_provider` applies to the databases of every rehearsal, unless the test sets
//! [`Rehearsal::pool`](crate::Rehearsal::pool), or one of the variables `UPGRADE_PG_URL`,
//! `UPGRADE_PG_BIN` and `UPGRADE_PG_PROVIDER` is set. The file cannot set the URL of a server, because
//! a URL can contain a password: set `UPGRADE_PG_URL`.

mod file;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use upgrade_core::fault::FaultKind;
use upgrade_core::postgres::server::Containers;
use upgrade_core::{Error, ErrorKind};

pub use file::FILE;

/// The name of every variable and what it means.
pub const VARIABLES: &[(&str, &str)] = &[
    (
        "UPGRADE_TEST_SEED",
        "the seed of tests that name none, from 0 to 18446744073709551615",
    ),
    (
        "UPGRADE_TEST_ROWS",
        "how many rows each table gets in tests that do not say so, at least 1",
    ),
    (
        "UPGRADE_SEQUENCES",
        "how many sequences are drawn in tests that do not say so, from 0",
    ),
    (
        "UPGRADE_FAULTS_OFF",
        "kinds of faults of services that are never injected: a list of `kill`, `stop`, `pause`, \
         `partition`, `slow_network`, `full_disk`",
    ),
    (
        "UPGRADE_TEST_KEEP",
        "`1` keeps the database of a test that failed",
    ),
    (
        "UPGRADE_PG_URL",
        "a server to use instead of starting one: `postgres://user@host:port/database`",
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
    ("UPGRADE_OFFLINE", "`1` fetches no server binaries"),
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
        "UPGRADE_ACCEPT",
        "`1` adds what fails to `upgrade-known.toml`, so that only what is new fails from then on",
    ),
    (
        "CI",
        "set by CI systems: committed schemas are then never written, and nothing is accepted",
    ),
    (
        "NO_COLOR",
        "no moving bar in the progress display; the output of tests has no colour anyway",
    ),
];

/// What the environment and `upgrade.toml` say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// `UPGRADE_TEST_SEED`.
    pub seed: Option<u64>,
    /// `UPGRADE_TEST_ROWS`.
    pub rows: Option<u32>,
    /// `UPGRADE_SEQUENCES`.
    pub sequences: Option<u32>,
    /// `UPGRADE_FAULTS_OFF`.
    pub faults_off: BTreeSet<FaultKind>,
    /// `rollback_within` of the file.
    pub rollback_within: Option<Duration>,
    /// `step_within` of the file.
    pub step_within: Option<Duration>,
    /// `reversible` of the file.
    pub reversible: Option<bool>,
    /// `postgres_provider` of the file: [`Containers::Only`] for `docker`. The variables
    /// `UPGRADE_PG_URL`, `UPGRADE_PG_BIN` and `UPGRADE_PG_PROVIDER` have priority over it.
    pub postgres_provider: Option<Containers>,
    /// `UPGRADE_TEST_KEEP`.
    pub keep: bool,
    /// `UPGRADE_REPORT_DIR`.
    pub report_dir: Option<PathBuf>,
    /// `UPGRADE_VERBOSE`.
    pub verbose: bool,
    /// `UPGRADE_UPDATE_SCHEMA`.
    pub update_schema: bool,
    /// `UPGRADE_ACCEPT`.
    pub accept: bool,
    /// `CI`, unless it is `0` or `false`.
    pub ci: bool,
}

/// A setting that cannot be used.
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
    /// A line of a file cannot be used.
    #[error("{}:{line}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A file cannot be read.
    #[error("`{}` cannot be read: {message}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
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
            sequences: read.parsed("UPGRADE_SEQUENCES", |text| text.parse().ok())?,
            faults_off: read
                .parsed("UPGRADE_FAULTS_OFF", fault_kinds)?
                .unwrap_or_default(),
            keep: read.parsed("UPGRADE_TEST_KEEP", flag)?.unwrap_or_default(),
            report_dir: read.folder("UPGRADE_REPORT_DIR")?,
            verbose: read.parsed("UPGRADE_VERBOSE", flag)?.unwrap_or_default(),
            accept: read.parsed("UPGRADE_ACCEPT", flag)?.unwrap_or_default(),
            update_schema: read
                .parsed("UPGRADE_UPDATE_SCHEMA", flag)?
                .unwrap_or_default(),
            ci: read
                .raw("CI")
                .is_some_and(|value| value.to_str().and_then(flag) != Some(false)),
            ..Self::default()
        })
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

    /// Absolute only: a test runs in the folder of its package, wherever `cargo` was started.
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
        let empty: Vec<_> = VARIABLES.iter().map(|(name, _)| (*name, "")).collect();
        assert_eq!(read(&empty).unwrap(), Settings::default());
    }

    #[test]
    fn every_variable_is_read() {
        let settings = read(&[
            ("UPGRADE_TEST_SEED", "18446744073709551615"),
            ("UPGRADE_TEST_ROWS", "1000"),
            ("UPGRADE_SEQUENCES", "200"),
            ("UPGRADE_FAULTS_OFF", "pause, kill"),
            ("UPGRADE_TEST_KEEP", "1"),
            ("UPGRADE_REPORT_DIR", "/r"),
            ("UPGRADE_VERBOSE", "1"),
            ("UPGRADE_UPDATE_SCHEMA", "1"),
            ("CI", "yes"),
        ])
        .unwrap();
        assert_eq!(settings.seed, Some(u64::MAX));
        assert_eq!((settings.rows, settings.sequences), (Some(1000), Some(200)));
        let off = BTreeSet::from([FaultKind::Kill, FaultKind::Pause]);
        assert_eq!(settings.faults_off, off);
        assert!(settings.keep && settings.verbose);
        assert!(settings.update_schema && settings.ci);
        assert!(!read(&[("CI", "false")]).unwrap().ci);
        assert_eq!(settings.report_dir, Some("/r".into()));
    }

    #[test]
    fn a_bad_value_names_the_variable() {
        for (name, value) in [
            ("UPGRADE_TEST_SEED", "-1"),
            ("UPGRADE_TEST_SEED", "seven"),
            ("UPGRADE_TEST_ROWS", "0"),
            ("UPGRADE_SEQUENCES", "many"),
            ("UPGRADE_FAULTS_OFF", "kill,earthquake"),
            ("UPGRADE_TEST_KEEP", "yes"),
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
    fn the_documentation_names_every_variable() {
        let documentation = include_str!("../upgrade_test.md");
        for (name, _) in VARIABLES {
            assert!(documentation.contains(&format!("`{name}`")), "{name}");
        }
    }
}
