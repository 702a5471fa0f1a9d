//! Migrations: folders as data, each tool's bookkeeping, the previous release.

pub mod folder;
pub mod history;
pub mod source;
