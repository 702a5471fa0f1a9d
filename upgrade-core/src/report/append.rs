//! The reports of several runs of one upgrade, as one.

use super::{
    AttachedIn, FoundIn, MeasuredIn, MigrationReport, Report, RollbackReport, StepReport,
    TrafficReport,
};
use crate::finding::Finding;
use crate::ids::{Phase, StepId};

impl Report {
    /// Takes in the report of a later run of the same upgrade, as one attempt more.
    pub fn append(&mut self, later: Self) {
        let steps = self.steps.iter();
        let last = steps.clone().map(|step| step.id.0).max().unwrap_or(0);
        let attempts = steps.map(|step| step.attempt + 1).max().unwrap_or(0);
        let moved = |id: StepId| StepId(id.0 + last);
        let steps = later.steps.into_iter().map(|step| StepReport {
            id: moved(step.id),
            attempt: attempts + step.attempt,
            ..step
        });
        self.steps.extend(steps);
        let findings = later.findings.into_iter().map(|found| FoundIn {
            step: moved(found.step),
            ..found
        });
        self.findings.extend(findings);
        let measured = later.measurements.into_iter().map(|measured| MeasuredIn {
            step: moved(measured.step),
            ..measured
        });
        self.measurements.extend(measured);
        let attached = later.attachments.into_iter().map(|attached| AttachedIn {
            step: moved(attached.step),
            ..attached
        });
        self.attachments.extend(attached);
        let rollbacks = later.rollbacks.into_iter().map(|rollback| RollbackReport {
            step: moved(rollback.step),
            ..rollback
        });
        self.rollbacks.extend(rollbacks);
        let traffic = later.traffic.into_iter().map(|traffic| TrafficReport {
            step: moved(traffic.step),
            ..traffic
        });
        self.traffic.extend(traffic);
        for migration in later.migrations {
            let mut all = self.migrations.iter_mut();
            match all.find(|one| one.id == migration.id) {
                Some(known) => known.add(&migration),
                None => self.migrations.push(migration),
            }
        }
        self.artifacts.extend(later.artifacts);
        self.unjudged.extend(later.unjudged);
        self.logs.extend(later.logs);
        self.elapsed_ms += later.elapsed_ms;
        self.passed &= later.passed;
    }

    /// Adds a finding about all of the runs, in the last step.
    pub fn add(&mut self, title: impl Into<String>, finding: Finding) {
        self.passed &= !finding.fails();
        self.findings.push(FoundIn {
            step: self.steps.last().map_or(StepId(0), |step| step.id),
            phase: Phase::Verify,
            title: title.into(),
            finding,
        });
    }
}

impl MigrationReport {
    fn add(&mut self, later: &Self) {
        self.applied += later.applied;
        self.crashed += later.crashed;
        self.reverted += later.reverted;
        self.rolled_back += later.rolled_back;
        self.slowest_apply_ms = self.slowest_apply_ms.max(later.slowest_apply_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::text::tests::failure;

    #[test]
    fn a_later_run_is_one_attempt_more() {
        let (mut all, later) = (failure(), failure());
        let (steps, findings) = (all.steps.len(), all.findings.len());
        let (last, first) = (all.steps[steps - 1].clone(), later.steps[0].clone());
        all.append(later);
        assert_eq!(all.steps.len(), 2 * steps);
        assert_eq!(all.findings.len(), 2 * findings);
        let next = &all.steps[steps];
        assert_eq!(next.id.0, last.id.0 + first.id.0);
        assert!(next.attempt > last.attempt);
        all.passed = true;
        all.add("all", Finding::note("team/note", "it", "is noted"));
        assert!(all.passed);
        all.add("all", Finding::error("team/wrong", "it", "is wrong"));
        assert!(!all.passed);
    }
}
