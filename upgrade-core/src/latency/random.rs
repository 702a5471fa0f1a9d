//! The order of the sides.

use crate::side::Side;

/// Random numbers from a seed: SplitMix64.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below this one, which is small.
    fn below(&mut self, bound: u64) -> usize {
        (self.next() % bound) as usize
    }

    /// Between 0 and 1, never 0.
    #[cfg(test)]
    pub(super) fn fraction(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// All sides in a random order.
    pub(super) fn sides(&mut self) -> [Side; 3] {
        let mut sides = Side::ALL;
        sides.swap(2, self.below(3));
        sides.swap(1, self.below(2));
        sides
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_order_is_as_frequent_and_a_seed_repeats_them() {
        let mut random = Random::new(7);
        let orders: Vec<[Side; 3]> = (0..6000).map(|_| random.sides()).collect();
        let mut counts: BTreeMap<[Side; 3], u32> = BTreeMap::new();
        for order in &orders {
            *counts.entry(*order).or_default() += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(
            counts.values().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
        assert_eq!(Random::new(7).sides(), orders[0]);
    }
}
