//! Where drawn values come from: numbers, each below a bound, from a seed.
//!
//! A value is a function of the numbers it was made from, so one written once can be drawn fast, and
//! be shrunk as proptest wants it by lowering numbers. The lower a number, the plainer the value.

use std::fmt;
use std::sync::Arc;

use proptest::strategy::{NewTree, SBoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::random::{digest, draw, from_bytes};

/// Values rejected by a foreign strategy in a row before one that does not fit is taken.
const TRIES: u32 = 100;

/// A source of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    state: u64,
    /// Numbers to give instead, then zeros.
    replay: Option<(Vec<u64>, usize)>,
    /// What was given, where somebody wants to know.
    given: Option<Vec<u64>>,
}

impl Choices {
    /// A source of its own for each name, of parts such as table and column.
    pub(crate) fn named(seed: u64, parts: &[impl AsRef<str>]) -> Self {
        let digest = digest(seed, parts);
        let mut state = [0; 8];
        state.copy_from_slice(&digest[..8]);
        Self::from_state(u64::from_le_bytes(state))
    }

    fn from_state(state: u64) -> Self {
        Self {
            state,
            replay: None,
            given: None,
        }
    }

    /// Any number: SplitMix64, see <https://doi.org/10.1145/2714064.2660195>.
    fn any(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let number = match &mut self.replay {
            None => ((u128::from(self.any()) * u128::from(end)) >> 64) as u64,
            Some((numbers, at)) => {
                let number = numbers.get(*at).map_or(0, |number| (*number).min(end - 1));
                *at += 1;
                number
            }
        };
        if let Some(given) = &mut self.given {
            given.push(number);
        }
        number
    }

    /// 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.below(1 << 32) << 32 | self.below(1 << 32)
    }

    /// A position in something of this length, which is not zero.
    pub(crate) fn place(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A length from `least` to `most`.
    pub(crate) fn length(&mut self, least: usize, most: usize) -> usize {
        least + self.place(most - least + 1)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        match high.abs_diff(low).checked_add(1) {
            Some(end) => low.wrapping_add_unsigned(self.below(end)),
            None => self.bits().cast_signed(),
        }
    }

    /// As [`between`](Self::between), of wider numbers.
    pub(crate) fn between_wide(&mut self, low: i128, high: i128) -> i128 {
        let span = high.abs_diff(low);
        match u64::try_from(span)
            .ok()
            .and_then(|span| span.checked_add(1))
        {
            Some(end) => low + i128::from(self.below(end)),
            None => {
                let bits = u128::from(self.bits()) << 64 | u128::from(self.bits());
                let offset = span.checked_add(1).map_or(bits, |end| bits % end);
                low.wrapping_add_unsigned(offset)
            }
        }
    }

    /// True once in `times` draws, never for zero.
    pub(crate) fn one_in(&mut self, times: u32) -> bool {
        times > 0 && self.below(u64::from(times)) + 1 == u64::from(times)
    }

    /// One of several, which are not none.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.place(items.len())]
    }

    /// One of several texts, which are not none.
    pub(crate) fn text(&mut self, texts: &[&'static str]) -> &'static str {
        texts[self.place(texts.len())]
    }
}

/// The text form of some type's values.
#[derive(Clone)]
pub(crate) struct Texts {
    append: Arc<Append>,
    limits: Arc<[String]>,
}

type Append = dyn Fn(&mut Choices, &mut String) + Send + Sync;

impl Texts {
    /// Values that a function appends to a string.
    pub(crate) fn new(draw: impl Fn(&mut Choices, &mut String) + Send + Sync + 'static) -> Self {
        Self {
            append: Arc::new(draw),
            limits: Arc::default(),
        }
    }

    /// The same values, with those at the limits of what is allowed.
    pub(crate) fn with_limits(mut self, limits: impl IntoIterator<Item = String>) -> Self {
        self.limits = limits.into_iter().collect();
        self
    }

    /// The values at the limits of what is allowed, each once: the greatest and the least number,
    /// the longest and the shortest text, every label of an enum.
    pub(crate) fn limits(&self) -> &[String] {
        &self.limits
    }

    /// Values of somebody else's strategy; one that `fits` refuses time and again is taken as it is,
    /// for Postgres to name what it does not satisfy.
    pub(crate) fn foreign(
        strategy: SBoxedStrategy<String>,
        fits: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::new(move |choices, out| {
            let mut seed = [0; 16];
            seed[..8].copy_from_slice(&choices.bits().to_le_bytes());
            seed[8] = 1; // a generator of this kind must not start from zeros
            let mut runner = from_bytes(seed);
            let mut last = None;
            for _ in 0..TRIES {
                last = draw(&mut runner, &strategy).ok().or(last);
                if last.as_deref().is_some_and(&fits) {
                    break;
                }
            }
            out.push_str(last.as_deref().unwrap_or_default());
        })
    }

    /// Appends a value.
    pub(crate) fn append(&self, choices: &mut Choices, out: &mut String) {
        (self.append)(choices, out);
    }

    /// The next value.
    pub(crate) fn draw(&self, choices: &mut Choices) -> String {
        let mut out = String::new();
        self.append(choices, &mut out);
        out
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Texts")
    }
}

impl Strategy for Texts {
    type Tree = Tree;
    type Value = String;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let state = draw(runner, &proptest::num::u64::ANY)?;
        let mut choices = Choices::from_state(state);
        choices.given = Some(Vec::new());
        let current = self.draw(&mut choices);
        Ok(Tree {
            texts: self.clone(),
            numbers: choices.given.unwrap_or_default(),
            current,
            at: 0,
            low: 0,
            before: None,
        })
    }
}

/// A value and the numbers it was made from, each lowered by bisection, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    texts: Texts,
    numbers: Vec<u64>,
    current: String,
    /// The number that is being lowered.
    at: usize,
    /// It is known that it cannot be lower than this.
    low: u64,
    /// The number and the value before the last step.
    before: Option<(u64, String)>,
}

impl ValueTree for Tree {
    type Value = String;

    fn current(&self) -> String {
        self.current.clone()
    }

    fn simplify(&mut self) -> bool {
        while let Some(number) = self.numbers.get_mut(self.at) {
            if self.low >= *number {
                self.at += 1;
                self.low = 0;
                continue;
            }
            let before = *number;
            *number = self.low + (before - self.low) / 2;
            let mut choices = Choices::from_state(0);
            choices.replay = Some((self.numbers.clone(), 0));
            let value = self.texts.draw(&mut choices);
            let value = std::mem::replace(&mut self.current, value);
            self.before = Some((before, value));
            return true;
        }
        false
    }

    fn complicate(&mut self) -> bool {
        let Some((number, value)) = self.before.take() else {
            return false;
        };
        self.low = self.numbers[self.at] + 1;
        self.numbers[self.at] = number;
        self.current = value;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::random::runner;

    #[test]
    fn numbers_reach_their_ends_and_nothing_beyond() {
        let mut choices = Choices::named(1, &["numbers"]);
        let drawn: Vec<i64> = (0..500).map(|_| choices.between(-3, 4)).collect();
        for number in -3..=4 {
            assert!(drawn.contains(&number), "{number}");
        }
        assert!(drawn.iter().all(|number| (-3..=4).contains(number)));
        assert_eq!(choices.between(7, 7), 7);
        for _ in 0..100 {
            choices.between(i64::MIN, i64::MAX);
            let wide = choices.between_wide(-(1 << 70), 1 << 70);
            assert!((-(1 << 70)..=1 << 70).contains(&wide));
        }
        assert!((0..2_000).any(|_| choices.one_in(50)));
        assert!(!(0..100).any(|_| choices.one_in(0)));
        assert!((0..100).all(|_| choices.one_in(1)));
    }

    #[test]
    fn values_shrink_to_the_least_that_still_fails() {
        let texts = Texts::new(|choices, out| {
            let len = choices.length(0, 9);
            for _ in 0..len {
                out.push(char::from(b'a' + choices.below(26) as u8));
            }
        });
        let fails = |value: &str| value.contains('x');
        let mut source = runner(3, &["shrink"]);
        let mut tree = loop {
            let tree = texts
                .new_tree(&mut source)
                .expect("it always gives a value");
            if fails(&tree.current()) {
                break tree;
            }
        };
        assert!(tree.simplify());
        loop {
            let more = if fails(&tree.current()) {
                tree.simplify()
            } else {
                tree.complicate()
            };
            if !more {
                break;
            }
        }
        let least = tree.current();
        assert!(fails(&least), "{least}");
        assert!(least.chars().all(|c| c == 'a' || c == 'x'), "{least}");
    }
}
