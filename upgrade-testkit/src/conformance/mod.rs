//! Proof that an implementation of one of the four traits keeps what the trait's documentation
//! promises.
//!
//! A *clause* is one promise: a public async function, named after the behaviour, that is handed
//! a *fixture* and looks at the implementation from outside only. A fixture is a small trait that
//! the implementor writes: it makes what is examined, and looks at the system by another way than
//! the implementation does. One line then makes one `#[test]` for each clause:
//!
//! | trait | fixture | front |
//! |---|---|---|
//! | [`Environment`](upgrade_core::Environment) | [`EnvironmentFixture`] | [`environment_conformance!`](crate::environment_conformance) |
//! | [`Migration`](upgrade_core::Migration) | [`MigrationFixture`] | [`migration_conformance!`](crate::migration_conformance) |
//! | [`Validator`](upgrade_core::Validator) | [`ValidatorFixture`] | [`validator_conformance!`](crate::validator_conformance) |
//! | [`Rollback`](upgrade_core::Rollback) | [`RollbackFixture`] | [`rollback_conformance!`](crate::rollback_conformance) |
//!
//! # Required, and not applicable
//!
//! A required clause needs nothing but the trait. The other
//! clauses need a facet or a [`Case`] that the back end may not have; there the clause
//! answers [`ClauseOutcome::NotApplicable`] with a reason, and [`run`] lists it on the standard
//! error, also when the test passes. [`ClauseInfo::needs`] says which is which.
//!
//! # What no clause can see
//!
//! These promises cannot be examined from outside, in one process. Implementors have to write their
//! own tests for them:
//!
//! - `Environment`: that things are registered before they are made, so that they can be swept
//!   after this process was killed.
//! - `Environment` and the runner: that calls come one at a time is a promise to the implementor.
//! - `Snapshots::take` *may* disconnect users, and `Rollback::confirm` *may* drop what was
//!   kept: a permission has no violation.
//! - `Migration`: that it calls `reach` between its statements; only the runner can listen.
//!   That a cancellation takes effect and leaves nothing applied is examined.
//! - `Rollback::requires_reversible` speaks to the planner, `Rollback::name` to people.
//!
//! # Stability
//!
//! A new clause can break an implementor; the changelog has a section for this module. A fixture
//! may be destroyed by a clause: hand out nothing that is needed elsewhere.

mod check;
pub mod environment;
mod macros;
pub mod migration;
mod outcome;
pub mod rollback;
mod run;
pub mod validator;

pub use environment::EnvironmentFixture;
pub use migration::MigrationFixture;
pub use outcome::{Case, ClauseFailed, ClauseInfo, ClauseOutcome, ClauseResult, Hold};
pub use rollback::RollbackFixture;
pub use run::{DEADLINE, MARGIN, run};
pub use validator::ValidatorFixture;
