//! Rows with a purpose: at the limits of what the schema allows, NULL wherever that may be, and
//! copies of other rows. What a migration or its rollback cannot cope with is then met with every
//! seed. Pure.

use std::collections::{BTreeMap, VecDeque};

use super::plan::{Cell, TablePlan, Values};
use super::value::{Row, SqlValue};

/// From this many refusals on, a special row is an ordinary one.
const ORDINARY: u32 = 4;

/// Unique values that repeat are drawn anew so often before the whole row is at fault.
const REPEATS: u32 = 3;

/// This number of rows drawn in vain counts as one that was refused.
const IN_VAIN: u32 = 8;

/// Rows of which each column is at one of its limits: of columns with more, some are left out.
const MOST_LIMITS: usize = 40;

/// Of the ways of satisfying a table's conditions, those that get a row of NULLs.
const MOST_NULLS: usize = 4;

/// What a row is for. The number decides what differs from the others of its kind.
#[derive(Clone, Debug)]
pub(crate) enum Special {
    /// Each cell is at a limit of what its column allows.
    Limits(usize),
    /// Each cell that may be NULL is.
    Nulls(usize),
    /// A copy of a row, as far as unique indexes allow; a text that has to differ does so by little.
    Copy(Row, usize),
}

/// How often a row was refused, and how often because it repeats a unique value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refused {
    refused: u32,
    repeats: u32,
}

impl Refused {
    /// Of a row whose unique values are ordinary from the start, or may be special.
    pub(crate) fn new(unique_is_ordinary: bool) -> Self {
        Self {
            refused: 0,
            repeats: u32::from(unique_is_ordinary),
        }
    }

    pub(crate) fn count(&mut self, repeats: bool) {
        if repeats && self.repeats < REPEATS {
            self.repeats += 1;
        } else {
            self.refused = self.refused.saturating_add(1);
        }
    }

    /// After `tries` rows drawn in vain, most of which repeat a value.
    pub(crate) fn after(self, tries: u32) -> Self {
        Self {
            refused: self.refused.saturating_add(tries / IN_VAIN),
            repeats: self.repeats.saturating_add(tries),
        }
    }

    pub(crate) fn is_ordinary(self) -> bool {
        self.refused >= ORDINARY
    }
}

/// As many special rows as meet every limit of a table.
pub(crate) fn every(plan: &TablePlan) -> VecDeque<Special> {
    let ways = plan.ways.iter();
    let values = ways.flat_map(|way| way.values.iter().flatten());
    let limits = values.map(|values| match values {
        Values::Own { texts, .. } => texts.limits().len(),
        _ => 0,
    });
    let limits = limits.max().unwrap_or(0).min(MOST_LIMITS);
    some(plan, limits + plan.ways.len().min(MOST_NULLS))
}

/// `count` special rows: those that are most likely to be missed come first.
pub(crate) fn some(plan: &TablePlan, count: usize) -> VecDeque<Special> {
    let nulls = plan.ways.len().min(MOST_NULLS);
    let (mut null, mut limit) = (0, 0);
    (0..count)
        .map(|at| {
            if at % 3 == 0 && null < nulls {
                null += 1;
                Special::Nulls(null - 1)
            } else {
                limit += 1;
                Special::Limits(limit - 1)
            }
        })
        .collect()
}

impl Special {
    /// The way of satisfying the table's conditions that the row takes.
    pub(crate) fn way(&self, plan: &TablePlan) -> Option<usize> {
        match self {
            Self::Limits(number) | Self::Nulls(number) => Some(number % plan.ways.len()),
            Self::Copy(..) => None,
        }
    }

    /// The value of a column; nothing where it is drawn as in any other row. Each time that the row
    /// is refused, fewer columns are special.
    pub(crate) fn cell(
        &self,
        plan: &TablePlan,
        way: usize,
        at: usize,
        refused: Refused,
    ) -> Option<SqlValue> {
        if refused.is_ordinary() || !matches!(plan.cells[at], Cell::Drawn | Cell::Key | Cell::Null)
        {
            return None;
        }
        // A stand-in for a key that is set later has to be a value that no key has.
        let stands_in = matches!(plan.cells[at], Cell::Drawn)
            && plan
                .table
                .foreign_keys
                .iter()
                .any(|key| key.columns.contains(&at));
        if stands_in {
            return None;
        }
        let values = plan.ways[way].values[at].as_ref();
        match self {
            Self::Limits(number) => {
                let unique = is_unique(plan, at);
                let limits = match values {
                    // Not where every value is to be NULL.
                    Some(Values::Own { texts, null_in }) if *null_in != 1 => texts.limits(),
                    _ => return None,
                };
                // Each value of a unique column once.
                let repeats = unique && (*number >= limits.len() || refused.repeats > 0);
                if limits.is_empty() || repeats || !takes_part(*number, at, refused.refused) {
                    return None;
                }
                let limit = limits[(number + at) % limits.len()].as_str();
                let limit = if unique { with_room(limit) } else { limit };
                Some(SqlValue::Text(limit.to_owned()))
            }
            Self::Nulls(number) => {
                let may_be_null = match (&plan.cells[at], values) {
                    (Cell::Drawn, Some(Values::Own { null_in, .. })) => *null_in > 0,
                    (Cell::Key, _) => {
                        plan.distribution.null_in > 0
                            && !plan.table.columns[at].required()
                            && plan.ways[way].null[at] != Some(false)
                    }
                    _ => false,
                };
                (may_be_null && takes_part(*number, at, refused.refused)).then_some(SqlValue::Null)
            }
            Self::Copy(row, number) => {
                let source = row.get(&plan.table.columns[at].name)?;
                match changed(plan, *number).get(&at) {
                    Some(near) => {
                        let text = source
                            .as_text()
                            .filter(|_| *near && refused.repeats < REPEATS)?;
                        near_text(plan, at, text, *number).map(SqlValue::Text)
                    }
                    None if refused.refused > 0 && is_unique(plan, at) => None,
                    None if refused.refused > 1 => None,
                    None => Some(source.clone()),
                }
            }
        }
    }
}

/// A key that leaves room for the next one, as keys in production do: the greatest number of a type
/// would fail every `max(id) + 1`. What takes its place does not fit the next narrower type.
fn with_room(limit: &str) -> &str {
    match limit {
        "9223372036854775807" => "4294967296",
        "2147483647" => "65536",
        "32767" => "256",
        other => other,
    }
}

/// Whether a column is special in a row that was refused so often: first all are, then one half,
/// the other half, one in eight.
fn takes_part(number: usize, at: usize, refused: u32) -> bool {
    match refused {
        0 => true,
        1 => (number + at).is_multiple_of(2),
        2 => !(number + at).is_multiple_of(2),
        _ => number % 8 == at % 8,
    }
}

fn is_unique(plan: &TablePlan, at: usize) -> bool {
    let table = &plan.table;
    table.indexed_uniquely.contains(&at)
        || table.excluding.contains(&at)
        || table.unique_over.iter().any(|over| over.contains(&at))
}

/// The columns in which a copy has to differ: one of each unique index, all that an exclusion
/// constraint covers; and whether a text that differs by little will do.
fn changed(plan: &TablePlan, number: usize) -> BTreeMap<usize, bool> {
    let table = &plan.table;
    let mut changed: BTreeMap<usize, bool> =
        table.excluding.iter().map(|at| (*at, false)).collect();
    let plain = table.unique.iter().map(|unique| (&unique.columns, true));
    let over = table.unique_over.iter().map(|columns| (columns, false));
    // Those with an expression first: a text that differs by little may be the same to it.
    for (columns, near) in over.chain(plain) {
        let differs = |at: &usize| {
            changed.contains_key(at) || matches!(plan.cells[*at], Cell::Omitted | Cell::Sequence)
        };
        if columns.iter().any(differs) {
            continue;
        }
        if let Some(at) = columns.get(number % columns.len().max(1)) {
            changed.insert(*at, near);
        }
    }
    changed
}

/// Whether each text of a row that has to differ in a copy can differ by little.
pub(crate) fn copies_nearly(plan: &TablePlan, row: &Row, number: usize) -> bool {
    changed(plan, number).iter().all(|(at, near)| {
        let name = &plan.table.columns[*at].name;
        let text = row.get(name).and_then(SqlValue::as_text);
        !near
            || !is_text(plan, *at)
            || text.is_some_and(|text| near_text(plan, *at, text, number).is_some())
    })
}

fn is_text(plan: &TablePlan, at: usize) -> bool {
    let name = plan.table.columns[at].ty.base_name();
    matches!(name, Some("text" | "varchar" | "citext"))
}

/// A text that differs by its case, a space or an accent.
fn near_text(plan: &TablePlan, at: usize, text: &str, number: usize) -> Option<String> {
    let padded = plan.table.held.get(&at).is_some_and(|held| held.padded);
    if !is_text(plan, at) || padded {
        return None;
    }
    let other: String = match number % 3 {
        0 => text
            .chars()
            .map(|c| match c.is_ascii_lowercase() {
                true => c.to_ascii_uppercase(),
                false => c.to_ascii_lowercase(),
            })
            .collect(),
        1 => format!("{text} "),
        _ => text.replacen('e', "\u{e9}", 1),
    };
    let fits = usize::try_from(plan.table.columns[at].ty.typmod - 4)
        .map_or(true, |most| other.chars().count() <= most);
    (fits && other != text).then_some(other)
}
