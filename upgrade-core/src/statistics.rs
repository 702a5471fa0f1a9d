//! Statistics of small samples that assume nothing about how values are distributed.

/// Fisher's exact test, one-sided: how likely it is that so large a part of `more` has a property, or a
/// larger one, if `less` and `more` have it equally often. Each is the count with the property, of all.
///
/// Between 0 and 1. A pair without samples says nothing, which is 1. A count above its total counts as the
/// total.
pub(crate) fn fisher(less: (u32, u32), more: (u32, u32)) -> f64 {
    let [(a, all_a), (b, all_b)] =
        [less, more].map(|(count, all)| (u64::from(count.min(all)), u64::from(all)));
    let (with, all) = (a + b, all_a + all_b);
    if all == 0 {
        return 1.0;
    }
    // The terms of the hypergeometric distribution, each from its neighbour, away from its middle.
    let term = |count: u64| {
        let ln = ln_choose(with, count) + ln_choose(all - with, all_b - count);
        (ln - ln_choose(all, all_b)).exp()
    };
    // From one count to the next one up.
    let step = |count: u64| {
        let up = (with - count) as f64 * (all_b - count) as f64;
        up / ((count + 1) as f64 * (all + count + 1 - with - all_b) as f64)
    };
    let summed = |begin: f64, steps: &mut dyn Iterator<Item = f64>| {
        let (mut sum, mut term) = (begin, begin);
        for step in steps {
            term *= step;
            sum += term;
            if term <= sum * f64::EPSILON {
                break;
            }
        }
        sum
    };
    if b as f64 * all as f64 > with as f64 * all_b as f64 {
        summed(term(b), &mut (b..with.min(all_b)).map(step)).min(1.0)
    } else if b > with.saturating_sub(all_a) {
        let lowest = with.saturating_sub(all_a);
        let below = summed(
            term(b - 1),
            &mut (lowest..b - 1).rev().map(|at| 1.0 / step(at)),
        );
        (1.0 - below).max(0.0)
    } else {
        1.0
    }
}

/// The logarithm of the number of ways to choose `some` of `all`.
fn ln_choose(all: u64, some: u64) -> f64 {
    ln_factorial(all) - ln_factorial(some) - ln_factorial(all - some)
}

/// The logarithm of a factorial; by Stirling's series where its error is below that of the sum.
fn ln_factorial(n: u64) -> f64 {
    if n < 100 {
        return (2..=n).map(|factor| (factor as f64).ln()).sum();
    }
    let n = n as f64;
    let tau = std::f64::consts::TAU;
    n * n.ln() - n + 0.5 * (tau * n).ln() + 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3))
}

/// The clearest share of signs in favour that is weighed. A share of 1 would never recover from a single sign
/// against it.
const CLEAREST: f64 = 0.98;
/// The number of shares that are mixed.
const SHARES: u32 = 48;

/// The logarithm of the e-value of signs against "each is in favour with a chance of at most one half".
///
/// Let `p` be the chance of a sign in favour. The factor `2p` for each one in favour and `2(1-p)` for each one
/// against has a mean of at most 1 where the true chance is at most one half, for every `p` of at least one
/// half. The e-value is the mean of their products over shares `p` spread evenly from 0.5 to 0.98:
///
/// ```text
/// e = mean over p of (2p)^favour * (2(1-p))^against
/// ```
///
/// It is a test supermartingale, also for signs that depend on earlier ones, as long as the chance stays at or
/// below one half given all of those. So it ever reaches `t` with a chance of at most `1/t` (Ville 1939; the
/// mixture is that of Robbins 1970), and may be evaluated after every sign.
pub(crate) fn ln_e_value(favour: usize, against: usize) -> f64 {
    let width = (CLEAREST - 0.5) / f64::from(SHARES);
    let products: Vec<f64> = (0..SHARES)
        .map(|at| 0.5 + (f64::from(at) + 0.5) * width)
        .map(|p| favour as f64 * (2.0 * p).ln() + against as f64 * (2.0 * (1.0 - p)).ln())
        .collect();
    let largest = products.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = products.iter().map(|ln| (ln - largest).exp()).sum();
    largest + (sum / f64::from(SHARES)).ln()
}

/// The fewest signs in favour, of all, with which the e-value reaches a threshold; `None` where all of them are
/// too few.
pub(crate) fn signs_needed(all: usize, threshold: f64) -> Option<usize> {
    let reaches = |favour: usize| ln_e_value(favour, all - favour) >= threshold.ln();
    if all == 0 || !reaches(all) {
        return None;
    }
    // It grows with the signs in favour.
    let (mut few, mut enough) = (0, all);
    while few + 1 < enough {
        let middle = usize::midpoint(few, enough);
        match reaches(middle) {
            true => enough = middle,
            false => few = middle,
        }
    }
    Some(enough)
}

/// The chance of at least `least` successes in `all` trials with a chance of `p` each.
pub(crate) fn at_least(least: usize, all: usize, p: f64) -> f64 {
    if least == 0 {
        return 1.0;
    }
    if p <= 0.0 || least > all {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    let term = |count: usize| {
        let ln = ln_choose(all as u64, count as u64);
        (ln + count as f64 * p.ln() + (all - count) as f64 * (1.0 - p).ln()).exp()
    };
    (least..=all).map(term).sum::<f64>().min(1.0)
}

/// The value in the middle; the mean of the two in the middle of an even number. The slice must be sorted and
/// not be empty.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fisher_is_that_of_the_tables() {
        // The tail of each table, counted by hand: ways to choose, over all ways.
        for (less, more, expected) in [
            ((1, 4), (3, 4), 17.0 / 70.0),
            ((0, 5), (5, 5), 1.0 / 252.0),
            ((0, 10), (2, 10), 45.0 / 190.0),
            ((3, 4), (1, 4), 69.0 / 70.0),
            ((0, 0), (3, 4), 1.0),
            ((0, 9), (0, 9), 1.0),
        ] {
            let p = fisher(less, more);
            assert!((p - expected).abs() < 1e-12, "{less:?} {more:?}: {p}");
        }
        // All of many and none of many: so unlikely that only the logarithms can be multiplied.
        let p = fisher((0, 300), (300, 300));
        assert!(p > 0.0 && p < 1e-170, "{p}");
        let all = u32::MAX;
        assert_eq!(
            (fisher((0, all), (all, all)), fisher((all, all), (0, all))),
            (0.0, 1.0)
        );
        assert_eq!(fisher((all, all), (1, all)), 1.0);
    }

    /// The tail of the distribution, term by term.
    fn summed((a, all_a): (u32, u32), (b, all_b): (u32, u32)) -> f64 {
        let [a, all_a, b, all_b] = [a, all_a, b, all_b].map(u64::from);
        let with = a + b;
        let term = |count| {
            let rest = ln_choose(all_a, with - count) - ln_choose(all_a + all_b, with);
            (ln_choose(all_b, count) + rest).exp()
        };
        (b..=with.min(all_b)).map(term).sum()
    }

    #[test]
    fn the_e_value_is_the_integral_that_it_stands_for() {
        // Without signs 1; after one in favour the mean of 2p, which is 1.48.
        assert!(ln_e_value(0, 0).abs() < 1e-12);
        assert!((ln_e_value(1, 0).exp() - 1.48).abs() < 1e-9);
        assert!((ln_e_value(0, 1).exp() - 0.52).abs() < 1e-9);
        // The integral of (2p)^12 from 0.5 to 0.98, over 0.48.
        let exact = 4096.0 * (0.98_f64.powi(13) - 0.5_f64.powi(13)) / 13.0 / 0.48;
        assert!((ln_e_value(12, 0).exp() / exact - 1.0).abs() < 3e-3);
        assert_eq!(signs_needed(0, 200.0), None);
        let all = (1..).find(|all| signs_needed(*all, 200.0).is_some());
        assert_eq!(all, Some(11));
    }

    #[test]
    fn fair_signs_ever_reach_a_threshold_as_rarely_as_it_promises() {
        // Exact: the chance of every count that has not crossed yet, sign by sign.
        let threshold = 20.0;
        let (mut chances, mut crossed) = (vec![1.0_f64], 0.0);
        for all in 1..=600 {
            let mut next = vec![0.0; all + 1];
            for (favour, chance) in chances.iter().enumerate() {
                next[favour] += chance / 2.0;
                next[favour + 1] += chance / 2.0;
            }
            if let Some(needed) = signs_needed(all, threshold) {
                crossed += next[needed..].iter().sum::<f64>();
                next[needed..].fill(0.0);
            }
            chances = next;
        }
        assert!(crossed <= 1.0 / threshold, "{crossed}");
        assert!(crossed > 0.2 / threshold, "it has no power: {crossed}");
    }

    #[test]
    fn the_tail_of_the_binomial() {
        assert!((at_least(1, 2, 0.5) - 0.75).abs() < 1e-12);
        assert!((at_least(2, 3, 0.1) - 0.028).abs() < 1e-12);
        assert_eq!(at_least(0, 3, 0.0), 1.0);
        assert_eq!(at_least(4, 3, 1.0), 0.0);
    }

    proptest! {
        #[test]
        fn more_signs_in_favour_weigh_more(all in 1..500_usize, favour in 0..499_usize) {
            let favour = favour.min(all - 1);
            let more = ln_e_value(favour + 1, all - favour - 1);
            prop_assert!(ln_e_value(favour, all - favour) < more);
        }

        #[test]
        fn fisher_is_the_sum_of_its_tail(all_a in 0..300_u32, all_b in 0..300_u32, x in 0.0..1.0, y in 0.0..1.0) {
            let (a, b) = ((f64::from(all_a) * x) as u32, (f64::from(all_b) * y) as u32);
            let (p, expected) = (fisher((a, all_a), (b, all_b)), summed((a, all_a), (b, all_b)));
            prop_assert!((p - expected).abs() <= 1e-9, "{p} {expected}");
        }

        #[test]
        fn one_more_is_less_likely(all in 1..200_u32, a in 0..200_u32, b in 0..199_u32) {
            let (a, b) = (a.min(all), b.min(all - 1));
            prop_assert!(fisher((a, all), (b + 1, all)) <= fisher((a, all), (b, all)) + 1e-12);
        }
    }
}
