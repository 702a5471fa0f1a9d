//! Where drawn values come from: numbers, each below a bound, from a seed.
//!
//! A value is a function of the numbers it was made from. The lower a number, the plainer the value.

use std::fmt;
use std::sync::Arc;

use proptest::strategy::SBoxedStrategy;

use super::random::{digest, draw, from_bytes};

/// Values rejected by a foreign strategy in a row before one that does not fit is taken.
const TRIES: u32 = 100;

/// A source of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    state: u64,
}

impl Choices {
    /// A separate source for each name, of parts such as table and column.
    pub(crate) fn named(seed: u64, parts: &[impl AsRef<str>]) -> Self {
        let digest = digest(seed, parts);
        let mut state = [0; 8];
        state.copy_from_slice(&digest[..8]);
        Self {
            state: u64::from_le_bytes(state),
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
        ((u128::from(self.any()) * u128::from(end)) >> 64) as u64
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
