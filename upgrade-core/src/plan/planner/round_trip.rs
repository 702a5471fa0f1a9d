//! Up, down and up again.

use super::draft::{Draft, after};
use super::{BASELINE, Equal, HEAD, MigrationOutline, WRITTEN, all_reversible};
use crate::ids::Phase;

impl Draft<'_> {
    /// Each migration up, down, up from the state before it, or all together that are one change;
    /// then all up, all down, all up. A one-way migration is put back by snapshot instead, so that
    /// what lies above it is tried too.
    /// Where it is known what users write, each reversible one goes once more, with their rows.
    pub(super) fn round_trip(&mut self) {
        let all = &self.outline.migrations;
        self.attempt = 1;
        self.inspect();
        let mut before = BASELINE.to_owned();
        for unit in self.units() {
            let one = &all[unit];
            let after = after(one);
            self.begin_from(&before);
            self.apply(one);
            self.keep(Phase::Expand, &after);
            self.compare(Phase::Expand, &before, Equal::SharedRows);
            self.go_back(one, &before);
            self.apply(one);
            self.compare(Phase::Verify, &after, Equal::Schema);
            self.compare(Phase::Verify, &before, Equal::SharedRows);
            self.late_writes(&before, one);
            before = after;
        }
        self.begin_from(BASELINE);
        self.apply_all();
        self.validate(Phase::Expand);
        self.observe(Phase::Expand, HEAD);
        self.go_back(all, BASELINE);
        self.validate(Phase::Rollback);
        self.apply_all();
        self.compare(Phase::Verify, HEAD, Equal::Schema);
        self.compare(Phase::Verify, BASELINE, Equal::SharedRows);
        self.validate(Phase::Verify);
        if all.len() > 1 {
            self.late_writes(BASELINE, all);
        }
        self.tests_round_trip();
    }

    /// By the downs, if all of them have one, else by the state that was kept before.
    fn go_back(&mut self, migrations: &[MigrationOutline], before: &str) {
        if all_reversible(migrations) {
            self.revert(migrations);
        } else {
            self.restore(Phase::Rollback, before);
        }
        self.compare(Phase::Rollback, before, Equal::Everything);
    }

    /// Up, users write, down and up again: what they wrote has to be there both times.
    fn late_writes(&mut self, before: &str, migrations: &[MigrationOutline]) {
        if !self.outline.writes || !all_reversible(migrations) {
            return;
        }
        self.begin_from(before);
        self.apply(migrations);
        self.write();
        self.revert(migrations);
        self.compare(Phase::Rollback, WRITTEN, Equal::Written);
        self.apply(migrations);
        self.compare(Phase::Verify, WRITTEN, Equal::Written);
    }
}
