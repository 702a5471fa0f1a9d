//! A history as steps: what is kept before each move, and what is compared after it.

use std::collections::BTreeMap;

use super::super::{Equal, History, HistoryStep};
use super::{Action, BASELINE, Draft};
use crate::version::Phase;

impl Draft<'_> {
    /// One attempt, so that nothing is judged after something was found: the shortest history that
    /// fails is looked for elsewhere.
    pub(super) fn history(&mut self, history: &History) {
        self.attempt = 1;
        let mut applied = 0;
        // The label of what a boundary looked like, by the number of migrations below it.
        let mut seen = BTreeMap::from([(applied, BASELINE.to_owned())]);
        for (index, step) in history.steps().iter().enumerate() {
            match *step {
                HistoryStep::Write { seed } => {
                    let phase = if applied == 0 {
                        Phase::Baseline
                    } else {
                        Phase::Soak
                    };
                    self.push(phase, Action::Write { seed });
                    self.validate_at_release(phase, applied);
                }
                HistoryStep::Up(count) => {
                    let before = self.keep(index);
                    seen.entry(applied).or_insert_with(|| before.clone());
                    for migration in self.ids(applied..applied + count) {
                        self.push(Phase::Expand, Action::Apply { migration });
                    }
                    applied += count;
                    self.arrived(Phase::Expand, &before, seen.get(&applied));
                    self.validate_at_release(Phase::Expand, applied);
                }
                HistoryStep::Down(count) => {
                    let before = self.keep(index);
                    seen.entry(applied).or_insert_with(|| before.clone());
                    for migration in self.ids(applied - count..applied).into_iter().rev() {
                        self.push(Phase::Rollback, Action::Revert { migration });
                    }
                    applied -= count;
                    self.arrived(Phase::Rollback, &before, seen.get(&applied));
                    self.validate_at_release(Phase::Rollback, applied);
                }
            }
        }
    }

    /// Keeps and measures the state before a step, unless nothing has happened yet.
    fn keep(&mut self, index: usize) -> String {
        if index == 0 {
            return BASELINE.to_owned();
        }
        let label = format!("before step {}", index + 1);
        let phase = Phase::Preflight;
        self.push(
            phase,
            Action::Snapshot {
                label: label.clone(),
            },
        );
        self.push(
            phase,
            Action::Observe {
                label: label.clone(),
            },
        );
        label
    }

    /// After a move: the rows, and the schema of a boundary where it has been before.
    fn arrived(&mut self, phase: Phase, before: &str, here: Option<&String>) {
        self.compare(phase, before, Equal::SharedRows);
        if let Some(here) = here {
            self.compare(phase, here, Equal::Schema);
        }
    }

    /// Users know the two releases, not what lies between.
    fn validate_at_release(&mut self, phase: Phase, applied: usize) {
        if applied == 0 || applied == self.outline.migrations.len() {
            self.push(phase, Action::Validate);
        }
    }
}
