//! Small names that every part shares: releases, runs, phases, migrations, steps.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The name of a release: a tag, a migration version, a crate version. Compared by text only;
/// which of two is newer is known to whoever made them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(String);

impl Version {
    /// Names a release.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<T: Into<String>> From<T> for Version {
    fn from(name: T) -> Self {
        Self(name.into())
    }
}

/// Names one run; unique over all processes of a machine. It stands in the `application_name` of
/// every connection, in the comment of every database and in every report of the run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// A new id: time, process and a counter, in base 36.
    pub fn generate() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let micros = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros());
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        Self(format!(
            "{}{}{}",
            base36(micros),
            base36(u128::from(std::process::id())),
            base36(u128::from(count))
        ))
    }

    /// The id as text: lower-case letters and digits only.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the names of the sessions that the run's migrations open begin with.
    #[cfg(feature = "postgres")]
    pub(crate) fn session_prefix(&self) -> String {
        format!("upgrade {self} ")
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn base36(mut value: u128) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut digits = Vec::new();
    loop {
        digits.push(char::from(DIGITS[(value % 36) as usize]));
        value /= 36;
        if value == 0 {
            break;
        }
    }
    digits.iter().rev().collect()
}

/// Where in an upgrade we are.
///
/// [`Phase::Finalize`] is the commit point: a rollback within the budget is promised before it,
/// and contracting migrations belong into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// The environment is made and started at the previous release.
    Provision,
    /// Production-like data is put in.
    Sync,
    /// What must survive is measured.
    Baseline,
    /// The check whether a rollback is possible, before any change.
    Preflight,
    /// Migrations are applied.
    Expand,
    /// Services are replaced.
    Switch,
    /// Both versions, or the new one, run under observation.
    Soak,
    /// The system is rolled back.
    Rollback,
    /// The upgrade is made final.
    Finalize,
    /// What was promised is checked once more.
    Verify,
    /// Everything that the run made is removed.
    Teardown,
}

impl Phase {
    /// The phase's name as it stands in plans, events and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Sync => "sync",
            Self::Baseline => "baseline",
            Self::Preflight => "preflight",
            Self::Expand => "expand",
            Self::Switch => "switch",
            Self::Soak => "soak",
            Self::Rollback => "rollback",
            Self::Finalize => "finalize",
            Self::Verify => "verify",
            Self::Teardown => "teardown",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Names a migration: the version by which its tool orders it, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MigrationId {
    version: String,
    name: String,
}

impl MigrationId {
    /// An id from a version and a name; the name may be empty.
    pub fn new(version: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            version: version.into(),
            name: name.into(),
        }
    }

    /// The version, as its tool writes it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for MigrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            f.pad(&self.version)
        } else {
            f.pad(&format!("{}_{}", self.version, self.name))
        }
    }
}

/// The number of a step in its plan, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub u32);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_differ_and_are_plain() {
        let (a, b) = (RunId::generate(), RunId::generate());
        assert_ne!(a, b);
        assert!(
            a.as_str()
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        );
        assert!(a.as_str().len() <= 24, "{a} must fit into a database name");
    }
}
