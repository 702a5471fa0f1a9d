//! Back from every boundary.

use super::draft::Draft;
use super::{BASELINE, Equal, WRITTEN, all_reversible};
use crate::ids::Phase;
use crate::side::Candidate;

impl Draft<'_> {
    /// Up to the head, which tells what the ups change; then up to every boundary and back, by
    /// every rollback that can cross it. Within a change of several migrations there is no boundary.
    pub(super) fn rollback(&mut self) {
        let all = &self.outline.migrations;
        self.begin_from(BASELINE);
        self.apply_all();
        self.compare(Phase::Verify, BASELINE, Equal::SharedRows);
        self.validate(Phase::Verify);
        for boundary in self.units().map(|unit| unit.end) {
            for strategy in self.applicable(boundary) {
                self.begin_from(BASELINE);
                self.prepare_rollback(strategy);
                self.apply(&all[..boundary]);
                self.roll_back(strategy, 0..boundary);
                self.proven_back();
            }
        }
        if self.outline.writes {
            for strategy in self.applicable(all.len()) {
                self.begin_from(BASELINE);
                self.prepare_rollback(strategy);
                self.apply_all();
                self.write();
                self.roll_back(strategy, 0..all.len());
                self.compare(Phase::Verify, WRITTEN, Equal::Written);
                self.validate(Phase::Verify);
            }
        }
        if !all.is_empty() && all_reversible(all) {
            self.side_by_side(Phase::Verify, Candidate::RolledBack);
        }
        self.tests_rollback();
    }

    /// It is where it began.
    pub(super) fn proven_back(&mut self) {
        self.compare(Phase::Verify, BASELINE, Equal::Everything);
        self.validate(Phase::Verify);
    }
}
