//! How many rows differ, and how.

use crate::observation::RowDiff;

/// How many rows are missing, have other values, were not there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::runner) struct Counts {
    pub(in crate::runner) lost: u64,
    pub(in crate::runner) changed: u64,
    pub(in crate::runner) added: u64,
}

impl Counts {
    /// What is known of a table that has fewer rows, where nothing else is.
    pub(in crate::runner) const SOME_LOST: Self = Self {
        lost: 1,
        changed: 0,
        added: 0,
    };

    /// What can be told from how many there were and are.
    pub(in crate::runner) fn by_number((then, now): (u64, u64)) -> Self {
        Self {
            lost: then.saturating_sub(now),
            changed: u64::from(then == now),
            added: now.saturating_sub(then),
        }
    }

    /// Without a key, a changed row counts as one that is missing and one that was not there.
    pub(in crate::runner) fn of(diff: &RowDiff) -> Self {
        Self::without(diff, 0)
    }

    /// As [`of`](Self::of), where this number of the missing rows do not count.
    pub(in crate::runner) fn without(diff: &RowDiff, rows: u64) -> Self {
        let lost = diff.lost.saturating_sub(rows);
        let changed = if diff.key.is_empty() {
            lost.min(diff.added)
        } else {
            0
        };
        Self {
            lost: lost - changed,
            changed: diff.changed + changed,
            added: diff.added - changed,
        }
    }
}
