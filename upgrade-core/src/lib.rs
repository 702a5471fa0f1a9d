//! Upgrades of Postgres-backed systems as tested and reversible operations.
#[cfg(feature = "postgres")]
pub mod migration;
#[cfg(feature = "postgres")]
pub mod postgres;
mod secret;
pub use secret::Secret;
