//! What a file with upgrade tests needs: `use upgrade_testkit::prelude::*;`

pub use upgrade_core::{
    Error, ErrorKind, Finding, Migration, Result, Scenario, Severity, Traffic, Upgrade,
    UpgradeContext, Validator, Verdict, Version, Writes, validator_fn, writes_fn,
};

pub use crate::case::TestCase;
pub use crate::rehearsal::{Rehearsal, UpgradeContextExt};
pub use crate::seed::Seeder;
pub use crate::sequences::Model;
pub use crate::upgrade_test;
