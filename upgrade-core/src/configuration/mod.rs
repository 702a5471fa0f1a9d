//! The configuration of a system as sets of files: each set is kept as it is, named by its content, and
//! switched to as a whole.
//!
//! An upgrade that replaces services often replaces their configuration, too, and a rollback has to
//! restore it byte for byte. A [`Configuration`] keeps the set of each release before the first change,
//! and switches between the two. [`ConfigFiles`] does that for a folder, or one file, of this machine.
//!
//! A set is named by its [`Digest`]. Whoever has the digest can tell whether the live files are still
//! that set, so nothing that a person edited since is overwritten.

mod attributes;
mod contract;
mod copy;
mod difference;
mod digest;
mod faults;
mod files;
mod live;
mod place;
mod store;
mod tree;

pub use self::contract::Configuration;
pub use self::digest::Digest;
pub use self::files::ConfigFiles;
