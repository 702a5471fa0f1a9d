//! Instance by instance, with both releases live.

use super::draft::Draft;
use super::{Action, BASELINE, Equal, WRITTEN};
use crate::ids::Phase;
use crate::side::Candidate;

impl Draft<'_> {
    /// The schema first, then the instances one by one, with a judgement whenever another one has
    /// been replaced; then back from each of these mixtures, and up once more.
    pub(super) fn rolling(&mut self) {
        let outline = self.outline;
        let (all, instances) = (&outline.migrations, outline.capabilities.instances);
        self.attempt = 1;
        self.inspect();
        self.apply_all();
        self.validate(Phase::Expand);
        for count in 1..=instances {
            self.replace_first(Phase::Switch, count);
            self.validate(Phase::Switch);
        }
        self.validate(Phase::Soak);
        self.compare(Phase::Soak, BASELINE, Equal::SharedRows);
        if !all.is_empty() {
            self.side_by_side(Phase::Soak, Candidate::Mixed);
        }

        let strategy = self.applicable(all.len()).next();
        let writes = outline.writes || outline.traffic;
        for count in 1..=instances {
            self.begin_from(BASELINE);
            if let Some(strategy) = strategy {
                self.prepare_rollback(strategy);
            }
            self.apply_all();
            self.replace_first(Phase::Switch, count);
            self.validate(Phase::Switch);
            if writes {
                self.write();
            }
            match strategy {
                Some(strategy) => self.roll_back(strategy, 0..all.len()),
                None => self.replace_first(Phase::Rollback, 0),
            }
            match strategy {
                _ if writes => self.compare(Phase::Verify, WRITTEN, Equal::Written),
                Some(_) => self.compare(Phase::Verify, BASELINE, Equal::Everything),
                None => self.compare(Phase::Verify, BASELINE, Equal::SharedRows),
            }
            self.validate(Phase::Verify);
            if strategy.is_some() {
                self.apply_all();
            }
            self.replace_first(Phase::Switch, instances);
            self.validate(Phase::Verify);
            if writes {
                self.compare(Phase::Verify, WRITTEN, Equal::Written);
            }
        }
    }

    fn replace_first(&mut self, phase: Phase, count: u32) {
        let of = self.outline.capabilities.instances;
        self.push(phase, Action::ReplaceFirst { count, of });
    }
}
