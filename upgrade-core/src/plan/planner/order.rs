//! Order and repetition: twice, late, from nothing, from every release.

use super::{Action, BASELINE, Draft, Equal, HEAD, MigrationOutline};
use crate::environment::EMPTY;
use crate::migration::MigrationId;
use crate::version::Phase;

/// How many of the latest releases are tried; each costs two ways to the head.
const RELEASES: usize = 5;

impl Draft<'_> {
    /// Each migration up twice, and down twice.
    pub(super) fn repeat(&mut self) {
        let mut before = BASELINE.to_owned();
        for migration in &self.outline.migrations {
            let id = &migration.id;
            self.attempt += 1;
            self.restore(&before);
            self.apply(id);
            let label = format!("after {}", id.version());
            self.push(
                Phase::Expand,
                Action::Snapshot {
                    label: label.clone(),
                },
            );
            let migration_id = || id.clone();
            self.push(
                Phase::Expand,
                Action::ApplyAgain {
                    migration: migration_id(),
                },
            );
            if migration.reversibility.is_reversible() {
                self.push(
                    Phase::Rollback,
                    Action::Revert {
                        migration: migration_id(),
                    },
                );
                self.push(
                    Phase::Rollback,
                    Action::RevertAgain {
                        migration: migration_id(),
                    },
                );
            }
            before = label;
        }
    }

    /// Each migration last.
    pub(super) fn late_branch(&mut self) {
        self.head();
        let all = &self.outline.migrations;
        // The last one comes last anyway.
        for migration in &all[..all.len().saturating_sub(1)] {
            self.attempt += 1;
            self.restore(BASELINE);
            self.push(
                Phase::Expand,
                Action::MergeLate {
                    migration: migration.id.clone(),
                    with: HEAD.to_owned(),
                },
            );
        }
    }

    /// From nothing to the head.
    pub(super) fn fresh_install(&mut self) {
        self.head();
        self.attempt += 1;
        self.restore(EMPTY);
        let outline = self.outline;
        self.apply_each(&outline.released);
        self.apply_each(&outline.migrations);
        self.compare(Phase::Verify, HEAD, Equal::Schema);
    }

    /// From the latest releases to the head, each directly, and release by release with users who
    /// write at each of them.
    pub(super) fn every_release(&mut self, seed: u64) {
        self.head();
        let outline = self.outline;
        let released = &outline.released;
        let mut releases = outline.releases.clone();
        releases.push(released.len());
        releases.dedup();
        let skipped = releases.len().saturating_sub(RELEASES);
        for (at, &release) in releases.iter().enumerate().skip(skipped) {
            let label = format!("release of {release} migrations");
            self.attempt += 1;
            self.restore(EMPTY);
            self.apply_each(&released[..release]);
            self.write_at(release, seed);
            self.push(
                Phase::Baseline,
                Action::Snapshot {
                    label: label.clone(),
                },
            );
            self.push(
                Phase::Baseline,
                Action::Observe {
                    label: label.clone(),
                },
            );
            self.apply_each(&released[release..]);
            self.apply_each(&outline.migrations);
            self.compare(Phase::Verify, HEAD, Equal::Schema);
            self.compare(Phase::Verify, &label, Equal::SharedRows);
            self.attempt += 1;
            self.restore(&label);
            let mut reached = release;
            for (step, &next) in releases[at + 1..].iter().enumerate() {
                self.apply_each(&released[reached..next]);
                self.write_at(next, seed.wrapping_add(step as u64 + 1));
                reached = next;
            }
            self.apply_each(&outline.migrations);
            self.compare(Phase::Verify, HEAD, Equal::Schema);
        }
    }

    /// Users write at a release, if it is known how they do.
    fn write_at(&mut self, release: usize, seed: u64) {
        let outline = self.outline;
        let latest = release == outline.released.len();
        if outline.writes_anywhere || (outline.writes && latest) {
            self.push(Phase::Baseline, Action::Write { seed });
        }
    }

    /// The upgraded system, observed.
    fn head(&mut self) {
        self.attempt = 1;
        self.apply_all();
        self.push(
            Phase::Expand,
            Action::Observe {
                label: HEAD.to_owned(),
            },
        );
    }

    fn apply_each(&mut self, migrations: &[MigrationOutline]) {
        for migration in migrations {
            self.apply(&migration.id);
        }
    }

    fn apply(&mut self, migration: &MigrationId) {
        let migration = migration.clone();
        self.push(Phase::Expand, Action::Apply { migration });
    }
}
