//! Which sequences are tried: the whole way there and back first, then what is drawn.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use upgrade_core::plan::{Outline, Sequence, SequenceStep};
use upgrade_core::{Error, ErrorKind, Result};

use crate::seed::random;

/// How many steps a sequence has at most. What fails only after more than that is a rare thing, and
/// each step costs a copy of the database.
const MOST_STEPS: usize = 8;

/// Draws possible sequences of an upgrade, the same ones from the same seed.
pub(super) struct Drawer {
    runner: TestRunner,
    /// For each migration, whether it can be reverted.
    reversible: Vec<bool>,
    /// Whether users write between the two releases as well.
    between: bool,
    drawn: u64,
}

/// What is drawn of a step; where the system stands decides what becomes of it.
#[derive(Debug, Clone)]
struct Request {
    act: Act,
    /// How far, of all that is possible; beyond the end is all of it.
    far: f64,
    seed: u16,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Write,
    Up,
    Down,
}

fn request() -> impl Strategy<Value = Request> {
    let act = prop_oneof![Just(Act::Write), Just(Act::Up), Just(Act::Down)];
    // Half of all moves go the whole way.
    (act, 0.0..2.0_f64, any::<u16>()).prop_map(|(act, far, seed)| Request { act, far, seed })
}

impl Drawer {
    /// `between`: whether users write at boundaries that are no release.
    pub(super) fn new(outline: &Outline, seed: u64, between: bool) -> Self {
        Self {
            runner: random::runner(seed, &["sequences"]),
            reversible: outline
                .migrations
                .iter()
                .map(|migration| migration.reversibility.is_reversible())
                .collect(),
            between,
            drawn: 0,
        }
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Result<Sequence> {
        let far = |act, seed| Request {
            act,
            far: 2.0,
            seed,
        };
        let requests = if self.drawn == 0 {
            let (write, up, down) = (Act::Write, Act::Up, Act::Down);
            [write, up, write, down, write, up]
                .map(|act| far(act, 1))
                .into()
        } else {
            let requests = prop::collection::vec(request(), 2..=MOST_STEPS);
            random::draw(&mut self.runner, &requests)
                .map_err(|reason| Error::new(ErrorKind::Internal, reason))?
        };
        self.drawn += 1;
        Ok(self.possible(requests))
    }

    /// What becomes of requests: every step can be taken, no two writes meet, and there is a move.
    fn possible(&self, requests: Vec<Request>) -> Sequence {
        let all = self.reversible.len();
        let mut at = 0;
        let mut steps: Vec<SequenceStep> = Vec::new();
        let mut seeds: Vec<u64> = Vec::new();
        for Request { act, far, seed } in requests {
            // Below the last one-way migration no rollback is possible.
            let floor = self.reversible[..at]
                .iter()
                .rposition(|reversible| !reversible)
                .map_or(0, |index| index + 1);
            let wrote = matches!(steps.last(), Some(SequenceStep::Write { .. }));
            let may_write = !wrote && (self.between || at == 0 || at == all);
            let step = match act {
                Act::Write if may_write => {
                    let mut seed = u64::from(seed);
                    while seeds.contains(&seed) {
                        seed += 1;
                    }
                    seeds.push(seed);
                    SequenceStep::Write { seed }
                }
                Act::Down if at > floor => SequenceStep::Down(part(at - floor, far)),
                _ if at < all => SequenceStep::Up(part(all - at, far)),
                _ if at > floor => SequenceStep::Down(part(at - floor, far)),
                _ => continue,
            };
            match step {
                SequenceStep::Up(count) => at += count,
                SequenceStep::Down(count) => at -= count,
                _ => {}
            }
            steps.push(step);
        }
        Sequence::new(steps)
    }
}

/// From 1 to `most`; all of it from 1.0 on.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a small number, kept within its bounds"
)]
fn part(most: usize, far: f64) -> usize {
    ((most as f64 * far).ceil() as usize).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use upgrade_core::Upgrade;
    use upgrade_core::environment::Capabilities;

    fn drawer(reversible: &[bool], seed: u64, between: bool) -> Drawer {
        let outline = Upgrade::new("orders", "1", "2").outline(Capabilities::none());
        let mut drawer = Drawer::new(&outline, seed, between);
        drawer.reversible = reversible.to_vec();
        drawer
    }

    /// Walks a sequence and gives what `look` says of each boundary and step.
    fn walk(sequence: &Sequence, mut look: impl FnMut(usize, &SequenceStep)) {
        let mut at = 0;
        for step in sequence.steps() {
            look(at, step);
            match step {
                SequenceStep::Up(count) => at += count,
                SequenceStep::Down(count) => at -= count,
                _ => {}
            }
        }
    }

    #[test]
    fn the_first_goes_the_whole_way_there_and_back() {
        let first = drawer(&[true, true], 5, true).next().unwrap();
        assert_eq!(
            first.to_string(),
            "write seed 1; up 2; write seed 2; down 2; write seed 3; up 2"
        );
        let one_way = drawer(&[true, false], 5, true).next().unwrap();
        assert_eq!(one_way.to_string(), "write seed 1; up 2; write seed 2");
    }

    #[test]
    fn the_same_seed_draws_the_same_and_every_sequence_is_possible() {
        let reversible = [true, false, true, true];
        let mut differ = 0;
        for seed in 0..20 {
            let (mut one, mut two) = (
                drawer(&reversible, seed, false),
                drawer(&reversible, seed, false),
            );
            let mut previous = Sequence::default();
            for _ in 0..20 {
                let sequence = one.next().unwrap();
                assert_eq!(sequence, two.next().unwrap());
                differ += usize::from(sequence != previous);
                walk(&sequence, |at, step| match step {
                    SequenceStep::Up(count) => assert!(at + count <= 4, "{sequence}"),
                    SequenceStep::Down(count) => assert!(
                        *count <= at && reversible[at - count..at].iter().all(|can| *can),
                        "{sequence}"
                    ),
                    _ => assert!(at == 0 || at == 4, "{sequence} writes at {at}"),
                });
                previous = sequence;
            }
        }
        assert!(differ > 300, "{differ}");
    }

    #[test]
    fn where_users_write_between_releases_they_do() {
        let mut drawer = drawer(&[true; 3], 1, true);
        let mut between = 0;
        for _ in 0..50 {
            walk(&drawer.next().unwrap(), |at, step| {
                let write = matches!(step, SequenceStep::Write { .. });
                between += usize::from(write && at > 0 && at < 3);
            });
        }
        assert!(between > 0);
    }
}
