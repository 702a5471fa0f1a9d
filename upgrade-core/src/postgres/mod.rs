//! Everything that knows Postgres: servers, databases, catalogs, fingerprints.
//!
//! [`server`] finds server binaries and runs them, [`database`] makes, copies, renames and drops
//! databases, [`catalog`] reads a schema as data and compares two, [`fingerprint`] does the same
//! for rows, [`sql`] cuts scripts into statements and quotes names.

pub mod catalog;
#[cfg(feature = "docker")]
pub mod container;
pub mod database;
pub mod fingerprint;
pub mod server;
pub mod sql;
