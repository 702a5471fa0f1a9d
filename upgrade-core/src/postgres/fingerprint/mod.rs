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
//! [`HashMode::Native`] hashes the binary form of the row, so two values are the same if a reader
//! cannot tell them apart: `1.0` and `1.00` are two values of a `numeric`, `0` and `-0` two of a
//! `float8`, and null is none of any type. The hash functions of the types themselves would not do:
//! they give equal hashes to null and 0, to the `bigint`s -1 and 4294967295, to a `jsonb` null, `{}` and
//! `[]`.
//!
//! The type of a column counts by its family: `42` is the same as `integer` and as `bigint`, `'a'` as
//! `text` and as `varchar`. What a database numbers in its own way is left out: an enum goes by its
//! label, and a type that was made again holds the same values. Values of types without a binary form
//! are hashed as text, and so are `reg*` types, whose binary form is the number of an object, and
//! arrays and ranges of those and of composite types that hold users' types.
//! [`HashMode::Portable`] hashes the text of every value, so it may be compared across majors,
//! in two to three times the time.
//!
//! For values of two types there are [`Reading::Number`] and [`Reading::Text`].
//!
//! No cast, operator or function that a user has made is called.
//!
//! # How sure it is
//!
//! Fingerprints guard against accidents and not against an adversary. That a changed row goes unseen
//! has a chance of about 1 in 2^64.
//!
//! [`Reading::Number`]: crate::observation::Reading::Number
//! [`Reading::Text`]: crate::observation::Reading::Text

mod compute;
mod error;
mod sequences;
mod shared;
mod tables;
mod value;

pub(in crate::postgres) use self::compute::fingerprint_listed;
pub use self::compute::{ColumnPick, Fingerprint, HashMode, fingerprint, fingerprint_all};
pub use self::error::FingerprintError;
pub use self::sequences::sequence_values;
pub(in crate::postgres) use self::sequences::{counted_listed, sequences_listed};
pub use self::shared::{RetypedColumn, SharedColumns, shared_columns};
pub use self::tables::{ColumnShape, TableShape, Tables};
pub(in crate::postgres) use self::value::{Form, exact_hash, row_text};

pub use super::catalog::TableName;
pub use crate::observation::SequenceState;
