//! What the planner knows of an upgrade and of its environment.

use std::time::Duration;

use crate::configuration::Digest;
use crate::environment::capabilities::Capabilities;
use crate::fault::{Faults, Site};
use crate::ids::{MigrationId, Version};
use crate::migration::contract::Reversibility;

/// What the planner knows about an upgrade; see [`Upgrade::outline`](crate::Upgrade::outline).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Outline {
    /// The name of the upgrade.
    pub name: String,
    /// The release that it starts at.
    pub from: Version,
    /// The release that it leads to.
    pub to: Version,
    /// The migrations that make the previous release from an empty system, in order.
    pub released: Vec<MigrationOutline>,
    /// The earlier releases, each by how many of the released migrations it has; ascending.
    pub releases: Vec<usize>,
    /// The order in which a new system applies all migrations, where it is not first the released
    /// ones and then the others; otherwise empty.
    pub install_order: Vec<MigrationId>,
    /// The migrations, in order.
    pub migrations: Vec<MigrationOutline>,
    /// The rollback strategies, the preferred one first.
    pub strategies: Vec<StrategyOutline>,
    /// Whether it is known what users write while the upgrade is under way.
    pub writes: bool,
    /// Whether it is known for releases before the one that the upgrade starts at, too.
    pub writes_anywhere: bool,
    /// Whether users make requests all the time.
    pub traffic: bool,
    /// Whether releases are compared side by side.
    pub comparisons: bool,
    /// What the environment can do.
    pub capabilities: Capabilities,
    /// The budget of a rollback.
    pub rollback_within: Duration,
    /// The budget of any other step.
    pub step_within: Duration,
    /// Whether every migration is asked to be reversible.
    pub reversible: bool,
    /// Whether the server is killed at every boundary, not at one of each migration.
    pub every_crash: bool,
    /// The configuration that is live and that of the new release, where the plan switches it.
    pub configuration: Option<(Digest, Digest)>,
    /// Which faults of services may be injected, and where; see
    /// [`Upgrade::outline_in`](crate::Upgrade::outline_in).
    pub faults: Option<FaultOutline>,
}

/// What the planner knows about faults of services.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FaultOutline {
    /// Which may be injected, and how probable each is at each place.
    pub faults: Faults,
    /// Where, in the release that the upgrade starts at.
    pub from: Vec<Site>,
    /// Where, in the release that it leads to.
    pub to: Vec<Site>,
}

/// What the planner knows about a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationOutline {
    /// Which one.
    pub id: MigrationId,
    /// Whether it can be reverted.
    pub reversibility: Reversibility,
    /// How many statements it consists of; see [`Migration::statements`].
    ///
    /// [`Migration::statements`]: crate::Migration::statements
    pub statements: usize,
    /// Whether a statement of its script waits for the snapshots of other sessions, as `create
    /// index concurrently` does, so that it can be interrupted before its end at any size of its
    /// table.
    pub waits_for_snapshots: bool,
    /// The change that it is a part of; see [`Migration::unit`](crate::Migration::unit).
    pub unit: Option<String>,
    /// Whether it has a [test with chosen rows](crate::MigrationTest).
    pub tested: bool,
}

/// What the planner knows about a rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StrategyOutline {
    /// Which one.
    pub name: String,
    /// Whether it can only undo migrations that are reversible.
    pub requires_reversible: bool,
}
