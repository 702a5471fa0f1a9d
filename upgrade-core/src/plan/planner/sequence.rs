//! A sequence as steps: what is kept before each move, and what is compared after it.

use std::collections::BTreeMap;

use super::super::SequenceStep;
use super::draft::Draft;
use super::{Action, BASELINE, Equal, Sequence};
use crate::ids::Phase;

impl Draft<'_> {
    /// One attempt, so that nothing is judged after something was found: the shortest sequence that
    /// fails is looked for elsewhere.
    pub(super) fn sequence(&mut self, sequence: &Sequence) {
        let all = &self.outline.migrations;
        self.attempt = 1;
        let mut applied = 0;
        // The label of what a boundary looked like, by the number of migrations below it.
        let mut seen = BTreeMap::from([(applied, BASELINE.to_owned())]);
        for (index, step) in sequence.steps().iter().enumerate() {
            let (phase, now) = match *step {
                SequenceStep::Write { seed } => {
                    let phase = if applied == 0 {
                        Phase::Baseline
                    } else {
                        Phase::Soak
                    };
                    self.push(phase, Action::Write { seed });
                    self.validate_at_release(phase, applied);
                    continue;
                }
                SequenceStep::Up(count) => (Phase::Expand, applied + count),
                SequenceStep::Down(count) => (Phase::Rollback, applied - count),
            };
            let before = self.keep_before(index);
            seen.entry(applied).or_insert_with(|| before.clone());
            if now > applied {
                self.apply(&all[applied..now]);
            } else {
                self.revert(&all[now..applied]);
            }
            applied = now;
            self.compare(phase, &before, Equal::SharedRows);
            // Where it has been before, the schema is known.
            if let Some(here) = seen.get(&applied) {
                self.compare(phase, here, Equal::Schema);
            }
            self.validate_at_release(phase, applied);
        }
    }

    /// Keeps the state before a step, unless nothing has happened yet.
    fn keep_before(&mut self, index: usize) -> String {
        if index == 0 {
            return BASELINE.to_owned();
        }
        let label = format!("before step {}", index + 1);
        self.keep(Phase::Preflight, &label);
        label
    }

    /// Users know the two releases, not what lies between.
    fn validate_at_release(&mut self, phase: Phase, applied: usize) {
        if applied == 0 || applied == self.outline.migrations.len() {
            self.validate(phase);
        }
    }
}
