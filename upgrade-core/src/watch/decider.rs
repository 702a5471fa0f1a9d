//! From what checks see to a decision.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::policy::{Condition, Limit, Rule, WatchPolicy};
use crate::error::{Error, ErrorKind, Result};

/// What was seen when a check was evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// It holds.
    Pass,
    /// It does not hold, and this was found.
    Fail(String),
    /// There was too little to judge, for this reason.
    Inconclusive(String),
    /// It could not be evaluated, because of this error.
    Error(String),
}

/// What follows from everything that was seen so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decision {
    /// Keep watching.
    GoOn,
    /// The watch has ended well: the time is over, and each check has enough samples.
    Done,
    /// A person has to decide. It is withdrawn when its reason no longer holds.
    Ask {
        /// Which check, how often it did what, and the newest message.
        reason: String,
    },
    /// The upgrade has to be rolled back. From then on the decision stays the same.
    RollBack {
        /// Which check, how often it failed, and the newest message.
        reason: String,
    },
}

/// Decides from what checks see, by a [`WatchPolicy`].
///
/// Time is what the caller gives: how long after the begin of the watch something happened, by a clock
/// that does not jump. A time before the latest one counts as the latest one.
#[derive(Debug, Clone)]
pub struct Decider {
    policy: WatchPolicy,
    checks: Vec<Check>,
    now: Duration,
    /// The reason of the rollback, once it is decided.
    roll_back: Option<String>,
}

impl Decider {
    /// A decider over the checks with these names, at the begin of the watch.
    ///
    /// # Errors
    /// Those of [`WatchPolicy::validate`].
    pub fn new<S: Into<String>>(
        policy: WatchPolicy,
        checks: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let names: Vec<String> = checks.into_iter().map(Into::into).collect();
        policy.validate(&names)?;
        let checks = names.into_iter().map(|name| Check::new(name, &policy));
        Ok(Self {
            checks: checks.collect(),
            policy,
            now: Duration::ZERO,
            roll_back: None,
        })
    }

    /// Takes in what a check has seen, this long after the begin.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a check that was not named at the begin.
    pub fn observe(&mut self, at: Duration, check: &str, seen: Seen) -> Result<()> {
        self.now = self.now.max(at);
        let Some(check) = self.checks.iter_mut().find(|one| one.name == check) else {
            let message = format!("the watch has no check `{check}`");
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        check.observe(self.now, seen);
        let check = &*check;
        if self.roll_back.is_none() {
            self.roll_back = self.policy.rules.iter().find_map(|rule| match rule {
                Rule::RollBack { checks, failed } if checks.contains(&check.name) => {
                    check.reached(Kind::Fail, *failed)
                }
                _ => None,
            });
        }
        Ok(())
    }

    /// What follows, this long after the begin, from everything that was seen so far.
    ///
    /// A person is asked also when the time is over and a check has too few samples, or failed the last
    /// time that it could judge.
    pub fn decision(&mut self, at: Duration) -> Decision {
        self.now = self.now.max(at);
        if let Some(reason) = self.roll_back.clone() {
            return Decision::RollBack { reason };
        }
        if let Some(reason) = self.question() {
            return Decision::Ask { reason };
        }
        if self.now < Duration::from_millis(self.policy.for_ms) {
            return Decision::GoOn;
        }
        match self.checks.iter().find_map(|check| self.unfinished(check)) {
            Some(reason) => Decision::Ask { reason },
            None => Decision::Done,
        }
    }

    /// The first reason to ask that a rule has.
    fn question(&self) -> Option<String> {
        self.policy.rules.iter().find_map(|rule| {
            let Rule::Ask { checks, on } = rule else {
                return None;
            };
            let mut checks = self.checks.iter().filter(|one| checks.contains(&one.name));
            checks.find_map(|check| match *on {
                Condition::Failed(limit) => check.reached(Kind::Fail, limit),
                Condition::Inconclusive(limit) => check.reached(Kind::Inconclusive, limit),
                Condition::Error(limit) => check.reached(Kind::Error, limit),
                Condition::Silent { for_ms } => {
                    check.silent(self.now, Duration::from_millis(for_ms))
                }
            })
        })
    }

    /// Why the watch cannot end well with a check, although the time is over.
    fn unfinished(&self, check: &Check) -> Option<String> {
        let (name, needed) = (&check.name, self.policy.min_samples);
        if check.samples < u64::from(needed) {
            let (count, time) = (check.samples, Duration::from_millis(self.policy.for_ms));
            return Some(format!(
                "`{name}` passed or failed {count} times in {time:?}, and {needed} are needed{}",
                check.newest(check.last_kind()),
            ));
        }
        (check.judged.back() == Some(&Kind::Fail)).then(|| {
            let message = check.newest(Kind::Fail);
            format!("the time is over, and `{name}` failed the last time{message}")
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Pass,
    Fail,
    Inconclusive,
    Error,
}

/// What was seen of one check.
#[derive(Debug, Clone)]
struct Check {
    name: String,
    /// How many times are kept: the largest window of a rule.
    kept: usize,
    /// The last times, the newest at the end.
    all: VecDeque<Kind>,
    /// The last times at which it passed or failed.
    judged: VecDeque<Kind>,
    /// How often it passed or failed since the begin.
    samples: u64,
    /// When something was seen last.
    last: Duration,
    messages: BTreeMap<Kind, String>,
}

impl Check {
    fn new(name: String, policy: &WatchPolicy) -> Self {
        let windows =
            policy.rules.iter().map(|rule| match rule {
                Rule::RollBack { failed: limit, .. }
                | Rule::Ask {
                    on:
                        Condition::Failed(limit)
                        | Condition::Inconclusive(limit)
                        | Condition::Error(limit),
                    ..
                } => limit.of as usize,
                Rule::Ask {
                    on: Condition::Silent { .. },
                    ..
                } => 1,
            });
        Self {
            name,
            kept: windows.max().unwrap_or(1),
            all: VecDeque::new(),
            judged: VecDeque::new(),
            samples: 0,
            last: Duration::ZERO,
            messages: BTreeMap::new(),
        }
    }

    fn observe(&mut self, now: Duration, seen: Seen) {
        let (kind, message) = match seen {
            Seen::Pass => (Kind::Pass, None),
            Seen::Fail(message) => (Kind::Fail, Some(message)),
            Seen::Inconclusive(message) => (Kind::Inconclusive, Some(message)),
            Seen::Error(message) => (Kind::Error, Some(message)),
        };
        self.last = now;
        push(&mut self.all, kind, self.kept);
        if matches!(kind, Kind::Pass | Kind::Fail) {
            self.samples += 1;
            push(&mut self.judged, kind, self.kept);
        }
        if let Some(message) = message {
            self.messages.insert(kind, message);
        }
    }

    /// The reason, if it was seen like this as often as the limit is.
    fn reached(&self, kind: Kind, limit: Limit) -> Option<String> {
        let window = match kind {
            Kind::Pass | Kind::Fail => &self.judged,
            Kind::Inconclusive | Kind::Error => &self.all,
        };
        let of = window.len().min(limit.of as usize);
        let last = window.range(window.len() - of..);
        let times = last.filter(|one| **one == kind).count();
        if times < limit.times as usize {
            return None;
        }
        let did = match kind {
            Kind::Pass => "passed",
            Kind::Fail => "failed",
            Kind::Inconclusive => "was inconclusive",
            Kind::Error => "could not be evaluated",
        };
        let often = match (times, of) {
            (1, 1) => "the last time".to_owned(),
            (times, of) if times == of => format!("the last {of} times"),
            (times, of) => format!("{times} of the last {of} times"),
        };
        let (name, message) = (&self.name, self.newest(kind));
        Some(format!("`{name}` {did} {often}{message}"))
    }

    fn silent(&self, now: Duration, limit: Duration) -> Option<String> {
        let time = now.saturating_sub(self.last);
        (time >= limit).then(|| format!("nothing was seen of `{}` for {time:?}", self.name))
    }

    fn last_kind(&self) -> Kind {
        self.all.back().copied().unwrap_or(Kind::Pass)
    }

    /// The newest message of a kind, to follow a sentence.
    fn newest(&self, kind: Kind) -> String {
        match self.messages.get(&kind) {
            Some(message) if !message.is_empty() => format!(", most recently: {message}"),
            _ => String::new(),
        }
    }
}

fn push(window: &mut VecDeque<Kind>, kind: Kind, kept: usize) {
    if window.len() == kept {
        window.pop_front();
    }
    window.push_back(kind);
}
