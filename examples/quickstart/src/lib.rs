//! A small shop. What matters here are its migrations, in `migrations/`, and the tests of their
//! upgrade, in `tests/upgrade.rs`.
