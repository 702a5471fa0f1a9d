//! What follows from what checks see, as data.

use std::fmt;
use std::time::Duration;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// How often the defaults evaluate a check.
const EVERY_MS: u64 = 15_000;

/// How long the new release is watched, how often each check is evaluated, and what follows from it.
///
/// Take [`between`](Self::between), [`patch`](Self::patch), [`minor`](Self::minor) or
/// [`major`](Self::major) and change its fields, or begin with [`new`](Self::new).
///
/// The defaults evaluate each check every 15 s, the interval at which Prometheus is often set to
/// scrape. They share these rules:
///
/// - Roll back when a check failed 3 of the last 5 times: one outlier does not roll back, and a defect
///   is decided on within 30 to 60 s.
/// - Ask when a check could not be evaluated 8 of the last 12 times: a server of metrics that restarts
///   within two minutes wakes nobody.
/// - Ask when nothing was seen of a check for 5 minutes: whatever evaluates it hangs.
///
/// A metric that is scraped less often than every 15 s shows the same sample several times. Set
/// [`every_ms`](Self::every_ms) to its scrape interval, or one bad scrape counts as several failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WatchPolicy {
    /// How long to watch, in milliseconds.
    pub for_ms: u64,
    /// The time between two evaluations of a check, in milliseconds.
    pub every_ms: u64,
    /// How many times each check has to pass or fail before the watch may end well, at least 1. If there
    /// are fewer when the time is over, a person is asked.
    pub min_samples: u32,
    /// What follows from what the checks see.
    pub rules: Vec<Rule>,
}

/// What follows from what a check sees. Each check is counted separately.
///
/// Only failures can roll back: a rule of another kind does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Rule {
    /// Rolls back when one of the checks failed too often.
    RollBack {
        /// Which checks.
        checks: Checks,
        /// How often is too often; see [`Condition::Failed`] for what is counted.
        failed: Limit,
    },
    /// Asks a person while this is true of one of the checks.
    Ask {
        /// Which checks.
        checks: Checks,
        /// What has to be true.
        on: Condition,
    },
}

/// When a person is asked about a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Condition {
    /// It failed too often. Only the times count at which it passed or failed: a check that is
    /// inconclusive in between does not hide its failures.
    Failed(Limit),
    /// It was inconclusive too often, of all times at which something was seen of it.
    Inconclusive(Limit),
    /// It could not be evaluated too often, of all times at which something was seen of it.
    Error(Limit),
    /// Nothing at all was seen of it for this long.
    Silent {
        /// The time in milliseconds, longer than that between two evaluations.
        for_ms: u64,
    },
}

/// How often is too often: N of the last M times. It is reached before M times have passed if N of
/// them count already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Limit {
    /// N, at least 1.
    pub times: u32,
    /// M, at least N.
    pub of: u32,
}

impl Limit {
    /// `times` of the last `of` times.
    pub fn new(times: u32, of: u32) -> Self {
        Self { times, of }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the last {} times", self.times, self.of)
    }
}

/// The checks that a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Checks {
    /// Each check.
    All,
    /// The checks with these names.
    Named(Vec<String>),
}

impl Checks {
    /// The checks with these names.
    pub fn named<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self::Named(names.into_iter().map(Into::into).collect())
    }

    /// Whether a check is one of them.
    pub(super) fn contains(&self, check: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| name == check),
        }
    }
}

impl WatchPolicy {
    /// A policy without rules, whose watch ends well when each check passed or failed at least once. At
    /// least one rule about failures has to be added for each check. Times are cut to milliseconds.
    pub fn new(duration: Duration, every: Duration) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            for_ms: millis(duration),
            every_ms: millis(every),
            min_samples: 1,
            rules: Vec::new(),
        }
    }

    /// The default for a release that only corrects defects.
    ///
    /// - It watches for 10 minutes: what a patch breaks is in code that users already use, so the first
    ///   minutes show it.
    /// - It needs 20 samples of each check, half of what 10 minutes give.
    /// - It asks when a check was inconclusive 8 of the last 12 times: two minutes are a fifth of the time.
    pub fn patch() -> Self {
        Self::of_length(10 * MINUTE_MS, 20, Limit::new(8, 12))
    }

    /// The default for a release with new features.
    ///
    /// - It watches for 1 hour: users have to find a feature before it can fail, and what runs once an
    ///   hour runs once.
    /// - It needs 120 samples of each check, half of what an hour gives.
    /// - It asks when a check was inconclusive 40 of the last 50 times: ten minutes without requests are
    ///   common, more of them leave too little to judge.
    pub fn minor() -> Self {
        Self::of_length(HOUR_MS, 120, Limit::new(40, 50))
    }

    /// The default for a release that changes what users rely on.
    ///
    /// - It watches for 24 hours: the peak of the day and the jobs of the night are then part of it.
    /// - It needs 1440 samples of each check, six hours of requests: a quiet night still ends well.
    /// - It asks when a check was inconclusive 240 of the last 300 times: a system without requests for an
    ///   hour cannot be judged, and a person knows whether that is normal.
    pub fn major() -> Self {
        Self::of_length(24 * HOUR_MS, 1440, Limit::new(240, 300))
    }

    /// The default for an upgrade between two releases, in either direction.
    ///
    /// The first of the three numbers that differs decides, by semantic versions, with or without a `v`
    /// in front: `1.8.0` to `1.9.2` is [`minor`](Self::minor). Before 1.0.0 each number counts as the
    /// one to its left: `0.3.1` to `0.3.2` is `minor`, `0.3.1` to `0.4.0` is [`major`](Self::major).
    /// Equal numbers are [`patch`](Self::patch). A pre-release promises nothing, so it is `major`, and
    /// so is a name that is no semantic version.
    pub fn between(from: &str, to: &str) -> Self {
        match difference(from, to) {
            Some(0) => Self::patch(),
            Some(1) => Self::minor(),
            _ => Self::major(),
        }
    }

    fn of_length(for_ms: u64, min_samples: u32, inconclusive: Limit) -> Self {
        let ask = |on| Rule::Ask {
            checks: Checks::All,
            on,
        };
        Self {
            for_ms,
            every_ms: EVERY_MS,
            min_samples,
            rules: vec![
                Rule::RollBack {
                    checks: Checks::All,
                    failed: Limit::new(3, 5),
                },
                ask(Condition::Inconclusive(inconclusive)),
                ask(Condition::Error(Limit::new(8, 12))),
                ask(Condition::Silent {
                    for_ms: 5 * MINUTE_MS,
                }),
            ],
        }
    }

    /// Refuses a policy that cannot decide anything useful over the checks with these names.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] names the first thing that is wrong: a time, a number of samples or a
    /// limit that is zero or cannot be reached in the time; no check, two checks with one name, or a
    /// rule about a check that does not exist; a check whose failures no rule is about.
    pub fn validate<S: AsRef<str>>(&self, checks: &[S]) -> Result<()> {
        self.validate_times()?;
        self.validate_checks(checks)?;
        for rule in &self.rules {
            let (of, condition) = match rule {
                Rule::RollBack { checks, failed } => (checks, Condition::Failed(*failed)),
                Rule::Ask { checks, on } => (checks, *on),
            };
            self.validate_condition(condition)?;
            let Checks::Named(names) = of else { continue };
            if names.is_empty() {
                return Err(invalid("a rule is about no check"));
            }
            for name in names {
                if !checks.iter().any(|check| check.as_ref() == name) {
                    let all: Vec<&str> = checks.iter().map(AsRef::as_ref).collect();
                    let message = format!("a rule is about `{name}`, and no check has this name");
                    let hint = format!("the checks are: {}", all.join(", "));
                    return Err(invalid(message).with_hint(hint));
                }
            }
        }
        Ok(())
    }

    fn validate_times(&self) -> Result<()> {
        let Self {
            for_ms,
            every_ms,
            min_samples,
            ..
        } = self;
        let problem = if *every_ms == 0 {
            "the time between two evaluations of a check is 0 ms".to_owned()
        } else if for_ms < every_ms {
            format!("the watch of {for_ms} ms ends before a check is evaluated after {every_ms} ms")
        } else if *min_samples == 0 {
            "the watch could end well without a sample: `min_samples` is 0".to_owned()
        } else if u64::from(*min_samples) > self.evaluations() {
            format!(
                "{min_samples} samples of each check are needed, and {}",
                self.gives()
            )
        } else {
            return Ok(());
        };
        Err(invalid(problem))
    }

    fn validate_checks<S: AsRef<str>>(&self, checks: &[S]) -> Result<()> {
        if checks.is_empty() {
            return Err(invalid("there is no check to watch"));
        }
        for (at, check) in checks.iter().enumerate() {
            let check = check.as_ref();
            if checks[..at].iter().any(|other| other.as_ref() == check) {
                return Err(invalid(format!("two checks have the name `{check}`")));
            }
            let judged = self.rules.iter().any(|rule| match rule {
                Rule::RollBack { checks, .. } => checks.contains(check),
                Rule::Ask { checks, on } => {
                    matches!(on, Condition::Failed(_)) && checks.contains(check)
                }
            });
            if !judged {
                let message = format!("no rule says what follows when `{check}` fails");
                let hint = "add `Rule::RollBack`, or `Rule::Ask` with `Condition::Failed`";
                return Err(invalid(message).with_hint(hint));
            }
        }
        Ok(())
    }

    fn validate_condition(&self, condition: Condition) -> Result<()> {
        let limit = match condition {
            Condition::Failed(limit) | Condition::Inconclusive(limit) | Condition::Error(limit) => {
                limit
            }
            Condition::Silent { for_ms } if for_ms <= self.every_ms => {
                let every = self.every_ms;
                return Err(invalid(format!(
                    "a check that is evaluated every {every} ms is always silent for {for_ms} ms"
                )));
            }
            Condition::Silent { for_ms } if for_ms >= self.for_ms => {
                let all = self.for_ms;
                return Err(invalid(format!(
                    "no check is silent for {for_ms} ms in a watch of {all} ms"
                )));
            }
            Condition::Silent { .. } => return Ok(()),
        };
        let problem = if limit.times == 0 {
            format!("the limit `{limit}` is always reached")
        } else if limit.times > limit.of {
            format!("the limit `{limit}` is never reached")
        } else if u64::from(limit.of) > self.evaluations() {
            format!(
                "the limit `{limit}` is about more evaluations than there are: {}",
                self.gives()
            )
        } else {
            return Ok(());
        };
        Err(invalid(problem))
    }

    /// How often each check is evaluated in the time.
    fn evaluations(&self) -> u64 {
        self.for_ms.checked_div(self.every_ms).unwrap_or(0)
    }

    fn gives(&self) -> String {
        let (for_ms, every_ms) = (self.for_ms, self.every_ms);
        let count = self.evaluations();
        format!("{for_ms} ms with one every {every_ms} ms are {count}")
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message).with_context("policy", "watch")
}

/// Which of the numbers differs: 0 for the last or none, 2 for the first, and nothing where the names do
/// not tell.
fn difference(from: &str, to: &str) -> Option<u8> {
    let parse = |name: &str| Version::parse(name.strip_prefix('v').unwrap_or(name)).ok();
    let (from, to) = (parse(from)?, parse(to)?);
    if !from.pre.is_empty() || !to.pre.is_empty() || from.major != to.major {
        return None;
    }
    let level = match (from.minor == to.minor, from.patch == to.patch) {
        (true, true) => return Some(0),
        (true, false) => 0,
        (false, _) => 1,
    };
    Some(level + u8::from(from.major == 0))
}
