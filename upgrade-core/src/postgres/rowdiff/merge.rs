//! Two ordered lists of rows, merged into what differs. Constant memory.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use futures_util::stream::{Stream, StreamExt as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::postgres::types::Oid;

use crate::observation::{RowChangeKind, RowSet, ValueChanges};

/// One row, as it is sorted: by the hash of its key, its key, its own hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) place_hash: i64,
    pub(super) key: String,
    pub(super) hash: i64,
    pub(super) place: Place,
    /// The hash of each value; none of those that are null.
    pub(super) values: Vec<Option<i64>>,
}

/// Where a row is: its table, which is a partition's where there are partitions, and its `ctid`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) table: u32,
    pub(super) ctid: String,
}

impl Entry {
    pub(super) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            place_hash: row.try_get(0)?,
            key: row.try_get(1)?,
            hash: row.try_get(2)?,
            place: Place {
                table: row.try_get::<Oid, _>(3)?.0,
                ctid: row.try_get(4)?,
            },
            values: row.try_get(5)?,
        })
    }

    fn order(&self, other: &Self) -> Ordering {
        self.group_order(other).then(self.hash.cmp(&other.hash))
    }

    fn group_order(&self, other: &Self) -> Ordering {
        self.place_hash
            .cmp(&other.place_hash)
            .then_with(|| self.key.as_bytes().cmp(other.key.as_bytes()))
    }
}

/// What differs: numbers, and the first rows of each kind by their keys.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) lost: u64,
    pub(super) changed: u64,
    pub(super) added: u64,
    /// In how many rows each value differs, in the order of the columns; `None` once a row of a
    /// key that is there more often could not be held against another one.
    pub(super) values: Option<Vec<ValueChanges>>,
    /// The rows that are lost and those that are added, while these are few enough.
    pub(super) lost_rows: Option<RowSet>,
    pub(super) added_rows: Option<RowSet>,
    named: BTreeMap<RowChangeKind, BTreeSet<Named>>,
    limit: usize,
}

/// A row that will be named. The order is that in which a person would count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    /// The number of digits of a key that is a number, so that 9 comes before 10.
    digits: usize,
    key: String,
    place_hash: i64,
    pub(super) before: Option<Place>,
    pub(super) after: Option<Place>,
    pub(super) count: u64,
}

impl Merged {
    /// The rows to name, with what happened to them.
    pub(super) fn named(&self) -> impl Iterator<Item = (RowChangeKind, &Named)> {
        self.named
            .iter()
            .flat_map(|(kind, rows)| rows.iter().map(move |row| (*kind, row)))
    }

    pub(super) fn places_before(&self) -> Vec<&Place> {
        self.named()
            .filter_map(|(_, row)| row.before.as_ref())
            .collect()
    }

    pub(super) fn places_after(&self) -> Vec<&Place> {
        self.named()
            .filter_map(|(_, row)| row.after.as_ref())
            .collect()
    }

    fn note(&mut self, kind: RowChangeKind, row: Named) {
        let rows = self.named.entry(kind).or_default();
        rows.insert(row);
        if rows.len() > self.limit {
            rows.pop_last();
        }
    }
}

/// The rows of one key of which one side has more than the other.
#[derive(Debug, Default)]
struct Surplus {
    rows: u64,
    /// The first of them, each with how many are equal to it.
    first: Vec<(Place, Values, u64)>,
}

type Values = Vec<Option<i64>>;

impl Surplus {
    fn add(&mut self, (place, values): (Place, Values), count: u64, limit: usize) {
        self.rows += count;
        if self.first.len() < limit {
            self.first.push((place, values, count));
        }
    }
}

/// Merges two lists that are in order. Where rows have a key, one that is lost and one that is
/// added under the same key are one that changed.
pub(super) async fn merge<E>(
    before: impl Stream<Item = Result<Entry, E>>,
    after: impl Stream<Item = Result<Entry, E>>,
    keyed: bool,
    limit: usize,
) -> Result<Merged, E> {
    let (mut before, mut after) = (pin!(before), pin!(after));
    let mut merged = Merged {
        limit,
        values: Some(Vec::new()),
        lost_rows: Some(RowSet::default()),
        added_rows: Some(RowSet::default()),
        ..Merged::default()
    };
    let (mut old, mut new) = tokio::join!(next(before.as_mut()), next(after.as_mut()));
    loop {
        let (mut old_now, mut new_now) = (old?, new?);
        let Some(group) = first_of(old_now.as_ref(), new_now.as_ref(), Entry::group_order) else {
            return Ok(merged);
        };
        let group = group.clone();
        let (mut lost, mut added) = (Surplus::default(), Surplus::default());
        let in_group =
            |entry: &Option<Entry>| matches!(entry, Some(e) if e.group_order(&group).is_eq());
        while in_group(&old_now) || in_group(&new_now) {
            let of_old = old_now.as_ref().filter(|_| in_group(&old_now));
            let of_new = new_now.as_ref().filter(|_| in_group(&new_now));
            let Some(row) = first_of(of_old, of_new, Entry::order).cloned() else {
                break;
            };
            let (mut olds, mut old_place) = (0, None);
            while let Some(entry) = old_now.take_if(|e| e.order(&row).is_eq()) {
                olds += 1;
                old_place.get_or_insert((entry.place, entry.values));
                old_now = next(before.as_mut()).await?;
            }
            let (mut news, mut new_place) = (0, None);
            while let Some(entry) = new_now.take_if(|e| e.order(&row).is_eq()) {
                news += 1;
                new_place.get_or_insert((entry.place, entry.values));
                new_now = next(after.as_mut()).await?;
            }
            match (olds.cmp(&news), old_place, new_place) {
                (Ordering::Greater, Some(place), _) => lost.add(place, olds - news, limit),
                (Ordering::Less, _, Some(place)) => added.add(place, news - olds, limit),
                _ => {}
            }
        }
        merged.add_key(&group, lost, added, keyed);
        (old, new) = (Ok(old_now), Ok(new_now));
    }
}

impl Merged {
    /// Takes up what one key has lost and gained.
    fn add_key(&mut self, group: &Entry, mut lost: Surplus, mut added: Surplus, keyed: bool) {
        let changed = if keyed { lost.rows.min(added.rows) } else { 0 };
        self.changed += changed;
        self.lost += lost.rows - changed;
        self.added += added.rows - changed;
        let named = |before: Option<Place>, after: Option<Place>, count| Named {
            digits: if group.key.bytes().all(|byte| byte.is_ascii_digit()) {
                group.key.len()
            } else {
                usize::MAX
            },
            key: group.key.clone(),
            place_hash: group.place_hash,
            before,
            after,
            count,
        };
        add(&mut self.lost_rows, group.place_hash, lost.rows - changed);
        add(&mut self.added_rows, group.place_hash, added.rows - changed);
        let mut left = changed;
        while left > 0 {
            let (Some(old), Some(new)) = (lost.first.first_mut(), added.first.first_mut()) else {
                break;
            };
            let count = old.2.min(new.2).min(left);
            if let Some(all) = &mut self.values {
                differ(all, &old.1, &new.1, count);
            }
            let row = named(Some(old.0.clone()), Some(new.0.clone()), count);
            self.note(RowChangeKind::Changed, row);
            left -= count;
            for surplus in [&mut lost, &mut added] {
                surplus.first[0].2 -= count;
                if surplus.first[0].2 == 0 {
                    surplus.first.remove(0);
                }
            }
        }
        if left > 0 || (!keyed && lost.rows > 0 && added.rows > 0) {
            self.values = None;
        }
        if lost.rows > changed {
            for (place, _, count) in lost.first {
                self.note(RowChangeKind::Lost, named(Some(place), None, count));
            }
        }
        if added.rows > changed {
            for (place, _, count) in added.first {
                self.note(RowChangeKind::Added, named(None, Some(place), count));
            }
        }
    }
}

/// Adds rows to a set, unless it grows too large.
fn add(set: &mut Option<RowSet>, hash: i64, count: u64) {
    if count == 0 {
        return;
    }
    if let Some(rows) = set {
        rows.add(hash, count);
        if rows.len() > RowSet::LIMIT {
            *set = None;
        }
    }
}

/// Notes in which values rows differ.
fn differ(all: &mut Vec<ValueChanges>, old: &Values, new: &Values, count: u64) {
    all.resize(all.len().max(old.len()), ValueChanges::default());
    for ((changes, old), new) in all.iter_mut().zip(old).zip(new) {
        match (old, new) {
            _ if old == new => {}
            (None, _) => changes.filled += count,
            (Some(_), _) => changes.replaced += count,
        }
    }
}

async fn next<E>(
    mut entries: std::pin::Pin<&mut impl Stream<Item = Result<Entry, E>>>,
) -> Result<Option<Entry>, E> {
    entries.next().await.transpose()
}

/// The one that comes first, or the only one that there is.
fn first_of<'e>(
    one: Option<&'e Entry>,
    other: Option<&'e Entry>,
    order: impl Fn(&Entry, &Entry) -> Ordering,
) -> Option<&'e Entry> {
    match (one, other) {
        (Some(one), Some(other)) if order(one, other).is_gt() => Some(other),
        (Some(one), _) => Some(one),
        (None, other) => other,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    /// Rows as `(key, content)`, sorted as the server would.
    fn entries(rows: &[(&str, i64)], side: u32) -> Vec<Result<Entry, Infallible>> {
        let mut all: Vec<Entry> = rows
            .iter()
            .enumerate()
            .map(|(place, (key, hash))| Entry {
                place_hash: key.len() as i64 % 3,
                key: (*key).to_owned(),
                hash: *hash,
                place: Place {
                    table: side,
                    ctid: place.to_string(),
                },
                values: vec![Some(1), Some(*hash), (*hash > 4).then_some(*hash)],
            })
            .collect();
        all.sort_by(Entry::order);
        all.into_iter().map(Ok).collect()
    }

    /// The numbers, and each row that is named with its count.
    async fn check(
        before: &[(&str, i64)],
        after: &[(&str, i64)],
        keyed: bool,
        limit: usize,
    ) -> (u64, u64, u64, Vec<String>) {
        let merged = merge(
            stream::iter(entries(before, 0)),
            stream::iter(entries(after, 1)),
            keyed,
            limit,
        )
        .await
        .unwrap();
        let named = merged
            .named()
            .map(|(kind, row)| {
                let side = |place: &Option<Place>| place.as_ref().map(|place| place.table);
                let (before, after) = (side(&row.before), side(&row.after));
                let expected = match kind {
                    RowChangeKind::Lost => (Some(0), None),
                    RowChangeKind::Changed => (Some(0), Some(1)),
                    RowChangeKind::Added => (None, Some(1)),
                };
                assert_eq!((before, after), expected);
                format!("{kind:?} {} {}", row.key, row.count)
            })
            .collect();
        (merged.lost, merged.changed, merged.added, named)
    }

    #[tokio::test]
    async fn rows_meet_by_their_key() {
        let before = [("1", 1), ("2", 2), ("10", 3), ("9", 4)];
        let after = [("1", 1), ("9", 5), ("10", 6), ("11", 1)];
        let (lost, changed, added, named) = check(&before, &after, true, 10).await;
        assert_eq!((lost, changed, added), (1, 2, 1));
        assert_eq!(
            named,
            ["Lost 2 1", "Changed 9 1", "Changed 10 1", "Added 11 1"]
        );
        let (lost, changed, added, named) = check(&before, &after, true, 1).await;
        assert_eq!((lost, changed, added), (1, 2, 1));
        assert_eq!(named, ["Lost 2 1", "Changed 9 1", "Added 11 1"]);
        assert_eq!(check(&before, &before, true, 10).await.3, [""; 0]);
        assert_eq!(check(&before, &[], true, 10).await.0, 4);
        assert_eq!(check(&[], &after, true, 10).await.2, 4);
    }

    #[tokio::test]
    async fn values_that_are_filled_are_told_from_those_that_are_replaced() {
        let changes = async |before: &[(&str, i64)], after: &[(&str, i64)], keyed| {
            let before = stream::iter(entries(before, 0));
            let merged = merge(before, stream::iter(entries(after, 1)), keyed, 1).await;
            merged.unwrap().values
        };
        let counts = |all: &[(u64, u64)]| {
            let all = all.iter();
            Some(
                all.map(|(filled, replaced)| ValueChanges::new(*filled, *replaced))
                    .collect(),
            )
        };
        let before = [("1", 1), ("2", 2), ("3", 9), ("4", 7)];
        let after = [("1", 1), ("2", 8), ("3", 1), ("4", 6)];
        let expected = counts(&[(0, 0), (0, 3), (1, 2)]);
        assert_eq!(changes(&before, &after, true).await, expected);
        assert_eq!(changes(&before, &before, true).await, counts(&[]));
        assert_eq!(changes(&before, &after[1..], true).await, expected);
        // Which of the rows of one key became which is not known, nor where there is no key.
        let many = [("k", 1), ("k", 2), ("k", 3)];
        let others = [("k", 4), ("k", 5), ("k", 6)];
        assert_eq!(changes(&many, &others, true).await, None);
        assert_eq!(changes(&[("", 1)], &[("", 2)], false).await, None);
        assert_eq!(changes(&[("", 1)], &[], false).await, counts(&[]));
    }

    #[tokio::test]
    async fn rows_of_one_key_are_counted() {
        let before = [("k", 1), ("k", 1), ("k", 2)];
        let after = [("k", 1), ("k", 3), ("k", 3), ("k", 4)];
        // One of the two `1` and the `2` are missing, three are new: two of them are changes.
        let (lost, changed, added, named) = check(&before, &after, true, 10).await;
        assert_eq!((lost, changed, added), (0, 2, 1));
        assert_eq!(named.len(), 3, "{named:?}");
        let (lost, changed, added, _) = check(&before, &after, false, 10).await;
        assert_eq!((lost, changed, added), (2, 0, 3));
    }

    #[tokio::test]
    async fn equal_rows_without_a_key_are_counted() {
        let before = [("", 7), ("", 7), ("", 7), ("", 8)];
        let after = [("", 7), ("", 9)];
        let (lost, changed, added, mut named) = check(&before, &after, false, 10).await;
        assert_eq!((lost, changed, added), (3, 0, 1));
        named.sort();
        assert_eq!(named, ["Added  1", "Lost  1", "Lost  2"]);
        let (_, _, added, named) = check(&after, &before, false, 10).await;
        assert_eq!((added, named.len()), (3, 3));
    }
}
