//! The keys that foreign keys can refer to.

use std::collections::BTreeSet;

use super::schema::ForeignKey;

/// The keys of one parent, in a fixed order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    keys: Vec<Vec<String>>,
    /// For keys that may be used once: which are left.
    left: Option<Vec<usize>>,
    /// Where the key with most children is, if some have more than others.
    first: Option<u64>,
}

impl Pool {
    pub(crate) fn new(keys: Vec<Vec<String>>) -> Self {
        Self {
            keys,
            left: None,
            first: None,
        }
    }

    /// A pool of which each key may be used once, and some are used already.
    pub(crate) fn exclusive(keys: Vec<Vec<String>>, used: &BTreeSet<Vec<String>>) -> Self {
        let left = (0..keys.len())
            .filter(|at| !used.contains(&keys[*at]))
            .collect();
        Self {
            keys,
            left: Some(left),
            first: None,
        }
    }

    /// Gives the key at `first` (counted round) most children, and each next one fewer.
    pub(crate) fn skewed(mut self, first: u64) -> Self {
        self.first = Some(first);
        self
    }

    fn len(&self) -> usize {
        self.left.as_ref().map_or(self.keys.len(), Vec::len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there were keys at all, used or not.
    pub(crate) fn had_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    pub(crate) fn key(&self, place: usize) -> &[String] {
        &self.keys[self.left.as_ref().map_or(place, |left| left[place])]
    }

    /// The place of a key that agrees with what is decided already, found from `pick` on.
    pub(crate) fn choose(
        &self,
        decided: &[Option<String>],
        pick: u64,
        even: bool,
    ) -> Option<usize> {
        self.choose_before(decided, pick, even, self.len())
    }

    /// As [`choose`](Self::choose), among the first `end` keys.
    pub(crate) fn choose_before(
        &self,
        decided: &[Option<String>],
        pick: u64,
        even: bool,
        end: usize,
    ) -> Option<usize> {
        let end = end.min(self.len());
        let count = end as u64;
        let start = match self.first {
            _ if end == 0 => return None,
            Some(first) if !even => (rank(pick, count) + first % count) % count,
            _ => pick % count,
        };
        let start = usize::try_from(start).ok()?;
        let agrees = |place: &usize| {
            self.key(*place)
                .iter()
                .zip(decided)
                .all(|(key, decided)| decided.as_ref().is_none_or(|d| d == key))
        };
        (start..end).chain(0..start).find(agrees)
    }

    /// Uses up the key at a place, if keys of this pool can be; gives what to hand back.
    pub(crate) fn take(&mut self, place: usize) -> Option<usize> {
        self.left.as_mut().map(|left| left.swap_remove(place))
    }

    /// Hands back what [`take`](Self::take) gave.
    pub(crate) fn give_back(&mut self, taken: usize) {
        if let Some(left) = &mut self.left {
            left.push(taken);
        }
    }

    /// Adds a key, the latest.
    pub(crate) fn push(&mut self, key: Vec<String>) {
        if let Some(left) = &mut self.left {
            left.push(self.keys.len());
        }
        self.keys.push(key);
    }
}

/// A rank below `count`, the lower the likelier: each power of two of ranks has the same share.
fn rank(pick: u64, count: u64) -> u64 {
    let powers = u64::from(u64::BITS - count.leading_zeros());
    let power = pick % powers;
    let rank = (1 << power) - 1 + pick / powers % (1 << power);
    if rank < count {
        rank
    } else {
        // The last power is cut off: its share goes to all.
        pick / powers % count
    }
}

/// What a row's cells already say about a key's columns; the error is a cell that is NULL.
pub(crate) fn decided<'a>(
    key: &ForeignKey,
    cell: impl Fn(usize) -> Option<&'a super::value::SqlValue>,
) -> Result<Vec<Option<String>>, ()> {
    use super::value::SqlValue;
    key.columns
        .iter()
        .map(|column| match cell(*column) {
            None | Some(SqlValue::Default) => Ok(None),
            Some(SqlValue::Text(text)) => Ok(Some(text.clone())),
            Some(SqlValue::Null) => Err(()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(list: &[[&str; 2]]) -> Vec<Vec<String>> {
        list.iter()
            .map(|key| key.iter().map(|part| (*part).to_owned()).collect())
            .collect()
    }

    #[test]
    fn a_key_agrees_with_what_is_decided() {
        let pool = Pool::new(keys(&[["1", "a"], ["1", "b"], ["2", "c"]]));
        assert_eq!(pool.choose(&[None, None], 4, false), Some(1));
        assert_eq!(pool.choose(&[Some("2".into()), None], 0, false), Some(2));
        assert_eq!(pool.choose(&[Some("3".into()), None], 0, false), None);
        assert_eq!(Pool::new(Vec::new()).choose(&[], 5, false), None);
        assert_eq!(
            pool.choose_before(&[Some("2".into()), None], 0, false, 2),
            None
        );
    }

    #[test]
    fn ranks_are_below_the_count_and_low_ones_likely() {
        for count in 1..70 {
            let mut children = vec![0_u32; 70];
            for pick in 0..6_000 {
                let rank = rank(pick, count);
                assert!(rank < count, "{rank} of {count}");
                children[rank as usize] += 1;
            }
            let count = count as usize;
            assert!(children[..count].iter().all(|children| *children > 0));
            assert!(
                count < 8 || children[0] > 2 * children[count / 2],
                "{count}: {children:?}"
            );
        }
    }

    #[test]
    fn an_exclusive_key_is_used_once() {
        let mut pool = Pool::exclusive(
            keys(&[["1", "a"], ["2", "b"]]),
            &keys(&[["2", "b"]]).into_iter().collect(),
        );
        let place = pool.choose(&[None, None], 0, false).expect("one is left");
        let taken = pool.take(place).expect("it is exclusive");
        assert!(pool.is_empty() && pool.had_keys());
        pool.give_back(taken);
        assert_eq!(
            pool.key(pool.choose(&[None, None], 9, false).expect("it is back")),
            ["1", "a"]
        );
    }
}
