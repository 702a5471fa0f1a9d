//! Systems that run side by side, so that one release is judged by another in the same run.
//!
//! What users see of the previous release is the baseline of the next one, on the same machine and over
//! the same data. The previous release runs twice: where its two systems differ, the difference is noise.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::context::UpgradeContext;
use crate::endpoint::Endpoints;
use crate::error::{Error, ErrorKind, Result};

/// One of the systems that run side by side. Each has a copy of the same data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The previous release: what the others are compared with.
    Baseline,
    /// The previous release once more: what differs between the two is noise.
    Secondary,
    /// What is judged.
    Candidate,
}

impl Side {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Baseline, Self::Secondary, Self::Candidate];

    /// The name as it stands in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Secondary => "secondary",
            Self::Candidate => "candidate",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the candidate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Candidate {
    /// The previous release over the same data, a third time: nothing may be found.
    Unchanged,
    /// The new release over migrated data: how the system is after the upgrade.
    Upgraded,
    /// The previous release over migrated data: how its instances are while others are replaced.
    Mixed,
    /// The previous release over data that was migrated and reverted: how the system is after a rollback.
    RolledBack,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unchanged => "the previous release, unchanged",
            Self::Upgraded => "the new release",
            Self::Mixed => "the previous release on the new schema",
            Self::RolledBack => "the previous release after a rollback",
        })
    }
}

impl UpgradeContext {
    /// The endpoints of a system that runs side by side with others.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where none runs: a validator was added as one of the live system, or the
    /// environment cannot run systems side by side.
    pub fn side(&self, side: Side) -> Result<&Endpoints> {
        self.sides().get(&side).ok_or_else(|| {
            let message = format!("no {side} runs side by side with the system");
            Error::new(ErrorKind::NotFound, message)
                .with_hint("add a comparison with `Upgrade::with_comparison`, not as a validator")
        })
    }

    /// The same context for one side: its endpoints are those of that system.
    ///
    /// # Errors
    /// As [`side`](Self::side).
    pub fn at_side(&self, side: Side) -> Result<Self> {
        let endpoints = self.side(side)?.clone();
        let upgraded = side == Side::Candidate && self.candidate() == Some(Candidate::Upgraded);
        Ok(self
            .clone()
            .with_endpoints(endpoints)
            .with_upgraded(upgraded))
    }
}
