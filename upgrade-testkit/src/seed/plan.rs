//! How the rows of one table are drawn: where each cell comes from, and in which ways the table's
//! CHECKs and partition bounds can be satisfied. Pure.

use std::collections::BTreeMap;

use proptest::strategy::{Just, SBoxedStrategy, Strategy, Union};

use super::check::{Alternative, Hints, Op, combine, solve};
use super::graph::Breakable;
use super::schema::{Column, ForeignKey, Table};
use super::types::{self, Options};
use super::value::SqlValue;

/// One nullable cell in this many is NULL.
pub(crate) const NULL_IN: u32 = 8;

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

/// One way in which a row satisfies the table's conditions.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// For each column that is drawn.
    pub(crate) strategies: Vec<Option<SBoxedStrategy<SqlValue>>>,
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
            left_out: Vec::new(),
        };
        let mut strategies = vec![vec![None; table.columns.len()]; ways.len()];
        for (at, column) in table.columns.iter().enumerate() {
            let cell = plan.cell(at, column, making);
            plan.cells.push(cell);
            if plan.cells[at] != Cell::Drawn {
                continue;
            }
            for (way, strategies) in ways.iter().zip(&mut strategies) {
                let drawn = match columns.get(&at) {
                    Some(strategy) => Ok(strategy.clone()),
                    None => {
                        let mut hints = way.hints.get(&column.name).cloned().unwrap_or_default();
                        hints.sparse = table.excluding.contains(&at);
                        drawn(column, &hints, options)
                    }
                };
                match drawn {
                    Ok(strategy) => strategies[at] = Some(strategy),
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
            .zip(strategies)
            .map(|(way, strategies)| Way {
                strategies,
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
        ways = combine(&ways, &solve(check));
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

/// A strategy for a cell: the type's values, and NULL where that is allowed.
fn drawn(
    column: &Column,
    hints: &Hints,
    options: Options,
) -> Result<SBoxedStrategy<SqlValue>, String> {
    let null = Just(SqlValue::Null).sboxed();
    if hints.null == Some(true) && !column.required() {
        return Ok(null);
    }
    let values = types::texts(&column.ty, hints, options)?
        .prop_map(SqlValue::Text)
        .sboxed();
    if column.required() || hints.null == Some(false) {
        return Ok(values);
    }
    // NULL first: a failing case shrinks towards it.
    Ok(Union::new_weighted(vec![(1, null), (NULL_IN - 1, values)]).sboxed())
}
