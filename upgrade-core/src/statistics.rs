//! Tests of small samples that assume nothing about how values are distributed.

/// Fisher's exact test, one-sided: how likely it is that so large a part of `more` has a property, or a
/// larger one, if `less` and `more` have it equally often. Each is the count with the property, of all.
///
/// Between 0 and 1. A pair without samples says nothing, which is 1. A count above its total counts as the
/// total.
pub(crate) fn fisher(less: (u32, u32), more: (u32, u32)) -> f64 {
    let [(a, all_a), (b, all_b)] =
        [less, more].map(|(count, all)| (u64::from(count.min(all)), u64::from(all)));
    let (with, all) = (a + b, all_a + all_b);
    // The terms of the hypergeometric distribution from the observed count up, each from the one before.
    let most = with.min(all_b);
    let ln = ln_choose(with, b) + ln_choose(all - with, all_b - b) - ln_choose(all, all_b);
    let mut term = ln.exp();
    let mut sum = 0.0;
    for count in b..=most {
        sum += term;
        let up = (with - count) as f64 * (all_b - count) as f64;
        let down = (count + 1) as f64 * (all + count + 1 - with - all_b) as f64;
        term *= up / down;
        if term <= sum * f64::EPSILON {
            break;
        }
    }
    sum.clamp(0.0, 1.0)
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
        // All of a thousand and none of a thousand: one way of choosing 1000 of 2000.
        let p = fisher((0, 1000), (1000, 1000));
        assert!(p > 0.0 && p < 1e-300, "{p}");
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

    proptest! {
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
