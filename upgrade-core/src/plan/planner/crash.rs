//! The crash matrix: where, what, and the ways out.

use super::super::{Moment, Victim, again};
use super::draft::Draft;
use super::{Action, BASELINE, Equal, HEAD};
use crate::ids::{MigrationId, Phase};

impl Draft<'_> {
    /// Every migration crashes at every boundary and within its longest statement. From there on
    /// it is run again, and from there it is taken back.
    ///
    /// It starts from the state before the migration, which a first clean run keeps, and has to
    /// arrive at the state after it: what follows was shown by the clean run. A second clean run
    /// shows what differs from run to run, such as `now()`.
    pub(super) fn crash(&mut self) {
        let all = &self.outline.migrations;
        self.attempt = 1;
        for at in 0..all.len() {
            if at > 0 {
                let label = self.state(at);
                self.keep(Phase::Expand, &label);
            }
            self.apply(&all[at..=at]);
        }
        self.observe(Phase::Expand, HEAD);
        self.begin_from(BASELINE);
        for at in 0..all.len() {
            self.apply(&all[at..=at]);
            let label = again(&self.state(at + 1));
            self.observe(Phase::Expand, &label);
        }
        for at in 0..all.len() {
            for (moment, victim) in self.points(at) {
                self.crash_at(at, moment, victim);
            }
        }
    }

    /// The moments and victims of one migration.
    fn points(&self, at: usize) -> Vec<(Moment, Victim)> {
        let outline = self.outline;
        let migration = &outline.migrations[at];
        let boundaries = migration.statements + 1;
        let drawn = draw(self.seed, &migration.id, boundaries);
        let moments = (0..boundaries)
            .map(Moment::After)
            .chain([Moment::WithinLongest]);
        let mut points = Vec::new();
        for moment in moments {
            points.extend([(moment, Victim::Session), (moment, Victim::Process)]);
            let server = outline.every_crash || moment == Moment::After(drawn);
            if server && outline.capabilities.server_faults {
                points.push((moment, Victim::Server));
            }
        }
        if migration.waits_for_snapshots && outline.capabilities.held_snapshots {
            // The server of a process that is killed carries the statement on to its end.
            points.push((Moment::WhileWaiting, Victim::Session));
            if outline.capabilities.server_faults {
                points.push((Moment::WhileWaiting, Victim::Server));
            }
        }
        points
    }

    fn crash_at(&mut self, at: usize, moment: Moment, victim: Victim) {
        let all = &self.outline.migrations;
        let migration = all[at].id.clone();
        let (before, after) = (self.state(at), self.state(at + 1));
        let label = format!("crash {}", self.attempt + 1);
        self.begin_from(&before);
        self.push(
            Phase::Expand,
            Action::Crash {
                migration: migration.clone(),
                moment,
                victim,
            },
        );
        self.push(
            Phase::Expand,
            Action::JudgeCrash {
                migration,
                before,
                after: after.clone(),
                label: label.clone(),
            },
        );
        let is_part = self
            .units()
            .any(|unit| unit.len() > 1 && unit.contains(&at));
        for strategy in self.applicable(at + 1) {
            // The downs of a change that was begun and not finished need not lead back.
            if strategy.requires_reversible && is_part {
                continue;
            }
            // First of all, so that the attempt is left out where there is no such state.
            self.begin_from(&label);
            self.restore(Phase::Baseline, BASELINE);
            self.prepare_rollback(strategy);
            self.restore(Phase::Baseline, &label);
            self.roll_back(strategy, 0..at + 1);
            self.proven_back();
            if strategy.requires_reversible {
                // What cannot be run again can be upgraded again where the downs lead back.
                self.apply(&all[..=at]);
                self.compare(Phase::Verify, &after, Equal::Reproducible);
            }
        }
        self.begin_from(&label);
        self.apply(&all[at..=at]);
        self.compare(Phase::Verify, &after, Equal::Reproducible);
    }

    /// The label of the state before the migration at an index; after the last one, the head.
    fn state(&self, at: usize) -> String {
        match self.outline.migrations.get(at) {
            _ if at == 0 => BASELINE.to_owned(),
            Some(migration) => format!("before {}", migration.id.version()),
            None => HEAD.to_owned(),
        }
    }
}

/// A boundary of a migration, drawn from the seed of the plan.
fn draw(seed: u64, migration: &MigrationId, boundaries: usize) -> usize {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(migration.version().as_bytes());
    let hash = hasher.finalize();
    usize::from(hash.as_bytes()[0]) % boundaries
}
