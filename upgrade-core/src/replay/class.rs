//! What baseline and secondary have in common at a place.

use std::cmp::Ordering;

use serde_json::Value;

/// The values that a place has in one answer of each side, in the order of [`Side`](crate::side::Side).
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample<'s> {
    /// The request that it belongs to, by its number; repeats of a request share it.
    pub(super) request: usize,
    /// Which of all answers it is.
    pub(super) at: usize,
    pub(super) baseline: &'s [Value],
    pub(super) secondary: &'s [Value],
    pub(super) candidate: &'s [Value],
}

/// How well baseline and secondary agree, the strictest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// The same values.
    Equal,
    /// Numbers differ by less than a millionth.
    Close,
    /// The same values in any order.
    Multiset,
    /// Always one value on each side, and another one on the other: a host name, a version.
    Instance,
    /// Anything.
    Noisy,
}

impl Class {
    /// The class of a place over all of its samples.
    pub(super) fn of(samples: &[Sample<'_>]) -> Self {
        let all = |agree: fn(&[Value], &[Value]) -> bool| {
            let mut samples = samples.iter();
            samples.all(|sample| agree(sample.baseline, sample.secondary))
        };
        if all(equal) {
            Self::Equal
        } else if all(close) {
            Self::Close
        } else if all(same_multiset) {
            Self::Multiset
        } else if samples.windows(2).all(|pair| {
            equal(pair[0].baseline, pair[1].baseline) && equal(pair[0].secondary, pair[1].secondary)
        }) {
            Self::Instance
        } else {
            Self::Noisy
        }
    }

    /// Whether the candidate's value is the baseline's or the secondary's, as far as the class tells.
    pub(super) fn holds(self, sample: &Sample<'_>) -> bool {
        let agree = match self {
            Self::Equal | Self::Noisy | Self::Instance => equal,
            Self::Close => close,
            Self::Multiset => same_multiset,
        };
        agree(sample.candidate, sample.baseline) || agree(sample.candidate, sample.secondary)
    }
}

/// What floats of one value may differ by, relatively, when they are computed in another order.
const ROUNDED: f64 = 1e-12;
/// What is close, relatively.
const CLOSE: f64 = 1e-6;

pub(super) fn equal(one: &[Value], other: &[Value]) -> bool {
    pairwise(one.iter(), other.iter(), ROUNDED)
}

pub(super) fn close(one: &[Value], other: &[Value]) -> bool {
    pairwise(one.iter(), other.iter(), CLOSE)
}

pub(super) fn same_multiset(one: &[Value], other: &[Value]) -> bool {
    let sorted = |values: &'_ [Value]| {
        let mut sorted: Vec<Value> = values.to_vec();
        sorted.sort_by(order);
        sorted
    };
    one.len() == other.len() && pairwise(sorted(one).iter(), sorted(other).iter(), CLOSE)
}

fn pairwise<'v>(
    one: impl ExactSizeIterator<Item = &'v Value>,
    other: impl ExactSizeIterator<Item = &'v Value>,
    within: f64,
) -> bool {
    one.len() == other.len() && one.zip(other).all(|(one, other)| same(one, other, within))
}

fn same(one: &Value, other: &Value, within: f64) -> bool {
    if one == other {
        return true;
    }
    let (Some(a), Some(b)) = (one.as_f64(), other.as_f64()) else {
        return false;
    };
    // Two integers of which one is an id are close to each other, and not the same.
    let integers = !(one.is_f64() || other.is_f64());
    !integers && (a - b).abs() <= within * a.abs().max(b.abs())
}

/// An order of all values: numbers by size, the rest by text.
fn order(one: &Value, other: &Value) -> Ordering {
    match (one.as_f64(), other.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => one.to_string().cmp(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn class(samples: &[(Value, Value)]) -> Class {
        let list = |value: &Value| value.as_array().unwrap().clone();
        let values: Vec<_> = samples.iter().map(|(b, s)| (list(b), list(s))).collect();
        let samples: Vec<Sample<'_>> = values
            .iter()
            .enumerate()
            .map(|(request, (baseline, secondary))| Sample {
                request,
                at: request,
                baseline,
                secondary,
                candidate: baseline,
            })
            .collect();
        assert!(
            samples
                .iter()
                .all(|sample| Class::of(&samples).holds(sample))
        );
        Class::of(&samples)
    }

    #[test]
    fn the_strictest_class_that_holds_is_taken() {
        for (samples, expected) in [
            (vec![(json!([1, "a"]), json!([1, "a"]))], Class::Equal),
            (vec![(json!([0.3]), json!([0.1 + 0.2]))], Class::Equal),
            (vec![(json!([1.0]), json!([1]))], Class::Equal),
            (vec![(json!([1.0]), json!([1.000_000_1]))], Class::Close),
            (
                vec![(json!([3, 1.0, "a"]), json!(["a", 1.000_000_1, 3]))],
                Class::Multiset,
            ),
            (
                vec![(json!(["x"]), json!(["y"])), (json!(["x"]), json!(["y"]))],
                Class::Instance,
            ),
            (
                vec![(json!(["x"]), json!(["y"])), (json!(["z"]), json!(["y"]))],
                Class::Noisy,
            ),
            (
                vec![
                    (json!([1_000_000_000]), json!([1_000_000_001])),
                    (json!([1]), json!([1])),
                ],
                Class::Noisy,
            ),
            (
                vec![(json!([1]), json!([])), (json!([1]), json!([1]))],
                Class::Noisy,
            ),
        ] {
            assert_eq!(class(&samples), expected, "{samples:?}");
        }
    }
}
