//! Order and repetition: twice, late, from nothing, from every release.

use super::draft::{Draft, after, ids};
use super::{Action, BASELINE, Equal, HEAD, MigrationOutline, all_reversible};
use crate::environment::contract::EMPTY;
use crate::ids::Phase;

/// How many of the latest releases are tried; each costs two ways to the head.
const RELEASES: usize = 5;

impl Draft<'_> {
    /// Each migration up twice, and down twice.
    pub(super) fn rerun(&mut self) {
        let mut before = BASELINE.to_owned();
        for unit in self.units() {
            let unit = &self.outline.migrations[unit];
            self.begin_from(&before);
            self.apply(unit);
            before = after(unit);
            self.snapshot(Phase::Expand, &before);
            for migration in ids(unit) {
                self.push(Phase::Expand, Action::ApplyAgain { migration });
            }
            if all_reversible(unit) {
                self.revert(unit);
                for migration in ids(unit).into_iter().rev() {
                    self.push(Phase::Rollback, Action::RevertAgain { migration });
                }
            }
        }
        self.tests_rerun();
    }

    /// Each migration last.
    pub(super) fn out_of_order(&mut self) {
        let all = &self.outline.migrations;
        // The last one comes last anyway, unless a new system does not apply it last.
        let mut late = &all[..all.len().saturating_sub(1)];
        match self.installed() {
            Some(order) if self.outline.capabilities.empty => {
                late = all;
                self.begin_from(EMPTY);
                self.apply(&order);
                self.observe(Phase::Expand, HEAD);
            }
            _ => self.head(),
        }
        for migration in late {
            self.begin_from(BASELINE);
            self.push(
                Phase::Expand,
                Action::MergeLate {
                    migration: migration.id.clone(),
                    with: HEAD.to_owned(),
                },
            );
        }
    }

    /// From nothing to the head, in the order of a new system.
    pub(super) fn fresh_install(&mut self) {
        self.head();
        self.begin_from(EMPTY);
        match self.installed() {
            Some(order) => self.apply(&order),
            None => {
                self.apply(&self.outline.released);
                self.apply_all();
            }
        }
        self.compare(Phase::Verify, HEAD, Equal::Schema);
    }

    /// All migrations in the order of a new system, if that is not first the released ones and then
    /// the others. What the order does not name comes last.
    fn installed(&self) -> Option<Vec<MigrationOutline>> {
        let outline = self.outline;
        let order = &outline.install_order;
        let mut all: Vec<_> = outline.released.iter().chain(&outline.migrations).collect();
        let as_released = all.clone();
        all.sort_by_key(|migration| {
            let place = order.iter().position(|id| *id == migration.id);
            place.unwrap_or(order.len())
        });
        (all != as_released).then(|| all.into_iter().cloned().collect())
    }

    /// From the latest releases to the head, each directly; and release by release where users
    /// write in between, without whom the two ways are one.
    pub(super) fn skip_release(&mut self) {
        self.head();
        let outline = self.outline;
        let released = &outline.released;
        let mut releases = outline.releases.clone();
        releases.push(released.len());
        releases.dedup();
        let skipped = releases.len().saturating_sub(RELEASES);
        for (at, &release) in releases.iter().enumerate().skip(skipped) {
            let populated = format!("release of {release} migrations");
            self.begin_from(EMPTY);
            self.apply(&released[..release]);
            let wrote = self.write_at(release, 0);
            self.keep(Phase::Baseline, &populated);
            self.apply(&released[release..]);
            self.arrive(&populated, wrote);

            let later = &releases[at + 1..];
            if !later.iter().any(|next| self.is_written_at(*next)) {
                continue;
            }
            self.begin_from(&populated);
            let (mut reached, mut left) = (release, populated);
            for (step, &next) in later.iter().enumerate() {
                self.apply(&released[reached..next]);
                reached = next;
                if self.is_written_at(next) {
                    self.compare(Phase::Expand, &left, Equal::SharedRows);
                    self.write_at(next, step as u64 + 1);
                    left = format!("release of {next} migrations, from {release}");
                    self.keep(Phase::Baseline, &left);
                }
            }
            self.arrive(&left, true);
        }
    }

    /// The head, from the last state that users have left. Without a row there is nothing to
    /// validate.
    fn arrive(&mut self, left: &str, wrote: bool) {
        self.apply_all();
        self.compare(Phase::Verify, HEAD, Equal::Schema);
        self.compare(Phase::Verify, left, Equal::SharedRows);
        if wrote {
            self.validate(Phase::Verify);
        }
    }

    /// Whether it is known how users write at a release.
    fn is_written_at(&self, release: usize) -> bool {
        let outline = self.outline;
        let latest = release == outline.released.len();
        outline.writes_anywhere || (outline.writes && latest)
    }

    /// Users write at a release, if it is known how they do. Answers whether they do.
    fn write_at(&mut self, release: usize, step: u64) -> bool {
        let seed = self.seed.wrapping_add(step);
        let writes = self.is_written_at(release);
        if writes {
            self.push(Phase::Baseline, Action::Write { seed });
        }
        writes
    }

    /// The upgraded system, observed.
    fn head(&mut self) {
        self.attempt = 1;
        self.apply_all();
        self.observe(Phase::Expand, HEAD);
    }
}
