//! The crash matrix: where, what, and the ways out.

use super::super::{Moment, Victim, again};
use super::{Action, BASELINE, Draft, Equal, HEAD};
use crate::migration::MigrationId;
use crate::version::Phase;

impl Draft<'_> {
    /// Every migration crashes at every boundary and within its longest statement. From there on
    /// it is run again, and from there it is taken back.
    ///
    /// It starts from the state before the migration, which a first clean run keeps, and has to
    /// arrive at the state after it: what follows was shown by the clean run. A second clean run
    /// tells what differs by itself, such as `now()`.
    pub(super) fn crash_at(&mut self, seed: u64) {
        let migrations = self.outline.migrations.len();
        self.attempt = 1;
        for at in 0..migrations {
            if at > 0 {
                let label = self.state(at);
                self.push(
                    Phase::Expand,
                    Action::Snapshot {
                        label: label.clone(),
                    },
                );
                self.push(Phase::Expand, Action::Observe { label });
            }
            self.apply_one(at);
        }
        let head = HEAD.to_owned();
        self.push(Phase::Expand, Action::Observe { label: head });
        self.attempt += 1;
        self.restore(BASELINE);
        for at in 0..migrations {
            self.apply_one(at);
            let label = again(&self.state(at + 1));
            self.push(Phase::Expand, Action::Observe { label });
        }
        for at in 0..migrations {
            for (moment, victim) in self.points(at, seed) {
                self.crash(at, moment, victim);
            }
        }
    }

    /// The moments and victims of one migration.
    fn points(&self, at: usize, seed: u64) -> Vec<(Moment, Victim)> {
        let outline = self.outline;
        let migration = &outline.migrations[at];
        let boundaries = migration.statements + 1;
        let drawn = draw(seed, &migration.id, boundaries);
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
        points
    }

    fn crash(&mut self, at: usize, moment: Moment, victim: Victim) {
        let outline = self.outline;
        let migration = outline.migrations[at].id.clone();
        let (before, after) = (self.state(at), self.state(at + 1));
        let label = format!("crash {}", self.attempt + 1);
        self.attempt += 1;
        self.restore(&before);
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
            Action::Settle {
                migration,
                before,
                after: after.clone(),
                label: label.clone(),
            },
        );
        self.attempt += 1;
        self.restore(&label);
        self.apply_one(at);
        self.compare(Phase::Verify, &after, Equal::Reproducible);
        for strategy in self.applicable(at + 1) {
            self.attempt += 1;
            // First of all, so that the attempt is left out where there is no such state.
            self.restore(&label);
            self.prepared(&strategy);
            self.restore(&label);
            let applied = self.ids(0..=at);
            self.roll_back(strategy, applied);
        }
    }

    /// The label of the state before the migration at an index; after the last one, the head.
    fn state(&self, at: usize) -> String {
        match self.outline.migrations.get(at) {
            _ if at == 0 => BASELINE.to_owned(),
            Some(migration) => format!("before {}", migration.id.version()),
            None => HEAD.to_owned(),
        }
    }

    fn apply_one(&mut self, at: usize) {
        let migration = self.outline.migrations[at].id.clone();
        self.push(Phase::Expand, Action::Apply { migration });
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
