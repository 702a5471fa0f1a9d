//! In which order an upgrade happens, and what goes wrong on the way.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// The user says what must survive; the scenario says when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scenario {
    /// Nothing changes. It tells a broken test from a broken upgrade.
    Control,
    /// Every migration is applied, in order, and the upgrade is made final.
    Straight,
    /// Up, down, up: each migration for itself, then the whole set.
    RoundTrip,
    /// Up to every boundary between two migrations, and back from there.
    RollbackAt,
    /// Every migration is applied twice and reverted twice; the second time changes nothing.
    Repeat,
    /// Each migration comes last, as from a branch that is merged late, and the end is the same.
    LateBranch,
    /// An empty system that is brought to the new release is equal to one that was upgraded.
    FreshInstall,
    /// From earlier releases to the new one, directly and release by release, the end is the same.
    EveryRelease,
    /// Every migration crashes, at each boundary of its statements and within the longest one: its
    /// session, its process, the server. What its tool recorded is compared with what there is.
    /// Then, from every state that a crash has left, both ways out are tried: to run it again, and
    /// to go back.
    CrashAt,
    /// The services are replaced instance by instance, and at each of these mixtures both releases
    /// serve. Then back from each of them, and up once more.
    Rolling,
    /// An order of the user's own: [`Plan::from_steps`](crate::Plan::from_steps) and
    /// [`Plan::from_history`](crate::Plan::from_history).
    Custom,
}

impl Scenario {
    /// All scenarios that the planner knows an order of, from the most harmless on.
    pub const ALL: [Self; 10] = [
        Self::Control,
        Self::Straight,
        Self::RoundTrip,
        Self::RollbackAt,
        Self::Repeat,
        Self::LateBranch,
        Self::FreshInstall,
        Self::EveryRelease,
        Self::CrashAt,
        Self::Rolling,
    ];

    /// Whether it takes services that are replaced instance by instance; a database alone has none.
    pub fn needs_services(self) -> bool {
        self == Self::Rolling
    }

    /// The name, as it stands in test paths, plans and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Straight => "straight",
            Self::RoundTrip => "round_trip",
            Self::RollbackAt => "rollback_at",
            Self::Repeat => "repeat",
            Self::LateBranch => "late_branch",
            Self::FreshInstall => "fresh_install",
            Self::EveryRelease => "every_release",
            Self::CrashAt => "crash_at",
            Self::Rolling => "rolling",
            Self::Custom => "custom",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scenario {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|scenario| scenario.as_str() == name)
            .ok_or_else(|| {
                let known: Vec<&str> = Self::ALL.into_iter().map(Self::as_str).collect();
                Error::new(
                    ErrorKind::InvalidInput,
                    format!("there is no scenario `{name}`"),
                )
                .with_hint(format!("there are: {}", known.join(", ")))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.as_str().parse::<Scenario>().unwrap(), scenario);
        }
        let error = "sideways".parse::<Scenario>().unwrap_err();
        assert!(error.to_string().contains("round_trip"), "{error}");
    }
}
