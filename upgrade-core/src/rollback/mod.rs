//! Rollback: checked before any change, executed within a budget, verified at its end.

#[cfg(feature = "postgres")]
mod confirm;
pub(crate) mod contract;
pub(crate) mod estimate;
mod loss;
mod prepared;
#[cfg(feature = "postgres")]
mod revert;
#[cfg(feature = "postgres")]
mod swap;
#[cfg(feature = "postgres")]
mod target;

pub use contract::{DEFAULT_BUDGET, Rollback, RollbackRequest, Safety};
pub use estimate::{Estimate, Timing};
pub use loss::{Loss, LossKind};
pub use prepared::{Prepared, RollbackScope};
#[cfg(feature = "postgres")]
pub use revert::RevertMigrations;
#[cfg(feature = "postgres")]
pub use swap::SnapshotSwap;
