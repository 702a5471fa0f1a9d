//! Observed compatibility: what the previous release answers to recorded requests, and what the new one
//! answers to the same.
//!
//! A [`Recording`] is sent to three systems, each with a copy of the same data: the previous release
//! (baseline), the previous release once more (secondary), and what is judged (candidate). Each answer is
//! cut into places, such as `$.items[].price`. Where baseline and secondary differ, the difference is noise:
//! a clock, a generated id, a random order. The candidate is judged by what the two have in common.
//!
//! # How places are judged
//!
//! The answers to one endpoint (method and path without ids) with one status are judged together. Of each
//! place the strictest class is taken that holds for all answers of baseline and secondary:
//!
//! | class | baseline and secondary have | the candidate must have |
//! |---|---|---|
//! | equal | the same values | those values |
//! | close | numbers that differ by less than a millionth | numbers as close to one of them |
//! | multiset | the same values in any order | those values in any order |
//! | instance | each its one value, always | the same JSON type |
//! | noisy | anything | the same types, and values of the same shape; differences as often |
//!
//! A difference must be one to both, baseline and secondary. A place that is in each answer of both must be
//! in each answer of the candidate; a new place is a note.
//!
//! # When a difference is an error
//!
//! A request that only reads is sent several times. A difference in all of its repeats counts, one in some of
//! them is a warning. A difference in two requests or more is an error of the endpoint. One in a single
//! request is an error of that request, and its number is a part of the subject. The runner replays a
//! second time on fresh copies and keeps only what is found again under the same id and subject: noise that
//! is rare hardly ever hits the same request and place twice.
//!
//! Another order is a warning while the two systems of the previous release may agree in theirs by chance, with a
//! probability of more than 1 %: two values have two orders, five have 120.
//!
//! # The data afterwards
//!
//! Where each side has a database, what the requests wrote to it is compared in the same way, as far as
//! the tables and columns are those of both releases: how many rows were written and removed, which, and the
//! values in them that baseline and secondary agree in.
//!
//! A table with rows that the requests to baseline and secondary read or write, and that those to the candidate
//! do not touch, is a warning: its rows may be lost to their users, though nothing was removed. It is told
//! by the counters of the servers, of Postgres 15 and later and with a superuser. The sessions of the services
//! are ended for it, after everything else.
//!
//! # What is not found
//!
//! Not found are changes of frequency in what is noise anyway, such as a cache that misses more often, unless
//! there are very many answers.

mod access_log;
mod class;
mod har;
mod ids;
mod judge;
mod mask;
mod options;
mod places;
#[cfg(feature = "postgres")]
mod reach;
mod recording;
mod report;
#[cfg(feature = "postgres")]
mod rows;
mod session;
mod shape;
mod status;
mod template;
mod validator;

pub use self::options::Options;
pub use self::recording::{Recorded, Recording};
pub use self::report::judge;
pub use self::validator::Replay;

#[cfg(test)]
mod corpus;
