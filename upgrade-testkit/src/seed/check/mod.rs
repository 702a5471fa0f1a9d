//! Reads CHECK constraints and partition bounds and says what values would satisfy them.
//!
//! Pure: text from the catalog in, alternatives out. Each [`Alternative`] is a way to satisfy the
//! expression, as [`Hints`] for single columns and [`Relation`]s between two. What this does not
//! understand it leaves open; Postgres has the last word and refused rows are drawn again.

mod expr;
mod hints;
mod solve;

pub(crate) use hints::{Bound, Case, Hints, Limit, Op};
pub(crate) use solve::{Alternative, combine, solve};
