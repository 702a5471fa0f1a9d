//! Attempts with the rows that a test of one migration gives.

use super::draft::{Draft, ids};
use super::{
    Action, BASELINE, Equal, MigrationOutline, StrategyOutline, all_reversible, can_cross,
};
use crate::ids::Phase;

/// The state with the rows that were given.
const GIVEN: &str = "given";

impl Draft<'_> {
    /// The migrations that have a test, by their places.
    fn tested(&self) -> impl Iterator<Item = usize> + use<'_> {
        let all = self.outline.migrations.iter().enumerate();
        let keeps = self.outline.capabilities.snapshots;
        all.filter(move |(_, migration)| keeps && migration.tested)
            .map(|(at, _)| at)
    }

    /// To the new release.
    pub(super) fn tests_up(&mut self) {
        let all = &self.outline.migrations;
        for at in self.tested().collect::<Vec<_>>() {
            self.given(at, None);
            self.apply_alone(&all[at..=at]);
            self.compare_alone();
            self.judge(at, Phase::Verify, false);
            if let [_, rest @ ..] = &all[at..]
                && !rest.is_empty()
            {
                self.apply_alone(rest);
                self.compare_alone();
            }
        }
    }

    /// Up, down and up again.
    pub(super) fn tests_round_trip(&mut self) {
        let all = &self.outline.migrations;
        for at in self.tested().collect::<Vec<_>>() {
            let one = &all[at..=at];
            self.given(at, None);
            self.apply(one);
            self.compare(Phase::Expand, GIVEN, Equal::SharedRows);
            self.judge(at, Phase::Expand, false);
            if !all_reversible(one) {
                continue;
            }
            self.revert(one);
            self.compare(Phase::Rollback, GIVEN, Equal::Everything);
            self.judge(at, Phase::Rollback, true);
            self.apply(one);
            self.compare(Phase::Verify, GIVEN, Equal::SharedRows);
            self.judge(at, Phase::Verify, false);
        }
    }

    /// Up, and back by every rollback that can cross the migration.
    pub(super) fn tests_rollback(&mut self) {
        let all = &self.outline.migrations;
        let whole: Vec<usize> = self
            .units()
            .filter(|unit| unit.len() == 1)
            .map(|unit| unit.start)
            .collect();
        for at in self.tested().collect::<Vec<_>>() {
            if !whole.contains(&at) {
                continue;
            }
            let crosses = |it: &&StrategyOutline| can_cross(it, &all[at..=at]);
            for strategy in self.outline.strategies.iter().filter(crosses) {
                self.given(at, Some(strategy));
                self.apply(&all[at..=at]);
                self.compare(Phase::Expand, GIVEN, Equal::SharedRows);
                self.judge(at, Phase::Expand, false);
                self.roll_back(strategy, at..at + 1);
                self.compare(Phase::Verify, GIVEN, Equal::Everything);
                self.judge(at, Phase::Verify, true);
            }
        }
    }

    /// Up twice, down twice.
    pub(super) fn tests_rerun(&mut self) {
        let all = &self.outline.migrations;
        for at in self.tested().collect::<Vec<_>>() {
            let migration = all[at].id.clone();
            self.given(at, None);
            self.apply(&all[at..=at]);
            self.push(
                Phase::Expand,
                Action::ApplyAgain {
                    migration: migration.clone(),
                },
            );
            self.judge(at, Phase::Expand, false);
            if all_reversible(&all[at..=at]) {
                self.revert(&all[at..=at]);
                self.push(Phase::Rollback, Action::RevertAgain { migration });
                self.judge(at, Phase::Rollback, true);
            }
        }
    }

    /// Begins an attempt with the rows of the test of a migration in the state before it.
    fn given(&mut self, at: usize, strategy: Option<&StrategyOutline>) {
        let all = &self.outline.migrations;
        self.begin_from(BASELINE);
        self.apply_alone(&all[..at]);
        let migration = all[at].id.clone();
        self.push_alone(Phase::Baseline, Action::Given { migration });
        let label = || GIVEN.to_owned();
        self.push_alone(Phase::Baseline, Action::Snapshot { label: label() });
        self.push_alone(Phase::Baseline, Action::Observe { label: label() });
        if let Some(strategy) = strategy {
            self.prepare_rollback(strategy);
        }
    }

    fn apply_alone(&mut self, migrations: &[MigrationOutline]) {
        for migration in ids(migrations) {
            self.push_alone(Phase::Expand, Action::Apply { migration });
        }
    }

    /// The rows that the state with the given rows shares with this one.
    fn compare_alone(&mut self) {
        let with = GIVEN.to_owned();
        let equal = Equal::SharedRows;
        self.push_alone(Phase::Verify, Action::Compare { with, equal });
    }

    fn judge(&mut self, at: usize, phase: Phase, reverted: bool) {
        let migration = self.outline.migrations[at].id.clone();
        self.push_alone(
            phase,
            Action::Judge {
                migration,
                reverted,
            },
        );
    }
}
