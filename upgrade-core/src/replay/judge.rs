//! Judges the candidate's answers by what baseline and secondary have in common.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::class::{Class, Sample, equal, same_multiset};
use super::places::{Place, Places};
use super::shape::{shape_of, type_of};
use crate::finding::Severity;
use crate::statistics::fisher;

/// How unlikely a frequency must be, if nothing changed.
pub(super) const UNLIKELY: f64 = 0.001;
/// How likely two runs may agree in an order by chance before another order is only a doubt.
const CHANCE: f64 = 0.01;
/// In how many answers a place must have been seen before what it never was says something.
const LEARNED: usize = 3;
/// By which factor numbers that are noise must differ to be others: seconds became milliseconds.
const MAGNITUDE: f64 = 100.0;

/// How an answer differs. It is a part of the key of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Value,
    Order,
    Size,
    Shape,
    Frequency,
    Type,
    Missing,
    New,
}

/// A difference at one place of the answers of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) place: String,
    pub(super) kind: Kind,
    pub(super) weight: Weight,
}

/// In which answers something differs, and how much that says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) severity: Severity,
    /// The one request that differs, where it is only one.
    pub(super) request: Option<usize>,
    pub(super) differing: usize,
    pub(super) of: usize,
    /// The first answer that differs.
    pub(super) at: usize,
}

impl Weight {
    /// Weighs a difference at a place where baseline and secondary agree, or always agree in what is
    /// compared.
    ///
    /// A request counts if each of its repeats differs: noise that is rare repeats rarely. One such request
    /// is an error of that request: a second replay has to find the same one. Only single repeats are a
    /// doubt.
    pub(super) fn of<'s, 'v: 's>(
        samples: impl IntoIterator<Item = &'s Sample<'v>>,
        differs: impl Fn(&Sample<'_>) -> bool,
    ) -> Option<Self> {
        let mut requests: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let (mut differing, mut of, mut first) = (0, 0, None);
        for sample in samples {
            let (request_differing, request_of) = requests.entry(sample.request).or_default();
            *request_of += 1;
            of += 1;
            if differs(sample) {
                *request_differing += 1;
                differing += 1;
                first.get_or_insert((sample.request, sample.at));
            }
        }
        let (first_request, at) = first?;
        let whole = requests
            .iter()
            .filter(|(_, (differing, of))| differing == of);
        let whole: Vec<usize> = whole.map(|(request, _)| *request).collect();
        Some(Self {
            severity: match whole[..] {
                [] => Severity::Warning,
                _ => Severity::Error,
            },
            request: match whole[..] {
                [] => Some(first_request),
                [request] => Some(request),
                _ => None,
            },
            differing,
            of,
            at,
        })
    }

    fn everywhere(samples: &[Sample<'_>], severity: Severity) -> Option<Self> {
        Some(Self {
            severity,
            request: None,
            differing: samples.len(),
            of: samples.len(),
            at: samples.first()?.at,
        })
    }
}

/// The answers to one request, of which all sides have places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answers<'a> {
    pub(super) request: usize,
    pub(super) at: usize,
    pub(super) baseline: &'a Places,
    pub(super) secondary: &'a Places,
    pub(super) candidate: &'a Places,
}

/// Judges the places of answers to one endpoint, all with the same status.
pub(super) fn differences(answers: &[Answers<'_>]) -> Vec<Difference> {
    let mut known = BTreeSet::new();
    for of in answers {
        known.extend(of.baseline.keys());
        known.extend(of.secondary.keys());
        known.extend(of.candidate.keys());
    }
    // What stands together in an array is judged after everything in the array.
    let (whole, single): (Vec<&Place>, Vec<&Place>) =
        known.into_iter().partition(|place| place.is_whole());
    let mut found: Vec<Difference> = Vec::new();
    for place in single {
        let ends_all = |difference: &Difference| {
            matches!(
                difference.kind,
                Kind::Type | Kind::Missing | Kind::New | Kind::Size
            ) && place.is_within(&difference.place)
                && place.text != difference.place
        };
        if !found.iter().any(ends_all) {
            found.extend(at_place(place, answers));
        }
    }
    for place in whole {
        let array = place.parent().unwrap_or_default();
        let inside = |difference: &Difference| {
            difference.place.starts_with(array) || array.starts_with(&difference.place)
        };
        if !found.iter().any(inside) {
            found.extend(at_place(place, answers));
        }
    }
    found
}

fn values<'p>(places: &'p Places, place: &Place) -> &'p [Value] {
    places.get(place).map_or(&[], Vec::as_slice)
}

/// How many values a place has and how many it could have: one in each object that it is in.
fn presence(places: &Places, place: &Place) -> (usize, usize) {
    let of = |text: &str| places.get(text).map_or(0, Vec::len);
    let own = values(places, place).len();
    match place.parent() {
        Some(parent) if !place.is_element() => (own, of(parent)),
        _ => (own, own.max(1)),
    }
}

fn at_place(place: &Place, answers: &[Answers<'_>]) -> Option<Difference> {
    let samples: Vec<Sample<'_>> = answers
        .iter()
        .map(|of| Sample {
            request: of.request,
            at: of.at,
            baseline: values(of.baseline, place),
            secondary: values(of.secondary, place),
            candidate: values(of.candidate, place),
        })
        .collect();
    let found = |kind, weight| {
        Some(Difference {
            place: place.text.clone(),
            kind,
            weight,
        })
    };
    let olds = || {
        samples
            .iter()
            .flat_map(|of| of.baseline.iter().chain(of.secondary))
    };
    if olds().next().is_none() {
        let has = |sample: &&Sample<'_>| !sample.candidate.is_empty();
        let new: Vec<Sample<'_>> = samples.iter().filter(has).copied().collect();
        return found(Kind::New, Weight::everywhere(&new, Severity::Note)?);
    }
    if place.is_element() {
        if let Some(weight) = size(&samples) {
            return found(Kind::Size, weight);
        }
    } else if let Some(weight) = missing(place, answers, &samples) {
        return found(Kind::Missing, weight);
    }
    let types: BTreeSet<&str> = olds().map(type_of).collect();
    let other_type = |sample: &Sample<'_>| {
        let mut values = sample.candidate.iter();
        values.any(|value| !types.contains(type_of(value)))
    };
    if let Some(weight) = Weight::of(&samples, other_type) {
        return found(Kind::Type, weight);
    }
    let (kind, weight) = value(place, &samples)?;
    found(kind, weight)
}

/// A place that is in every object that it could be in is missing in one of the candidate.
fn missing(place: &Place, answers: &[Answers<'_>], samples: &[Sample<'_>]) -> Option<Weight> {
    let complete = |places: &Places| {
        let (own, of) = presence(places, place);
        own >= of
    };
    let always = answers
        .iter()
        .all(|of| complete(of.baseline) && complete(of.secondary));
    if !always {
        return None;
    }
    let lacking: BTreeSet<usize> = answers
        .iter()
        .filter(|of| !complete(of.candidate))
        .map(|of| of.at)
        .collect();
    Weight::of(samples, |sample| lacking.contains(&sample.at))
}

/// The number of elements, where baseline and secondary always have the same.
fn size(samples: &[Sample<'_>]) -> Option<Weight> {
    let agree = samples
        .iter()
        .all(|of| of.baseline.len() == of.secondary.len());
    if agree {
        return Weight::of(samples, |of| of.candidate.len() != of.baseline.len());
    }
    let old = samples
        .iter()
        .all(|of| !of.baseline.is_empty() && !of.secondary.is_empty());
    let new = samples.iter().all(|of| of.candidate.is_empty());
    if old && new && samples.len() >= LEARNED {
        return Weight::everywhere(samples, Severity::Error);
    }
    None
}

fn value(place: &Place, samples: &[Sample<'_>]) -> Option<(Kind, Weight)> {
    let class = Class::of(samples);
    match class {
        Class::Equal | Class::Close | Class::Multiset => {
            let mut weight = Weight::of(samples, |of| !class.holds(of))?;
            let ordered = samples
                .iter()
                .filter(|of| !class.holds(of))
                .all(|of| same_multiset(of.candidate, of.baseline));
            if ordered && same_order_by_chance(samples) > CHANCE {
                weight.severity = Severity::Warning;
            }
            Some((if ordered { Kind::Order } else { Kind::Value }, weight))
        }
        // Its type is judged already.
        Class::Instance => None,
        Class::Noisy if place.is_whole() => None,
        Class::Noisy => noisy(samples),
    }
}

/// How likely two runs give all these lists in the same order if that is random: the product of 1/k! over lists of
/// k different values. Lists of the same values count once: a process may order them alike as long as it lives.
fn same_order_by_chance(samples: &[Sample<'_>]) -> f64 {
    let values = |of: &Sample<'_>| of.baseline.iter().map(Value::to_string).collect();
    let lists: BTreeSet<BTreeSet<String>> = samples.iter().map(values).collect();
    let orders = lists.iter().flat_map(|list| 1..=list.len());
    orders.map(|number| 1.0 / number as f64).product()
}

fn noisy(samples: &[Sample<'_>]) -> Option<(Kind, Weight)> {
    let olds = || {
        samples
            .iter()
            .flat_map(|of| of.baseline.iter().chain(of.secondary))
    };
    let news = || samples.iter().flat_map(|of| of.candidate);
    let enough = samples.len() >= LEARNED && news().count() >= LEARNED;
    if enough {
        let learned: BTreeSet<String> = olds().map(shape_of).collect();
        if news().all(|value| !learned.contains(&shape_of(value)))
            || other_magnitude(olds(), news())
        {
            return Some((Kind::Shape, Weight::everywhere(samples, Severity::Error)?));
        }
    }
    let count = |differs: &dyn Fn(&Sample<'_>) -> bool| {
        u32::try_from(samples.iter().filter(|of| differs(of)).count()).unwrap_or(u32::MAX)
    };
    let all = count(&|_| true);
    let old = count(&|of| !equal(of.baseline, of.secondary));
    let differs = |of: &Sample<'_>| !Class::Noisy.holds(of);
    if fisher((old, all), (count(&differs), all)) < UNLIKELY {
        let mut weight = Weight::of(samples, differs)?;
        weight.severity = Severity::Error;
        weight.request = None;
        return Some((Kind::Frequency, weight));
    }
    None
}

/// Whether all numbers of the candidate are larger, or smaller, by far.
fn other_magnitude<'v>(
    old: impl Iterator<Item = &'v Value>,
    new: impl Iterator<Item = &'v Value>,
) -> bool {
    let (Some(old), Some(new)) = (sizes(old), sizes(new)) else {
        return false;
    };
    new.0 > old.1 * MAGNITUDE && old.1 > 0.0 || new.1 * MAGNITUDE < old.0
}

/// The least and the largest of numbers, without their signs; `None` if there is anything else.
fn sizes<'v>(mut values: impl Iterator<Item = &'v Value>) -> Option<(f64, f64)> {
    values.try_fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
        let size = value.as_f64()?.abs();
        Some((least.min(size), most.max(size)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Response;
    use crate::replay::Options;
    use crate::replay::places::places;
    use serde_json::json;

    /// Answers of the three sides, each to another request.
    fn judged(answers: &[[Value; 3]]) -> Vec<(String, Kind, Severity)> {
        let of = |body: &Value| {
            let response = Response::new(200).with_json(body);
            places(&response, &Options::default()).unwrap()
        };
        let places: Vec<[Places; 3]> = answers
            .iter()
            .map(|bodies| bodies.each_ref().map(of))
            .collect();
        let answers: Vec<Answers<'_>> = places
            .iter()
            .enumerate()
            .map(|(request, [baseline, secondary, candidate])| Answers {
                request,
                at: request,
                baseline,
                secondary,
                candidate,
            })
            .collect();
        differences(&answers)
            .into_iter()
            .map(|found| (found.place, found.kind, found.weight.severity))
            .collect()
    }

    /// One answer of which baseline and secondary agree.
    fn one(old: Value, new: Value) -> Vec<(String, Kind, Severity)> {
        judged(&[[old.clone(), old, new]])
    }

    #[test]
    fn each_kind_of_difference_is_named_once() {
        for (old, new, place, kind) in [
            (json!({"a": 1}), json!({"a": 2}), "$.a", Kind::Value),
            (json!({"a": 1}), json!({"a": "1"}), "$.a", Kind::Type),
            (json!({"a": 1}), json!({"a": null}), "$.a", Kind::Type),
            (
                json!({"a": {"b": {"c": 1}}}),
                json!({}),
                "$.a",
                Kind::Missing,
            ),
            (json!({"a": {"b": 1}}), json!({"a": "x"}), "$.a", Kind::Type),
            (
                json!([1, 2, 3, 4, 5]),
                json!([2, 1, 3, 4, 5]),
                "$[]",
                Kind::Order,
            ),
            (
                json!([{"a": 1}, {"a": 2}]),
                json!([{"a": 1}]),
                "$[]",
                Kind::Size,
            ),
            (
                json!([{"a": 1}, {"a": 2}]),
                json!([{"a": 1}, {}]),
                "$[].a",
                Kind::Missing,
            ),
            (json!([1]), json!([]), "$[]", Kind::Size),
        ] {
            let expected = (place.to_owned(), kind, Severity::Error);
            assert_eq!(one(old.clone(), new), [expected], "{old}");
        }
        let new = one(json!({"a": 1}), json!({"a": 1, "b": {"c": 2}}));
        assert_eq!(new, [("$.b".to_owned(), Kind::New, Severity::Note)]);
    }

    #[test]
    fn an_order_in_which_two_runs_may_agree_by_chance_is_a_doubt() {
        let pair = |one: u32, other: u32| {
            let old = json!([one, other]);
            [old.clone(), old, json!([other, one])]
        };
        let order = |severity| [("$[]".to_owned(), Kind::Order, severity)];
        assert_eq!(judged(&[pair(1, 2)]), order(Severity::Warning));
        // The same two values tell nothing new.
        assert_eq!(
            judged(&[(); 9].map(|()| pair(1, 2))),
            order(Severity::Warning)
        );
        let others: Vec<_> = (0..7).map(|number| pair(number, 10 + number)).collect();
        assert_eq!(judged(&others), order(Severity::Error));
    }

    #[test]
    fn values_that_change_their_partners_are_found_in_shuffled_arrays() {
        let shuffled = [
            json!([{"a": 1, "b": 2}, {"a": 3, "b": 4}]),
            json!([{"a": 3, "b": 4}, {"a": 1, "b": 2}]),
            json!([{"a": 1, "b": 4}, {"a": 3, "b": 2}]),
        ];
        let expected = ("$ as a whole".to_owned(), Kind::Value, Severity::Error);
        assert_eq!(judged(&[shuffled]), [expected]);
    }

    #[test]
    fn noise_is_judged_by_its_shape() {
        let clock = |new: [Value; 4]| {
            let answers: Vec<[Value; 3]> = new
                .into_iter()
                .enumerate()
                .map(|(at, new)| {
                    [
                        json!({"t": 1000 + at}),
                        json!({"t": 1007 + at}),
                        json!({"t": new}),
                    ]
                })
                .collect();
            let found = judged(&answers);
            found.first().map(|(_, kind, severity)| (*kind, *severity))
        };
        let numbers = |all: [u64; 4]| all.map(Value::from);
        assert_eq!(clock(numbers([1, 2000, 3000, 4000])), None);
        let error = |kind| Some((kind, Severity::Error));
        assert_eq!(
            clock(numbers([1_000_000, 1_000_001, 1_000_002, 1_000_003])),
            error(Kind::Shape)
        );
        assert_eq!(
            clock([0.5, 1000.5, 1001.5, 0.25].map(Value::from)),
            error(Kind::Shape)
        );
        assert_eq!(
            clock(["a", "b", "c", "d"].map(Value::from)),
            error(Kind::Type)
        );
    }

    #[test]
    fn a_name_of_an_instance_may_be_another_one() {
        let host =
            |new: Value| judged(&[[json!({"h": "a-1"}), json!({"h": "b-2"}), json!({"h": new})]]);
        assert_eq!(host(json!("quite another")), []);
        assert_eq!(host(json!(7))[0].1, Kind::Type);
    }

    #[test]
    fn a_repeat_that_holds_makes_a_difference_a_doubt() {
        let differs = [false, true];
        let sample = |at| Sample {
            request: 0,
            at,
            baseline: &[],
            secondary: &[],
            candidate: &[],
        };
        let samples = [sample(0), sample(1)];
        let weight = Weight::of(&samples, |of| differs[of.at]).unwrap();
        assert_eq!(
            (weight.severity, weight.differing, weight.of),
            (Severity::Warning, 1, 2)
        );
        assert_eq!(
            Weight::of(&samples, |_| true).unwrap().severity,
            Severity::Error
        );
        assert_eq!(Weight::of(&samples, |_| false), None);
    }
}
