//! What a system holds beside its rows: where its sequences stand, its large objects, the order in
//! which its columns are shown.

use serde::{Deserialize, Serialize};

use super::Observation;
use crate::finding::{Finding, Severity};
use crate::subject::{Subject, TableRef};

/// Where a sequence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SequenceState {
    /// The number that was handed out last, or will be first.
    pub last_value: i64,
    /// Whether that number was handed out.
    pub is_called: bool,
    /// The step from one number to the next; it may be negative.
    pub increment: i64,
    /// The number that a new sequence would begin with.
    pub start: i64,
    /// Whether it begins again at its end.
    pub cycles: bool,
}

/// The column that a sequence counts for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counted {
    /// The column: `public.orders.id`.
    pub column: String,
    /// The highest number in the column; the lowest one where the sequence goes down.
    pub furthest: i64,
}

impl Counted {
    /// A column with the number in it that is furthest on.
    pub fn new(column: impl Into<String>, furthest: i64) -> Self {
        Self {
            column: column.into(),
            furthest,
        }
    }
}

/// The large objects of a system, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LargeObjects {
    /// How many there are.
    pub count: u64,
    /// A sum of hashes over their content; `None` where that may not be read.
    pub sum: Option<String>,
}

impl SequenceState {
    /// A sequence that begins at 1, goes up by 1, and stands here.
    pub fn new(last_value: i64, is_called: bool) -> Self {
        Self {
            last_value,
            is_called,
            increment: 1,
            start: 1,
            cycles: false,
        }
    }

    /// Whether, standing here, it would hand out a number that it had handed out when it stood at
    /// `earlier`. A sequence that begins again at its end is meant to.
    pub fn repeats(&self, earlier: &Self) -> bool {
        if self.cycles || earlier.cycles || earlier.increment == 0 {
            return false;
        }
        if !earlier.is_called && earlier.last_value == earlier.start {
            return false;
        }
        let step = i128::from(earlier.increment);
        let last_given = if earlier.is_called {
            i128::from(earlier.last_value)
        } else {
            i128::from(earlier.last_value) - step
        };
        if step > 0 {
            self.next() <= last_given
        } else {
            self.next() >= last_given
        }
    }

    /// The number that it hands out next.
    fn next(&self) -> i128 {
        let step = if self.is_called { self.increment } else { 0 };
        i128::from(self.last_value) + i128::from(step)
    }
}

impl LargeObjects {
    /// `count` objects, with this sum over their content.
    pub fn new(count: u64, sum: Option<String>) -> Self {
        Self { count, sum }
    }
}

impl Observation {
    /// The sequences of both that would hand out a number again in `actual`, each as an error
    /// `down/sequence-reused`. One that has gone on is no difference: numbers are handed out also by
    /// what is rolled back.
    pub fn sequence_findings(&self, actual: &Self) -> Vec<Finding> {
        self.sequences
            .iter()
            .filter_map(|(name, before)| {
                let now = actual
                    .sequences
                    .get(name)
                    .filter(|now| now.repeats(before))?;
                let message = format!(
                    "stood at {}, and would hand out {} next",
                    before.last_value,
                    now.next()
                );
                Some(Finding::error(
                    "down/sequence-reused",
                    format!("sequence {name}"),
                    message,
                ))
            })
            .collect()
    }

    /// The sequences of `actual` that would hand out a number that their column has or has passed, each
    /// as an error `up/sequence-behind`. One whose column was in that state before is left out.
    pub(crate) fn behind_findings(&self, actual: &Self) -> Vec<Finding> {
        let behind = |seen: &Self| -> Vec<(String, Counted, i128)> {
            let all = seen.counted.iter().filter_map(|(name, counted)| {
                let state = seen.sequences.get(name).filter(|state| !state.cycles)?;
                let (next, furthest) = (state.next(), i128::from(counted.furthest));
                let passed = if state.increment > 0 {
                    next <= furthest
                } else {
                    next >= furthest
                };
                passed.then(|| (name.clone(), counted.clone(), next))
            });
            all.collect()
        };
        let before = behind(self);
        let was = |column: &str| {
            before
                .iter()
                .any(|(_, counted, _)| counted.column == column)
        };
        let now = behind(actual).into_iter();
        now.filter(|(_, counted, _)| !was(&counted.column))
            .map(|(name, counted, next)| {
                let message = format!(
                    "would hand out {next} next, and column {} has {} already",
                    counted.column, counted.furthest
                );
                Finding::error("up/sequence-behind", format!("sequence {name}"), message)
            })
            .collect()
    }

    /// What an up did to the large objects that were there: as an error where some are missing, else as
    /// a warning, because they may be meant to change.
    pub(crate) fn large_objects_changed_by_up(&self, actual: &Self) -> Option<Finding> {
        let count = |seen: &Self| seen.large_objects.as_ref().map_or(0, |all| all.count);
        let (then, now) = (count(self), count(actual));
        let mut found = self.large_object_findings(actual).filter(|_| then > 0)?;
        found.subject = Subject::large_objects();
        if now >= then {
            found.severity = Severity::Warning;
        }
        Some(found)
    }

    /// Whether the large objects of `actual` are others, as an error `data/large-objects-differ`.
    pub fn large_object_findings(&self, actual: &Self) -> Option<Finding> {
        let (before, now) = (self.large_objects.as_ref()?, actual.large_objects.as_ref()?);
        let same_content = match (&before.sum, &now.sum) {
            (Some(before), Some(now)) => before == now,
            // What may not be read cannot be judged.
            _ => true,
        };
        if before.count == now.count && same_content {
            return None;
        }
        let message = if before.count == now.count {
            format!("there are {} as before, with other content", now.count)
        } else {
            format!("there were {}, there are {}", before.count, now.count)
        };
        Some(Finding::error(
            "data/large-objects-differ",
            "large objects",
            message,
        ))
    }

    /// The tables of both whose columns stand in another order in `actual`, each as a note
    /// `down/column-order-differs`: `select *` shows them so, and an insert without names takes them so.
    pub fn column_order_findings(&self, actual: &Self) -> Vec<Finding> {
        self.column_order
            .iter()
            .filter_map(|(name, before)| {
                let now = actual.column_order.get(name)?;
                let in_both = |columns: &[String], other: &[String]| -> Vec<String> {
                    let both = columns.iter().filter(|column| other.contains(column));
                    both.cloned().collect()
                };
                let (then, since) = (in_both(before, now), in_both(now, before));
                (then != since).then(|| {
                    let message = format!(
                        "its columns stand in another order: {} before, {} now",
                        then.join(", "),
                        since.join(", ")
                    );
                    Finding::note("down/column-order-differs", TableRef::new(name), message)
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(earlier: SequenceState, now: SequenceState, repeats: bool) {
        assert_eq!(now.repeats(&earlier), repeats, "{earlier:?} then {now:?}");
    }

    #[test]
    fn a_sequence_repeats_only_what_it_has_handed_out() {
        let at = SequenceState::new;
        check(at(11, true), at(1, false), true);
        check(at(11, true), at(10, true), true);
        check(at(11, true), at(11, false), true);
        check(at(11, true), at(11, true), false);
        check(at(11, true), at(12, false), false);
        check(at(11, true), at(40, true), false);
        check(at(11, false), at(10, true), false);
        check(at(11, false), at(10, false), true);
        // Nothing was handed out yet.
        let fresh = SequenceState {
            start: 5,
            ..at(5, false)
        };
        check(fresh, at(1, false), false);
        let down = |last, called| SequenceState {
            increment: -1,
            start: -1,
            ..at(last, called)
        };
        check(down(-11, true), down(-1, false), true);
        check(down(-11, true), down(-11, true), false);
        check(down(-11, true), down(-12, true), false);
        let cycling = SequenceState {
            cycles: true,
            ..at(11, true)
        };
        check(cycling, at(1, false), false);
        check(at(i64::MAX, true), at(i64::MAX, true), false);
    }

    #[test]
    fn a_sequence_behind_its_column_is_seen_where_it_was_not_before() {
        let with = |name: &str, at: SequenceState, column: &str, furthest| Observation {
            sequences: [(name.to_owned(), at)].into(),
            counted: [(name.to_owned(), Counted::new(column, furthest))].into(),
            ..Observation::default()
        };
        let at = SequenceState::new;
        let ok = with("s", at(11, true), "t.id", 11);
        let behind = with("s_new", at(1, false), "t.id", 11);
        let found = ok.behind_findings(&behind);
        assert_eq!(
            found[0].to_string(),
            "error[up/sequence-behind] sequence s_new: would hand out 1 next, and column t.id has 11 already"
        );
        assert!(behind.behind_findings(&behind).is_empty());
        assert!(ok.behind_findings(&ok).is_empty());
        let down = SequenceState {
            increment: -1,
            ..at(-5, true)
        };
        assert!(ok.behind_findings(&with("d", down, "t.n", -5)).is_empty());
        assert_eq!(ok.behind_findings(&with("d", down, "t.n", -6)).len(), 1);
    }

    #[test]
    fn large_objects_that_an_up_adds_are_its_own() {
        let with = |count, sum: &str| Observation {
            large_objects: Some(LargeObjects::new(count, Some(sum.to_owned()))),
            ..Observation::default()
        };
        let severity = |one: &Observation, two: &Observation| {
            one.large_objects_changed_by_up(two)
                .map(|found| found.severity)
        };
        assert_eq!(severity(&with(0, "0"), &with(2, "5")), None);
        assert_eq!(severity(&with(2, "5"), &with(2, "5")), None);
        assert_eq!(
            severity(&with(2, "5"), &with(2, "6")),
            Some(Severity::Warning)
        );
        assert_eq!(
            severity(&with(2, "5"), &with(3, "6")),
            Some(Severity::Warning)
        );
        assert_eq!(
            severity(&with(2, "5"), &with(1, "2")),
            Some(Severity::Error)
        );
    }

    #[test]
    fn large_objects_are_judged_as_far_as_they_can_be_read() {
        let with = |count, sum: Option<&str>| Observation {
            large_objects: Some(LargeObjects::new(count, sum.map(str::to_owned))),
            ..Observation::default()
        };
        let differs = |one: &Observation, two: &Observation| one.large_object_findings(two);
        assert!(differs(&with(2, Some("1")), &with(2, Some("1"))).is_none());
        assert!(differs(&with(2, None), &with(2, Some("1"))).is_none());
        assert!(differs(&with(2, Some("1")), &Observation::default()).is_none());
        assert!(differs(&with(2, None), &with(1, None)).is_some());
        assert!(differs(&with(2, Some("1")), &with(2, Some("2"))).is_some());
    }

    #[test]
    fn the_order_of_columns_is_that_of_those_of_both() {
        let with = |columns: &[&str]| Observation {
            column_order: [(
                "t".to_owned(),
                columns.iter().map(|name| (*name).to_owned()).collect(),
            )]
            .into(),
            ..Observation::default()
        };
        let found = with(&["id", "a", "b"]).column_order_findings(&with(&["id", "b", "a"]));
        assert_eq!(found.len(), 1);
        assert!(!found[0].fails());
        let one_more = with(&["id", "new", "a", "b"]);
        assert!(
            with(&["id", "a", "b"])
                .column_order_findings(&one_more)
                .is_empty()
        );
    }
}
