//! Draws the rows of one table, one after the other, and keeps track of what is used up.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use proptest::strategy::SBoxedStrategy;
use proptest::test_runner::TestRunner;

use super::choices::Choices;
use super::error::SeedError;
use super::keys::Pool;
use super::plan::{Cell, TablePlan, Values};
use super::random::{draw, runner};
use super::resolve::{Cells, Reject, Resolved, referenced, resolve};
use super::special::{Refused, Special};
use super::value::{Row, SqlValue};

/// Rows drawn for one that repeats a unique value before giving up.
const LOCAL_TRIES: u32 = 1_000;

/// Of those, the rows in which some parents are likelier than others.
const SKEWED_TRIES: u32 = 20;

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
    /// The way of satisfying the table's conditions, if it is chosen.
    way: Option<usize>,
    special: Option<Special>,
    refused: Refused,
}

/// A row, and what it used up.
#[derive(Clone, Debug)]
pub(crate) struct DrawnRow {
    pub(crate) cells: Cells,
    base: Base,
    way: usize,
    taken: Vec<Option<usize>>,
}

impl DrawnRow {
    /// What stays when the row is drawn again, because it repeats a unique value or was refused for
    /// another reason.
    pub(crate) fn again(&self, repeats: bool) -> Base {
        let mut base = self.base.clone();
        base.refused.count(repeats);
        base
    }

    /// Whether the row still has a purpose, of which less is left each time that it is refused.
    pub(crate) fn is_special(&self) -> bool {
        self.base.special.is_some() && !self.base.refused.is_ordinary()
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

/// Where the cells of a column come from.
enum Source {
    Own(Choices),
    Given(Box<TestRunner>),
}

pub(crate) struct Drawer {
    plan: TablePlan,
    pools: Vec<Pool>,
    given: Given,
    sequences: BTreeMap<usize, VecDeque<String>>,
    of_way: Choices,
    of_given: TestRunner,
    of_column: Vec<Source>,
    of_key: Vec<Choices>,
    /// For each unique index, hashes of the values that rows of this run have: eight bytes a row,
    /// and at worst a row is drawn again for nothing.
    seen: Vec<HashSet<u64>>,
    /// The special rows that are still to come.
    specials: VecDeque<Special>,
    /// Whether ordinary rows come between them, and whether the next one is ordinary.
    spaced: bool,
    ordinary: bool,
    /// What a special row begins with.
    refused: Refused,
    existing: u64,
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
        let names = |kind: &'static str, name: &str| {
            let mut names = vec![label.clone(), kind.to_owned(), name.to_owned()];
            names.extend((existing > 0).then(|| before.clone()));
            names
        };
        let own = |kind, name: &str| Choices::named(seed, &names(kind, name));
        let users = |kind, name: &str| runner(seed, &names(kind, name));
        let is_given = |at: usize| {
            let mut values = plan.ways.iter().map(|way| &way.values[at]);
            values.any(|values| matches!(values, Some(Values::Given(_))))
        };
        Self {
            of_way: own("way", ""),
            of_given: users("row", ""),
            of_column: plan
                .table
                .columns
                .iter()
                .enumerate()
                .map(|(at, column)| match is_given(at) {
                    true => Source::Given(Box::new(users("column", &column.name))),
                    false => Source::Own(own("column", &column.name)),
                })
                .collect(),
            of_key: plan
                .keys
                .iter()
                .map(|key| own("key", &plan.table.foreign_keys[key.at].name))
                .collect(),
            seen: vec![HashSet::new(); plan.table.unique.len()],
            specials: VecDeque::new(),
            spaced: false,
            ordinary: false,
            refused: Refused::default(),
            existing,
            plan,
            pools,
            given,
            sequences,
        }
    }

    /// Has the next rows be special ones: each of them, or every other one, and those are not worth
    /// a refusal because of the rows that were there before.
    pub(crate) fn make_special(&mut self, specials: VecDeque<Special>, spaced: bool) {
        (self.specials, self.spaced, self.ordinary) = (specials, spaced, spaced);
        self.refused = Refused::new(spaced && self.existing > 0);
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
        let sequences = sequences.collect();
        let special = if self.ordinary {
            None
        } else {
            self.specials.pop_front()
        };
        self.ordinary = self.spaced && !self.ordinary;
        Base {
            fixed,
            sequences,
            way: None,
            special,
            refused: self.refused,
        }
    }

    /// Whether the user fixed rows of this table.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self.given, Given::Fixed(_))
    }

    /// Draws a row that repeats no unique value of another, as far as text tells.
    pub(crate) fn draw(&mut self, base: Base) -> Result<DrawnRow, Stop> {
        let mut last = None;
        for tries in 0..LOCAL_TRIES {
            let resolved = match self.attempt(&base, tries) {
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

    /// Draws some cells of a row that was handed back again, and its keys.
    pub(crate) fn draw_again(
        &mut self,
        row: &DrawnRow,
        columns: &BTreeSet<usize>,
    ) -> Result<DrawnRow, Stop> {
        let mut base = row.base.clone();
        base.special = None;
        let mut kept = base.fixed.take().unwrap_or_default();
        for (at, cell) in row.cells.iter().enumerate() {
            let is_kept = self.plan.cells[at] == Cell::Drawn && !columns.contains(&at);
            if let (true, Some(cell)) = (is_kept, cell) {
                kept = kept.with(&self.plan.table.columns[at].name, cell.clone());
            }
        }
        base.fixed = Some(kept);
        base.way = Some(row.way);
        match self.draw(base) {
            Ok(other) => Ok(DrawnRow {
                base: row.base.clone(),
                ..other
            }),
            // A kept cell may be what repeats a unique value.
            Err(Stop::Reject(_)) => self.draw(row.again(false)),
            Err(stop) => Err(stop),
        }
    }

    /// Hands back what a refused row used up.
    pub(crate) fn release(&mut self, row: &DrawnRow) {
        for (pool, taken) in self.pools.iter_mut().zip(&row.taken) {
            if let Some(taken) = taken {
                pool.give_back(*taken);
            }
        }
        for (unique, seen) in self.plan.table.unique.iter().zip(&mut self.seen) {
            if let Some(hash) = unique_hash(&row.cells, &unique.columns) {
                seen.remove(&hash);
            }
        }
    }

    /// Keeps the value that a released row has of a unique index from being drawn again.
    pub(crate) fn bar(&mut self, row: &DrawnRow, index: usize) {
        let columns = &self.plan.table.unique[index].columns;
        self.seen[index].extend(unique_hash(&row.cells, columns));
    }

    fn attempt(&mut self, base: &Base, tries: u32) -> Result<Resolved, Stop> {
        let given = match (&base.fixed, &self.given) {
            (Some(row), _) => Some(row.clone()),
            (None, Given::Drawn(strategy)) => {
                let strategy = strategy.clone();
                Some(self.given_row(&strategy)?)
            }
            (None, _) => None,
        };
        let ways = self.plan.ways.len();
        let way = match base.way {
            Some(way) => way,
            None if ways == 1 => 0,
            None => {
                let drawn = self.of_way.place(ways);
                let special = base.special.as_ref().filter(|_| tries == 0);
                special
                    .and_then(|special| special.way(&self.plan))
                    .unwrap_or(drawn)
            }
        };
        let refused = base.refused.after(tries);
        let mut cells: Cells = Vec::with_capacity(self.plan.cells.len());
        for (at, cell) in self.plan.cells.iter().enumerate() {
            let column = &self.plan.table.columns[at];
            // Drawn even where the row decides, so that deciding one cell moves no other row's.
            let values = self.plan.ways[way].values[at].as_ref();
            let values = values.filter(|_| *cell == Cell::Drawn);
            let drawn = match (values, &mut self.of_column[at]) {
                (Some(Values::Own { texts, null_in }), Source::Own(source)) => {
                    let null = source.one_in(*null_in);
                    let text = texts.draw(source);
                    Some(if null {
                        SqlValue::Null
                    } else {
                        SqlValue::Text(text)
                    })
                }
                (Some(Values::Null), _) => Some(SqlValue::Null),
                (Some(Values::Given(strategy)), Source::Given(source)) => {
                    match draw(source, strategy) {
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
            let special = base.special.as_ref();
            let special = special.and_then(|special| special.cell(&self.plan, way, at, refused));
            let value = decided.or(special).or(drawn).or_else(|| match cell {
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
        let picks: Vec<u64> = self.of_key.iter_mut().map(Choices::bits).collect();
        let even = tries >= SKEWED_TRIES;
        resolve(&self.plan, way, cells, &picks, even, &self.pools).map_err(Stop::Reject)
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
            let hash = unique_hash(cells, &self.plan.table.unique[*at].columns);
            hash.is_some_and(|hash| self.seen[*at].contains(&hash))
        };
        (0..self.seen.len()).find(repeats)
    }

    fn accept(&mut self, base: Base, resolved: Resolved) -> DrawnRow {
        let Resolved { cells, places, way } = resolved;
        for (unique, seen) in self.plan.table.unique.iter().zip(&mut self.seen) {
            seen.extend(unique_hash(&cells, &unique.columns));
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
        DrawnRow {
            cells,
            base,
            way,
            taken,
        }
    }
}

/// The values of a unique index, if all are known and none is NULL.
pub(crate) fn unique_values<'a>(cells: &'a Cells, columns: &[usize]) -> Option<Vec<&'a str>> {
    columns
        .iter()
        .map(|column| cells[*column].as_ref()?.as_text())
        .collect()
}

fn unique_hash(cells: &Cells, columns: &[usize]) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    for column in columns {
        cells[*column].as_ref()?.as_text()?.hash(&mut hasher);
    }
    Some(hasher.finish())
}
