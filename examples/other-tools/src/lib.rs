//! Folders as other migration tools have them: `diesel/` and `golang-migrate/`. The tests of their
//! upgrades are in `tests/upgrade.rs`. The tools need not be installed: the library runs the files as
//! each tool would, and keeps that tool's record.
