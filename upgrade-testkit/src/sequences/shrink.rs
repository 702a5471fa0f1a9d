//! Shorter sequences of one that fails. They are made on the list of steps and not by the strategy
//! that drew it: whether a step is possible depends on all before it, so that leaving one out would
//! change the meaning of the others.

use upgrade_core::plan::{Sequence, SequenceStep};

/// What may be tried instead, the shortest first. Each has fewer steps, or shorter moves, or at last
/// smaller seeds; some are not possible.
pub(super) fn shorter(sequence: &Sequence) -> Vec<Sequence> {
    let steps = sequence.steps();
    let mut all = Vec::new();
    let mut take = |kept: Vec<SequenceStep>| {
        let sequence = Sequence::new(kept);
        if !all.contains(&sequence) {
            all.push(sequence);
        }
    };
    // Half of it, a quarter of it, ..., one step.
    let mut length = steps.len();
    while length > 0 {
        for start in (0..steps.len()).step_by(length) {
            let end = (start + length).min(steps.len());
            take([&steps[..start], &steps[end..]].concat());
        }
        length /= 2;
    }
    // A move and the one that takes it back.
    for (first, last) in pairs(steps.len()) {
        let mut kept = steps.to_vec();
        kept.remove(last);
        kept.remove(first);
        take(kept);
    }
    // Shorter moves, alone and two at once.
    let cuts: [fn(usize) -> usize; 3] = [|_| 1, |count| count / 2, |count| count - 1];
    for count in cuts {
        for (first, last) in pairs(steps.len()) {
            let mut kept = steps.to_vec();
            kept[first] = moved(kept[first], count);
            kept[last] = moved(kept[last], count);
            take(kept);
        }
        for index in 0..steps.len() {
            let mut kept = steps.to_vec();
            kept[index] = moved(kept[index], count);
            take(kept);
        }
    }
    take(small_seeds(steps));
    all.retain(|shorter| shorter != sequence);
    all
}

/// Seeds that say no more than which write is which.
fn small_seeds(steps: &[SequenceStep]) -> Vec<SequenceStep> {
    let mut writes = 0;
    let numbered = |step: &SequenceStep| match step {
        SequenceStep::Write { .. } => {
            writes += 1;
            SequenceStep::Write { seed: writes }
        }
        other => *other,
    };
    steps.iter().map(numbered).collect()
}

fn pairs(length: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..length).flat_map(move |first| (first + 1..length).map(move |last| (first, last)))
}

/// The step, with a shorter move if it is one.
fn moved(step: SequenceStep, shorter: impl Fn(usize) -> usize) -> SequenceStep {
    match step {
        SequenceStep::Up(count) => SequenceStep::Up(shorter(count).max(1)),
        SequenceStep::Down(count) => SequenceStep::Down(shorter(count).max(1)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shrinks as the search does, with a judge that needs no database.
    fn shortest(from: &str, fails: impl Fn(&[SequenceStep]) -> bool) -> String {
        let possible = |sequence: &Sequence| {
            let mut at = 0_usize;
            sequence.steps().iter().all(|step| match step {
                SequenceStep::Up(count) => {
                    at += count;
                    at <= 5
                }
                SequenceStep::Down(count) => at.checked_sub(*count).map(|now| at = now).is_some(),
                _ => true,
            })
        };
        let mut sequence: Sequence = from.parse().unwrap();
        while let Some(next) = shorter(&sequence)
            .into_iter()
            .find(|next| possible(next) && fails(next.steps()))
        {
            sequence = next;
        }
        sequence.to_string()
    }

    /// Whether a write above the boundary is followed by a down across it.
    fn lost_below(steps: &[SequenceStep], boundary: usize) -> bool {
        let (mut at, mut written) = (0, false);
        for step in steps {
            match step {
                SequenceStep::Up(count) => at += count,
                SequenceStep::Down(count) => {
                    at -= count;
                    if at < boundary && written {
                        return true;
                    }
                }
                _ => written |= at >= boundary,
            }
        }
        false
    }

    const LONG: &str = "write seed 1; up 5; down 2; write seed 2; up 1; write seed 3; down 4; up 4";

    #[test]
    fn what_is_needed_stays() {
        let shortest = |boundary| shortest(LONG, |steps| lost_below(steps, boundary));
        assert_eq!(shortest(1), "up 1; write seed 1; down 1");
        assert_eq!(shortest(3), "up 3; write seed 1; down 1");
    }

    #[test]
    fn what_fails_at_once_is_nothing() {
        assert_eq!(shortest(LONG, |_| true), "nothing");
    }
}
