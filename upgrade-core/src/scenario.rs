//! In which order an upgrade happens, and what goes wrong on the way.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::error::{Error, ErrorKind};

/// The user says what must survive; the scenario says when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scenario {
    /// Nothing changes. It tells a broken test from a broken upgrade.
    Control,
    /// Every migration is applied, in order, and the upgrade is made final.
    Upgrade,
    /// Up, down, up: each migration for itself, then the whole set.
    RoundTrip,
    /// Up to every boundary between two migrations, and back from there.
    Rollback,
    /// Every migration is applied twice and reverted twice; the second time changes nothing.
    Rerun,
    /// Each migration comes last, as from a branch that is merged late, and the end is the same.
    OutOfOrder,
    /// An empty system that is brought to the new release is equal to one that was upgraded.
    FreshInstall,
    /// From earlier releases to the new one, directly and release by release, the end is the same.
    SkipRelease,
    /// Every migration crashes, at each boundary of its statements and within the longest one: its
    /// session, its process, the server. What its tool recorded is compared with what there is.
    /// Then, from every state that a crash has left, both ways out are tried: to run it again, and
    /// to roll back.
    Crash,
    /// The services are replaced instance by instance, and at each of these mixtures both releases
    /// serve. Then back from each of them, and up once more.
    Rolling,
    /// The life of an operation on a real system, over a copy of the database: apply, roll back, apply, make
    /// final. Then the same again and again, each time with a tool that dies at another record of its
    /// journal and is followed by another tool. It is several plans, which
    /// [`Operation`](crate::operation::Operation) makes, so no single plan is one.
    Operation,
    /// An order of the user's own: [`Plan::from_steps`](crate::Plan::from_steps) and
    /// [`Plan::from_sequence`](crate::Plan::from_sequence).
    Custom,
}

impl Scenario {
    /// All scenarios that the planner knows an order of, from the most harmless on.
    pub const ALL: [Self; 10] = [
        Self::Control,
        Self::Upgrade,
        Self::RoundTrip,
        Self::Rollback,
        Self::Rerun,
        Self::OutOfOrder,
        Self::FreshInstall,
        Self::SkipRelease,
        Self::Crash,
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
            Self::Upgrade => "upgrade",
            Self::RoundTrip => "round_trip",
            Self::Rollback => "rollback",
            Self::Rerun => "rerun",
            Self::OutOfOrder => "out_of_order",
            Self::FreshInstall => "fresh_install",
            Self::SkipRelease => "skip_release",
            Self::Crash => "crash",
            Self::Rolling => "rolling",
            Self::Operation => "operation",
            Self::Custom => "custom",
        }
    }
}

/// The names of earlier releases of this library, which answer with those of today.
const RENAMED: [(&str, Scenario); 6] = [
    ("straight", Scenario::Upgrade),
    ("rollback_at", Scenario::Rollback),
    ("repeat", Scenario::Rerun),
    ("late_branch", Scenario::OutOfOrder),
    ("every_release", Scenario::SkipRelease),
    ("crash_at", Scenario::Crash),
];

impl<'de> Deserialize<'de> for Scenario {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<'de, str>::deserialize(deserializer)?;
        if name == Self::Custom.as_str() {
            return Ok(Self::Custom);
        }
        name.parse().map_err(de::Error::custom)
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
        let mut all = Self::ALL.into_iter().chain([Self::Operation]);
        all.find(|scenario| scenario.as_str() == name)
            .ok_or_else(|| {
                if let Some((old, new)) = RENAMED.iter().find(|(old, _)| *old == name) {
                    let message = format!("the scenario `{old}` is called `{new}` now");
                    return Error::new(ErrorKind::InvalidInput, message);
                }
                let all = Self::ALL.into_iter().chain([Self::Operation]);
                let known: Vec<&str> = all.map(Self::as_str).collect();
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
        for (old, new) in RENAMED {
            let expected = format!("is called `{new}` now");
            let error = old.parse::<Scenario>().unwrap_err();
            assert!(error.to_string().contains(&expected), "{error}");
            let error = serde_json::from_value::<Scenario>(old.into()).unwrap_err();
            assert!(error.to_string().contains(&expected), "{error}");
        }
        assert_eq!(
            "operation".parse::<Scenario>().unwrap(),
            Scenario::Operation
        );
        let others = [Scenario::Operation, Scenario::Custom];
        let all = Scenario::ALL.into_iter().chain(others);
        for scenario in all {
            let json = serde_json::to_string(&scenario).unwrap();
            assert_eq!(serde_json::from_str::<Scenario>(&json).unwrap(), scenario);
        }
    }
}
