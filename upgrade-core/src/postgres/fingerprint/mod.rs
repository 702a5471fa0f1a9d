//! Rows as a number: whether two tables, or one table before and after, hold the same data.
//!
//! A [`Fingerprint`] is the number of rows and the sum of one hash for each row. A sum does not
//! depend on the order of the rows, and unlike an exclusive or it does not lose rows that are in
//! a table twice. It is computed where the data is, in one scan and constant memory.
//!
//! - [`Tables::read`] lists the tables and what columns they have, [`shared_columns`] what two such
//!   lists have in common.
//! - [`fingerprint_all`] computes the fingerprints, all of one state of the database.
//! - [`sequence_values`] reads the other data that a migration can lose.
//!
//! # What counts as the same
//!
//! Columns are taken by name, in the order of their names, so their position does not matter.
//! [`HashMode::Native`] hashes values with the hash functions of their types: two values are the
//! same if their type says that they are equal. So `1.0` and `1.00` are the same `numeric`, and
//! `0.0` and `-0.0` the same `float8`. `42` is the same as `integer` and as `bigint`. Where a hash
//! of the type's own would miss what a reader sees, or change when nothing did, the text of the
//! value is hashed: types without a hash (`json`, `xml`, `point`, `tsvector`, `bit`, `money`, ...),
//! texts that compare without case (`citext`, nondeterministic collations), intervals, enums and
//! `reg*` types (whose hash is that of an internal number, which differs when the type is made
//! again), and all arrays, domains, ranges and composites of such. The server's catalog decides.
//! [`HashMode::Portable`] hashes the text of every value, so it may be compared across majors,
//! at some five times the time.
//!
//! # How sure it is
//!
//! Fingerprints guard against accidents and not against an adversary. That a changed row goes
//! unseen has a chance of about 1 in 2^53 in native mode, but of 1 in 2^32 if all that changed is one
//! value of an 8-byte integer, date or time, whose own hash has no more; in portable mode of 1 in 2^64.

mod compute;
mod error;
mod shared;
mod tables;

pub use self::compute::{
    ColumnPick, Fingerprint, HashMode, fingerprint, fingerprint_all, sequence_values,
};
pub(in crate::postgres) use self::compute::{
    fingerprint_listed, hashed_value, native_hash, sequences_listed,
};
pub use self::error::FingerprintError;
pub use self::shared::{Retyped, RetypedColumn, SharedColumns, shared_columns};
pub use self::tables::{ColumnShape, TableShape, Tables};

pub use super::catalog::TableName;
pub use crate::observation::SequenceState;
