//! The way to a newer major version of Postgres: check, move, compare, and back.
//!
//! Two ways lead there. [`LogicalCopy`] copies one database to a running server of the newer
//! major; `PgUpgrade` (with the feature `docker`) turns a whole data
//! volume into one of the newer major, in an image that has both servers. Both look for
//! [obstacles](Obstacle) first and change nothing where there is one, both leave the old server's
//! data as it is, so that it can be started again, and both end where [`compare`] finds the
//! same schema and the same rows on both sides.
//!
//! | | old server | for how long |
//! |---|---|---|
//! | `LogicalCopy` | answers, and is read-only | schema, rows, indexes, comparison; it grows with the data |
//! | `PgUpgrade` | is stopped | the copy of its files, and the statistics; no index is built anew |
//!
//! No `pg_dump` of this machine is needed: schema and large objects are carried over by the newer
//! major's own [tools](Tools), rows by `COPY`.

mod check;
mod closure;
mod compare;
mod copy;
#[cfg(feature = "docker")]
pub mod pg_upgrade;
mod roles;
mod rows;
mod tools;

pub use check::Obstacle;
pub use compare::compare;
pub use copy::{Copied, LogicalCopy};
pub use tools::Tools;
