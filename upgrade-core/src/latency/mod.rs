//! How long a release takes to answer, compared with the previous one while both run.
//!
//! [`Latency`] is for regressions: one user sends the same requests to both releases in turn, and the verdict
//! comes from pairs of answers, so that what else runs on the machine slows both. [`Load`] is for capacity:
//! requests are sent at a fixed rate, whether answers come or not. Both need the previous release twice, to know
//! how much two systems of one release differ; see [`side`](crate::side).

mod compare;
mod judge;
mod load;
mod options;
mod outcomes;
mod random;
mod requests;
mod run;
mod times;
mod verdict;

pub use self::compare::Latency;
pub use self::load::Load;
pub use self::options::LatencyOptions;

#[cfg(test)]
mod tests;
