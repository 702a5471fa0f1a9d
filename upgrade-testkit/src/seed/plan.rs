//! How the rows of one table are drawn: where each cell comes from, and in which ways the table's
//! CHECKs and partition bounds can be satisfied. Pure.

use std::collections::BTreeMap;

use proptest::strategy::SBoxedStrategy;

use super::check::{Alternative, Hints, Op, combine, solve};
use super::choices::Texts;
use super::graph::Breakable;
use super::schema::{Column, ForeignKey, Table};
use super::seeder::Distribution;
use super::types::{self, Options};
use super::value::SqlValue;

/// The longest text of a column without index.
const LONGEST: usize = 5_000;
/// The same where none is asked to be long.
const NOT_LONG: usize = 100;

/// Where a cell comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// The column is not named in the insert.
    Omitted,
    /// NULL; a postponed foreign key may set it later.
    Null,
    /// A strategy of each way.
    Drawn,
    /// A key of the parent.
    Key,
    /// The sequence of the column, read ahead so that the row can refer to itself.
    Sequence,
    /// There is no strategy and the column must have a value.
    Missing(String),
}

/// A foreign key whose cells are copied from the parent.
#[derive(Clone, Debug)]
pub(crate) struct KeyPlan {
    /// Position among the table's foreign keys.
    pub(crate) at: usize,
    pub(crate) to_self: bool,
    /// Some unique index covers nothing but columns of this key: each parent is referred to once.
    pub(crate) exclusive: bool,
}

/// What a drawn cell is drawn from.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    /// The type's values; one in `null_in` is NULL.
    Own {
        texts: Texts,
        null_in: u32,
    },
    /// The user's.
    Given(SBoxedStrategy<SqlValue>),
    Null,
}

/// One way in which a row satisfies the table's conditions.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// For each column that is drawn.
    pub(crate) values: Vec<Option<Values>>,
    /// For each column, whether it must be NULL or must not.
    pub(crate) null: Vec<Option<bool>>,
    pub(crate) relations: Vec<(usize, Op, usize)>,
}

/// All of it, for one table.
#[derive(Clone, Debug)]
pub(crate) struct TablePlan {
    pub(crate) table: Table,
    pub(crate) cells: Vec<Cell>,
    pub(crate) ways: Vec<Way>,
    pub(crate) keys: Vec<KeyPlan>,
    pub(crate) distribution: Distribution,
    /// Columns that were left to NULL or their default, with the reason.
    pub(crate) left_out: Vec<(String, String)>,
}

/// What a plan is made from, beside the table.
pub(crate) struct Making<'a> {
    pub(crate) own: usize,
    pub(crate) table: &'a Table,
    /// The user's strategies, by column.
    pub(crate) columns: &'a BTreeMap<usize, SBoxedStrategy<SqlValue>>,
    /// Foreign keys that wait until all tables are full.
    pub(crate) postponed: &'a [usize],
    pub(crate) options: Options,
    pub(crate) distribution: Distribution,
}

/// The columns of a key that nothing else decides.
pub(crate) fn free_columns(
    table: &Table,
    at: usize,
    overridden: &BTreeMap<usize, SBoxedStrategy<SqlValue>>,
) -> Vec<usize> {
    let elsewhere = |column: &usize| {
        (0..)
            .zip(&table.foreign_keys)
            .any(|(other, key)| other != at && key.columns.contains(column))
    };
    let key = &table.foreign_keys[at];
    key.columns
        .iter()
        .copied()
        .filter(|c| !overridden.contains_key(c) && !elsewhere(c))
        .collect()
}

/// How a key can be postponed.
pub(crate) fn breakable(
    table: &Table,
    at: usize,
    overridden: &BTreeMap<usize, SBoxedStrategy<SqlValue>>,
) -> Breakable {
    let key = &table.foreign_keys[at];
    let free = free_columns(table, at, overridden);
    let nullable = free
        .iter()
        .filter(|column| !table.columns[**column].required())
        .count();
    if nullable > 0 && (!key.full || nullable == key.columns.len()) {
        Breakable::Null
    } else if key.deferrable && !free.is_empty() {
        Breakable::Defer
    } else {
        Breakable::No
    }
}

impl TablePlan {
    /// Decides for every column where its cells come from.
    pub(crate) fn make(making: &Making<'_>) -> Self {
        let Making {
            own,
            table,
            columns,
            postponed,
            options,
            distribution,
        } = *making;
        let keys: Vec<KeyPlan> = (0..)
            .zip(&table.foreign_keys)
            .filter(|(at, key)| {
                !postponed.contains(at) && !key.columns.iter().all(|c| columns.contains_key(c))
            })
            .map(|(at, key)| KeyPlan {
                at,
                to_self: key.parent == Some(own),
                exclusive: exclusive(table, key),
            })
            .collect();
        let ways = ways_of(table);
        let mut plan = Self {
            table: table.clone(),
            cells: Vec::new(),
            ways: Vec::new(),
            keys,
            distribution,
            left_out: Vec::new(),
        };
        let mut values = vec![vec![None; table.columns.len()]; ways.len()];
        for (at, column) in table.columns.iter().enumerate() {
            let cell = plan.cell(at, column, making);
            plan.cells.push(cell);
            if plan.cells[at] != Cell::Drawn {
                continue;
            }
            for (way, values) in ways.iter().zip(&mut values) {
                let drawn = match columns.get(&at) {
                    Some(strategy) => Ok(Values::Given(strategy.clone())),
                    None => {
                        let mut hints = way.hints.get(&column.name).cloned().unwrap_or_default();
                        hints.sparse = table.excluding.contains(&at);
                        if let Some(held) = table.held.get(&at) {
                            hints = hints.clone().and(held.hints()).unwrap_or(hints);
                        }
                        let options = if table.indexed.contains(&at) {
                            options
                        } else {
                            Options {
                                long_in: distribution.long_in,
                                room: match distribution.long_in {
                                    0 => NOT_LONG,
                                    _ => LONGEST,
                                },
                                ..options
                            }
                        };
                        drawn(column, &hints, options, distribution.null_in)
                    }
                };
                match drawn {
                    Ok(drawn) => values[at] = Some(drawn),
                    Err(reason) => {
                        plan.cells[at] = plan.without_strategy(column, reason);
                        break;
                    }
                }
            }
        }
        let place = |name: &str| table.columns.iter().position(|column| column.name == name);
        plan.ways = ways
            .iter()
            .zip(values)
            .map(|(way, values)| Way {
                values,
                null: table
                    .columns
                    .iter()
                    .map(|c| way.hints.get(&c.name).and_then(|hints| hints.null))
                    .collect(),
                relations: way
                    .relations
                    .iter()
                    .filter_map(|r| Some((place(&r.left)?, r.op, place(&r.right)?)))
                    .collect(),
            })
            .collect();
        plan
    }

    fn cell(&self, at: usize, column: &Column, making: &Making<'_>) -> Cell {
        let table = making.table;
        if column.generated {
            return Cell::Omitted;
        }
        if making.columns.contains_key(&at) {
            return Cell::Drawn;
        }
        let of = |key: &KeyPlan| table.foreign_keys[key.at].columns.contains(&at);
        if self.keys.iter().any(of) {
            return Cell::Key;
        }
        let waits = |key: &&usize| table.foreign_keys[**key].columns.contains(&at);
        if let Some(key) = making.postponed.iter().find(waits) {
            let null =
                breakable(table, *key, making.columns) == Breakable::Null && !column.required();
            return if null { Cell::Null } else { Cell::Drawn };
        }
        if column.is_sequence() {
            let own_key = |key: &KeyPlan| {
                key.to_self && table.foreign_keys[key.at].referenced.contains(&column.name)
            };
            return if self.keys.iter().any(own_key) {
                Cell::Sequence
            } else {
                Cell::Omitted
            };
        }
        Cell::Drawn
    }

    /// What to do with a column whose type has no strategy.
    fn without_strategy(&mut self, column: &Column, reason: String) -> Cell {
        let cell = match (&column.default, column.required()) {
            (Some(_), _) => Cell::Omitted,
            (None, false) => Cell::Null,
            (None, true) => return Cell::Missing(reason),
        };
        let kept = if cell == Cell::Null {
            "NULL"
        } else {
            "its default"
        };
        let reason = format!("{reason} `{}`, left at {kept}", column.ty.name);
        self.left_out.push((column.name.clone(), reason));
        cell
    }
}

/// Whether a unique index makes each parent usable once.
fn exclusive(table: &Table, key: &ForeignKey) -> bool {
    table.unique.iter().any(|unique| {
        unique
            .columns
            .iter()
            .all(|column| key.columns.contains(column))
    })
}

/// The ways of satisfying every CHECK, and of landing in some partition.
fn ways_of(table: &Table) -> Vec<Alternative> {
    let mut ways = vec![Alternative::default()];
    let bounds: Vec<Alternative> = table
        .leaves
        .iter()
        .flatten()
        .flat_map(|bound| solve(bound))
        .collect();
    if !bounds.is_empty() {
        // Not combined: a table with hundreds of partitions has as many ways.
        ways = bounds;
    }
    for check in &table.checks {
        ways = combine(&ways, &solve(&check.expression));
    }
    let required: Vec<&str> = table
        .columns
        .iter()
        .filter(|column| column.required())
        .map(|column| column.name.as_str())
        .collect();
    let possible = |way: &Alternative| {
        let null = |name: &&str| {
            way.hints
                .get(*name)
                .is_some_and(|hints| hints.null == Some(true))
        };
        !required.iter().any(null)
    };
    if ways.iter().any(possible) {
        ways.retain(possible);
    }
    ways
}

/// The values of a cell: the type's, and NULL where that is allowed.
fn drawn(column: &Column, hints: &Hints, options: Options, null_in: u32) -> Result<Values, String> {
    if hints.null == Some(true) && !column.required() {
        return Ok(Values::Null);
    }
    let texts = types::texts(&column.ty, hints, options)?;
    let never_null = column.required() || hints.null == Some(false);
    Ok(Values::Own {
        texts,
        null_in: if never_null { 0 } else { null_in },
    })
}
