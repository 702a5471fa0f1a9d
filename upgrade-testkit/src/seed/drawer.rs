//! Draws the rows of one table, one after the other, and keeps track of what is used up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::strategy::SBoxedStrategy;
use proptest::test_runner::TestRunner;

use super::error::SeedError;
use super::keys::Pool;
use super::plan::{Cell, TablePlan};
use super::random::{draw, runner};
use super::resolve::{Cells, Reject, Resolved, referenced, resolve};
use super::value::{Row, SqlValue};

/// Rows drawn for one that repeats a unique value before giving up.
const LOCAL_TRIES: u32 = 1_000;

/// Rows as the user decided them.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    Nothing,
    Fixed(VecDeque<Row>),
    Drawn(SBoxedStrategy<Row>),
}

/// What stays when a row is drawn again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base {
    fixed: Option<Row>,
    sequences: Vec<(usize, String)>,
}

/// A row, and what it used up.
#[derive(Clone, Debug)]
pub(crate) struct DrawnRow {
    pub(crate) cells: Cells,
    base: Base,
    taken: Vec<Option<usize>>,
}

impl DrawnRow {
    pub(crate) fn base(&self) -> &Base {
        &self.base
    }
}

/// Why there is no row.
#[derive(Debug)]
pub(crate) enum Stop {
    Reject(Reject),
    Error(Box<SeedError>),
}

impl From<SeedError> for Stop {
    fn from(error: SeedError) -> Self {
        Self::Error(Box::new(error))
    }
}

pub(crate) struct Drawer {
    plan: TablePlan,
    pools: Vec<Pool>,
    given: Given,
    sequences: BTreeMap<usize, VecDeque<String>>,
    of_way: TestRunner,
    of_given: TestRunner,
    of_column: Vec<TestRunner>,
    of_key: Vec<TestRunner>,
    /// For each unique index, the values that rows of this run have.
    seen: Vec<BTreeSet<Vec<String>>>,
}

impl Drawer {
    /// `pools` go with the plan's keys; `sequences` hold a value for each row still to come.
    ///
    /// A table with rows is drawn for from other sources than an empty one: with the seed that made
    /// them, each row would be drawn again.
    pub(crate) fn new(
        seed: u64,
        existing: u64,
        plan: TablePlan,
        pools: Vec<Pool>,
        given: Given,
        sequences: BTreeMap<usize, VecDeque<String>>,
    ) -> Self {
        let label = plan.table.label();
        let before = existing.to_string();
        let of = |kind: &str, name: &str| match existing {
            0 => runner(seed, &[&label, kind, name]),
            _ => runner(seed, &[&label, kind, name, &before]),
        };
        Self {
            of_way: of("way", ""),
            of_given: of("row", ""),
            of_column: plan
                .table
                .columns
                .iter()
                .map(|column| of("column", &column.name))
                .collect(),
            of_key: plan
                .keys
                .iter()
                .map(|key| of("key", &plan.table.foreign_keys[key.at].name))
                .collect(),
            seen: vec![BTreeSet::new(); plan.table.unique.len()],
            plan,
            pools,
            given,
            sequences,
        }
    }

    /// The base of the next row.
    pub(crate) fn next_base(&mut self) -> Base {
        let fixed = match &mut self.given {
            Given::Fixed(rows) => rows.pop_front(),
            Given::Nothing | Given::Drawn(_) => None,
        };
        let sequences = self
            .sequences
            .iter_mut()
            .filter_map(|(at, values)| Some((*at, values.pop_front()?)));
        Base {
            fixed,
            sequences: sequences.collect(),
        }
    }

    /// Whether the user fixed rows of this table.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self.given, Given::Fixed(_))
    }

    /// Draws a row that repeats no unique value of another, as far as text tells.
    pub(crate) fn draw(&mut self, base: Base) -> Result<DrawnRow, Stop> {
        let mut last = None;
        for _ in 0..LOCAL_TRIES {
            let resolved = match self.attempt(&base) {
                Ok(resolved) => resolved,
                Err(Stop::Reject(reject @ Reject::Again { .. })) => {
                    last = Some(reject);
                    continue;
                }
                Err(stop) => return Err(stop),
            };
            match self.repeated(&resolved.cells) {
                None => return Ok(self.accept(base, resolved)),
                Some(index) => {
                    let part = format!("unique index `{}`", self.plan.table.unique[index].name);
                    let reason = format!("{LOCAL_TRIES} rows drawn in a row repeat values of it");
                    last = Some(Reject::Exhausted {
                        part,
                        reason,
                        none_ever: false,
                    });
                }
            }
        }
        Err(Stop::Reject(last.expect("each try leaves a reason")))
    }

    /// Hands back what a refused row used up.
    pub(crate) fn release(&mut self, row: &DrawnRow) {
        for (pool, taken) in self.pools.iter_mut().zip(&row.taken) {
            if let Some(taken) = taken {
                pool.give_back(*taken);
            }
        }
        for (unique, seen) in self.plan.table.unique.iter().zip(&mut self.seen) {
            if let Some(values) = unique_values(&row.cells, &unique.columns) {
                seen.remove(&values);
            }
        }
    }

    /// Keeps the value that a released row has of a unique index from being drawn again.
    pub(crate) fn bar(&mut self, row: &DrawnRow, index: usize) {
        let columns = &self.plan.table.unique[index].columns;
        self.seen[index].extend(unique_values(&row.cells, columns));
    }

    fn attempt(&mut self, base: &Base) -> Result<Resolved, Stop> {
        let given = match (&base.fixed, &self.given) {
            (Some(row), _) => Some(row.clone()),
            (None, Given::Drawn(strategy)) => {
                let strategy = strategy.clone();
                Some(self.given_row(&strategy)?)
            }
            (None, _) => None,
        };
        let ways = self.plan.ways.len();
        let way = if ways == 1 { 0 } else { self.pick_way(ways) };
        let mut cells: Cells = Vec::with_capacity(self.plan.cells.len());
        for (at, cell) in self.plan.cells.iter().enumerate() {
            let column = &self.plan.table.columns[at];
            // Drawn even where the row decides, so that deciding one cell moves no other row's.
            let drawn = match &self.plan.ways[way].strategies[at] {
                Some(strategy) if *cell == Cell::Drawn => {
                    match draw(&mut self.of_column[at], strategy) {
                        Ok(value) => Some(value),
                        Err(reason) => {
                            let column = format!("{}.{}", self.plan.table.label(), column.name);
                            return Err(SeedError::Draw { column, reason }.into());
                        }
                    }
                }
                _ => None,
            };
            let decided = given
                .as_ref()
                .and_then(|row| row.get(&column.name))
                .cloned();
            let value = decided.or(drawn).or_else(|| match cell {
                Cell::Null => Some(SqlValue::Null),
                Cell::Sequence => base
                    .sequences
                    .iter()
                    .find(|(place, _)| *place == at)
                    .map(|(_, value)| SqlValue::Text(value.clone())),
                _ => None,
            });
            match (cell, value) {
                (Cell::Missing(reason), None) => {
                    return Err(SeedError::CannotFillColumn {
                        table: self.plan.table.label(),
                        column: column.name.clone(),
                        type_name: column.ty.name.clone(),
                        reason: reason.clone(),
                    }
                    .into());
                }
                (_, value) => cells.push(value.filter(|value| *value != SqlValue::Default)),
            }
        }
        let mut picks = Vec::with_capacity(self.of_key.len());
        for source in &mut self.of_key {
            picks.push(
                draw(source, &proptest::num::u64::ANY).expect("an integer is never rejected"),
            );
        }
        resolve(&self.plan, way, cells, &picks, &self.pools).map_err(Stop::Reject)
    }

    fn pick_way(&mut self, ways: usize) -> usize {
        draw(&mut self.of_way, &(0..ways)).expect("a range is never rejected")
    }

    /// A row of the user's strategy, whose columns are known only now.
    fn given_row(&mut self, strategy: &SBoxedStrategy<Row>) -> Result<Row, SeedError> {
        let label = self.plan.table.label();
        let drawn = draw(&mut self.of_given, strategy);
        let row = drawn.map_err(|reason| SeedError::Draw {
            column: format!("{label}.*"),
            reason,
        })?;
        let known = |name: &str| {
            self.plan
                .table
                .columns
                .iter()
                .any(|column| column.name == name)
        };
        let unknown = row.iter().map(|(name, _)| name).find(|name| !known(name));
        match unknown.map(str::to_owned) {
            Some(name) => Err(SeedError::UnknownColumn {
                name: format!("{label}.{name}"),
            }),
            None => Ok(row),
        }
    }

    fn repeated(&self, cells: &Cells) -> Option<usize> {
        let repeats = |at: &usize| {
            let values = unique_values(cells, &self.plan.table.unique[*at].columns);
            values.is_some_and(|values| self.seen[*at].contains(&values))
        };
        (0..self.seen.len()).find(repeats)
    }

    fn accept(&mut self, base: Base, resolved: Resolved) -> DrawnRow {
        let Resolved { cells, places } = resolved;
        for (unique, seen) in self.plan.table.unique.iter().zip(&mut self.seen) {
            seen.extend(unique_values(&cells, &unique.columns));
        }
        let taken = self
            .pools
            .iter_mut()
            .zip(places)
            .map(|(pool, place)| pool.take(place?))
            .collect();
        for at in 0..self.plan.keys.len() {
            // Later rows may refer to this one.
            if self.plan.keys[at].to_self
                && let Some(key) = referenced(&self.plan, at, &cells)
            {
                self.pools[at].push(key);
            }
        }
        DrawnRow { cells, base, taken }
    }
}

/// The values of a unique index, if all are known and none is NULL.
pub(crate) fn unique_values(cells: &Cells, columns: &[usize]) -> Option<Vec<String>> {
    columns
        .iter()
        .map(|column| Some(cells[*column].as_ref()?.as_text()?.to_owned()))
        .collect()
}
