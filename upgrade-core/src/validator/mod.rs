//! Judging whether the system does what its users need.

pub(crate) mod contract;
mod function;
#[cfg(feature = "postgres")]
mod invariant;
#[cfg(feature = "prometheus")]
mod prometheus;

pub use contract::{Validator, Verdict};
pub use function::{ValidatorFn, validator_fn};
#[cfg(feature = "postgres")]
pub use invariant::Invariant;
#[cfg(feature = "prometheus")]
pub use prometheus::PrometheusQuery;
