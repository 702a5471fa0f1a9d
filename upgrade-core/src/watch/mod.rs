//! Whether an upgrade that users already work with may stay: go on, ask a person, or roll back.
//!
//! A [`WatchPolicy`] is data: how long the new release is watched, how often each check is evaluated,
//! and what follows from it. A check is a [`Validator`](crate::Validator), known here by its name. A
//! [`Decider`] is given what the checks see, and decides. It has no clock and does no IO, so the same
//! observations always lead to the same decision.
//!
//! Only failures roll back. A check that is inconclusive, that cannot be evaluated, or that is silent
//! makes the decider ask a person, because none of these says that the new release is bad.
//!
//! ```
//! use std::time::Duration;
//! use upgrade_core::watch::{Checks, Decider, Decision, Limit, Rule, Seen, WatchPolicy};
//!
//! # fn main() -> upgrade_core::Result<()> {
//! // What suits the two releases, and a check that may not fail once.
//! let mut policy = WatchPolicy::between("1.8.0", "1.9.0");
//! policy.rules.push(Rule::RollBack {
//!     checks: Checks::named(["no order is lost"]),
//!     failed: Limit::new(1, 1),
//! });
//! let mut decider = Decider::new(policy, ["no order is lost", "few requests fail"])?;
//!
//! let at = Duration::from_secs(15);
//! decider.observe(at, "few requests fail", Seen::Pass)?;
//! assert_eq!(decider.decision(at), Decision::GoOn);
//!
//! let at = Duration::from_secs(30);
//! decider.observe(at, "no order is lost", Seen::Fail("order 7 has no lines".into()))?;
//! let reason = "`no order is lost` failed the last time, most recently: order 7 has no lines";
//! assert_eq!(decider.decision(at), Decision::RollBack { reason: reason.into() });
//! # Ok(())
//! # }
//! ```

mod decider;
mod policy;
#[cfg(test)]
mod tests;

/// The name of the check that a watch adds where the system has services: whether all of them run the new
/// release.
pub const SERVICES: &str = "services";

pub use self::decider::{Decider, Decision, Seen};
pub use self::policy::{Checks, Condition, Limit, Rule, WatchPolicy};
