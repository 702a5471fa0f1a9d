//! An old project. What matters here are its migrations, in `migrations/`, the test of their upgrade, in
//! `tests/upgrade.rs`, and what the team knows and accepts for now, in `upgrade-known.toml`.
