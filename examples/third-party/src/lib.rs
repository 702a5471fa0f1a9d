//! The four traits of `upgrade-core` for something that is not Postgres: a key-value store in a
//! directory, one JSON file for each collection.
//!
//! It is small, and it is whole: what the traits' documentation promises is kept here and examined
//! by the conformance suite in `tests/conformance.rs`; `tests/scenarios.rs` has the runner carry
//! out every scenario. Read it beside `docs/conformance.md` when you implement the traits for
//! another platform.
//!
//! | file | what an implementor finds there |
//! |---|---|
//! | `store` | the platform: locks that end with their owner, a journal, waits that end in time |
//! | `observe` | a state as data that can be compared |
//! | `environment` | registered before it is made, swept when its owner is dead |
//! | `migration` | a record in the system itself, undone when it fails, dirty when it was killed |
//! | `validator` | no data is never a pass |
//! | `rollback` | a kept copy that is whole or not there |

mod environment;
mod migration;
mod observe;
mod rollback;
mod store;
mod validator;

pub use environment::KvEnvironment;
pub use migration::{Change, KvMigration};
pub use rollback::RestoreCopy;
pub use store::{Image, STORE, Session, Store, View};
pub use validator::References;
